//! The state machine of one breaker: events and `now` in, verdicts out. It knows nothing of modes, locks or clocks.

use std::time::Duration;

use crate::probes::Probes;
use crate::trip::{self, ProbeVerdict};
use crate::window::Window;
use crate::{Counts, Policy, TripReason};

/// Doublings of the wait: 2^16 of the shortest wait (1 ms) already passes a minute, and the sum cannot overflow.
const DOUBLINGS_MAX: u32 = 16;

/// How a call ended, as the caller judges it. Slowness is judged from the latency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The callee did its work.
    Success,
    /// The callee is to blame.
    Failure,
    /// Says nothing about the callee (the caller's own mistake, for instance).
    Ignored,
}

/// What happens to a breaker.
#[derive(Debug)]
pub enum Event {
    /// A caller asks to call.
    Acquire,
    /// An admitted call ended.
    Record {
        /// What admitted it.
        grant: Grant,
        /// How it ended.
        outcome: Outcome,
        /// How long it took.
        latency: Duration,
    },
    /// An admitted call was given up before it had a result.
    Cancel {
        /// What admitted it.
        grant: Grant,
    },
}

/// What the machine answers.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The call may go ahead.
    Admitted(Grant),
    /// The call must not be made.
    Rejected(Rejection),
    /// The result was counted, or the permit taken back.
    Noted,
    /// The result belongs to an earlier phase, or says nothing.
    Ignored,
}

/// Admission of one call: of which epoch, and which probe's lease it holds (0: none).
#[derive(Debug, PartialEq, Eq)]
pub struct Grant {
    pub(crate) epoch: u64,
    pub(crate) lease: u64,
}

/// Why a call was not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// Open: nothing is admitted before the wait is over.
    #[error("circuit is open for another {retry_after:?}")]
    Open {
        /// What is left of the wait.
        retry_after: Duration,
    },
    /// Half-open, and every permit is taken.
    #[error("circuit is half-open and all probes are taken")]
    ProbesTaken,
    /// Somebody holds it open.
    #[error("circuit is forced open")]
    ForcedOpen,
}

/// Where the machine stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Calls flow and are judged.
    Closed,
    /// Calls are refused until the given time.
    Open {
        /// When probing may begin.
        until: Duration,
    },
    /// A few probes decide.
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
#[derive(Debug, Clone)]
pub struct Machine {
    policy: Policy,
    phase: Phase,
    /// Counts phases; results of an earlier one are ignored.
    epoch: u64,
    window: Window,
    probes: Probes,
    leases_given: u64,
    /// Openings without a healthy window in between.
    streak: u32,
    closed_since: Duration,
    opened_total: u64,
    last_trip: Option<TripReason>,
    jitter: u64,
    /// The latest time seen: callers race, time does not run back.
    now: Duration,
}

impl Machine {
    /// A closed machine. `policy` must be valid; `seed` fixes the jitter of its waits.
    pub fn new(policy: Policy, seed: u64, now: Duration) -> Self {
        let window = Window::new(policy.window, now);
        Self {
            policy,
            phase: Phase::Closed,
            epoch: 1,
            window,
            probes: Probes::new(),
            leases_given: 0,
            streak: 0,
            closed_since: now,
            opened_total: 0,
            last_trip: None,
            jitter: seed,
            now,
        }
    }

    /// Takes one event at `now`.
    pub fn handle(&mut self, now: Duration, event: Event) -> Verdict {
        self.now = self.now.max(now);
        match event {
            Event::Acquire => self.acquire(),
            Event::Record { grant, outcome, latency } => self.record(&grant, outcome, latency),
            Event::Cancel { grant } => self.cancel(&grant),
        }
    }

    /// What `Acquire` would say, without taking a permit.
    pub fn peek(&self, now: Duration) -> Option<Rejection> {
        match self.phase {
            Phase::Open { until } if now < until => Some(Rejection::Open { retry_after: until - now }),
            Phase::HalfOpen => {
                let mut probes = self.probes.clone();
                probes.expire(now);
                (!probes.lease(0, self.policy.half_open_permits, now)).then_some(Rejection::ProbesTaken)
            }
            _ => None,
        }
    }

    fn acquire(&mut self) -> Verdict {
        if self.phase == Phase::HalfOpen {
            self.probes.expire(self.now);
            self.judge_probes();
        }
        if let Phase::Open { until } = self.phase {
            if self.now < until {
                return Verdict::Rejected(Rejection::Open { retry_after: until - self.now });
            }
            self.enter(Phase::HalfOpen);
        }
        if self.phase == Phase::Closed {
            return Verdict::Admitted(Grant { epoch: self.epoch, lease: 0 });
        }
        self.leases_given += 1;
        let (lease, expires) = (self.leases_given, self.now + self.policy.permit_ttl);
        if self.probes.lease(lease, self.policy.half_open_permits, expires) {
            Verdict::Admitted(Grant { epoch: self.epoch, lease })
        } else {
            Verdict::Rejected(Rejection::ProbesTaken)
        }
    }

    fn record(&mut self, grant: &Grant, outcome: Outcome, latency: Duration) -> Verdict {
        if grant.epoch != self.epoch {
            return Verdict::Ignored;
        }
        if outcome == Outcome::Ignored {
            return self.cancel(grant);
        }
        let failed = outcome == Outcome::Failure;
        let slow = latency >= self.policy.slow_call_duration;
        match self.phase {
            Phase::Closed => {
                self.window.record(self.now, failed, slow);
                self.judge_window();
                Verdict::Noted
            }
            Phase::HalfOpen if self.probes.release(grant.lease) => {
                self.probes.good += u32::from(!failed && !slow);
                self.probes.bad += u32::from(failed || slow);
                self.judge_probes();
                Verdict::Noted
            }
            Phase::HalfOpen | Phase::Open { .. } => Verdict::Ignored,
        }
    }

    fn cancel(&mut self, grant: &Grant) -> Verdict {
        let known = grant.epoch == self.epoch && self.probes.release(grant.lease);
        if known { Verdict::Noted } else { Verdict::Ignored }
    }

    fn judge_window(&mut self) {
        let counts = self.window.counts(self.now);
        if let Some(reason) = trip::verdict(&self.policy, &counts) {
            if self.now >= self.closed_since + self.policy.window {
                self.streak = 0;
            }
            self.open(reason);
        }
    }

    fn judge_probes(&mut self) {
        match trip::probe_verdict(&self.policy, self.probes.good, self.probes.bad) {
            ProbeVerdict::Wait => {}
            ProbeVerdict::Close => self.enter(Phase::Closed),
            ProbeVerdict::Reopen => self.open(TripReason::Probes),
        }
    }

    fn open(&mut self, reason: TripReason) {
        let wait = self.next_wait();
        self.streak += 1;
        self.opened_total += 1;
        self.last_trip = Some(reason);
        self.enter(Phase::Open { until: self.now + wait });
    }

    fn enter(&mut self, phase: Phase) {
        self.epoch += 1;
        self.phase = phase;
        self.window.clear();
        self.probes.reset();
        if phase == Phase::Closed {
            self.closed_since = self.now;
        }
    }

    /// Doubles with each opening of the streak, up to the maximum; jitter only shortens it.
    fn next_wait(&mut self) -> Duration {
        let doubled = self.policy.open_wait.saturating_mul(1 << self.streak.min(DOUBLINGS_MAX));
        let unit = (splitmix64(&mut self.jitter) >> 11) as f64 / (1u64 << 53) as f64;
        doubled.min(self.policy.open_wait_max).mul_f64(1.0 - self.policy.open_wait_jitter * unit)
    }

    /// Adopts another valid policy; the phase stays, a wait is cut to the new maximum.
    pub fn set_policy(&mut self, policy: Policy, now: Duration) {
        self.now = self.now.max(now);
        if policy.window != self.policy.window {
            self.window = Window::new(policy.window, self.now);
        }
        if let Phase::Open { until } = &mut self.phase {
            *until = (*until).min(self.now + policy.open_wait_max);
        }
        self.policy = policy;
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

    /// The policy in force.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Where it stands.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Number of the current phase.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Counts of the window.
    pub fn counts(&mut self, now: Duration) -> Counts {
        self.now = self.now.max(now);
        self.window.counts(self.now)
    }

    /// Probes in flight.
    pub fn probes_in_flight(&self) -> u32 {
        self.probes.in_flight()
    }

    /// How often it opened, and why the last time.
    pub fn openings(&self) -> (u64, Option<TripReason>) {
        (self.opened_total, self.last_trip)
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

/// Sebastiano Vigna's SplitMix64: enough for jitter, and needs no dependency.
fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
