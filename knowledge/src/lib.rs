//! Knowledge: the only service that touches Postgres; the others reach what is remembered through its gRPC API.

pub mod config;
pub mod service;

mod batch;
pub mod intent;
pub mod retention;
mod seasonality;
pub mod thresholds;

mod grpc;
mod hub;
mod metrics;
mod store;
mod writer;

pub mod embedded;

pub use config::Config;
pub use service::{Handle, StartError, start};
pub use store::{Error, SchemaError};
