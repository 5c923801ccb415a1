//! Knowledge: the only service that touches Postgres; the others reach what is remembered through its gRPC API.

pub mod config;
pub mod error;
pub mod service;

mod batch;
pub mod intent;
pub mod retention;
pub mod thresholds;

mod grpc;
mod hub;
mod lane;
mod metrics;
mod migrations;
mod store;
mod watch;
mod writer;

pub mod embedded;

pub use config::Config;
pub use error::Error;
pub use service::{Handle, StartError, start};
