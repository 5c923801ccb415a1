//! Where a slowly moving stream goes: double exponential smoothing (Brown, "Statistical forecasting for inventory control",
//! 1959). A single one lags behind whatever rises or falls; what it lags by is smoothed, too, and made up for.

use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// Level and slope of about the last `span` samples.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Smoothing {
    once: f64,
    twice: f64,
    seen: f32,
}

impl Smoothing {
    /// Takes `x` in, `steps` intervals after the one before. What lies a whole span back counts no more.
    pub fn slide(&mut self, x: f64, steps: f64, span: f64) {
        if steps > span {
            *self = Self::default();
        }
        self.seen = (self.seen + 1.0).min(span as f32);
        let share = 1.0 / f64::from(self.seen);
        self.once += share * (x - self.once);
        self.twice += share * (self.once - self.twice);
    }

    /// Whether it has seen a whole span.
    #[must_use]
    pub fn is_full(&self, span: f64) -> bool {
        f64::from(self.seen) >= span
    }

    /// What is expected `steps` samples after the last.
    #[must_use]
    pub fn ahead(&self, steps: f64) -> f64 {
        let behind = self.once - self.twice;
        // The slope, by which both lag: one smoothing by span - 1 samples.
        let slope = behind / f64::from(self.seen - 1.0).max(1.0);
        self.once + behind + slope * steps
    }
}

impl Stored for Smoothing {
    fn save(&self, writer: &mut Writer) {
        let Self { once, twice, seen } = self;
        writer.put(once).put(twice).put(seen);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self { once: reader.get()?, twice: reader.get()?, seen: reader.get()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_followed_without_a_lag() {
        let mut smoothing = Smoothing::default();
        (0..500).for_each(|i| smoothing.slide(2.0 * f64::from(i), 1.0, 12.0));
        assert!((smoothing.ahead(3.0) - 2.0 * 502.0).abs() < 1e-6, "{}", smoothing.ahead(3.0));
    }

    #[test]
    fn a_gap_longer_than_the_span_empties_it() {
        let mut smoothing = Smoothing::default();
        (0..100).for_each(|_| smoothing.slide(5.0, 1.0, 10.0));
        assert!(smoothing.is_full(10.0) && smoothing.ahead(3.0) == 5.0);
        smoothing.slide(1.0, 90.0, 10.0);
        assert!(!smoothing.is_full(10.0) && smoothing.ahead(3.0) == 1.0);
    }
}
