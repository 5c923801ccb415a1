#![doc = include_str!("../README.md")]
//! In reading order: a directive's life (`lifecycle`), who may be sent what (`registry`, `delivery`, `preconditions`), what
//! came of it (`verify`, `undo`, `feedback`), what breakers are advised (`fleet`) and told (`overrule`), the switch (`pause`), all of it together (`engine`), and the shell around it.

pub mod moment;

pub mod lifecycle;

pub mod delivery;
pub mod preconditions;
pub mod registry;

pub mod fleet;
pub mod overrule;

pub mod feedback;
pub mod undo;
pub mod verify;

pub mod pause;

pub mod engine;

pub mod config;
pub mod grpc;
pub mod metrics;
mod service;

pub use config::Config;
pub use service::{Handle, StartError, start};

#[cfg(any(test, feature = "testing"))]
pub mod testing;
