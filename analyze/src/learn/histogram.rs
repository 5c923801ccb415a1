//! Counts of positive numbers in buckets of equal relative width, found from the bits of the number without a logarithm.
//!
//! A count takes two bytes: it is kept to 11 bits, so exactly up to 2,048 times the weight of one sample, and what is added to a
//! larger one is rounded up or down with the probabilities that keep its mean right (Morris 1978 counts in a byte that way). The
//! counts of a tail are small; those in the middle, where 3 % change nothing, are large.

use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// Bits of the mantissa in a `f64`.
const MANTISSA_BITS: u32 = 52;

/// `N` buckets, `2^BITS` to an octave. What lies outside the covered range counts in the first or last bucket.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram<const BITS: u32, const N: usize> {
    base: i32,
    counts: [Count; N],
}

/// A count: 6 bits of exponent, 10 of mantissa, no sign. 0 is nothing, the least is 2^-16.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Count(u16);

/// Bits of the mantissa that a `f32` has and a count has not.
const DROPPED: u32 = 13;
/// The exponent of a `f32` that a count's lowest stands for.
const LOWEST: u32 = 127 - 16;

impl Count {
    /// `dither` decides which way is rounded: uniform over all its values, the mean is right.
    fn of(count: f32, dither: u32) -> Self {
        if count.is_nan() || count <= 0.0 {
            return Self(0);
        }
        let bits = count.to_bits().saturating_add(dither >> (32 - DROPPED)) >> DROPPED;
        // 1 is the least: what is less than that is as good as nothing.
        Self(bits.saturating_sub(LOWEST << (23 - DROPPED)).min(u32::from(u16::MAX)) as u16)
    }

    fn value(self) -> f32 {
        if self.0 == 0 {
            0.0
        } else {
            f32::from_bits((u32::from(self.0) + (LOWEST << (23 - DROPPED))) << DROPPED)
        }
    }
}

/// Bits that look like chance but are the same for the same numbers: the finaliser of MurmurHash3 (Appleby 2011).
fn scattered(value: u64, weight: f32) -> u32 {
    let mut bits = value ^ (u64::from(weight.to_bits()) << 32);
    bits = (bits ^ (bits >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    bits = (bits ^ (bits >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    (bits >> 32) as u32
}

/// The number of the bucket that holds `value` in an endless row of buckets.
fn number<const BITS: u32>(value: f64) -> i32 {
    // The sign bit is 0, so 11 + BITS bits remain: at most 2^17 for the finest histogram used.
    (value.to_bits() >> (MANTISSA_BITS - BITS)) as i32
}

/// The lower edge of a bucket.
fn edge<const BITS: u32>(number: i32) -> f64 {
    f64::from_bits((number.max(0) as u64) << (MANTISSA_BITS - BITS))
}

impl<const BITS: u32, const N: usize> Histogram<BITS, N> {
    /// Empty, with `middle` in its middle bucket.
    #[must_use]
    pub fn around(middle: f64) -> Self {
        Self { base: number::<BITS>(middle) - N as i32 / 2, counts: [Count(0); N] }
    }

    /// Counts a positive, finite value.
    pub fn add(&mut self, value: f64, weight: f32) {
        let bucket = (number::<BITS>(value) - self.base).clamp(0, N as i32 - 1);
        let count = &mut self.counts[bucket as usize];
        *count = Count::of(count.value() + weight, scattered(value.to_bits(), weight));
    }

    /// The buckets from the lowest: lower edge, upper edge, count.
    pub fn buckets(&self) -> impl DoubleEndedIterator<Item = (f64, f64, f64)> + '_ {
        let bounds = |i: usize| (edge::<BITS>(self.base + i as i32), edge::<BITS>(self.base + i as i32 + 1));
        self.counts.iter().enumerate().map(move |(i, count)| {
            let (lower, upper) = bounds(i);
            (lower, upper, f64::from(count.value()))
        })
    }

    /// The sum of all counts.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.counts.iter().map(|count| f64::from(count.value())).sum()
    }

    /// The value below which this share of the counts lies; `None` when empty.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<f64> {
        quantile(self.buckets(), 0.0, self.total(), share)
    }

    /// Multiplies all counts.
    pub fn scale(&mut self, factor: f32) {
        for (i, count) in self.counts.iter_mut().enumerate() {
            *count = Count::of(count.value() * factor, scattered(i as u64, count.value()));
        }
    }

    /// Which bucket `value` falls into, also beyond the covered range.
    #[must_use]
    pub fn position(&self, value: f64) -> i32 {
        number::<BITS>(value) - self.base
    }

    /// Covers another range, `by` buckets further up; what falls out counts in the first or last bucket.
    pub fn shift(&mut self, by: i32) {
        let mut counts = [0.0_f32; N];
        for (i, count) in self.counts.iter().enumerate() {
            counts[(i as i32).saturating_sub(by).clamp(0, N as i32 - 1) as usize] += count.value();
        }
        self.base = self.base.saturating_add(by);
        // Only what fell together at an end is rounded.
        self.counts = counts.map(|count| Count::of(count, scattered(0, count)));
    }
}

/// The quantile over buckets in ascending order, with `zeros` below them and `total` in all.
pub(crate) fn quantile(
    buckets: impl Iterator<Item = (f64, f64, f64)>,
    zeros: f64,
    total: f64,
    share: f64,
) -> Option<f64> {
    if total <= 0.0 {
        return None;
    }
    let wanted = share.clamp(0.0, 1.0) * total;
    let mut below = zeros;
    if wanted <= below {
        return Some(0.0);
    }
    let mut last = 0.0;
    for (lower, upper, count) in buckets {
        if count <= 0.0 {
            continue;
        }
        if below + count >= wanted {
            return Some(lower + (upper - lower) * ((wanted - below) / count));
        }
        below += count;
        last = upper;
    }
    Some(last)
}

impl<const BITS: u32, const N: usize> Stored for Histogram<BITS, N> {
    fn save(&self, writer: &mut Writer) {
        let used: Vec<_> = self.counts.iter().enumerate().filter(|(_, count)| count.0 > 0).collect();
        writer.put(&self.base).put(&(used.len() as u16));
        for (i, count) in used {
            writer.put(&(i as u16)).put(&count.0);
        }
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let mut histogram = Self { base: reader.get()?, counts: [Count(0); N] };
        for _ in 0..reader.get::<u16>()? {
            let (i, count) = (usize::from(reader.get::<u16>()?), Count(reader.get()?));
            let damaged = reader.damaged();
            *histogram.counts.get_mut(i).ok_or(damaged)? = count;
        }
        Ok(histogram)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Coarse = Histogram<3, 128>;

    #[test]
    fn quantiles_are_within_a_bucket_of_the_truth() {
        let mut histogram = Coarse::around(1.0);
        (1..=10_000).for_each(|i| histogram.add(f64::from(i) / 1_000.0, 1.0));
        for share in [0.1, 0.5, 0.9, 0.99] {
            let found = histogram.quantile(share).unwrap();
            assert!((found / (10.0 * share) - 1.0).abs() < 0.02, "{share}: {found}");
        }
        assert_eq!(Coarse::around(1.0).quantile(0.5), None);
    }

    #[test]
    fn what_is_beyond_the_range_still_counts() {
        let mut histogram = Coarse::around(1.0);
        for value in [f64::MIN_POSITIVE, 1e-300, 1.0, 1e300] {
            histogram.add(value, 1.0);
        }
        assert_eq!(histogram.total(), 4.0);
    }

    #[test]
    fn counts_are_exact_while_small_and_right_on_average_when_large() {
        let mut histogram = Coarse::around(1.0);
        (0..2_048).for_each(|_| histogram.add(1.0, 1.0));
        assert_eq!(histogram.total(), 2_048.0);
        // As residuals are counted: the weight grows a little with each.
        let (mut weight, mut sum) = (1.0_f64, 2_048.0);
        for i in 0..100_000 {
            histogram.add(1.0 + f64::from(i % 3) / 1e3, weight as f32);
            sum += weight;
            weight *= 1.0 + 1.0 / 40_000.0;
        }
        assert!((histogram.total() / sum - 1.0).abs() < 0.03, "{} {sum}", histogram.total());
        let before = histogram.total();
        (0..50).for_each(|_| histogram.scale(0.7));
        assert!((histogram.total() / before / 0.7_f64.powi(50) - 1.0).abs() < 0.02, "{}", histogram.total());
    }

    #[test]
    fn a_count_holds_what_samples_can_bring_and_nothing_that_is_no_count() {
        for weight in [1.0 / 512.0, 1.0, 1e6, 4e10] {
            let count = Count::of(weight, 0).value();
            assert!((f64::from(count) / f64::from(weight) - 1.0).abs() < 1e-3, "{weight}: {count}");
        }
        for nothing in [0.0, -1.0, f32::NAN, 1e-9] {
            assert_eq!(Count::of(nothing, u32::MAX).value(), 0.0);
        }
        assert!(Count::of(f32::INFINITY, u32::MAX).value().is_finite());
    }

    #[test]
    fn shifting_keeps_counts_and_places() {
        let mut histogram = Coarse::around(1.0);
        histogram.add(1.0, 2.0);
        histogram.add(4.0, 1.0);
        let before = histogram.quantile(0.5);
        histogram.shift(16);
        assert_eq!((histogram.total(), histogram.quantile(0.5)), (3.0, before));
        histogram.shift(i32::MAX);
        assert_eq!(histogram.total(), 3.0);
    }
}
