//! Callees that queue, fail regardless of load, or are shared by a fleet: criteria A5, A6 and A9.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use super::traffic::exponential;
use crate::fleet::{Advice, Probing, Witness};
use crate::rng::Rng;
use crate::{Breaker, Cause, LimitPolicy, Outcome, Permit, Policy, Priority, Rejection, Setup};

fn breaker(policy: Policy, seed: u64) -> Arc<Breaker> {
    let made = Breaker::with(policy, Setup { seed, unix_at_zero: 0.0 });
    Arc::new(made.unwrap_or_else(|_| unreachable!("only valid policies are simulated")))
}

pub(super) fn at(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.max(0.0))
}

/// Calls in flight, by when they end.
pub(super) struct Pending<T> {
    order: BinaryHeap<Reverse<(Duration, u64)>>,
    calls: BTreeMap<u64, T>,
    number: u64,
}

impl<T> Pending<T> {
    pub(super) fn new() -> Self {
        Self { order: BinaryHeap::new(), calls: BTreeMap::new(), number: 0 }
    }

    pub(super) fn push(&mut self, ends: Duration, call: T) {
        self.number += 1;
        self.order.push(Reverse((ends, self.number)));
        self.calls.insert(self.number, call);
    }

    pub(super) fn pop_until(&mut self, now: Duration) -> Option<(Duration, T)> {
        let Reverse((ends, number)) = self.order.peek().copied()?;
        if ends > now {
            return None;
        }
        self.order.pop();
        self.calls.remove(&number).map(|call| (ends, call))
    }
}

/// Workers before one queue without bound. A caller that gives up is worked on nevertheless.
struct Workers {
    free_at: BinaryHeap<Reverse<Duration>>,
    mean: f64,
}

impl Workers {
    fn new(workers: usize, mean: f64) -> Self {
        Self { free_at: (0..workers).map(|_| Reverse(Duration::ZERO)).collect(), mean }
    }

    fn halve(&mut self) {
        for _ in 0..self.free_at.len() / 2 {
            self.free_at.pop();
        }
    }

    fn serve(&mut self, now: Duration, rng: &mut Rng) -> Duration {
        let free = self.free_at.pop().map_or(Duration::MAX, |Reverse(free)| free);
        // A mix of a fixed and a random part, as services have.
        let work = at(self.mean * (0.5 + 0.5 * exponential(rng)));
        let done = free.max(now) + work;
        self.free_at.push(Reverse(done));
        done
    }
}

/// A5: a callee whose capacity halves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OverloadRun {
    /// Answers in time per capacity, from ten seconds after the fault to its end.
    pub goodput: f64,
    /// Share of the critical calls that succeeded in that time.
    pub critical: f64,
}

/// Plays 60 s of health and 60 s with half the workers and `factor` times what these can do; critical calls are half of it.
pub fn overload(factor: f64, limit: bool, seed: u64) -> OverloadRun {
    const WORKERS: usize = 20;
    const MEAN: f64 = 0.05;
    const TIMEOUT: f64 = 1.0;
    const HEALTHY: f64 = 60.0;
    const END: f64 = 120.0;
    let limit = limit.then(LimitPolicy::default);
    let breaker = breaker(Policy { limit, ..Policy::default() }, seed);
    let mut rng = Rng::new(seed);
    let mut workers = Workers::new(WORKERS, MEAN);
    let capacity = WORKERS as f64 / 2.0 / MEAN;
    let mut pending: Pending<(Permit<Arc<Breaker>>, bool, Duration, bool)> = Pending::new();
    let (mut now, mut halved, mut good) = (0.0, false, 0u64);
    let (mut critical, mut critical_good) = (0u64, 0u64);
    while now < END {
        let rate = if now < HEALTHY { capacity * 1.2 } else { capacity * factor };
        now += exponential(&mut rng) / rate;
        if now >= HEALTHY && !halved {
            halved = true;
            workers.halve();
        }
        while let Some((ends, (permit, failed, latency, is_critical))) = pending.pop_until(at(now)) {
            let outcome = if failed { Outcome::Failure } else { Outcome::Success };
            permit.record(ends, outcome, latency);
            let counted = ends - latency >= at(HEALTHY + 10.0) && !failed;
            good += u64::from(counted);
            critical_good += u64::from(counted && is_critical);
        }
        // Critical calls need half of what the callee can still do.
        let is_critical = rng.unit() * rate < capacity * 0.5;
        critical += u64::from(is_critical && now >= HEALTHY + 10.0);
        let priority = if is_critical { Priority::Critical } else { Priority::Normal };
        if let Ok(permit) = breaker.try_acquire_owned_as(at(now), priority) {
            let latency = workers.serve(at(now), &mut rng) - at(now);
            let failed = latency >= at(TIMEOUT);
            let latency = latency.min(at(TIMEOUT));
            pending.push(at(now) + latency, (permit, failed, latency, is_critical));
        }
    }
    OverloadRun {
        goodput: good as f64 / (capacity * (END - HEALTHY - 10.0)),
        critical: critical_good as f64 / critical.max(1) as f64,
    }
}

/// A6: whether shedding was tried, judged useful, and how much was left out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CausalityRun {
    /// Seconds from the fault until calls were shed for good; `None`: never.
    pub sheds_after: Option<f64>,
    /// Share of the fault's calls that were left out.
    pub left_out: f64,
    /// Share of the fault's calls that the trials may leave out: their budget.
    pub trials: u64,
}

/// Plays 15 min of health at 200 calls a second and 60 s of a fault: 30 % failures whatever is asked, or (`by_load`) a callee
/// that works on 120 a second and fails the rest at once.
pub fn causality(by_load: bool, seed: u64) -> CausalityRun {
    const RATE: f64 = 200.0;
    const HEALTHY: f64 = 900.0;
    const END: f64 = 960.0;
    let breaker = breaker(Policy::default(), seed);
    let mut rng = Rng::new(seed);
    let mut pending: Pending<(Permit<Arc<Breaker>>, bool)> = Pending::new();
    // Tokens of the limited callee.
    let (mut now, mut tokens) = (0.0, 10.0f64);
    let (mut offered, mut left_out) = (0u64, 0u64);
    while now < END {
        let gap = exponential(&mut rng) / RATE;
        now += gap;
        tokens = (tokens + gap * 120.0).min(10.0);
        while let Some((ends, (permit, failed))) = pending.pop_until(at(now)) {
            permit.record(ends, if failed { Outcome::Failure } else { Outcome::Success }, at(0.05));
        }
        let ill = now >= HEALTHY;
        offered += u64::from(ill);
        match breaker.try_acquire_owned(at(now)) {
            Err(_) => left_out += u64::from(ill),
            Ok(permit) => {
                let failed = if ill && by_load {
                    let served = tokens >= 1.0;
                    tokens -= f64::from(u8::from(served));
                    !served
                } else {
                    rng.unit() < if ill { 0.3 } else { 0.01 }
                };
                pending.push(at(now + 0.05), (permit, failed));
            }
        }
    }
    let told = breaker.transitions(0);
    let told = told.iter().filter(|told| told.at >= at(HEALTHY));
    let mut run = CausalityRun { sheds_after: None, left_out: left_out as f64 / offered as f64, trials: 0 };
    for transition in told {
        run.trials += u64::from(transition.cause == Cause::TrialBegan);
        if transition.cause == Cause::SheddingHelps {
            run.sheds_after.get_or_insert(transition.at.as_secs_f64() - HEALTHY);
        }
    }
    run
}

/// A9: a fleet before one callee that dies and heals.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FleetRun {
    /// Most calls in flight to the dead callee at once, from 30 s after it died until it healed: by then all have opened.
    pub probes_at_once: usize,
    /// Seconds from the healing until the last call that an open breaker rejected. Later rejections are those of single calls while
    /// all probes of a stage are in flight.
    pub open_for: f64,
    /// Share of the calls from ten seconds after the healing on that were admitted.
    pub admitted: f64,
    /// Seconds from the healing until 99 % of the calls of a second, and of all later ones, were admitted: of few instances, whose
    /// seconds have few calls, this is mostly chance.
    pub admitted_after: f64,
}

/// `instances` that each call once a second; the callee hangs from 20 s to 80 s. `coordinated`: the fleet's advice is followed.
pub fn fleet(instances: usize, coordinated: bool, seed: u64) -> FleetRun {
    const DIES: f64 = 20.0;
    const HEALS: f64 = 80.0;
    const END: f64 = 140.0;
    const HANGS: f64 = 2.0;
    const TURN: Duration = Duration::from_secs(2);
    let breakers: Vec<_> =
        (0..instances).map(|n| breaker(Policy::default(), seed ^ (n as u64) << 20)).collect();
    let mut rng = Rng::new(seed);
    let mut probing = Probing::new(TURN);
    let mut pending: Pending<(Permit<Arc<Breaker>>, bool, f64)> = Pending::new();
    let mut seconds = vec![(0u64, 0u64); END as usize + 1];
    let (mut now, mut advised, mut most, mut open_for) = (0.0, 0.0, 0usize, 0.0f64);
    while now < END {
        now += exponential(&mut rng) / instances as f64;
        while let Some((ends, (permit, failed, latency))) = pending.pop_until(at(now)) {
            permit.record(ends, if failed { Outcome::Failure } else { Outcome::Success }, at(latency));
        }
        if coordinated && now >= advised + 0.25 {
            advised = now;
            let ids = 0u64..;
            let witnesses: BTreeMap<u64, Witness> =
                ids.zip(&breakers).map(|(id, breaker)| (id, breaker.witness(at(now)))).collect();
            for (id, advice) in probing.advise(&witnesses, at(now)) {
                let advice: Advice = advice;
                breakers[id as usize].advise(advice, at(now));
            }
        }
        let second = &mut seconds[now.min(END) as usize];
        second.0 += 1;
        let who = (rng.next_u64() % instances as u64) as usize;
        let admitted = breakers[who].try_acquire_owned(at(now));
        if matches!(admitted, Err(Rejection::Open { .. })) {
            open_for = open_for.max(now - HEALS);
        }
        if let Ok(permit) = admitted {
            second.1 += 1;
            let dead = (DIES..HEALS).contains(&now);
            let latency = if dead { HANGS } else { 0.05 };
            pending.push(at(now + latency), (permit, dead, latency));
        }
        if (DIES + 30.0..HEALS).contains(&now) {
            most = most.max(pending.calls.len());
        }
    }
    let late = seconds.iter().enumerate().skip(HEALS as usize).take((END - HEALS) as usize);
    let short = late.filter(|(_, (offered, admitted))| (*admitted as f64) < 0.99 * *offered as f64);
    let last = short.map(|(second, _)| second as f64 + 1.0).fold(HEALS, f64::max);
    let healthy = seconds.iter().skip(HEALS as usize + 10);
    let healthy = healthy.fold((0, 0), |sum, second| (sum.0 + second.0, sum.1 + second.1));
    FleetRun {
        probes_at_once: most,
        open_for,
        admitted: healthy.1 as f64 / healthy.0.max(1) as f64,
        admitted_after: last - HEALS,
    }
}
