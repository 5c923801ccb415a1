//! The permits of a half-open phase: leased, counted, and given back by result, by cancellation or by time.

use std::time::Duration;

use crate::policy::HALF_OPEN_PERMITS_MAX;

#[derive(Debug, Clone, Copy)]
struct Lease {
    id: u64,
    expires: Duration,
}

/// Leases in flight and results so far. Never holds more than the permits together.
#[derive(Debug, Clone)]
pub(crate) struct Probes {
    leases: Vec<Lease>,
    pub(crate) good: u32,
    pub(crate) bad: u32,
}

impl Probes {
    /// Room for every lease is taken once, so that no call allocates.
    pub(crate) fn new() -> Self {
        Self { leases: Vec::with_capacity(HALF_OPEN_PERMITS_MAX as usize), good: 0, bad: 0 }
    }

    pub(crate) fn reset(&mut self) {
        self.leases.clear();
        self.good = 0;
        self.bad = 0;
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.leases.len() as u32
    }

    /// Leases a permit unless leases and results together have used up `permits`.
    pub(crate) fn lease(&mut self, id: u64, permits: u32, expires: Duration) -> bool {
        let room = self.in_flight() + self.good + self.bad < permits;
        if room {
            self.leases.push(Lease { id, expires });
        }
        room
    }

    /// Gives a permit back; false if that lease is no longer known.
    pub(crate) fn release(&mut self, id: u64) -> bool {
        let found = self.leases.iter().position(|lease| lease.id == id);
        if let Some(index) = found {
            self.leases.swap_remove(index);
        }
        found.is_some()
    }

    /// A probe that did not answer within its lease counts as a bad one.
    pub(crate) fn expire(&mut self, now: Duration) {
        let before = self.leases.len();
        self.leases.retain(|lease| lease.expires > now);
        self.bad += (before - self.leases.len()) as u32;
    }
}
