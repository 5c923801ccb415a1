//! Monitor in-process, between real HTTP targets and a scripted Knowledge and Analyze.

#![expect(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod analyze;
mod cadence;
mod knowledge;
mod sending;
mod setup;
mod target;
mod targets;
