//! Calls and their fates: arrivals, latencies and errors, drawn from a seed.

use std::time::Duration;

use crate::rng::Rng;

/// How one admitted call will end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fate {
    /// Whether it fails.
    pub failed: bool,
    /// When it ends after it began.
    pub latency: Duration,
}

/// How errors come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Errors {
    /// Independent of one another.
    Independent,
    /// A two-state chain whose bursts have this mean length, in calls.
    Bursts(f64),
}

/// A stream of errors with a given ratio.
#[derive(Debug, Clone)]
pub(crate) struct Failing {
    errors: Errors,
    rng: Rng,
    failed: bool,
}

impl Failing {
    pub(crate) fn new(errors: Errors, seed: u64) -> Self {
        Self { errors, rng: Rng::new(seed), failed: false }
    }

    pub(crate) fn next(&mut self, ratio: f64) -> bool {
        let chance = match self.errors {
            Errors::Independent => ratio,
            Errors::Bursts(mean) => {
                let stay = 1.0 - 1.0 / mean;
                if ratio >= 1.0 {
                    1.0
                } else if self.failed {
                    stay
                } else {
                    ratio * (1.0 - stay) / (1.0 - ratio)
                }
            }
        };
        self.failed = self.rng.unit() < chance;
        self.failed
    }
}

/// Exponential with mean 1.
pub(crate) fn exponential(rng: &mut Rng) -> f64 {
    -(1.0 - rng.unit()).ln()
}

/// Standard normal (Box-Muller).
pub(crate) fn normal(rng: &mut Rng) -> f64 {
    (-2.0 * (1.0 - rng.unit()).ln()).sqrt() * (std::f64::consts::TAU * rng.unit()).cos()
}
