//! A concurrency limit learned from latency (the gradient method of Netflix and Envoy), with three of its known failures mended:
//! the latency without load is learned only while few calls are in flight and nothing is degraded, so that a lasting overload
//! does not become the yardstick; calls that fail at once say nothing about how long work takes; and the limit never falls
//! below a floor that keeps learning possible.

use std::time::Duration;

use crate::outcome::{Outcome, Priority};
use crate::policy::LimitPolicy;

/// A window ends after so many results and at least so much time.
const WINDOW_RESULTS: u32 = 10;
const WINDOW: Duration = Duration::from_millis(250);
/// Latency may grow by this factor before the limit falls: some queueing keeps the callee busy.
const TOLERANCE: f64 = 2.0;
/// A window's gradient is never stronger than this.
const GRADIENT_MIN: f64 = 0.5;
/// Weight of a new window in the limit, and of a new latency without load.
const SMOOTHING: f64 = 0.4;
const BASE_SMOOTHING: f64 = 0.1;
/// The latency without load may rise by this per quiet window, and falls at once.
const BASE_RISE_MAX: f64 = 1.05;
/// Below this share of the limit, few calls are in flight.
const QUIET: f64 = 0.5;
/// Below this share of the limit the callee hardly has calls waiting (the limit settles at twice what it works on at once, and some
/// more): nothing is kept free then, or its workers would stand idle for calls that may come.
const BUSY: f64 = 0.5;
/// Room kept for critical calls, as a multiple of how many were lately in flight, and beyond the limit for them alone.
const RESERVE: f64 = 1.3;
const BEYOND: f64 = 1.5;

/// A limit, and what is in flight.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Limiter {
    policy: LimitPolicy,
    limit: f64,
    /// Latency in seconds when nothing waits; zero: unknown.
    base: f64,
    in_flight: u32,
    critical_in_flight: u32,
    /// Calls of critical priority lately in flight, and the most in flight in this window.
    critical: f64,
    busiest: u32,
    count: u32,
    /// Results whose latency tells something, and its sum in seconds.
    timed: u32,
    sum: f64,
    overloads: u32,
    window_began: Duration,
}

impl Limiter {
    pub(crate) fn new(policy: LimitPolicy, now: Duration) -> Self {
        Self {
            policy,
            limit: f64::from(policy.initial),
            base: 0.0,
            in_flight: 0,
            critical_in_flight: 0,
            critical: 0.0,
            busiest: 0,
            count: 0,
            timed: 0,
            sum: 0.0,
            overloads: 0,
            window_began: now,
        }
    }

    pub(crate) fn limit(&self) -> f64 {
        self.limit
    }

    /// Adopts other bounds; what was learned stays.
    pub(crate) fn set_policy(&mut self, policy: LimitPolicy) {
        self.policy = policy;
        self.limit = self.limit.clamp(f64::from(policy.floor), f64::from(policy.ceiling));
    }

    /// Takes a place unless none is left for this priority.
    pub(crate) fn enter(&mut self, priority: Priority) -> bool {
        let critical = priority == Priority::Critical;
        let others = self.in_flight - self.critical_in_flight.min(self.in_flight);
        let reserve = (self.critical * RESERVE).max(f64::from(self.critical_in_flight));
        let room = match priority {
            // Critical calls alone may go beyond the limit: the others step back for them as soon as they end.
            Priority::Critical => f64::from(self.in_flight) < self.limit * BEYOND,
            Priority::High | Priority::Normal if f64::from(self.in_flight) < self.limit * BUSY => true,
            // Each step down leaves a tenth of the rest to those above.
            Priority::High => f64::from(others) < (self.limit - reserve).max(1.0),
            Priority::Normal => f64::from(others) < ((self.limit - reserve) * 0.9).max(1.0),
            Priority::Low => f64::from(others) < (self.limit - reserve) * 0.8,
        };
        if room {
            self.in_flight += 1;
            self.critical_in_flight += u32::from(critical);
            self.busiest = self.busiest.max(self.in_flight);
            self.critical = self.critical.max(f64::from(self.critical_in_flight));
        }
        room
    }

    /// Gives a place back.
    pub(crate) fn leave(&mut self, priority: Priority) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if priority == Priority::Critical {
            self.critical_in_flight = self.critical_in_flight.saturating_sub(1);
        }
    }

    /// Learns from a result. One that failed sooner than work is done tells nothing of latency; one that failed later waited.
    pub(crate) fn result(&mut self, now: Duration, latency: Duration, outcome: Outcome, degraded: bool) {
        let latency = latency.as_secs_f64();
        self.count += 1;
        if outcome == Outcome::Success || self.base > 0.0 && latency >= self.base {
            self.timed += 1;
            self.sum += latency;
        }
        self.overloads += u32::from(outcome == Outcome::Overload);
        if self.count >= WINDOW_RESULTS && now >= self.window_began + WINDOW {
            self.end_window(now, degraded);
        }
    }

    fn end_window(&mut self, now: Duration, degraded: bool) {
        // Where nothing tells of latency, nothing says that it has changed, and nothing that there is room for more.
        let mean = if self.timed == 0 { self.base } else { self.sum / f64::from(self.timed) };
        let quiet = f64::from(self.busiest) <= QUIET * self.limit || self.timed == 0;
        if self.base == 0.0 || mean < self.base {
            self.base = mean;
        } else if quiet && !degraded {
            let risen = self.base + BASE_SMOOTHING * (mean - self.base);
            self.base = risen.min(self.base * BASE_RISE_MAX);
        }
        let gradient = (TOLERANCE * self.base.max(1e-9) / mean.max(1e-9)).clamp(GRADIENT_MIN, 1.0);
        let refused = f64::from(self.overloads) / f64::from(self.count);
        // What was refused did no work: the rest is what the callee can do.
        let gradient = gradient * (1.0 - refused).max(GRADIENT_MIN);
        let mut wanted = self.limit * gradient;
        // A limit that nobody reaches says nothing about more.
        if !quiet && refused == 0.0 {
            wanted += self.limit.sqrt();
        }
        let (floor, ceiling) = (f64::from(self.policy.floor), f64::from(self.policy.ceiling));
        self.limit = (self.limit + SMOOTHING * (wanted - self.limit)).clamp(floor, ceiling);
        self.critical = (self.critical * 0.95).max(f64::from(self.critical_in_flight));
        (self.busiest, self.count, self.timed, self.sum, self.overloads) = (self.in_flight, 0, 0, 0.0, 0);
        self.window_began = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn limiter() -> Limiter {
        Limiter::new(LimitPolicy::default(), Duration::ZERO)
    }

    /// A callee of `capacity` calls at once that each take 20 ms; queueing beyond. Rounds of a quarter second.
    fn saturate(limiter: &mut Limiter, capacity: f64, rounds: u32, from: u32) {
        for round in from..from + rounds {
            let now = Duration::from_millis(260 * u64::from(round + 1));
            let mut entered = 0;
            while entered < 2_000 && limiter.enter(Priority::Normal) {
                entered += 1;
            }
            let latency = Duration::from_secs_f64(0.02 * (f64::from(entered) / capacity).max(1.0));
            for _ in 0..entered {
                limiter.leave(Priority::Normal);
                limiter.result(now, latency, Outcome::Success, true);
            }
        }
    }

    #[test]
    fn finds_the_capacity_and_does_not_drift_under_lasting_overload() {
        let mut limiter = limiter();
        saturate(&mut limiter, 50.0, 200, 0);
        let early = limiter.limit();
        assert!((50.0..150.0).contains(&early), "{early}");
        saturate(&mut limiter, 50.0, 20_000, 200);
        assert!((limiter.limit() - early).abs() < 5.0, "{} after {early}", limiter.limit());
        assert!(limiter.base < 0.021);
    }

    #[test]
    fn never_falls_below_the_floor() {
        let mut limiter = limiter();
        for round in 0..2_000u64 {
            let latency = Duration::from_secs(if round < 2 { 0 } else { 20 });
            limiter.result(Duration::from_millis(30 * round), latency, Outcome::Overload, true);
        }
        assert_eq!(limiter.limit(), 4.0);
    }

    /// Rounds of four workers of 40 ms on a busy machine: each call takes up to 20 ms more, and one round in ten is held up by up to
    /// half a second. The mean limit.
    fn held_up(limiter: &mut Limiter, asked: u32, rounds: u32, rng: &mut Rng) -> f64 {
        let mut limits = 0.0;
        for _ in 0..rounds {
            let now = limiter.window_began + Duration::from_millis(260);
            let mut entered = 0;
            while entered < asked && limiter.enter(Priority::Normal) {
                entered += 1;
            }
            let stall = if rng.unit() < 0.1 { 0.5 * rng.unit() } else { 0.0 };
            for _ in 0..entered.max(10) {
                let work = 0.04 * (f64::from(entered) / 4.0).max(1.0);
                limiter.leave(Priority::Normal);
                let latency = Duration::from_secs_f64(work + stall + 0.02 * rng.unit());
                limiter.result(now, latency, Outcome::Success, true);
            }
            limits += limiter.limit();
        }
        limits / f64::from(rounds)
    }

    #[test]
    fn does_not_drift_where_latency_is_noisy() {
        for seed in 0..10 {
            let (mut limiter, mut rng) = (limiter(), Rng::new(seed));
            held_up(&mut limiter, 4, 50, &mut rng);
            let early = held_up(&mut limiter, 2_000, 400, &mut rng);
            assert!((8.0..30.0).contains(&early), "{early}");
            let late = held_up(&mut limiter, 2_000, 20_000, &mut rng);
            assert!((late / early - 1.0).abs() < 0.2, "{late} after {early}");
        }
    }

    #[test]
    fn calls_that_fail_at_once_are_no_measure_of_work() {
        let (mut without, mut with) = (limiter(), limiter());
        for round in 0..2_000u64 {
            let now = Duration::from_millis(30 * round);
            for (limiter, gone) in [(&mut without, 0), (&mut with, 9)] {
                let taken: Vec<_> = (0..6).filter(|_| limiter.enter(Priority::Normal)).collect();
                taken.iter().for_each(|_| limiter.leave(Priority::Normal));
                limiter.result(now, Duration::from_millis(40), Outcome::Success, false);
                for _ in 0..gone {
                    limiter.result(now, Duration::from_millis(1), Outcome::Failure, false);
                }
            }
        }
        assert!((with.base - 0.04).abs() < 1e-6, "{}", with.base);
        assert!((with.limit() - without.limit()).abs() < 1.0, "{} {}", with.limit(), without.limit());
    }

    #[test]
    fn a_callee_with_little_to_do_is_not_kept_free_for_critical_calls() {
        let mut limiter = limiter();
        // A burst of critical calls is remembered ...
        while limiter.enter(Priority::Critical) {}
        for _ in 0..30 {
            limiter.leave(Priority::Critical);
        }
        assert_eq!(limiter.in_flight, 0);
        // ... and half of the limit is open to others nevertheless, for as long as it is not in use.
        let entered = (0..100).filter(|_| limiter.enter(Priority::Normal)).count();
        assert_eq!(entered, 10);
        let room = (0..100).filter(|_| limiter.enter(Priority::Critical)).count();
        assert_eq!(room, 20);
    }

    #[test]
    fn critical_calls_find_room_when_others_do_not() {
        let mut limiter = limiter();
        while limiter.enter(Priority::Low) {}
        assert!(limiter.enter(Priority::High) && limiter.enter(Priority::Critical));
        while limiter.enter(Priority::High) {}
        assert!(limiter.enter(Priority::Critical));
        limiter.leave(Priority::Critical);
    }
}
