//! How often records come, and how far they go: the tail by which a record is judged.
//!
//! Of independent samples the n-th is a record with probability rho / n, and the excess of a record has, as the excess over any
//! high limit, an exponential tail to first order (Pickands, "Statistical inference using extreme order statistics", 1975).
//! Both numbers are learned per stream, from a prior that a few records outweigh. With the mean known from k records only, the
//! next one has a Pareto tail of index k (the predictive distribution of an exponential with a gamma prior): few records make
//! wide limits.

use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// Records are this much more frequent than those of a single one-sided stream, unless found otherwise: several views, two sides.
const RATE_PRIOR: f32 = 2.0;
/// In how many expected records the prior of the rate is worth.
const RATE_WEIGHT: f32 = 1.0;
/// Mean excess of a record in ranges, unless found otherwise: that of normal noise after a few hundred samples.
const EXCESS_PRIOR: f32 = 0.04;
/// Records come in clusters, from several views of one event: this share of them tells something of its own.
const INDEPENDENT: f32 = 0.5;
/// One absurd record must not hide all others.
const EXCESS_MAX: f32 = 0.5;

/// The tail of one stream of records. In `SURE` records the prior of their excess is worth: few, where nothing is known of what the
/// stream is drawn from.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Records<const SURE: u8> {
    seen: f32,
    expected: f32,
    squares: f32,
}

impl<const SURE: u8> Records<SURE> {
    /// Takes the `n`-th sample in; `record` is its excess in ranges if it is one.
    pub fn learn(&mut self, n: f64, record: Option<f64>) {
        self.expected += (1.0 / n.max(1.0)) as f32;
        if let Some(excess) = record {
            self.seen += 1.0;
            self.squares += (excess as f32).min(EXCESS_MAX).powi(2);
        }
    }

    /// How many records as high as `excess` are expected where `samples` are looked at, `n` of which have been seen.
    #[must_use]
    pub fn expected(&self, excess: f64, n: f64, samples: f64) -> f64 {
        let weight = self.weight();
        self.intensity(n, samples) * (1.0 + excess / (weight * self.mean_excess())).powf(-weight)
    }

    /// The excess that is expected once in `samples`, `n` of which have been seen.
    #[must_use]
    pub fn limit(&self, n: f64, samples: f64) -> f64 {
        let weight = self.weight();
        self.mean_excess() * weight * (self.intensity(n, samples).powf(1.0 / weight) - 1.0).max(0.0)
    }

    /// How many independent records the tail rests on.
    fn weight(&self) -> f64 {
        f64::from(INDEPENDENT * (f32::from(SURE) + self.seen))
    }

    fn intensity(&self, n: f64, samples: f64) -> f64 {
        let rate = (RATE_WEIGHT * RATE_PRIOR + self.seen) / (RATE_WEIGHT + self.expected);
        f64::from(rate) * samples / n.max(1.0)
    }

    /// By the mean square: equal to the mean for an exponential tail, larger for a heavier one.
    fn mean_excess(&self) -> f64 {
        let (prior, sure) = (2.0 * EXCESS_PRIOR * EXCESS_PRIOR, f32::from(SURE));
        f64::from((sure * prior + self.squares) / (sure + self.seen) / 2.0).sqrt()
    }
}

impl<const SURE: u8> Stored for Records<SURE> {
    fn save(&self, writer: &mut Writer) {
        let Self { seen, expected, squares } = self;
        writer.put(seen).put(expected).put(squares);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self { seen: reader.get()?, expected: reader.get()?, squares: reader.get()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn larger_records_raise_the_limit_and_longer_memory_lowers_it() {
        let (mut small, mut large) = (Records::<2>::default(), Records::<2>::default());
        for i in 1..=1_000 {
            let is_record = i % 100 == 0;
            small.learn(f64::from(i), is_record.then_some(0.02));
            large.learn(f64::from(i), is_record.then_some(0.2));
        }
        assert!(large.limit(1e3, 8e3) > 3.0 * small.limit(1e3, 8e3));
        assert!(small.limit(4e3, 8e3) < small.limit(1e3, 8e3));
        let limit = small.limit(1e3, 8e3);
        assert!((small.expected(limit, 1e3, 8e3) - 1.0).abs() < 1e-9, "one is expected at the limit");
    }

    #[test]
    fn who_is_sure_beforehand_needs_less_room() {
        let (open, sure) = (Records::<2>::default(), Records::<6>::default());
        assert!(sure.limit(150.0, 2e3) < 0.6 * open.limit(150.0, 2e3));
        assert!((sure.expected(sure.limit(150.0, 2e3), 150.0, 2e3) - 1.0).abs() < 1e-9);
    }
}
