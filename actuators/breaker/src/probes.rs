//! The permits of a half-open phase: leased, counted, and given back by result, by cancellation or by time. Stages of 1, 2,
//! 4, … probes follow one another, so that a callee that has just come back meets its load step by step.

use std::time::Duration;

use crate::policy::HALF_OPEN_PERMITS_MAX;

/// Probes given up, per permit of the stage, that count as a failed stage: callers who keep giving up are a sign too, and
/// a phase must end.
const CANCELS_PER_PERMIT: u32 = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Lease {
    id: u64,
    expires: Duration,
}

/// What the probes of a stage have shown so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StageVerdict {
    Wait,
    Passed,
    Reopen,
}

/// Leases in flight and results so far. Together they never exceed the stage.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Probes {
    leases: Vec<Lease>,
    stage: u32,
    good: u32,
    bad: u32,
    cancelled: u32,
}

impl Probes {
    /// Room for every lease is taken once, so that no call allocates.
    pub(crate) fn new() -> Self {
        let leases = Vec::with_capacity(HALF_OPEN_PERMITS_MAX as usize);
        Self { leases, stage: 1, good: 0, bad: 0, cancelled: 0 }
    }

    pub(crate) fn reset(&mut self) {
        self.begin(1);
        self.leases.clear();
    }

    fn begin(&mut self, stage: u32) {
        (self.stage, self.good, self.bad, self.cancelled) = (stage, 0, 0, 0);
    }

    /// The next stage, twice as large; false after the last.
    pub(crate) fn next_stage(&mut self, largest: u32) -> bool {
        let more = self.stage < largest;
        self.begin((self.stage * 2).min(largest));
        more
    }

    pub(crate) fn stage(&self) -> u32 {
        self.stage
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.leases.len() as u32
    }

    pub(crate) fn has_room(&self) -> bool {
        self.in_flight() + self.good + self.bad < self.stage
    }

    /// Leases a permit if there is room.
    pub(crate) fn lease(&mut self, id: u64, expires: Duration) -> bool {
        let room = self.has_room();
        if room {
            self.leases.push(Lease { id, expires });
        }
        room
    }

    /// Notes a result; false if that lease is no longer known.
    pub(crate) fn settle(&mut self, id: u64, good: bool) -> bool {
        let known = self.release(id);
        self.good += u32::from(known && good);
        self.bad += u32::from(known && !good);
        known
    }

    /// Takes back the permit of a probe without a result; false if that lease is no longer known.
    pub(crate) fn give_back(&mut self, id: u64) -> bool {
        let known = self.release(id);
        self.cancelled += u32::from(known);
        known
    }

    fn release(&mut self, id: u64) -> bool {
        let found = self.leases.iter().position(|lease| lease.id == id);
        if let Some(index) = found {
            self.leases.remove(index);
        }
        found.is_some()
    }

    /// A probe that did not answer within its lease counts as a bad one.
    pub(crate) fn expire(&mut self, now: Duration) {
        let before = self.leases.len();
        self.leases.retain(|lease| lease.expires > now);
        self.bad += (before - self.leases.len()) as u32;
    }

    /// More bad than good in a stage reopens, as soon as that is certain, and otherwise the next begins: some failures are no
    /// outage. Probes still in flight then count in the next stage.
    pub(crate) fn verdict(&self) -> StageVerdict {
        if self.bad * 2 > self.stage || self.cancelled >= CANCELS_PER_PERMIT * self.stage {
            StageVerdict::Reopen
        } else if self.good * 2 > self.stage || self.good + self.bad == self.stage {
            StageVerdict::Passed
        } else {
            StageVerdict::Wait
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_full_set_of_results_decides() {
        for stage in 1..=32 {
            for bad in 0..=stage {
                let probes = Probes { stage, good: stage - bad, bad, ..Probes::new() };
                assert_ne!(probes.verdict(), StageVerdict::Wait);
            }
        }
    }

    #[test]
    fn stages_double_up_to_the_largest() {
        let mut probes = Probes::new();
        let mut stages = vec![probes.stage()];
        while probes.next_stage(12) {
            stages.push(probes.stage());
        }
        assert_eq!(stages, [1, 2, 4, 8, 12]);
    }

    #[test]
    fn callers_who_keep_giving_up_end_a_stage() {
        let mut probes = Probes::new();
        for id in 1..=4 {
            assert!(probes.lease(id, Duration::from_secs(1)) && probes.give_back(id));
        }
        assert_eq!(probes.verdict(), StageVerdict::Reopen);
    }
}
