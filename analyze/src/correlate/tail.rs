//! How large residuals usually are: decayed counts of their size by half octaves, and the scale that puts the rare ones where a
//! normal distribution has them.

use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// Half octaves: sizes from 1 to a million, which covers quantised signals and their outliers.
const BUCKETS: usize = 40;
/// The scale rests on the size that 1 in 100 exceeds: rarer ones are too few to know, commoner ones say little of the tail.
const ANCHOR: f64 = 0.01;

/// Degrees of freedom per rare size: a scale that n sizes beyond x deviations give has a relative variance of 1/(n x⁴) where they
/// are normal, as one of n x⁴/2 degrees of freedom; x is 2.58 for 1 in 100.
const FREEDOM: f64 = 22.0;

/// What one deviation is, and how well that is known, in degrees of freedom.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scale {
    pub(crate) deviation: f64,
    pub(crate) known_by: f64,
}

impl Scale {
    /// Deviations of a normal distribution that are as improbable as this residual. The scale is an estimate, so the
    /// residual is of Student's distribution: with n degrees of freedom -2 ln p is about (n + 1) ln(1 + x²/n). Ten times the
    /// larger of two sizes says little, ten times the usual of thousands a lot.
    pub(crate) fn deviations(&self, residual: f64) -> f64 {
        let far = residual / self.deviation;
        let square = (self.known_by + 1.0) * (far * far / self.known_by).ln_1p();
        square.sqrt().copysign(residual)
    }
}

/// Sizes of residuals.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tail {
    counts: [f32; BUCKETS],
    /// Weight of all samples, those at zero too.
    total: f64,
    /// Weight of those that moved.
    moved: f64,
    /// Half octave of the lowest bucket.
    base: i32,
}

impl Default for Tail {
    fn default() -> Self {
        Self { counts: [0.0; BUCKETS], total: 0.0, moved: 0.0, base: 0 }
    }
}

impl Tail {
    /// Takes a residual in with this weight.
    pub(crate) fn learn(&mut self, residual: f64, weight: f64) {
        self.total += weight;
        if residual == 0.0 || !residual.is_finite() {
            return;
        }
        let half_octave = (2.0 * residual.abs().log2()).floor() as i32;
        if self.moved == 0.0 {
            self.base = half_octave - BUCKETS as i32 / 2;
        }
        self.moved += weight;
        let place = half_octave - self.base;
        if place >= BUCKETS as i32 {
            self.shift(place + 1 - BUCKETS as i32);
        }
        let place = (half_octave - self.base).clamp(0, BUCKETS as i32 - 1) as usize;
        self.counts[place] += weight as f32;
    }

    /// Makes room above; what falls out below joins the lowest bucket.
    fn shift(&mut self, by: i32) {
        let steps = (by.max(0) as usize).min(BUCKETS);
        let fallen: f32 = self.counts[..steps].iter().sum();
        self.counts.copy_within(steps.., 0);
        self.counts[BUCKETS - steps..].fill(0.0);
        self.counts[0] += fallen;
        self.base += by;
    }

    /// Size that would be one standard deviation if the rare sizes were those of a normal distribution. Of a signal that moves
    /// less often than 1 in 50, the usual move is the anchor. `unit` is the weight of one sample now. `None` while nothing ever moved.
    pub(crate) fn scale(&self, unit: f64) -> Option<Scale> {
        if self.moved <= 0.0 || self.total <= 0.0 {
            return None;
        }
        let share = ANCHOR.min(0.5 * self.moved / self.total);
        let deviation = self.exceeded_by(share) / deviations(share);
        let known_by = FREEDOM * (share * self.total / unit).max(1.0);
        (deviation > 0.0).then_some(Scale { deviation, known_by })
    }

    /// How far out the first move ever is: as far as history is long. `unit` is the weight of one sample now.
    pub(crate) fn first_move(&self, unit: f64) -> f64 {
        deviations(1.0 / (2.0 + self.total / unit))
    }

    /// Size that this share of all samples exceeds.
    pub(crate) fn exceeded_by(&self, share: f64) -> f64 {
        let wanted = share * self.total;
        let mut above = 0.0;
        for bucket in (0..BUCKETS).rev() {
            let count = f64::from(self.counts[bucket]);
            if above + count >= wanted && count > 0.0 {
                let upper = 1.0 - (wanted - above) / count;
                return (0.5 * (f64::from(self.base + bucket as i32) + upper)).exp2();
            }
            above += count;
        }
        0.0
    }

    /// Multiplies all counts, to keep them small.
    pub(crate) fn rescale(&mut self, factor: f64) {
        self.total *= factor;
        self.moved *= factor;
        self.counts.iter_mut().for_each(|count| *count *= factor as f32);
    }
}

/// Standard deviations that this share of a normal distribution is beyond, on both sides (Abramowitz and Stegun 26.2.23).
fn deviations(share: f64) -> f64 {
    let t = (-2.0 * (0.5 * share.clamp(1e-15, 0.9)).ln()).sqrt();
    t - (2.515_517 + t * (0.802_853 + t * 0.010_328))
        / (1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308)))
}

impl Stored for Scale {
    fn save(&self, writer: &mut Writer) {
        let Self { deviation, known_by } = self;
        writer.put(deviation).put(known_by);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self { deviation: reader.get()?, known_by: reader.get()? })
    }
}

impl Stored for Tail {
    fn save(&self, writer: &mut Writer) {
        let Self { counts, total, moved, base } = self;
        writer.put(counts).put(total).put(moved).put(base);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self { counts: reader.get()?, total: reader.get()?, moved: reader.get()?, base: reader.get()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deviation(tail: &Tail) -> f64 {
        tail.scale(1.0).unwrap().deviation
    }

    #[test]
    fn the_scale_of_normal_residuals_is_their_standard_deviation() {
        let mut tail = Tail::default();
        // Sizes of a normal distribution of deviation 3, by its quantiles.
        (0..20_000).for_each(|i| tail.learn(3.0 * deviations((f64::from(i) + 0.5) / 20_000.0), 1.0));
        let scale = deviation(&tail);
        assert!((scale - 3.0).abs() < 0.2, "{scale}");
    }

    #[test]
    fn a_signal_that_seldom_moves_has_the_scale_of_its_moves() {
        let mut tail = Tail::default();
        (0..10_000).for_each(|i| tail.learn(if i % 1_000 == 0 { 8.0 } else { 0.0 }, 1.0));
        let usual = 8.0 / deviation(&tail);
        assert!((2.5..4.0).contains(&usual), "one in a thousand is {usual} deviations");
    }

    #[test]
    fn a_first_move_is_as_far_out_as_history_is_long() {
        let mut tail = Tail::default();
        (0..1_000).for_each(|_| tail.learn(0.0, 1.0));
        assert_eq!(tail.scale(1.0), None);
        assert!((tail.first_move(1.0) - 3.29).abs() < 0.05);
        assert!((deviations(0.05) - 1.96).abs() < 0.01 && (deviations(0.002_7) - 3.0).abs() < 0.01);
    }

    #[test]
    fn room_is_made_for_sizes_beyond_the_range() {
        let mut tail = Tail::default();
        (0..100).for_each(|_| tail.learn(1e-9, 1.0));
        (0..100).for_each(|_| tail.learn(-1e12, 1.0));
        assert!((1e11..1e13).contains(&tail.exceeded_by(0.4)));
        assert!(tail.exceeded_by(0.6) < 1e7, "the small ones stay below");
        tail.learn(f64::INFINITY, 1.0);
        assert!(deviation(&tail).is_finite());
    }
}
