//! How soon a policy opens, and how often it opens for nothing: criteria A1, A2, A3 and A7.

use std::time::Duration;

use super::rules::{Rule, by_name};
use super::traffic::{Errors, Failing};
use crate::{Breaker, Cause, Outcome, Policy, Setup, Verdict};

const DAY: f64 = 86_400.0;
const LATENCY: Duration = Duration::from_millis(50);

/// A trip drill: normal traffic, then a fault.
#[derive(Debug, Clone, Copy)]
pub struct Drill {
    /// Calls per second, evenly spaced.
    pub rate: f64,
    /// Normal failure ratio.
    pub baseline: f64,
    /// Failure ratio of the fault.
    pub fault: f64,
    /// How normal errors come.
    pub errors: Errors,
    /// Calls before the fault.
    pub warm_up: u64,
    /// Longest time to wait, in seconds.
    pub longest: f64,
}

/// What counts as the end of a drill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// It opened.
    Opened,
    /// It said that something is wrong.
    Warned,
}

/// Requests from the onset until the policy opened (or warned), one per seed; `None` where it did not in time.
pub fn drill(name: &str, drill: &Drill, until: Until, seeds: std::ops::Range<u64>) -> Vec<Option<u64>> {
    seeds.filter_map(|seed| Some(one_drill(by_name(name, seed)?.as_mut(), drill, until, seed))).collect()
}

fn one_drill(rule: &mut dyn Rule, drill: &Drill, until: Until, seed: u64) -> Option<u64> {
    let mut failing = Failing::new(drill.errors, seed ^ 0xfa11);
    let mut fault = Failing::new(Errors::Independent, seed ^ 0xfa17);
    let step = 1.0 / drill.rate;
    let mut now = 0.0;
    let call = |rule: &mut dyn Rule, failed: bool, now: f64| {
        let now = Duration::from_secs_f64(now);
        if let Some(token) = rule.admit(now) {
            rule.end(now, token, failed, LATENCY);
        }
    };
    for _ in 0..drill.warm_up {
        call(rule, failing.next(drill.baseline), now);
        now += step;
    }
    // A policy that is open from a false opening is given the time to close.
    let mut settled = 0;
    while rule
        .admit(Duration::from_secs_f64(now))
        .map(|token| {
            rule.end(Duration::from_secs_f64(now), token, false, LATENCY);
        })
        .is_none()
        && settled < 100_000
    {
        now += step;
        settled += 1;
    }
    let opened = rule.openings();
    let most = (drill.longest * drill.rate) as u64;
    (1..=most).find(|_| {
        now += step;
        call(rule, fault.next(drill.fault), now);
        match until {
            Until::Opened => rule.openings() > opened,
            Until::Warned => rule.openings() > opened || rule.warned(),
        }
    })
}

/// False openings of ours over many days of normal traffic.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FalseOpenings {
    /// Days watched, after the warm-up.
    pub days: f64,
    /// Openings.
    pub openings: u64,
    /// Degradations told.
    pub degradations: u64,
}

/// Plays `days` of traffic after 14 days of learning. `swing`: the baseline goes between `baseline` and ten times that over
/// the day, and is a third lower at weekends; otherwise it stands still.
pub fn false_openings(
    rate: f64,
    baseline: f64,
    errors: Errors,
    swing: bool,
    days: f64,
    seed: u64,
) -> FalseOpenings {
    let breaker = ours(seed);
    let mut failing = Failing::new(errors, seed ^ 0xfa15e);
    let mut told = 0;
    let mut count = (0, 0);
    let calls = ((14.0 + days) * DAY * rate) as u64;
    let warm = (14.0 * DAY * rate) as u64;
    let mut ratio = baseline;
    for number in 0..calls {
        let now = number as f64 / rate;
        if swing && number % 64 == 0 {
            ratio = swinging(baseline, now);
        }
        one_call(&breaker, now, failing.next(ratio));
        if number % 100_000 == 0 || number + 1 == calls {
            for transition in breaker.transitions(told) {
                told = transition.number;
                if number > warm {
                    count.0 += u64::from(transition.cause == Cause::Outage);
                    count.1 += u64::from(transition.cause == Cause::Failures);
                }
            }
        }
    }
    FalseOpenings { days, openings: count.0, degradations: count.1 }
}

/// How often a policy opens over many days of normal traffic at a constant baseline, after a day of warming; `None` if there is no
/// such policy.
pub fn openings(name: &str, rate: f64, baseline: f64, errors: Errors, days: f64, seed: u64) -> Option<u64> {
    let mut rule = by_name(name, seed)?;
    let mut failing = Failing::new(errors, seed ^ 0xfa15e);
    let calls = |days: f64| (days * DAY * rate) as u64;
    let (warm, all) = (calls(1.0), calls(1.0 + days));
    let mut before = 0;
    for number in 0..all {
        let now = Duration::from_secs_f64(number as f64 / rate);
        let failed = failing.next(baseline);
        if let Some(token) = rule.admit(now) {
            rule.end(now, token, failed, LATENCY);
        }
        if number == warm {
            before = rule.openings();
        }
    }
    Some(rule.openings() - before)
}

/// The 95 % interval of a count of rare events, by the square root that makes its variance constant.
pub fn poisson(events: u64) -> (f64, f64) {
    let events = events as f64;
    let half = 1.96 / 2.0;
    ((events.sqrt() - half).max(0.0).powi(2), ((events + 1.0).sqrt() + half).powi(2))
}

/// Seconds until ours tells a regression to 5 % in the trough of a baseline between 0.5 and 5 %, after 14 days of learning.
pub fn seasonal_detection(rate: f64, seed: u64) -> Option<f64> {
    let breaker = ours(seed);
    let mut failing = Failing::new(Errors::Independent, seed ^ 0x5ea5);
    // The trough is at midnight; the fault begins half an hour past it.
    let onset = 15.0 * DAY + 1_800.0;
    let calls = (onset * rate) as u64;
    for number in 0..calls {
        let now = number as f64 / rate;
        one_call(&breaker, now, failing.next(swinging(0.005, now)));
    }
    (1..(600.0 * rate) as u64).map(|number| number as f64 / rate).find(|after| {
        one_call(&breaker, onset + after, failing.next(0.05));
        breaker.snapshot(Duration::from_secs_f64(onset + after)).verdict != Verdict::Nominal
    })
}

/// A degradation of a day, and a drift of two weeks: hours for which the former was told, and whether the latter was adopted
/// without a word in its second half.
pub fn poisoning(rate: f64, degraded: f64, seed: u64) -> (f64, bool) {
    let breaker = ours(seed);
    let mut failing = Failing::new(Errors::Independent, seed ^ 0xbad);
    let mut now = 0.0;
    let mut play = |days: f64, ratio: &dyn Fn(f64) -> f64| {
        let (began, mut told) = (now, 0.0);
        while now < began + days * DAY {
            one_call(&breaker, now, failing.next(ratio((now - began) / DAY)));
            now += 1.0 / rate;
            let looked = breaker.snapshot(Duration::from_secs_f64(now));
            told += f64::from(u8::from(looked.verdict != Verdict::Nominal)) / rate / 3_600.0;
        }
        (told, breaker.snapshot(Duration::from_secs_f64(now)).baseline_ratio)
    };
    play(7.0, &|_| 0.01);
    let (told, _) = play(1.0, &|_| degraded);
    play(2.0, &|_| 0.01);
    let (alarmed, baseline) = play(14.0, &|day| 0.01 + 0.02 * day / 14.0);
    (told, alarmed < 14.0 && (0.02..0.045).contains(&baseline))
}

/// The 95 % interval of a rate of rare events, by Wilson's method, per trial.
pub fn wilson(events: u64, trials: u64) -> (f64, f64) {
    let (n, z) = (trials.max(1) as f64, 1.96);
    let p = events as f64 / n;
    let middle = p + z * z / (2.0 * n);
    let half = z * (p * (1.0 - p).max(0.0) / n + z * z / (4.0 * n * n)).sqrt();
    ((middle - half) / (1.0 + z * z / n), (middle + half) / (1.0 + z * z / n))
}

fn swinging(low: f64, now: f64) -> f64 {
    let day = 0.5 - 0.5 * (now / DAY * std::f64::consts::TAU).cos();
    // The clock of these runs begins on a Monday.
    let weekend = (now / DAY) % 7.0 >= 5.0;
    let ratio = low * 10f64.powf(day);
    if weekend { (ratio / 1.5).max(low) } else { ratio }
}

fn ours(seed: u64) -> Breaker {
    let setup = Setup { seed, unix_at_zero: 4.0 * DAY };
    let made = Breaker::with(Policy::default(), setup);
    made.unwrap_or_else(|_| unreachable!("the default is valid"))
}

fn one_call(breaker: &Breaker, now: f64, failed: bool) {
    let now = Duration::from_secs_f64(now);
    if let Ok(permit) = breaker.try_acquire(now) {
        permit.record(now, if failed { Outcome::Failure } else { Outcome::Success }, LATENCY);
    }
}
