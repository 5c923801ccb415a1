#![doc = include_str!("../README.md")]
//! In reading order: what is wanted (`policy`), what was seen (`window`), when it is too much (`trip`), who may
//! try again (`probes`), the state machine over them (`machine`) and the handle that many callers share (`breaker`).

mod breaker;
mod machine;
mod policy;
mod probes;
#[cfg(feature = "tower")]
pub mod service;
mod trip;
mod window;

pub use breaker::{Applied, Breaker, Permit, PolicyError, Snapshot, State};
pub use machine::{Event, Grant, Machine, Outcome, Phase, PhaseKind, Rejection, Verdict};
pub use policy::{InvalidPolicy, Mode, Policy};
pub use trip::TripReason;
pub use window::Counts;
