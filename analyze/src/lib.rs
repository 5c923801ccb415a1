//! Analyze: samples in, assessments out. It learns online what is normal for each signal, tracks objectives and their error
//! budgets, learns what a replica can take, and tells as symptoms what is wrong. See README.md for the whole.

pub mod learn;

pub mod correlate;
pub mod detect;
pub mod forecast;

pub mod capacity;
pub mod late;
pub mod slo;
pub mod symptom;

pub mod engine;
pub mod snapshot;

pub mod config;
pub mod grpc;
pub mod metrics;
pub mod service;

#[cfg(test)]
mod testing;

pub use config::Config;
pub use service::{Handle, StartError, start};
