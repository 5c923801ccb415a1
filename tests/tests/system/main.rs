//! The whole product through its own binary: real processes, real Postgres, real gRPC, real HTTP services under real load.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod budget;
#[expect(
    clippy::disallowed_methods,
    reason = "a scenario's load runs beside it, in the time that its processes live in"
)]
mod chaos;
mod demo;
mod earned;
mod five;
mod kills;
mod looping;
mod metrics_gone;
mod python;
mod reflection;
mod review;
mod staging;
mod worked_set;
