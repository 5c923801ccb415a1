//! A5 on a busy machine: the callee's few workers, its callers and their clock are all held up by whatever else runs there.

use std::collections::VecDeque;
use std::sync::Arc;

use super::queueing::{OverloadRun, Pending, at};
use super::traffic::exponential;
use crate::rng::Rng;
use crate::{Breaker, LimitPolicy, Outcome, Permit, Policy, Priority, Setup};

/// What a busy machine does to a call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Noise {
    /// Mean delay in seconds before a call reaches the callee, before its worker goes on, and before its answer is seen.
    pub delay: f64,
    /// About once a second nothing goes on for a while; its mean in seconds. What was due then comes all at once.
    pub stall: f64,
    /// Share of the calls that fail within a millisecond, whatever the callee could do: a host that is gone.
    pub gone: f64,
}

/// Stalls from 0 to an end: machine time in, real time out. Real time is never less.
struct Clock(Vec<(f64, f64)>);

impl Clock {
    fn new(stall: f64, end: f64, rng: &mut Rng) -> Self {
        let (mut stalls, mut now, mut lost) = (Vec::new(), 0.0, 0.0);
        while now < end && stall > 0.0 {
            now += exponential(rng);
            lost += stall * exponential(rng);
            stalls.push((now, lost));
        }
        Self(stalls)
    }

    fn real(&self, machine: f64) -> f64 {
        let past = self.0.partition_point(|(began, _)| *began <= machine);
        machine + past.checked_sub(1).map_or(0.0, |last| self.0[last].1)
    }

    /// The machine time at which something that is due at a real time happens.
    fn machine(&self, real: f64) -> f64 {
        let past = self.0.partition_point(|(began, lost)| began + lost <= real);
        let lost = past.checked_sub(1).map_or(0.0, |last| self.0[last].1);
        // Within the next stall it waits for its end, which in machine time is its beginning.
        self.0.get(past).map_or(real - lost, |(began, _)| (real - lost).min(*began))
    }
}

const WORKERS: usize = 4;
const SERVICE: f64 = 0.04;
const QUEUE: usize = 64;
const TIMEOUT: f64 = 1.0;
const HEALTHY: f64 = 30.0;
const END: f64 = 90.0;

struct Call {
    permit: Option<Permit<Arc<Breaker>>>,
    began: f64,
    outcome: Outcome,
    critical: bool,
}

/// Plays 30 s before eight workers of 40 ms with six in ten of what they can do, and 60 s before four of them with `factor` times what these can
/// do; 45 % of that capacity is critical. The goodput is of what four workers do on this machine when they always have work.
/// Also: the mean and the highest limit.
pub fn overload_on_a_busy_machine(factor: f64, noise: Noise, seed: u64) -> (OverloadRun, f64, f64) {
    let policy = Policy { limit: Some(LimitPolicy::default()), ..Policy::default() };
    let made = Breaker::with(policy, Setup { seed, unix_at_zero: 0.0 });
    let breaker = Arc::new(made.unwrap_or_else(|_| unreachable!("only valid policies are simulated")));
    let mut rng = Rng::new(seed);
    let clock = Clock::new(noise.stall, END, &mut Rng::new(seed ^ 0x57a11));
    let mut free = vec![0.0f64; 2 * WORKERS];
    let mut starts: VecDeque<f64> = VecDeque::new();
    let mut pending: Pending<Call> = Pending::new();
    let capacity = WORKERS as f64 / SERVICE;
    let (mut due, mut good, mut critical, mut critical_good) = (0.0, 0u64, 0u64, 0u64);
    let (mut limits, mut highest, mut looks) = (0.0, 0.0f64, 0.0);
    while due < END {
        let rate = capacity * if due < HEALTHY { 1.2 } else { factor };
        due += exponential(&mut rng) / rate;
        let now = clock.machine(due);
        while let Some((ends, mut call)) = pending.pop_until(at(now)) {
            let seen = clock.real(ends.as_secs_f64());
            let latency = (seen - call.began).min(TIMEOUT);
            let outcome = if seen - call.began >= TIMEOUT { Outcome::Failure } else { call.outcome };
            if let Some(permit) = call.permit.take() {
                permit.record(at(seen), outcome, at(latency));
            }
            let counted = call.began >= HEALTHY + 10.0 && outcome == Outcome::Success;
            good += u64::from(counted);
            critical_good += u64::from(counted && call.critical);
        }
        if due >= HEALTHY {
            free.truncate(WORKERS);
        }
        let is_critical = rng.unit() * rate < capacity * 0.45;
        let measured = due >= HEALTHY + 10.0;
        critical += u64::from(is_critical && measured);
        if measured {
            let limit = breaker.snapshot(at(clock.real(now))).concurrency_limit.unwrap_or(0.0);
            (limits, highest, looks) = (limits + limit, highest.max(limit), looks + 1.0);
        }
        let priority = if is_critical { Priority::Critical } else { Priority::Normal };
        let began = clock.real(now);
        let Ok(permit) = breaker.try_acquire_owned_as(at(began), priority) else { continue };
        let arrives = now + noise.delay * exponential(&mut rng);
        while starts.front().is_some_and(|start| *start <= arrives) {
            starts.pop_front();
        }
        let (mut outcome, mut ends) = (Outcome::Success, arrives);
        if rng.unit() < noise.gone && due >= HEALTHY {
            (outcome, ends) = (Outcome::Failure, now + 0.001);
        } else if starts.len() >= QUEUE {
            outcome = Outcome::Overload;
        } else if let Some(worker) = free.iter_mut().min_by(|a, b| a.total_cmp(b)) {
            let start = worker.max(arrives);
            *worker = start + SERVICE + noise.delay * exponential(&mut rng);
            if start > arrives {
                starts.push_back(start);
            }
            ends = *worker + noise.delay * exponential(&mut rng);
        }
        pending.push(at(ends), Call { permit: Some(permit), began, outcome, critical: is_critical });
    }
    let measured = clock.machine(END) - clock.machine(HEALTHY + 10.0);
    let could = WORKERS as f64 / (SERVICE + noise.delay) * measured;
    let run =
        OverloadRun { goodput: good as f64 / could, critical: critical_good as f64 / critical.max(1) as f64 };
    (run, limits / looks, highest)
}
