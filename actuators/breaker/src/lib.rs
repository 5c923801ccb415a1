#![doc = include_str!("../README.md")]
//! In reading order: what is wanted (`policy`), the words of a call (`outcome`), what is normal (`baseline`, `latency`), when
//! it is too much (`evidence`), who may try again (`probes`, `machine`), what else can be done (`shed`, `limit`), the whole
//! for one thread (`core`), the handle that many callers share (`breaker`), and what concerns several of them (`fleet`, `guard`).

mod baseline;
mod breaker;
mod core;
mod evidence;
pub mod fleet;
pub mod guard;
mod latency;
mod limit;
pub mod machine;
mod outcome;
mod policy;
mod probes;
mod rng;
#[cfg(feature = "tower")]
pub mod service;
mod shadow;
mod shed;
#[cfg(feature = "sim")]
pub mod sim;
mod stripes;
mod ticket;
mod transition;

pub use breaker::{Applied, Breaker, InvalidBaseline, Permit, PolicyError, Setup, Snapshot};
pub use evidence::{Evidence, Verdict};
pub use machine::PhaseKind;
pub use outcome::{Outcome, Priority, Rejection};
pub use policy::{InvalidPolicy, LimitPolicy, Mode, Policy};
pub use shadow::ShadowReport;
pub use transition::{Cause, State, Transition};
