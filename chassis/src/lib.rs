#![doc = include_str!("../README.md")]

pub mod clock;
pub mod ids;

pub mod backoff;
pub mod context;
pub mod stopper;
pub mod tasks;

pub mod config;
pub mod grpc;
pub mod metrics;
pub mod run;
pub mod status;
pub mod telemetry;
pub mod testing;

pub use backoff::Backoff;
pub use clock::{Clock, SharedClock, SystemClock};
pub use config::{ClientConfig, ConfigError, Invalid, Layers, ServerConfig, TlsConfig, Validate};
pub use context::Context;
pub use grpc::{GrpcServer, Health};
pub use ids::IdGenerator;
pub use metrics::Readiness;
pub use run::{exit, run};
pub use status::chain;
pub use stopper::Stopper;
pub use tasks::{OnFailure, Tasks};
pub use telemetry::TelemetryConfig;
