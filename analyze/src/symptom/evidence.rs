//! Sequential evidence that events go bad more often than they may: sums of log-likelihood ratios that never fall below zero,
//! against several alternatives at once, so that both a landslide and a trickle are seen as early as chance allows.

use std::time::Duration;

use crate::learn::Settings;
use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// How many alternatives are watched: a trickle, a stream, a landslide.
const ALTERNATIVES: usize = 3;
/// Sums are cut at this many times the threshold, so that old trouble is forgotten in time.
const CAP: f64 = 1.5;
/// Share of the budget's exponent that must be reached. Healthy events go bad at most half as often as they may; the test's
/// false alarms are then rarer by the power 4/3 (for ten times the allowed share it is 1.41), which meets the budget.
const EXPONENT_SHARE: f64 = 0.75;
/// A tick in which this share goes bad opens at once,
const LANDSLIDE_RATIO: f64 = 0.3;
/// if there were so many events,
const LANDSLIDE_EVENTS: f64 = 5.0;
/// and chance would do that less than once in a thousand ticks.
const LANDSLIDE_NATS: f64 = 6.9;

/// How often events may go bad, and what would be too often.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hypotheses {
    /// Share that is normal or allowed.
    pub normal: f64,
    /// Shares that are too much, ascending, each above `normal` and below 1.
    pub alternatives: [f64; ALTERNATIVES],
}

impl Hypotheses {
    /// For a budget: twice as fast, ten times as fast, a landslide.
    #[must_use]
    pub fn budget(allowed: f64) -> Self {
        let normal = allowed.clamp(1e-6, 0.45);
        let least = |share: f64, factor: f64| share.max(factor * normal).min(0.95);
        Self { normal, alternatives: [least(0.0, 2.0), least(0.0, 10.0), least(LANDSLIDE_RATIO, 2.0)] }
    }

    /// For calls that usually fail this often: twice that is still taken as normal, because the test needs that room to keep its
    /// budget. Without history, or with a perfect one, one failure in a thousand is normal; more than one in twenty never is.
    #[must_use]
    pub fn baseline(usual: f64) -> Self {
        let normal = (2.0 * usual).clamp(0.001, 0.05);
        Self { normal, alternatives: [(3.0 * normal).max(0.02), (6.0 * normal).max(0.1), LANDSLIDE_RATIO] }
    }
}

/// The sums of one test.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Sequential {
    sums: [f64; ALTERNATIVES],
}

impl Sequential {
    /// Takes in one tick's events; says how far the evidence goes, 1 being enough.
    pub fn observe(&mut self, total: f64, bad: f64, hypotheses: &Hypotheses, threshold: f64) -> f64 {
        let Hypotheses { normal, alternatives } = *hypotheses;
        let mut landslide = false;
        for (sum, share) in self.sums.iter_mut().zip(alternatives) {
            let nats = bad * (share / normal).ln() + (total - bad) * ((1.0 - share) / (1.0 - normal)).ln();
            *sum = (*sum + nats).clamp(0.0, CAP * threshold);
            landslide |=
                total >= LANDSLIDE_EVENTS && bad >= LANDSLIDE_RATIO * total && nats >= LANDSLIDE_NATS;
        }
        if landslide {
            return 1.0;
        }
        self.sums.iter().fold(0.0, |most: f64, sum| most.max(sum / threshold)).min(1.0)
    }

    /// Starts over.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

/// How much evidence opens a symptom, in nats, so that false ones keep within the budget.
#[must_use]
pub fn threshold(settings: &Settings, interval: Duration) -> f64 {
    -settings.false_alarm_probability(interval).ln() * EXPONENT_SHARE
}

impl Stored for Sequential {
    fn save(&self, writer: &mut Writer) {
        writer.list(&self.sums);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let sums: Vec<f64> = reader.list()?;
        sums.try_into().map(|sums| Self { sums }).map_err(|_| reader.damaged())
    }
}

#[cfg(test)]
mod tests {
    use chassis::IdGenerator;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ticks_to_open(total: f64, bad: f64, hypotheses: &Hypotheses) -> Option<usize> {
        let threshold = threshold(&Settings::default(), SECOND);
        let mut test = Sequential::default();
        (1..=2_000).find(|_| test.observe(total, bad, hypotheses, threshold) >= 1.0)
    }

    #[test]
    fn the_stronger_the_burn_the_sooner() {
        let budget = Hypotheses::budget(0.01);
        assert_eq!(ticks_to_open(50.0, 50.0, &budget), Some(1));
        assert_eq!(ticks_to_open(50.0, 15.0, &budget), Some(1), "30 % at once");
        assert_eq!(ticks_to_open(50.0, 5.0, &budget), Some(2), "ten times the budget at the next tick");
        let slow = ticks_to_open(50.0, 1.5, &budget).unwrap();
        assert!((5..60).contains(&slow), "{slow}");
        assert_eq!(ticks_to_open(50.0, 0.5, &budget), None, "within budget never");
    }

    #[test]
    fn few_calls_take_longer_than_many() {
        let clean = Hypotheses::baseline(0.0);
        assert_eq!(ticks_to_open(5.0, 5.0, &clean), Some(1));
        assert_eq!(ticks_to_open(10.0, 3.0, &clean), Some(1));
        assert_eq!(ticks_to_open(1.0, 1.0, &clean), Some(2));
        let noisy = Hypotheses::baseline(0.02);
        assert!(
            ticks_to_open(5.0, 2.0, &noisy).unwrap() > 1,
            "two of five are no landslide where three in a hundred are normal"
        );
    }

    #[test]
    fn false_openings_keep_within_the_budget_at_half_the_allowed_share() {
        let threshold = threshold(&Settings::default(), SECOND);
        let budget = Hypotheses::budget(0.01);
        let mut ids = IdGenerator::from_seed(5);
        for events in [1, 5, 50] {
            let mut test = Sequential::default();
            // 200,000 ticks are a twelfth of the budget's four weeks at 1 s: not even one in twelve such runs may open.
            let opened = (0..200_000).any(|_| {
                let bad = (0..events).filter(|_| ids.unit_f64() < 0.005).count();
                test.observe(f64::from(events), bad as f64, &budget, threshold) >= 1.0
            });
            assert!(!opened, "{events} events a tick");
        }
    }
}
