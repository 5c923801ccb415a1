//! The handle that many callers share: the core behind a lock, and ways around the lock for what is usual. While closed, a call
//! that is admitted and works costs two atomic reads and one addition; while open, a rejection costs two reads and one.

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::core::Core;
use crate::evidence::{Evidence, Verdict};
use crate::fleet::{Advice, Witness};
use crate::latency::{self, BUCKETS};
use crate::machine::{Phase, PhaseKind};
use crate::outcome::{Outcome, Priority, Rejection};
use crate::shadow::ShadowReport;
use crate::stripes::Stripes;
use crate::ticket::{Fate, Ticket};
use crate::transition::{State, Transition};
use crate::{InvalidPolicy, Mode, Policy};

/// What a breaker looks like at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// The state as seen from outside.
    pub state: State,
    /// The phase underneath: in metrics-only mode, what the state would be.
    pub phase: PhaseKind,
    /// What the evidence amounts to.
    pub verdict: Verdict,
    /// The strongest evidence of failing.
    pub evidence: Evidence,
    /// Since when calls fail or are slow more than they use to.
    pub degraded_since: Option<Duration>,
    /// Share of failures that is normal now.
    pub baseline_ratio: f64,
    /// Whether enough was seen to know what is normal.
    pub baseline_known: bool,
    /// A person's word over the policy's mode, and when it ends.
    pub told: Option<(Mode, Duration)>,
    /// From which latency a call is slow, as learned.
    pub slow_from: Option<Duration>,
    /// Calls per second, over the last minutes.
    pub rate_per_second: f64,
    /// Share of the calls that shedding admits; 1 while nothing is shed.
    pub admitted_share: f64,
    /// The learned concurrency limit, if one is wanted.
    pub concurrency_limit: Option<f64>,
    /// What is left of an open phase's wait.
    pub retry_after: Option<Duration>,
    /// Probes in flight.
    pub probes_in_flight: u32,
    /// Probes that the present stage admits.
    pub probe_stage: u32,
    /// How often the breaker opened, or would have.
    pub opened_total: u64,
    /// What the last opening by evidence rested on.
    pub last_trip: Option<Evidence>,
    /// Results recorded while calls were counted, by outcome, in the order of [`Outcome::NAMES`].
    pub results: [u64; Outcome::NAMES.len()],
    /// Calls rejected, by reason, in the order of [`Rejection::REASONS`].
    pub rejected: [u64; Rejection::REASONS.len()],
    /// Calls rejected.
    pub rejected_total: u64,
    /// Calls admitted in metrics-only mode that would have been rejected.
    pub would_reject_total: u64,
    /// Results that came after the phase in which their calls were admitted.
    pub late_total: u64,
    /// Number of the last transition.
    pub transitions_total: u64,
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

/// Numbers that are not a baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("these numbers are no exported baseline")]
pub struct InvalidBaseline;

/// What a breaker is made with beside its policy.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Setup {
    /// Varies the jitter; give each instance its own.
    pub seed: u64,
    /// Seconds since 1970 when the clock that `now` comes from read zero: the baseline goes by the hour of the week.
    pub unix_at_zero: f64,
}

type Listener = Box<dyn Fn(&Transition) + Send + Sync>;

/// A circuit breaker for one edge, shared by reference or by `Arc`.
pub struct Breaker {
    /// `epoch << 2 | code`: what a caller may know without the lock.
    gate: AtomicU64,
    /// While open, until when; in nanoseconds.
    open_until: AtomicU64,
    /// Calls that took as long as this are for the core; in nanoseconds.
    slow_from: AtomicU64,
    /// Calls that began before this say nothing about the suspicion there is; in nanoseconds.
    suspect_since: AtomicU64,
    /// When somebody is to look at the time; in nanoseconds.
    look_at: AtomicU64,
    /// Latencies are sampled when the count has none of these bits.
    sample_mask: AtomicU64,
    stripes: Stripes,
    samples: [AtomicU32; BUCKETS],
    inner: Mutex<Inner>,
    listener: Option<Listener>,
}

#[derive(Debug)]
struct Inner {
    core: Core,
    /// How much of the stripes' sum the core has heard of.
    worked: u64,
    before: u64,
}

/// Gate codes: admit and count; admit and forget; rejected until `open_until`; take the lock and ask.
const GATE_ADMIT: u64 = 0;
const GATE_PASS: u64 = 1;
const GATE_OPEN: u64 = 2;
const GATE_ASK: u64 = 3;
const GATE_BITS: u32 = 2;
const GATE_MASK: u64 = (1 << GATE_BITS) - 1;

impl Breaker {
    /// A closed breaker, with the same jitter in every process: give a seed where there are several.
    pub fn new(policy: Policy) -> Result<Self, InvalidPolicy> {
        Self::with(policy, Setup::default())
    }

    /// A closed breaker whose waits are jittered by `seed`.
    pub fn with_seed(policy: Policy, seed: u64) -> Result<Self, InvalidPolicy> {
        Self::with(policy, Setup { seed, ..Setup::default() })
    }

    /// A closed breaker.
    pub fn with(policy: Policy, setup: Setup) -> Result<Self, InvalidPolicy> {
        policy.validate()?;
        let unix = if setup.unix_at_zero.is_finite() { setup.unix_at_zero } else { 0.0 };
        let breaker = Self {
            gate: AtomicU64::new(GATE_ASK),
            open_until: AtomicU64::new(0),
            slow_from: AtomicU64::new(u64::MAX),
            suspect_since: AtomicU64::new(0),
            look_at: AtomicU64::new(0),
            sample_mask: AtomicU64::new(0),
            stripes: Stripes::default(),
            samples: [const { AtomicU32::new(0) }; BUCKETS],
            inner: Mutex::new(Inner { core: Core::new(policy, setup.seed, unix), worked: 0, before: 0 }),
            listener: None,
        };
        breaker.publish(&breaker.lock().core);
        Ok(breaker)
    }

    /// Calls `listener` with each transition, after it, outside of any lock.
    #[must_use]
    pub fn with_listener(mut self, listener: impl Fn(&Transition) + Send + Sync + 'static) -> Self {
        self.listener = Some(Box::new(listener));
        self
    }

    /// Asks to call. The permit gives itself back if it is dropped without a result.
    pub fn try_acquire(&self, now: Duration) -> Result<Permit<&Self>, Rejection> {
        self.try_acquire_as(now, Priority::Normal)
    }

    /// Asks to call, and says how much it matters.
    pub fn try_acquire_as(&self, now: Duration, priority: Priority) -> Result<Permit<&Self>, Rejection> {
        let ticket = self.admit(now, priority)?;
        Ok(Permit { breaker: self, ticket: Some(ticket) })
    }

    /// As [`Breaker::try_acquire`], with a permit that can be kept in a future.
    pub fn try_acquire_owned(self: &Arc<Self>, now: Duration) -> Result<Permit<Arc<Self>>, Rejection> {
        self.try_acquire_owned_as(now, Priority::Normal)
    }

    /// As [`Breaker::try_acquire_as`], with a permit that can be kept in a future.
    pub fn try_acquire_owned_as(
        self: &Arc<Self>,
        now: Duration,
        priority: Priority,
    ) -> Result<Permit<Arc<Self>>, Rejection> {
        let ticket = self.admit(now, priority)?;
        Ok(Permit { breaker: Arc::clone(self), ticket: Some(ticket) })
    }

    /// Records the result of an admitted call.
    pub fn record(&self, permit: Permit<&Self>, now: Duration, outcome: Outcome, latency: Duration) {
        permit.record(now, outcome, latency);
    }

    /// Why a call made now would be rejected whatever its priority, without asking for a permit.
    pub fn rejects(&self, now: Duration) -> Option<Rejection> {
        match self.gate.load(Ordering::Acquire) & GATE_MASK {
            GATE_ADMIT | GATE_PASS => None,
            _ => self.with_core(now, |core| match core.mode() {
                Mode::Enforce => core.machine.peek(now),
                Mode::ForcedOpen => Some(Rejection::ForcedOpen),
                Mode::MetricsOnly | Mode::Disabled => None,
            }),
        }
    }

    /// Adopts a policy unless it is invalid or a newer one is in force.
    pub fn set_policy(&self, policy: Policy, generation: u64, now: Duration) -> Result<Applied, PolicyError> {
        policy.validate()?;
        self.with_core(now, |core| {
            let current = core.generation;
            if generation < current {
                return Err(PolicyError::Stale { offered: generation, current });
            }
            if generation == current {
                return Ok(Applied::Already);
            }
            core.generation = generation;
            core.adopt(policy, now);
            Ok(Applied::Changed)
        })
    }

    /// The policy in force and its generation.
    pub fn policy(&self) -> (Policy, u64) {
        let inner = self.lock();
        (inner.core.policy.clone(), inner.core.generation)
    }

    /// A person's word that stands over the policy's mode until `until`, and then ends by itself.
    pub fn set_override(&self, mode: Mode, until: Duration, now: Duration) {
        self.with_core(now, |core| core.tell(Some((mode, until)), now));
    }

    /// Takes the word back.
    pub fn clear_override(&self, now: Duration) {
        self.with_core(now, |core| core.tell(None, now));
    }

    /// Takes the degradation that is for the new baseline. False if there is none.
    pub fn acknowledge(&self, now: Duration) -> bool {
        self.with_core(now, |core| core.acknowledge(now))
    }

    /// The transitions after `number` that are still kept.
    pub fn transitions(&self, number: u64) -> Vec<Transition> {
        self.lock().core.log.since(number)
    }

    /// What enforcing would have done, while it was not.
    pub fn shadow_report(&self, now: Duration) -> ShadowReport {
        self.with_core(now, |core| core.shadow)
    }

    /// What is normal here, as plain numbers, for an instance that starts anew.
    pub fn export_baseline(&self, now: Duration) -> Vec<f64> {
        self.with_core(now, |core| core.baseline.export())
    }

    /// Begins with what another instance learned; calls are judged by it at once.
    ///
    /// # Errors
    /// When the numbers are no exported baseline; nothing is changed then.
    pub fn import_baseline(&self, numbers: &[f64], now: Duration) -> Result<(), InvalidBaseline> {
        let baseline = crate::baseline::Baseline::import(numbers).ok_or(InvalidBaseline)?;
        self.with_core(now, |core| core.begin_with(baseline, now));
        Ok(())
    }

    /// What this instance can tell the fleet.
    pub fn witness(&self, now: Duration) -> Witness {
        self.with_core(now, |core| Witness {
            score: match core.machine.phase() {
                Phase::Closed => core.failing.outage_score(),
                // It has made up its mind.
                Phase::Open { .. } | Phase::HalfOpen => core.last_trip.map_or(0.0, |trip| trip.threshold),
            },
            threshold: core.failing.evidence().threshold,
            phase: core.machine.phase().kind(),
            answered: core.machine.stage() > 1,
            opened: core.opened_total,
        })
    }

    /// Takes the fleet's advice.
    pub fn advise(&self, advice: Advice, now: Duration) {
        self.with_core(now, |core| match advice {
            Advice::OthersSee { score, until } => core.hear_others(score, until),
            Advice::HoldProbes { until } => core.machine.hold_probes(now, until),
            Advice::Probe => core.machine.invite_probes(now),
        });
    }

    /// What there is to see at `now`.
    pub fn snapshot(&self, now: Duration) -> Snapshot {
        let fast = self.stripes.total_rejected();
        let worked = self.stripes.total_worked() + self.stripes.total_before();
        self.with_core(now, |core| {
            let mut rejected = core.rejected;
            rejected[0] += fast;
            let mut results = core.results;
            results[Outcome::Success.index()] += worked;
            let (phase, verdict) = (core.machine.phase(), core.failing.verdict().max(core.slow.verdict()));
            let is_closed = phase == Phase::Closed;
            Snapshot {
                state: core.state(),
                phase: phase.kind(),
                verdict: if is_closed { verdict } else { Verdict::Outage },
                evidence: core.failing.evidence(),
                degraded_since: core.degraded_since,
                baseline_ratio: core.failing.normal().ratio,
                baseline_known: core.baseline.is_known(),
                told: core.told,
                slow_from: core.learned_slow_limit(),
                rate_per_second: core.rate(),
                admitted_share: core.shed.admitted_share(),
                concurrency_limit: core.limit.as_ref().map(crate::limit::Limiter::limit),
                retry_after: match phase {
                    Phase::Open { until } => Some(until.saturating_sub(now)),
                    Phase::Closed | Phase::HalfOpen => None,
                },
                probes_in_flight: core.machine.probes_in_flight(),
                probe_stage: core.machine.stage(),
                opened_total: core.opened_total,
                last_trip: core.last_trip,
                results,
                rejected,
                rejected_total: rejected.iter().sum(),
                would_reject_total: core.shadow.would_reject,
                late_total: core.late_total,
                transitions_total: core.log.number(),
                generation: core.generation,
            }
        })
    }

    fn admit(&self, now: Duration, priority: Priority) -> Result<Ticket, Rejection> {
        let gate = self.gate.load(Ordering::Acquire);
        let epoch = gate >> GATE_BITS;
        match gate & GATE_MASK {
            GATE_ADMIT => return Ok(Ticket::plain(epoch, priority)),
            GATE_PASS => return Ok(Ticket::fated(Fate::Unseen, priority)),
            GATE_OPEN => {
                let until = Duration::from_nanos(self.open_until.load(Ordering::Acquire));
                if now < until {
                    self.stripes.rejected();
                    return Err(Rejection::Open { retry_after: until - now });
                }
            }
            _ => {}
        }
        self.with_core(now, |core| core.acquire(now, priority))
    }

    fn settle(&self, ticket: &Ticket, now: Duration, outcome: Outcome, latency: Duration) {
        let nanos = nanos(latency);
        let usual = outcome == Outcome::Success && ticket.fate == Fate::Counted;
        let gate = ticket.grant.epoch << GATE_BITS | GATE_ADMIT;
        if usual
            && nanos < self.slow_from.load(Ordering::Relaxed)
            && self.gate.load(Ordering::Acquire) == gate
        {
            let began = self::nanos(now).saturating_sub(nanos);
            let count = match began < self.suspect_since.load(Ordering::Relaxed) {
                true => self.stripes.worked_before(),
                false => self.stripes.worked(),
            };
            if count & self.sample_mask.load(Ordering::Relaxed) == 0 {
                self.samples[latency::bucket(latency)].fetch_add(1, Ordering::Relaxed);
            }
            if self::nanos(now) >= self.look_at.load(Ordering::Relaxed) {
                self.with_core(now, |core| core.look_at_time(now));
            }
            return;
        }
        if usual {
            self.samples[latency::bucket(latency)].fetch_add(1, Ordering::Relaxed);
        }
        self.with_core(now, |core| core.record(now, ticket, outcome, latency));
    }

    /// Tells the core what happened around the lock, lets `act` act, publishes what came of it, and tells the listener.
    fn with_core<T>(&self, now: Duration, act: impl FnOnce(&mut Core) -> T) -> T {
        let mut guard = self.lock();
        let Inner { core, worked, before: heard_before } = &mut *guard;
        let before = core.log.number();
        let total = self.stripes.total_worked();
        core.worked(now, total.wrapping_sub(*worked));
        *worked = total;
        let total = self.stripes.total_before();
        core.worked_before(total.wrapping_sub(*heard_before));
        *heard_before = total;
        if now >= core.next_look() {
            let samples = std::array::from_fn(|index| self.samples[index].swap(0, Ordering::Relaxed));
            core.sampled(now, &samples);
            core.look_at_time(now);
        }
        let result = act(core);
        self.publish(core);
        let told = match &self.listener {
            Some(listener) if core.log.number() != before => Some((listener, core.log.since(before))),
            _ => None,
        };
        drop(guard);
        if let Some((listener, transitions)) = told {
            transitions.iter().for_each(listener);
        }
        result
    }

    fn publish(&self, core: &Core) {
        let phase = core.machine.phase();
        let code = match (core.mode(), phase) {
            _ if core.lets_pass() => GATE_ADMIT,
            (Mode::Disabled, _) if core.told.is_none() => GATE_PASS,
            (Mode::Enforce, Phase::Open { .. }) if core.told.is_none() => GATE_OPEN,
            _ => GATE_ASK,
        };
        if let Phase::Open { until } = phase {
            self.open_until.store(nanos(until), Ordering::Release);
        }
        self.slow_from.store(nanos(core.slow_limit()), Ordering::Relaxed);
        let since = core.failing.suspect_since().map_or(0, nanos);
        self.suspect_since.store(since, Ordering::Relaxed);
        self.look_at.store(nanos(core.next_look()), Ordering::Relaxed);
        let mask = match core.rate() {
            // Every call counts until a quantile is known.
            rate if rate < 100.0 || core.learned_slow_limit().is_none() => 0,
            rate if rate < 10_000.0 => 7,
            _ => 63,
        };
        self.sample_mask.store(mask, Ordering::Relaxed);
        self.gate.store(core.machine.epoch() << GATE_BITS | code, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.lock();
        let state = inner.core.state();
        f.debug_struct("Breaker").field("state", &state).finish_non_exhaustive()
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// Leave for one call. Record its result; dropping it without one gives it back.
#[derive(Debug)]
#[must_use = "a permit that is dropped at once admits nothing"]
pub struct Permit<B: Deref<Target = Breaker>> {
    breaker: B,
    ticket: Option<Ticket>,
}

impl<B: Deref<Target = Breaker>> Permit<B> {
    /// Whether this call is one of the probes of a half-open phase.
    pub fn is_probe(&self) -> bool {
        self.ticket.as_ref().is_some_and(|ticket| ticket.grant.lease != 0)
    }

    /// Records how the call ended and how long it took.
    pub fn record(mut self, now: Duration, outcome: Outcome, latency: Duration) {
        if let Some(ticket) = self.ticket.take() {
            self.breaker.settle(&ticket, now, outcome, latency);
        }
    }
}

impl<B: Deref<Target = Breaker>> Drop for Permit<B> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take().filter(Ticket::holds_something) {
            // The machine keeps its own latest time; giving back needs none.
            self.breaker.settle(&ticket, Duration::ZERO, Outcome::Cancelled, Duration::ZERO);
        }
    }
}
