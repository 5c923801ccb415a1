//! The breakers of this process's outgoing edges, as a handle that an actuator can drive.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use breaker::{Applied, Breaker, Mode, Policy, PolicyError, Setup, Snapshot};

/// One breaker per outgoing edge, by the edge's name: `catalog->inventory`.
#[derive(Debug, Clone, Default)]
pub struct EdgeBreakers {
    edges: BTreeMap<String, Arc<Breaker>>,
}

/// Why an edge's policy was not adopted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EdgeError {
    /// This process has no such edge.
    #[error("no edge {0:?} leaves this process")]
    Unknown(String),
    /// Its breaker refused.
    #[error(transparent)]
    Refused(#[from] PolicyError),
}

/// Watching only, until somebody says otherwise.
pub fn default_policy() -> Policy {
    Policy { mode: Mode::MetricsOnly, ..Policy::default() }
}

impl EdgeBreakers {
    /// One breaker in metrics-only mode for each named edge.
    pub fn new(edges: impl IntoIterator<Item = String>, setup: Setup) -> Self {
        let breaker = || Breaker::with(default_policy(), setup).expect("the default policy is valid");
        Self { edges: edges.into_iter().map(|edge| (edge, Arc::new(breaker()))).collect() }
    }

    /// The edges of this process.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.edges.keys().map(String::as_str)
    }

    /// The breaker of one edge.
    pub fn get(&self, edge: &str) -> Option<&Arc<Breaker>> {
        self.edges.get(edge)
    }

    /// Hands a policy to an edge's breaker. `now` is the process's monotonic clock, the one its calls are timed with.
    pub fn set_policy(
        &self,
        edge: &str,
        policy: Policy,
        generation: u64,
        now: Duration,
    ) -> Result<Applied, EdgeError> {
        let breaker = self.get(edge).ok_or_else(|| EdgeError::Unknown(edge.to_owned()))?;
        Ok(breaker.set_policy(policy, generation, now)?)
    }

    /// What an edge's breaker looks like.
    pub fn snapshot(&self, edge: &str, now: Duration) -> Option<Snapshot> {
        self.get(edge).map(|breaker| breaker.snapshot(now))
    }
}
