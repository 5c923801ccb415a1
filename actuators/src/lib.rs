#![doc = include_str!("../README.md")]
//! In reading order: the trait to implement (`actuator`), what runs it (`runner`), where generations are kept when there is
//! no better place (`generations`), and the actuators that we ship.

pub mod actuator;
pub mod generations;

mod desk;
mod observe;
mod report;
pub mod runner;
mod session;
mod whole;

pub mod breaker;
pub mod cadence;
pub mod gate;
pub mod process;
pub mod webhook;

pub use actuator::{Actuator, ApplyOutcome};
pub use generations::FileGenerations;
pub use runner::{RunError, Runner};
