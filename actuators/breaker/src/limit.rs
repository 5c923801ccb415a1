//! A concurrency limit learned from latency (the gradient method of Netflix and Envoy), with two of its known failures mended:
//! the latency without load is learned only while few calls are in flight and nothing is degraded, so that a lasting overload
//! does not become the yardstick; and the limit never falls below a floor that keeps learning possible.

use std::time::Duration;

use crate::outcome::Priority;
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

    /// Learns from a result. `overload`: refused for lack of capacity, or given up waiting.
    pub(crate) fn result(&mut self, now: Duration, latency: Duration, overload: bool, degraded: bool) {
        self.count += 1;
        self.sum += latency.as_secs_f64();
        self.overloads += u32::from(overload);
        if self.count >= WINDOW_RESULTS && now >= self.window_began + WINDOW {
            self.end_window(now, degraded);
        }
    }

    fn end_window(&mut self, now: Duration, degraded: bool) {
        let mean = self.sum / f64::from(self.count);
        let quiet = f64::from(self.busiest) <= QUIET * self.limit;
        if self.base == 0.0 || mean < self.base {
            self.base = mean;
        } else if quiet && !degraded {
            let risen = self.base + BASE_SMOOTHING * (mean - self.base);
            self.base = risen.min(self.base * BASE_RISE_MAX);
        }
        let gradient = (TOLERANCE * self.base / mean.max(1e-9)).clamp(GRADIENT_MIN, 1.0);
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
        (self.busiest, self.count, self.sum, self.overloads) = (self.in_flight, 0, 0.0, 0);
        self.window_began = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
                limiter.result(now, latency, false, true);
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
            limiter.result(Duration::from_millis(30 * round), latency, true, true);
        }
        assert_eq!(limiter.limit(), 4.0);
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
