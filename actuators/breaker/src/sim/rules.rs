//! The policies that are compared, each from its documented semantics and defaults; ours through its public API.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::rng::Rng;
use crate::{Breaker, Outcome, Permit, Policy, Setup};

/// What an admitted call carries until it ends.
#[derive(Debug)]
pub enum Token {
    /// Ours.
    Permit(Permit<Arc<Breaker>>),
    /// The number of openings when it was admitted, and whether it is a probe.
    Epoch(u64, bool),
}

/// A policy under test.
pub trait Rule {
    /// Its name in reports.
    fn name(&self) -> &'static str;
    /// Admits a call, or not.
    fn admit(&mut self, now: Duration) -> Option<Token>;
    /// An admitted call ended.
    fn end(&mut self, now: Duration, token: Token, failed: bool, latency: Duration);
    /// How often it opened.
    fn openings(&self) -> u64;
    /// Whether it has said that something is wrong; for those that only open, that they opened.
    fn warned(&self) -> bool {
        self.openings() > 0
    }
}

/// Names of all policies.
pub fn names() -> [&'static str; 9] {
    [
        "homeostat",
        "resilience4j",
        "hystrix",
        "polly",
        "consecutive-5",
        "linkerd-unified",
        "envoy-outlier",
        "semian-classic",
        "semian-adaptive",
    ]
}

/// A policy by its name; `seed` varies what it draws.
pub fn by_name(name: &str, seed: u64) -> Option<Box<dyn Rule>> {
    let wait = Duration::from_secs;
    let window = |trip, open_wait, probes| -> Box<dyn Rule> {
        Box::new(Windowed::new(trip, open_wait, probes, Rng::new(seed)))
    };
    Some(match name {
        "homeostat" => Box::new(Ours::new(Policy::default(), seed)),
        "resilience4j" => window(Trip::Count { size: 100, ratio: 0.5 }, Wait::Fixed(wait(60)), 10),
        "hystrix" => window(Trip::Time { span: wait(10), least: 20, ratio: 0.5 }, Wait::Fixed(wait(5)), 1),
        "polly" => window(Trip::Time { span: wait(30), least: 100, ratio: 0.1 }, Wait::Fixed(wait(5)), 1),
        "consecutive-5" => window(Trip::Consecutive(5), Wait::Fixed(wait(30)), 1),
        "linkerd-unified" => window(
            Trip::Either { span: wait(10), least: 5, ratio: 0.2, consecutive: 7 },
            Wait::Doubling(wait(1), wait(60)),
            1,
        ),
        // Ejections last 30 s times their number, and end without a probe.
        "envoy-outlier" => window(Trip::Consecutive(5), Wait::Linear(wait(30), wait(300)), 0),
        // As in the suite of its experiments: three errors within 20 s, 15 s open, two successes close.
        "semian-classic" => window(Trip::Errors { span: wait(20), errors: 3 }, Wait::Fixed(wait(15)), 2),
        "semian-adaptive" => Box::new(Adaptive::new(seed)),
        _ => return None,
    })
}

/// Ours.
#[derive(Debug)]
pub struct Ours {
    breaker: Arc<Breaker>,
}

impl Ours {
    fn new(policy: Policy, seed: u64) -> Self {
        // A Monday, so that weeks begin with working days.
        let setup = Setup { seed, unix_at_zero: 4.0 * 86_400.0 };
        // The default policy is valid; a breaker that were not made would be a bug that every test shows.
        let breaker = Breaker::with(policy, setup).or_else(|_| Breaker::new(Policy::default()));
        Self { breaker: Arc::new(breaker.unwrap_or_else(|_| unreachable!("the default is valid"))) }
    }
}

impl Rule for Ours {
    fn name(&self) -> &'static str {
        "homeostat"
    }

    fn admit(&mut self, now: Duration) -> Option<Token> {
        self.breaker.try_acquire_owned(now).ok().map(Token::Permit)
    }

    fn end(&mut self, now: Duration, token: Token, failed: bool, latency: Duration) {
        if let Token::Permit(permit) = token {
            permit.record(now, if failed { Outcome::Failure } else { Outcome::Success }, latency);
        }
    }

    fn openings(&self) -> u64 {
        self.breaker.snapshot(Duration::ZERO).opened_total
    }

    fn warned(&self) -> bool {
        let seen = self.breaker.snapshot(Duration::ZERO);
        seen.opened_total > 0 || seen.verdict != crate::Verdict::Nominal
    }
}

/// When a rule of the usual kind opens.
#[derive(Debug, Clone, Copy)]
enum Trip {
    Count { size: usize, ratio: f64 },
    Time { span: Duration, least: usize, ratio: f64 },
    Consecutive(u32),
    Either { span: Duration, least: usize, ratio: f64, consecutive: u32 },
    Errors { span: Duration, errors: usize },
}

#[derive(Debug, Clone, Copy)]
enum Wait {
    Fixed(Duration),
    Linear(Duration, Duration),
    Doubling(Duration, Duration),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Stand {
    Closed,
    Open(Duration),
    HalfOpen { given: u32, good: u32, bad: u32 },
}

/// A rule over a window, with one kind of half-open phase: so many probes, judged by the same ratio when all are back.
#[derive(Debug)]
struct Windowed {
    trip: Trip,
    wait: Wait,
    probes: u32,
    stand: Stand,
    window: VecDeque<(Duration, bool)>,
    failures: usize,
    run: u32,
    openings: u64,
    streak: u32,
    rng: Rng,
}

impl Windowed {
    fn new(trip: Trip, wait: Wait, probes: u32, rng: Rng) -> Self {
        Self {
            trip,
            wait,
            probes,
            stand: Stand::Closed,
            window: VecDeque::new(),
            failures: 0,
            run: 0,
            openings: 0,
            streak: 0,
            rng,
        }
    }

    fn open(&mut self, now: Duration) {
        let wait = match self.wait {
            Wait::Fixed(wait) => wait,
            Wait::Linear(wait, most) => (wait * (self.streak + 1)).min(most),
            // Linkerd's jitter adds up to half.
            Wait::Doubling(wait, most) => {
                wait.saturating_mul(1 << self.streak.min(16)).min(most).mul_f64(1.0 + 0.5 * self.rng.unit())
            }
        };
        self.streak += 1;
        self.openings += 1;
        self.stand = Stand::Open(now + wait);
    }

    fn clear(&mut self) {
        self.window.clear();
        (self.failures, self.run) = (0, 0);
    }

    fn push(&mut self, now: Duration, failed: bool) {
        self.run = if failed { self.run + 1 } else { 0 };
        self.window.push_back((now, failed));
        self.failures += usize::from(failed);
        let (span, size) = match self.trip {
            Trip::Count { size, .. } => (Duration::MAX, size),
            Trip::Time { span, .. } | Trip::Either { span, .. } | Trip::Errors { span, .. } => {
                (span, usize::MAX)
            }
            Trip::Consecutive(_) => (Duration::ZERO, 0),
        };
        while let Some(&(at, was_failure)) = self.window.front() {
            if self.window.len() <= size && now.saturating_sub(at) <= span {
                break;
            }
            self.failures -= usize::from(was_failure);
            self.window.pop_front();
        }
    }

    fn trips(&self) -> bool {
        let at_least = |least: usize, ratio: f64| {
            self.window.len() >= least && self.failures as f64 >= ratio * self.window.len() as f64
        };
        match self.trip {
            Trip::Count { size, ratio } => at_least(size, ratio),
            Trip::Time { least, ratio, .. } => at_least(least, ratio),
            Trip::Consecutive(count) => self.run >= count,
            Trip::Either { least, ratio, consecutive, .. } => {
                self.run >= consecutive
                    || at_least(least, ratio) && self.failures as f64 > ratio * self.window.len() as f64
            }
            Trip::Errors { errors, .. } => self.failures >= errors,
        }
    }
}

impl Rule for Windowed {
    fn name(&self) -> &'static str {
        "windowed"
    }

    fn admit(&mut self, now: Duration) -> Option<Token> {
        if let Stand::Open(until) = self.stand {
            if now < until {
                return None;
            }
            self.clear();
            self.stand = match self.probes {
                0 => Stand::Closed,
                _ => Stand::HalfOpen { given: 0, good: 0, bad: 0 },
            };
        }
        if let Stand::HalfOpen { given, .. } = &mut self.stand {
            if *given >= self.probes {
                return None;
            }
            *given += 1;
            return Some(Token::Epoch(self.openings, true));
        }
        Some(Token::Epoch(self.openings, false))
    }

    fn end(&mut self, now: Duration, token: Token, failed: bool, _: Duration) {
        let Token::Epoch(epoch, probe) = token else { return };
        match &mut self.stand {
            Stand::HalfOpen { good, bad, .. } if probe && epoch == self.openings => {
                *good += u32::from(!failed);
                *bad += u32::from(failed);
                if *good + *bad < self.probes {
                    return;
                }
                if *bad * 2 >= self.probes {
                    self.open(now);
                } else {
                    self.clear();
                    self.stand = Stand::Closed;
                    if matches!(self.wait, Wait::Doubling(..)) {
                        self.streak = 0;
                    }
                }
            }
            Stand::Closed => {
                self.push(now, failed);
                if self.trips() {
                    self.open(now);
                }
            }
            _ => {}
        }
    }

    fn openings(&self) -> u64 {
        self.openings
    }
}

/// Semian's adaptive breaker (its PR 760): a PID controller of the share that is rejected.
#[derive(Debug)]
struct Adaptive {
    rng: Rng,
    window: VecDeque<(Duration, bool)>,
    errors: f64,
    rejection: f64,
    integral: f64,
    ideal: f64,
    ticked: Duration,
    worst: f64,
}

impl Adaptive {
    fn new(seed: u64) -> Self {
        Self {
            rng: Rng::new(seed),
            window: VecDeque::new(),
            rejection: 0.0,
            integral: 0.0,
            errors: 0.0,
            ideal: 0.05,
            ticked: Duration::ZERO,
            worst: 0.0,
        }
    }

    fn tick(&mut self, now: Duration) {
        while now >= self.ticked + Duration::from_secs(1) {
            self.ticked += Duration::from_secs(1);
            while self
                .window
                .front()
                .is_some_and(|(at, _)| self.ticked.saturating_sub(*at) > Duration::from_secs(10))
            {
                let (_, error) = self.window.pop_front().unwrap_or_default();
                self.errors -= f64::from(u8::from(error));
            }
            let (good, bad) = (self.window.len() as f64 - self.errors, self.errors);
            let error = if good + bad > 0.0 { bad / (good + bad) } else { 0.0 };
            if good + bad > 0.0 && error <= 0.1 {
                let young = self.ticked < Duration::from_secs(1_800);
                let alpha = match (young, error > self.ideal) {
                    (true, true) => 0.0017,
                    (true, false) => 0.078,
                    (false, true) => 0.0009,
                    (false, false) => 0.039,
                };
                self.ideal += alpha * (error - self.ideal);
            }
            let delta = error - self.ideal;
            // The dead zone: a quarter above the ideal is still ideal.
            let delta = if delta > 0.0 && delta < 0.25 * self.ideal { 0.0 } else { delta };
            let p = delta - (1.0 - delta) * self.rejection;
            let integral = (self.integral + p).clamp(-10.0, 10.0);
            let wanted = self.rejection + p + 0.2 * integral;
            // Wound-up history must not outlive its cause (their PR 847).
            if (0.0..=1.0).contains(&wanted) {
                self.integral = integral;
            }
            self.rejection = wanted.clamp(0.0, 1.0);
            self.worst = self.worst.max(self.rejection);
        }
    }
}

impl Rule for Adaptive {
    fn name(&self) -> &'static str {
        "semian-adaptive"
    }

    fn admit(&mut self, now: Duration) -> Option<Token> {
        self.tick(now);
        if self.rng.unit() < self.rejection {
            return None;
        }
        Some(Token::Epoch(0, false))
    }

    fn end(&mut self, now: Duration, _: Token, failed: bool, _: Duration) {
        self.tick(now);
        self.window.push_back((now, failed));
        self.errors += f64::from(u8::from(failed));
    }

    fn openings(&self) -> u64 {
        u64::from(self.worst >= 0.5)
    }
}
