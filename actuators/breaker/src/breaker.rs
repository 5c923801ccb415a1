//! The handle that many callers share: a machine behind a lock, the mode over it, and a gate without lock while closed.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::machine::{Event, Grant, Machine, Outcome, Phase, PhaseKind, Rejection, Verdict};
use crate::{Counts, InvalidPolicy, Mode, Policy, TripReason};

/// The state as seen from outside: the mode where it decides, the phase otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are the six states of the README")]
pub enum State {
    Closed,
    Open,
    HalfOpen,
    Disabled,
    ForcedOpen,
    MetricsOnly,
}

impl State {
    /// Every state, for metrics that export one series each.
    pub const ALL: [State; 6] =
        [State::Closed, State::Open, State::HalfOpen, State::Disabled, State::ForcedOpen, State::MetricsOnly];

    /// The name used on the wire and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            State::Closed => "CLOSED",
            State::Open => "OPEN",
            State::HalfOpen => "HALF_OPEN",
            State::Disabled => "DISABLED",
            State::ForcedOpen => "FORCED_OPEN",
            State::MetricsOnly => "METRICS_ONLY",
        }
    }
}

/// What a breaker looks like at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// The state as seen from outside.
    pub state: State,
    /// The phase underneath: in metrics-only mode, what the state would be.
    pub phase: PhaseKind,
    /// Results in the window (empty unless closed).
    pub counts: Counts,
    /// What is left of an open phase's wait.
    pub retry_after: Option<Duration>,
    /// Probes in flight.
    pub probes_in_flight: u32,
    /// How often the breaker opened, or would have.
    pub opened_total: u64,
    /// Why it opened last.
    pub last_trip: Option<TripReason>,
    /// Calls rejected.
    pub rejected_total: u64,
    /// Calls admitted in metrics-only mode that would have been rejected.
    pub would_reject_total: u64,
    /// Generation of the policy in force; 0 is the one it was made with.
    pub generation: u64,
}

/// Why a policy was not adopted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A newer policy is in force.
    #[error("policy of generation {offered} is older than {current}")]
    Stale {
        /// The generation offered.
        offered: u64,
        /// The generation in force.
        current: u64,
    },
    /// A field breaks its rule.
    #[error(transparent)]
    Invalid(#[from] InvalidPolicy),
}

/// Whether `set_policy` changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// The policy is in force now.
    Changed,
    /// This generation was already in force; nothing was done.
    Already,
}

#[derive(Debug)]
struct Inner {
    machine: Machine,
    generation: u64,
    rejected_total: u64,
    would_reject_total: u64,
}

/// A circuit breaker for one edge, shared by reference or by `Arc`.
#[derive(Debug)]
pub struct Breaker {
    /// `epoch << 2 | code`: what a caller may know without the lock.
    gate: AtomicU64,
    inner: Mutex<Inner>,
}

/// Gate codes: admit and count; admit and forget; take the lock and ask.
const GATE_ADMIT: u64 = 0;
const GATE_PASS: u64 = 1;
const GATE_ASK: u64 = 2;

impl Breaker {
    /// A closed breaker, with the same jitter in every process: give a seed where there are several.
    pub fn new(policy: Policy) -> Result<Self, InvalidPolicy> {
        Self::with_seed(policy, 0)
    }

    /// A closed breaker whose waits are jittered by `seed`.
    pub fn with_seed(policy: Policy, seed: u64) -> Result<Self, InvalidPolicy> {
        policy.validate()?;
        let machine = Machine::new(policy, seed, Duration::ZERO);
        let inner = Inner { machine, generation: 0, rejected_total: 0, would_reject_total: 0 };
        let gate = AtomicU64::new(inner.gate());
        Ok(Self { gate, inner: Mutex::new(inner) })
    }

    /// Asks to call. The permit gives itself back if it is dropped without a result.
    pub fn try_acquire(&self, now: Duration) -> Result<Permit<&Self>, Rejection> {
        let grant = self.admit(now)?;
        Ok(Permit { breaker: self, grant })
    }

    /// As [`Breaker::try_acquire`], with a permit that can be kept in a future.
    pub fn try_acquire_owned(self: &Arc<Self>, now: Duration) -> Result<Permit<Arc<Self>>, Rejection> {
        let grant = self.admit(now)?;
        Ok(Permit { breaker: Arc::clone(self), grant })
    }

    /// Records the result of an admitted call.
    pub fn record(&self, permit: Permit<&Self>, now: Duration, outcome: Outcome, latency: Duration) {
        permit.record(now, outcome, latency);
    }

    /// Why a call made now would be rejected, without asking for a permit.
    pub fn rejects(&self, now: Duration) -> Option<Rejection> {
        if self.gate.load(Ordering::Acquire) & 3 != GATE_ASK {
            return None;
        }
        let inner = self.lock();
        match inner.machine.policy().mode {
            Mode::Enforce => inner.machine.peek(now),
            Mode::ForcedOpen => Some(Rejection::ForcedOpen),
            Mode::MetricsOnly | Mode::Disabled => None,
        }
    }

    /// Adopts a policy unless it is invalid or a newer one is in force.
    pub fn set_policy(&self, policy: Policy, generation: u64, now: Duration) -> Result<Applied, PolicyError> {
        policy.validate()?;
        let mut inner = self.lock();
        if generation < inner.generation {
            return Err(PolicyError::Stale { offered: generation, current: inner.generation });
        }
        if generation == inner.generation {
            return Ok(Applied::Already);
        }
        inner.generation = generation;
        inner.adopt(policy, now);
        self.gate.store(inner.gate(), Ordering::Release);
        Ok(Applied::Changed)
    }

    /// The policy in force and its generation.
    pub fn policy(&self) -> (Policy, u64) {
        let inner = self.lock();
        (inner.machine.policy().clone(), inner.generation)
    }

    /// What there is to see at `now`.
    pub fn snapshot(&self, now: Duration) -> Snapshot {
        let mut inner = self.lock();
        let counts = inner.machine.counts(now);
        let machine = &inner.machine;
        let phase = machine.phase();
        let (opened_total, last_trip) = machine.openings();
        Snapshot {
            state: state(machine.policy().mode, phase),
            phase: phase.kind(),
            counts,
            retry_after: match phase {
                Phase::Open { until } => Some(until.saturating_sub(now)),
                Phase::Closed | Phase::HalfOpen => None,
            },
            probes_in_flight: machine.probes_in_flight(),
            opened_total,
            last_trip,
            rejected_total: inner.rejected_total,
            would_reject_total: inner.would_reject_total,
            generation: inner.generation,
        }
    }

    /// `None`: admitted, but its result is not to be counted.
    fn admit(&self, now: Duration) -> Result<Option<Grant>, Rejection> {
        let gate = self.gate.load(Ordering::Acquire);
        match gate & 3 {
            GATE_ADMIT => return Ok(Some(Grant { epoch: gate >> 2, lease: 0 })),
            GATE_PASS => return Ok(None),
            _ => {}
        }
        let mut inner = self.lock();
        let verdict = inner.acquire(now);
        self.gate.store(inner.gate(), Ordering::Release);
        verdict
    }

    fn settle(&self, now: Duration, event: Event) {
        let mut inner = self.lock();
        inner.machine.handle(now, event);
        self.gate.store(inner.gate(), Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn acquire(&mut self, now: Duration) -> Result<Option<Grant>, Rejection> {
        let mode = self.machine.policy().mode;
        let rejection = match mode {
            Mode::Disabled => return Ok(None),
            Mode::ForcedOpen => Rejection::ForcedOpen,
            Mode::Enforce | Mode::MetricsOnly => match self.machine.handle(now, Event::Acquire) {
                Verdict::Admitted(grant) => return Ok(Some(grant)),
                Verdict::Rejected(rejection) => rejection,
                Verdict::Noted | Verdict::Ignored => return Ok(None),
            },
        };
        if mode == Mode::MetricsOnly {
            self.would_reject_total += 1;
            return Ok(None);
        }
        self.rejected_total += 1;
        Err(rejection)
    }

    fn adopt(&mut self, policy: Policy, now: Duration) {
        let (before, after) = (self.machine.policy().mode, policy.mode);
        self.machine.set_policy(policy, now);
        match (before, after) {
            _ if before == after => {}
            // The machine ran in both: what it would have done is what it does now.
            (Mode::Enforce | Mode::MetricsOnly, Mode::Enforce | Mode::MetricsOnly) => {}
            // Whoever held it open may not know that all is well: probe first.
            (Mode::ForcedOpen, Mode::Enforce | Mode::MetricsOnly) => self.machine.await_probes(),
            _ => self.machine.reset(),
        }
    }

    fn gate(&self) -> u64 {
        let code = match self.machine.policy().mode {
            Mode::Disabled => GATE_PASS,
            Mode::Enforce | Mode::MetricsOnly if self.machine.phase() == Phase::Closed => GATE_ADMIT,
            _ => GATE_ASK,
        };
        self.machine.epoch() << 2 | code
    }
}

fn state(mode: Mode, phase: Phase) -> State {
    match (mode, phase) {
        (Mode::MetricsOnly, _) => State::MetricsOnly,
        (Mode::Disabled, _) => State::Disabled,
        (Mode::ForcedOpen, _) => State::ForcedOpen,
        (Mode::Enforce, Phase::Closed) => State::Closed,
        (Mode::Enforce, Phase::Open { .. }) => State::Open,
        (Mode::Enforce, Phase::HalfOpen) => State::HalfOpen,
    }
}

/// Leave for one call. Record its result; dropping it without one gives it back.
#[derive(Debug)]
#[must_use = "a permit that is dropped at once admits nothing"]
pub struct Permit<B: Deref<Target = Breaker>> {
    breaker: B,
    grant: Option<Grant>,
}

impl<B: Deref<Target = Breaker>> Permit<B> {
    /// Whether this call is one of the probes of a half-open phase.
    pub fn is_probe(&self) -> bool {
        self.grant.as_ref().is_some_and(|grant| grant.lease != 0)
    }

    /// Records how the call ended and how long it took.
    pub fn record(mut self, now: Duration, outcome: Outcome, latency: Duration) {
        if let Some(grant) = self.grant.take() {
            self.breaker.settle(now, Event::Record { grant, outcome, latency });
        }
    }
}

impl<B: Deref<Target = Breaker>> Drop for Permit<B> {
    fn drop(&mut self) {
        if let Some(grant) = self.grant.take().filter(|grant| grant.lease != 0) {
            // The machine keeps its own latest time; giving back needs none.
            self.breaker.settle(Duration::ZERO, Event::Cancel { grant });
        }
    }
}
