//! Signals seen together: hosts with many metrics, correlations that change, and findings that belong together.

pub mod change;
pub mod group;
pub mod host;

mod factors;
mod maxima;
mod metric;
mod saved;
mod tail;
mod view;

#[cfg(test)]
pub(crate) mod generate;

pub use change::{Baseline, Change, ChangeSettings, Pair};
pub use group::{Found, Graph, Group, group};
pub use host::{Blame, Host, HostJudgement, HostSettings};
