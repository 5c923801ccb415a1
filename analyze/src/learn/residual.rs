//! How far samples lie from what was expected of them, above and below, and the limits that hardly any normal one crosses.

use statrs::distribution::{ContinuousCDF, Normal};

use super::histogram::{self, Histogram};
use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// Samples after which a residual counts 1/e: 11 hours at 1 s, a week at 15 s.
const MEMORY_SAMPLES: f64 = 40_000.0;
/// Weights grow instead of old counts shrinking; at this weight all are scaled back.
const GAIN_MAX: f64 = 1e6;
/// The tail is fitted to this share of all samples,
const TAIL_SHARE: f64 = 0.02;
/// and to at least this many: their mean excess is then known to 30 %.
const TAIL_SAMPLES_MIN: f64 = 10.0;
/// Heaviest tail that is believed: beyond it a limit would say nothing any more.
const SHAPE_MAX: f64 = 0.25;
/// The highest samples say nothing about the shape: one accident must not make every tail heavy.
const TRIMMED_SAMPLES: f64 = 2.0;
/// Standard deviation of a normal distribution over its median absolute deviation, and over its mean absolute deviation.
const SIGMA_PER_MEDIAN: f64 = 1.4826;
const SIGMA_PER_MEAN: f64 = 1.2533;
/// 8 buckets to an octave tell numbers apart by 9 %; 128 of them span a ratio of 65,536.
type Side = Histogram<3, 128>;
/// Where the median should lie among the buckets: room for 1/128 of it below, and 512 times it above.
const MEDIAN_BUCKET: i32 = 56;
/// How far it may wander from there before the range is moved: two octaves.
const MEDIAN_SLACK: i32 = 16;

/// Decayed distribution of residuals.
#[derive(Debug, Clone, PartialEq)]
pub struct Residuals {
    /// Apart from the rest: of its half kibibyte a sample touches a line or two, and a flat signal has none.
    sides: Option<Box<Sides>>,
    zero: f32,
    gain: f64,
}

#[derive(Debug, Clone, PartialEq)]
struct Sides {
    below: Side,
    above: Side,
}

/// Limits on the residual, and what they rest on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Not above zero.
    pub lower: f64,
    /// Not below zero.
    pub upper: f64,
    /// Robust standard deviation of the residual.
    pub scale: f64,
    /// Whether a tail was heavier than an exponential one.
    pub heavy: bool,
}

impl Default for Residuals {
    fn default() -> Self {
        Self { sides: None, zero: 0.0, gain: 1.0 }
    }
}

impl Residuals {
    /// Takes in one finite residual.
    pub fn add(&mut self, residual: f64, weight: f64) {
        let size = residual.abs();
        let counted = (self.gain * weight) as f32;
        if size < f64::MIN_POSITIVE {
            self.zero += counted;
        } else {
            let sides = self.sides.get_or_insert_with(|| Box::new(Sides::around(size)));
            let side = if residual < 0.0 { &mut sides.below } else { &mut sides.above };
            side.add(size, counted);
        }
        self.gain *= 1.0 + weight / MEMORY_SAMPLES;
        if self.gain > GAIN_MAX {
            self.fade(1.0);
        }
    }

    /// Makes everything so far count `share` of what it did.
    pub fn fade(&mut self, share: f64) {
        let factor = (share / self.gain) as f32;
        self.zero *= factor;
        if let Some(Sides { below, above }) = self.sides.as_deref_mut() {
            below.scale(factor);
            above.scale(factor);
        }
        self.gain = 1.0;
    }

    /// Keeps the median inside the covered range. Cheap, but not needed at every sample.
    pub fn recentre(&mut self) {
        let median = self.absolute_quantile(0.5).filter(|median| *median > 0.0);
        if let (Some(median), Some(Sides { below, above })) = (median, self.sides.as_deref_mut()) {
            let by = below.position(median) - MEDIAN_BUCKET;
            if by.abs() > MEDIAN_SLACK {
                below.shift(by);
                above.shift(by);
            }
        }
    }

    /// Samples that count now.
    #[must_use]
    pub fn samples(&self) -> f64 {
        self.weight() / self.gain
    }

    /// Robust standard deviation: by the median, or by the mean when most residuals are zero.
    #[must_use]
    pub fn scale(&self) -> f64 {
        match self.absolute_quantile(0.5) {
            None => 0.0,
            Some(median) if median > 0.0 => SIGMA_PER_MEDIAN * median,
            Some(_) => {
                let sum: f64 = self.both().map(|(lower, upper, count)| count * (lower + upper) / 2.0).sum();
                SIGMA_PER_MEAN * sum / self.weight()
            }
        }
    }

    /// Limits that a normal sample crosses with this probability, half of it on each side: an observed quantile, extended by a
    /// fitted tail, never narrower than a normal distribution's.
    #[must_use]
    pub fn limits(&self, probability: f64) -> Limits {
        let scale = self.scale();
        let side_probability = probability / 2.0;
        let floor = scale * normal_quantile(1.0 - side_probability);
        let total = self.weight();
        let side = |side: &Side| tail(side, total, self.gain, side_probability).max_of(floor);
        let (below, above) = match self.sides.as_deref() {
            Some(Sides { below, above }) => (side(below), side(above)),
            None => (Tail::default(), Tail::default()),
        };
        Limits { lower: -below.limit, upper: above.limit, scale, heavy: below.heavy || above.heavy }
    }

    fn weight(&self) -> f64 {
        let sides = self.sides.as_deref().map_or(0.0, |Sides { below, above }| below.total() + above.total());
        f64::from(self.zero) + sides
    }

    fn absolute_quantile(&self, share: f64) -> Option<f64> {
        histogram::quantile(self.both(), f64::from(self.zero), self.weight(), share)
    }

    /// Buckets of absolute residuals: both sides have the same edges.
    fn both(&self) -> impl Iterator<Item = (f64, f64, f64)> + '_ {
        let sides = self.sides.as_deref().into_iter();
        sides.flat_map(|Sides { below, above }| {
            below.buckets().zip(above.buckets()).map(|((lower, upper, a), (_, _, b))| (lower, upper, a + b))
        })
    }
}

impl Sides {
    fn around(size: f64) -> Self {
        Self { below: Side::around(size), above: Side::around(size) }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Tail {
    limit: f64,
    heavy: bool,
}

impl Tail {
    fn max_of(self, floor: f64) -> Self {
        Self { limit: self.limit.max(floor), ..self }
    }
}

/// Peaks over threshold: the excesses over a high quantile follow a generalised Pareto distribution, whose shape is taken as
/// zero (an exponential tail) unless the data insist on a heavier one.
fn tail(side: &Side, total: f64, gain: f64, probability: f64) -> Tail {
    let wanted = (TAIL_SHARE * total).max(TAIL_SAMPLES_MIN * gain);
    let (mut weight, mut start) = (0.0, 0.0);
    for (lower, _, count) in side.buckets().rev() {
        if weight >= wanted {
            break;
        }
        if count > 0.0 {
            (weight, start) = (weight + count, lower);
        }
    }
    // Fewer than three samples tell nothing about a tail.
    if weight < 3.0 * gain {
        return Tail::default();
    }
    let excesses = side.buckets().rev().take_while(|(lower, ..)| *lower >= start);
    let (mut all, mut trimmed, mut left) = (Moments::default(), Moments::default(), TRIMMED_SAMPLES * gain);
    for (lower, upper, count) in excesses {
        let excess = (lower + upper) / 2.0 - start;
        all.add(excess, count);
        let dropped = count.min(left);
        left -= dropped;
        trimmed.add(excess, count - dropped);
    }
    let mean = all.sum / all.weight;
    let doubt = 1.5 / (weight / gain).sqrt();
    let shape = (trimmed.shape() - doubt).clamp(0.0, SHAPE_MAX);
    let span = (weight / total / probability).ln().max(0.0);
    let beyond =
        if shape > 1e-3 { mean * (1.0 - shape) * ((shape * span).exp() - 1.0) / shape } else { mean * span };
    Tail { limit: start + beyond, heavy: shape > 1e-3 }
}

#[derive(Debug, Clone, Copy, Default)]
struct Moments {
    weight: f64,
    sum: f64,
    squares: f64,
}

impl Moments {
    fn add(&mut self, excess: f64, count: f64) {
        self.weight += count;
        self.sum += count * excess;
        self.squares += count * excess * excess;
    }

    /// Shape of a generalised Pareto distribution by the method of moments; 0 when there is nothing to tell it by.
    fn shape(&self) -> f64 {
        let mean = self.sum / self.weight;
        let variance = self.squares / self.weight - mean * mean;
        if variance > 0.0 { 0.5 * (1.0 - mean * mean / variance) } else { 0.0 }
    }
}

/// How many standard deviations lie below this share of a normal distribution.
fn normal_quantile(share: f64) -> f64 {
    Normal::standard().inverse_cdf(share)
}

impl Stored for Residuals {
    fn save(&self, writer: &mut Writer) {
        let Self { sides, zero, gain } = self;
        writer.put(zero).put(gain).put(sides);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let (zero, gain) = (reader.get()?, reader.get()?);
        Ok(Self { sides: reader.get()?, zero, gain })
    }
}

impl Stored for Sides {
    fn save(&self, writer: &mut Writer) {
        let Self { below, above } = self;
        writer.put(below).put(above);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self { below: reader.get()?, above: reader.get()? })
    }
}
