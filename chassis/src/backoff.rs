//! How long to wait before trying again: exponential, bounded, and jittered so that a crowd spreads out.

use std::time::Duration;

/// A rule for growing waits. Pure: chance comes in as an argument.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// The wait before the first retry.
    pub initial: Duration,
    /// By what each next wait is longer.
    pub factor: f64,
    /// No wait is longer, before or after jitter.
    pub max: Duration,
    /// The share of a wait by which chance may change it, up or down: 0.2 gives 0.8 to 1.2 of it.
    pub jitter: f64,
}

impl Default for Backoff {
    /// 100 ms × 1.6ⁿ reaches the 10 s bound at the tenth retry, after 26 s in all.
    fn default() -> Self {
        Self { initial: Duration::from_millis(100), factor: 1.6, max: Duration::from_secs(10), jitter: 0.2 }
    }
}

impl Backoff {
    /// The wait before retry number `attempt` (the first is 0), given `unit` in [0, 1) from the caller's generator.
    #[must_use]
    pub fn delay(&self, attempt: u32, unit: f64) -> Duration {
        let exponent = i32::try_from(attempt).unwrap_or(i32::MAX);
        let max = self.max.as_secs_f64();
        // `min` also turns an overflow to infinity, and NaN from 0 × infinity, into the bound.
        let base = (self.initial.as_secs_f64() * self.factor.powi(exponent)).min(max);
        let spread = 1.0 + self.jitter.clamp(0.0, 1.0) * (2.0 * unit.clamp(0.0, 1.0) - 1.0);
        Duration::try_from_secs_f64((base * spread).min(max)).unwrap_or(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: f64 = 0.5;

    #[test]
    fn waits_grow_by_the_factor_until_the_bound() {
        let waits: Vec<u128> =
            [0, 1, 2, 9, 10, 11].map(|n| Backoff::default().delay(n, HALF).as_millis()).to_vec();
        assert_eq!(waits, [100, 160, 256, 6871, 10_000, 10_000]);
    }

    #[test]
    fn jitter_keeps_within_its_share_and_the_bound() {
        let backoff = Backoff::default();
        for attempt in 0..40 {
            let middle = backoff.delay(attempt, HALF).as_secs_f64();
            for step in 0..100 {
                let wait = backoff.delay(attempt, f64::from(step) / 100.0).as_secs_f64();
                assert!(wait >= middle * 0.8 - 1e-9, "attempt {attempt}: {wait} against {middle}");
                assert!(
                    wait <= (middle * 1.2 + 1e-9).min(10.0),
                    "attempt {attempt}: {wait} against {middle}"
                );
            }
        }
    }

    #[test]
    fn absurd_rules_still_give_a_bounded_wait() {
        let max = Duration::from_secs(1);
        for factor in [0.0, 1.0, 1e300, f64::INFINITY, f64::NAN] {
            for initial in [Duration::ZERO, Duration::from_secs(3600)] {
                for jitter in [-1.0, 0.0, 5.0] {
                    let backoff = Backoff { initial, factor, max, jitter };
                    assert!(backoff.delay(u32::MAX, 0.99) <= max, "{backoff:?}");
                }
            }
        }
    }
}
