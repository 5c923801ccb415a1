//! What is expected now: a level that follows over a week, and a profile of the day on top of it.
//!
//! The profile has a knot for each hour and is straight in between; knots follow by normalised least mean squares (Widrow and
//! Hoff, 1960). Level and profile learn from what they left unexplained.

use crate::learn::Moments;
use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

const HOURS: usize = 24;
const HOUR: f64 = 3_600.0;
/// Seconds in which the level follows.
const LEVEL: f64 = 7.0 * 86_400.0;
/// Seconds until the profile has been through each hour twice.
const SETTLED: f64 = 2.0 * 86_400.0;
/// Samples that a knot remembers: two weeks at 5 minutes.
const KNOT_SAMPLES: f32 = 200.0;
/// Samples over which it is measured how much the profile explains.
const FIT_SAMPLES: f64 = 2_000.0;
/// The profile is trusted while it leaves less than this share of the variance.
const LEFT_MAX: f64 = 0.5;

/// Level and daily profile of a series.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Baseline {
    level: f64,
    samples: f64,
    age: f64,
    knots: [Knot; HOURS],
    left: Moments,
    all: Moments,
}

#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Knot {
    offset: f32,
    seen: f32,
}

/// The two knots around a moment, and how far it is from the first to the second.
fn place(at: f64) -> (usize, usize, f64) {
    let hours = (at / HOUR).rem_euclid(HOURS as f64);
    let first = hours as usize % HOURS;
    (first, (first + 1) % HOURS, hours.fract())
}

impl Baseline {
    /// What is expected at that moment.
    pub(crate) fn expected(&self, at: f64) -> f64 {
        self.level + self.offset(at)
    }

    /// Whether it has been through each hour twice.
    pub(crate) fn is_settled(&self) -> bool {
        self.age >= SETTLED
    }

    /// Whether the profile explains much of the series.
    pub(crate) fn is_seasonal(&self) -> bool {
        self.left.mean() < LEFT_MAX * self.all.mean()
    }

    /// What is left of a value; then it is learned. `seconds` have passed since the one before.
    pub(crate) fn learn(&mut self, at: f64, seconds: f64, value: f64) -> f64 {
        if self.samples == 0.0 {
            self.level = value;
        }
        self.samples += 1.0;
        self.age += seconds;
        let offset = self.offset(at);
        let left = value - self.level - offset;
        self.left.learn(left * left, FIT_SAMPLES);
        self.all.learn((left + offset) * (left + offset), FIT_SAMPLES);
        let share = (1.0 / self.samples).max(seconds / (LEVEL + seconds));
        self.level += share * left;
        let (first, second, way) = place(at);
        self.knots[first].learn(left, 1.0 - way);
        self.knots[second].learn(left, way);
        left
    }

    /// What the profile adds to the level at that moment.
    pub(crate) fn offset(&self, at: f64) -> f64 {
        let (first, second, way) = place(at);
        f64::from(self.knots[first].offset) * (1.0 - way) + f64::from(self.knots[second].offset) * way
    }
}

impl Knot {
    fn learn(&mut self, left: f64, weight: f64) {
        self.seen = (self.seen + weight as f32).min(KNOT_SAMPLES);
        // Kept finite in the shorter format, whatever comes.
        let offset = f64::from(self.offset) + weight * left / f64::from(self.seen.max(1.0));
        self.offset = offset.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32;
    }
}

impl Stored for Baseline {
    fn save(&self, writer: &mut Writer) {
        let Self { level, samples, age, knots, left, all } = self;
        writer.put(level).put(samples).put(age).put(left).put(all);
        for Knot { offset, seen } in knots {
            writer.put(offset).put(seen);
        }
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let (level, samples, age, left, all) =
            (reader.get()?, reader.get()?, reader.get()?, reader.get()?, reader.get()?);
        let mut knots = [Knot::default(); HOURS];
        for knot in &mut knots {
            *knot = Knot { offset: reader.get()?, seen: reader.get()? };
        }
        Ok(Self { level, samples, age, knots, left, all })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::generate::{Family, Generator};

    #[test]
    fn a_day_is_learned_and_noise_has_none() {
        let learned = |family| {
            let mut baseline = Baseline::default();
            for (at, value) in Generator::new(family, 300.0, 3).take(4_000) {
                baseline.learn(at.as_second() as f64, 300.0, value);
            }
            baseline
        };
        assert!(learned(Family::Seasonal).is_seasonal());
        assert!(!learned(Family::Gaussian).is_seasonal());
    }
}
