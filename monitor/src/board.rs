//! How each target fares, for people: the last answer, the last error, and everything dropped so far.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::tally::Tally;
use crate::target::{Target, TargetId};

/// Whether a target answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// Not scraped yet.
    Pending,
    /// The last scrape worked.
    Up,
    /// The last scrape failed.
    Down,
}

/// One target's state.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetStatus {
    /// Which target.
    pub target: Target,
    /// Whether it answers.
    pub health: Health,
    /// Why not; empty when it does.
    pub last_error: String,
    /// When it last did.
    pub last_success: Option<Timestamp>,
    /// How long the last scrape took.
    pub last_duration: Duration,
    /// Series that are remembered of it.
    pub series: usize,
    /// What was dropped of it, by reason.
    pub drops: Tally,
}

impl TargetStatus {
    /// Not scraped yet.
    #[must_use]
    pub fn pending(target: Target) -> Self {
        Self {
            target,
            health: Health::Pending,
            last_error: String::new(),
            last_success: None,
            last_duration: Duration::ZERO,
            series: 0,
            drops: Tally::default(),
        }
    }
}

/// The state of all targets; written by the loop, read by whoever asks.
#[derive(Debug, Default)]
pub struct Board {
    targets: Mutex<BTreeMap<TargetId, TargetStatus>>,
}

impl Board {
    /// Puts up a target's state.
    pub fn set(&self, status: &TargetStatus) {
        self.lock().insert(status.target.id.clone(), status.clone());
    }

    /// Takes a target down that is no longer scraped.
    pub fn remove(&self, id: &TargetId) {
        self.lock().remove(id);
    }

    /// All states, ordered by target.
    #[must_use]
    pub fn list(&self) -> Vec<TargetStatus> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TargetId, TargetStatus>> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
