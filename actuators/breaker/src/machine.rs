//! The state machine of one breaker: events and `now` in, verdicts out. It counts in whole numbers only, judges nothing but
//! probes, and knows nothing of modes, locks or clocks, so that all of its states can be searched.

use std::time::Duration;

use crate::outcome::Rejection;
use crate::probes::{Probes, StageVerdict};
use crate::rng::Rng;

/// Doublings of the wait: 2^16 of the shortest wait (1 ms) already passes a minute, and the sum cannot overflow.
const DOUBLINGS_MAX: u32 = 16;

/// What the machine needs to know of the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Timing {
    /// The first wait.
    pub open_wait: Duration,
    /// The longest wait.
    pub open_wait_max: Duration,
    /// Jitter in parts of 2^16 of the wait.
    pub jitter: u16,
    /// The largest stage of probes; at least 1.
    pub permits: u32,
    /// How long a probe may take.
    pub permit_ttl: Duration,
}

/// What happens to a breaker.
#[derive(Debug)]
pub enum Event {
    /// A caller asks to call.
    Acquire,
    /// A probe ended; `good` if it speaks for the callee.
    Probed {
        /// What admitted it.
        grant: Grant,
        /// Whether the callee did its work.
        good: bool,
    },
    /// A probe was given up before it had a result.
    Cancel {
        /// What admitted it.
        grant: Grant,
    },
    /// The evidence says that hardly a call succeeds.
    Trip,
}

/// What the machine answers.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// The call may go ahead.
    Admitted(Grant),
    /// The call must not be made.
    Rejected(Rejection),
    /// It was counted.
    Noted,
    /// It belongs to an earlier phase.
    Late,
}

/// Admission of one call: of which phase, and which probe's lease it holds (0: none).
#[derive(Debug, PartialEq, Eq, Hash, Clone)]
pub struct Grant {
    pub(crate) epoch: u64,
    pub(crate) lease: u64,
}

/// Where the machine stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Calls flow and are judged.
    Closed,
    /// Calls are refused until the given time.
    Open {
        /// When probing may begin.
        until: Duration,
    },
    /// A few probes decide, stage by stage.
    HalfOpen,
}

/// A phase without its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PhaseKind {
    /// See [`Phase::Closed`].
    Closed,
    /// See [`Phase::Open`].
    Open,
    /// See [`Phase::HalfOpen`].
    HalfOpen,
}

/// One breaker's state. `handle` is the only way in which calls change it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Machine {
    timing: Timing,
    phase: Phase,
    /// Counts phases; results of an earlier one are ignored.
    epoch: u64,
    probes: Probes,
    leases_given: u64,
    /// Openings without a healthy time in between.
    streak: u32,
    closed_since: Duration,
    rng: Rng,
    /// The latest time seen: callers race, time does not run back.
    now: Duration,
}

impl Machine {
    /// A closed machine; `seed` fixes the jitter of its waits.
    pub fn new(timing: Timing, seed: u64, now: Duration) -> Self {
        Self {
            timing,
            phase: Phase::Closed,
            epoch: 1,
            probes: Probes::new(),
            leases_given: 0,
            streak: 0,
            closed_since: now,
            rng: Rng::new(seed),
            now,
        }
    }

    /// Takes one event at `now`.
    pub fn handle(&mut self, now: Duration, event: Event) -> Answer {
        self.now = self.now.max(now);
        match event {
            Event::Acquire => self.acquire(),
            Event::Probed { grant, good } => self.probed(&grant, good),
            Event::Cancel { grant } => self.cancel(&grant),
            Event::Trip if self.phase == Phase::Closed => {
                // Healthy for as long as the longest wait: an earlier opening has nothing to do with this one.
                if self.now >= self.closed_since + self.timing.open_wait_max {
                    self.streak = 0;
                }
                self.open();
                Answer::Noted
            }
            Event::Trip => Answer::Late,
        }
    }

    /// What `Acquire` would say, without taking a permit.
    pub fn peek(&self, now: Duration) -> Option<Rejection> {
        match self.phase {
            Phase::Open { until } if now < until => Some(Rejection::Open { retry_after: until - now }),
            Phase::HalfOpen => {
                let mut probes = self.probes.clone();
                probes.expire(now);
                (!probes.has_room()).then_some(Rejection::ProbesTaken)
            }
            _ => None,
        }
    }

    fn acquire(&mut self) -> Answer {
        if self.phase == Phase::HalfOpen {
            self.probes.expire(self.now);
            self.judge_probes();
        }
        if let Phase::Open { until } = self.phase {
            if self.now < until {
                return Answer::Rejected(Rejection::Open { retry_after: until - self.now });
            }
            self.enter(Phase::HalfOpen);
        }
        if self.phase == Phase::Closed {
            return Answer::Admitted(Grant { epoch: self.epoch, lease: 0 });
        }
        let lease = self.leases_given + 1;
        if self.probes.lease(lease, self.now + self.timing.permit_ttl) {
            self.leases_given = lease;
            Answer::Admitted(Grant { epoch: self.epoch, lease })
        } else {
            Answer::Rejected(Rejection::ProbesTaken)
        }
    }

    fn probed(&mut self, grant: &Grant, good: bool) -> Answer {
        if grant.epoch != self.epoch || self.phase != Phase::HalfOpen {
            return Answer::Late;
        }
        // A lease whose time was over before this result came has failed already, whoever looks first.
        self.probes.expire(self.now);
        let known = self.probes.settle(grant.lease, good);
        self.judge_probes();
        if known { Answer::Noted } else { Answer::Late }
    }

    fn cancel(&mut self, grant: &Grant) -> Answer {
        let known = grant.epoch == self.epoch && self.probes.give_back(grant.lease);
        if known {
            self.judge_probes();
        }
        if known { Answer::Noted } else { Answer::Late }
    }

    fn judge_probes(&mut self) {
        match self.probes.verdict() {
            StageVerdict::Wait => {}
            StageVerdict::Reopen => self.open(),
            StageVerdict::Passed => match self.probes.next_stage(self.timing.permits) {
                true => {}
                false => self.enter(Phase::Closed),
            },
        }
    }

    fn open(&mut self) {
        let wait = self.next_wait();
        self.streak += 1;
        self.enter(Phase::Open { until: self.now + wait });
    }

    fn enter(&mut self, phase: Phase) {
        self.epoch += 1;
        self.phase = phase;
        self.probes.reset();
        if phase == Phase::Closed {
            self.closed_since = self.now;
        }
    }

    /// Doubles with each opening of the streak, up to the maximum; jitter only shortens it.
    fn next_wait(&mut self) -> Duration {
        let doubled = self.timing.open_wait.saturating_mul(1 << self.streak.min(DOUBLINGS_MAX));
        let wait = doubled.min(self.timing.open_wait_max);
        if self.timing.jitter == 0 {
            return wait;
        }
        wait.mul_f64(1.0 - f64::from(self.timing.jitter) / 65_536.0 * self.rng.unit())
    }

    /// Adopts other timing; the phase stays, a wait is cut to the new maximum.
    pub fn set_timing(&mut self, timing: Timing) {
        if let Phase::Open { until } = &mut self.phase {
            *until = (*until).min(self.now + timing.open_wait_max);
        }
        self.timing = timing;
    }

    /// Forgets everything and closes; results of calls in flight will be ignored.
    pub fn reset(&mut self) {
        self.streak = 0;
        self.enter(Phase::Closed);
    }

    /// Ends whatever is: the next call begins a half-open phase.
    pub fn await_probes(&mut self) {
        self.enter(Phase::Open { until: self.now });
    }

    /// Puts off probing, as when others probe for all. Nothing but an open phase heeds it, and the longest wait bounds it.
    pub fn hold_probes(&mut self, now: Duration, until: Duration) {
        self.now = self.now.max(now);
        if let Phase::Open { until: due } = &mut self.phase {
            *due = (*due).max(until.min(self.now + self.timing.open_wait_max));
        }
    }

    /// Lets probing begin now.
    pub fn invite_probes(&mut self, now: Duration) {
        self.now = self.now.max(now);
        if let Phase::Open { until } = &mut self.phase {
            *until = (*until).min(self.now);
        }
    }

    /// Where it stands.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Number of the current phase.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Probes in flight.
    pub fn probes_in_flight(&self) -> u32 {
        self.probes.in_flight()
    }

    /// How many probes the stage admits.
    pub fn stage(&self) -> u32 {
        self.probes.stage()
    }

    /// Openings without a healthy time in between.
    pub fn streak(&self) -> u32 {
        self.streak
    }
}

impl Phase {
    /// The phase without its data.
    pub fn kind(self) -> PhaseKind {
        match self {
            Phase::Closed => PhaseKind::Closed,
            Phase::Open { .. } => PhaseKind::Open,
            Phase::HalfOpen => PhaseKind::HalfOpen,
        }
    }
}
