//! A12: the same recorded calls, once before a breaker that enforces and once before one that only counts.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::traffic::{exponential, normal};
use crate::rng::Rng;
use crate::{Breaker, Mode, Outcome, Permit, Policy, Setup};

/// What was rejected, and what that spared, by word and by deed.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ShadowRun {
    /// Calls of the replay, after the warm-up.
    pub offered: u64,
    /// Calls that the enforcing breaker rejected, and those of them that would have failed.
    pub enforced: (u64, u64),
    /// The same as METRICS_ONLY predicts it.
    pub predicted: (u64, u64),
}

/// One recorded call.
#[derive(Debug, Clone, Copy)]
struct Call {
    at: Duration,
    failed: bool,
    latency: Duration,
}

/// A replay of half an hour at `rate` calls a second: 1 % fail, but for three minutes in which all do, and `ill` of them in three
/// more, each in spells of 20 to 60 s. Latencies are log-normal around 50 ms.
fn recorded(rate: f64, ill: f64, rng: &mut Rng) -> Vec<Call> {
    const SPELLS: [(f64, f64, bool); 8] = [
        (900.0, 20.0, true),
        (1_000.0, 60.0, false),
        (1_100.0, 40.0, true),
        (1_200.0, 60.0, false),
        (1_300.0, 60.0, true),
        (1_400.0, 60.0, false),
        (1_500.0, 30.0, true),
        (1_600.0, 30.0, true),
    ];
    let (mut calls, mut now) = (Vec::new(), 0.0);
    while now < 1_800.0 {
        now += exponential(rng) / rate;
        let spell = SPELLS.iter().find(|(from, long, _)| (*from..from + long).contains(&now));
        let ratio = spell.map_or(0.01, |(_, _, dead)| if *dead { 1.0 } else { ill });
        let latency = Duration::from_secs_f64(0.05 * (0.5 * normal(rng)).exp());
        calls.push(Call { at: Duration::from_secs_f64(now), failed: rng.unit() < ratio, latency });
    }
    calls
}

/// A call under way: when it ends, then its number, so that the last entry ends first.
type Pending = BTreeMap<Reverse<(Duration, usize)>, (Permit<Arc<Breaker>>, Call)>;

/// Plays the calls; how many were rejected, and how many of those would have failed.
fn play(calls: &[Call], breaker: &Arc<Breaker>) -> (u64, u64) {
    let mut pending = Pending::new();
    let mut rejected = (0, 0);
    for (number, call) in calls.iter().enumerate() {
        while pending.last_key_value().is_some_and(|(Reverse((ends, _)), _)| *ends <= call.at) {
            let Some((Reverse((ends, _)), (permit, ended))) = pending.pop_last() else { break };
            permit.record(
                ends,
                if ended.failed { Outcome::Failure } else { Outcome::Success },
                ended.latency,
            );
        }
        match breaker.try_acquire_owned(call.at) {
            Ok(permit) => drop(pending.insert(Reverse((call.at + call.latency, number)), (permit, *call))),
            Err(_) => {
                rejected.0 += 1;
                rejected.1 += u64::from(call.failed);
            }
        }
    }
    rejected
}

/// Plays one replay before both.
pub fn shadow(rate: f64, ill: f64, seed: u64) -> ShadowRun {
    let calls = recorded(rate, ill, &mut Rng::new(seed));
    let made = |mode| {
        let made = Breaker::with(Policy { mode, ..Policy::default() }, Setup { seed, unix_at_zero: 0.0 });
        Arc::new(made.unwrap_or_else(|_| unreachable!("only valid policies are simulated")))
    };
    let enforced = play(&calls, &made(Mode::Enforce));
    let watching = made(Mode::MetricsOnly);
    play(&calls, &watching);
    let report = watching.shadow_report(Duration::from_secs(1_801));
    let predicted = (report.would_reject, report.failures_spared);
    ShadowRun { offered: calls.len() as u64, enforced, predicted }
}

/// Ten minutes at `rate` calls a second before a callee that in the last three works on `share` of them and says of the rest that it
/// has too much to do: not a replay, for it feels what is left out. Rejected and spared: what an enforcing breaker did, and what
/// one that only counts predicted of it.
pub fn shadow_of_overload(rate: f64, share: f64, seed: u64) -> ShadowRun {
    let (offered, enforced, failures, _) = overloaded(Mode::Enforce, rate, share, seed);
    let (_, _, unspared, predicted) = overloaded(Mode::MetricsOnly, rate, share, seed);
    ShadowRun { offered, enforced: (enforced, unspared.saturating_sub(failures)), predicted }
}

/// Calls offered, rejected, refused by the callee, and what the report says.
fn overloaded(mode: Mode, rate: f64, share: f64, seed: u64) -> (u64, u64, u64, (u64, u64)) {
    const LATENCY: Duration = Duration::from_millis(50);
    let made = Breaker::with(Policy { mode, ..Policy::default() }, Setup { seed, unix_at_zero: 0.0 });
    let breaker = Arc::new(made.unwrap_or_else(|_| unreachable!("only valid policies are simulated")));
    let mut rng = Rng::new(seed);
    let mut pending: VecDeque<(Duration, Permit<Arc<Breaker>>, Outcome)> = VecDeque::new();
    let (mut now, mut tokens) = (0.0, 0.0f64);
    let (mut offered, mut rejected, mut refused) = (0, 0, 0);
    while now < 600.0 {
        let (gap, luck) = (exponential(&mut rng) / rate, rng.unit());
        now += gap;
        tokens = (tokens + gap * rate * share).min(10.0);
        let at = Duration::from_secs_f64(now);
        while pending.front().is_some_and(|(ends, ..)| *ends <= at) {
            let Some((ends, permit, outcome)) = pending.pop_front() else { break };
            permit.record(ends, outcome, LATENCY);
        }
        offered += 1;
        let Ok(permit) = breaker.try_acquire_owned(at) else {
            rejected += 1;
            continue;
        };
        let outcome = match (now >= 420.0, luck < 0.01) {
            (true, _) if tokens < 1.0 => Outcome::Overload,
            (false, true) => Outcome::Failure,
            _ => Outcome::Success,
        };
        tokens = (tokens - f64::from(u8::from(outcome == Outcome::Success))).max(0.0);
        refused += u64::from(outcome == Outcome::Overload);
        pending.push_back((at + LATENCY, permit, outcome));
    }
    let report = breaker.shadow_report(Duration::from_secs(600));
    (offered, rejected, refused, (report.would_reject, report.failures_spared))
}
