#![doc = include_str!("../README.md")]

pub mod exposition;
pub mod normalize;
pub mod tally;

pub mod histogram;
pub mod rate;
pub mod window;

pub mod admission;
pub mod observe;
pub mod series;

pub mod declarations;
pub mod raw;
pub mod roles;
pub mod target;

pub mod board;
pub mod cadence;
pub mod groups;
pub mod outbox;

pub mod config;
pub mod grpc;
pub mod metrics;
pub mod sensors;
mod service;

pub use config::Config;
pub use service::{Handle, StartError, start};

#[cfg(test)]
mod fixtures;
