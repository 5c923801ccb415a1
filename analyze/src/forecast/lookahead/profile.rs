//! What the load usually is at each minute of a day or a week, newer laps counting more, and by how much it has grown since.

use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

const MINUTE_S: f64 = 60.0;
const DAY_MINUTES: usize = 1_440;
/// A new day counts 40 %: three days make nine tenths of what is remembered, so that a changed schedule is followed.
const DAY_GAIN: f32 = 0.4;
/// A new week counts 60 %: there are few of them.
const WEEK_GAIN: f32 = 0.6;

/// A mean in two bytes: 7 bits of exponent, 9 of mantissa, so right to a thousandth, where the noise of a minute is a hundredth and
/// more. A week takes 20 KB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mean(u16);

/// Nothing was seen; nothing came. Means of a load are not negative.
const UNSEEN: Mean = Mean(0);
const NOTHING: Mean = Mean(1);
/// Bits of the mantissa that a `f32` has and a mean has not.
const DROPPED: u32 = 14;
/// A mean's least exponent, of 2^-40, as a `f32` writes it.
const LOWEST: u32 = (127 - 40) << (23 - DROPPED);

impl Mean {
    fn of(mean: f32) -> Self {
        let rounded = mean.to_bits().saturating_add(1 << (DROPPED - 1)) >> DROPPED;
        let is_nothing = mean.is_nan() || mean <= 0.0 || rounded <= LOWEST + 1;
        if is_nothing { NOTHING } else { Self((rounded - LOWEST).min(u32::from(u16::MAX)) as u16) }
    }

    fn value(self) -> Option<f32> {
        match self {
            UNSEEN => None,
            NOTHING => Some(0.0),
            Self(bits) => Some(f32::from_bits((u32::from(bits) + LOWEST) << DROPPED)),
        }
    }
}

/// The mean of each minute of a lap.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Profile {
    /// Empty until first asked to learn.
    minutes: Vec<Mean>,
    length: usize,
    gain: f32,
    filling: Option<Filling>,
    growth: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Filling {
    minute: u64,
    sum: f64,
    count: f64,
}

impl Profile {
    pub(super) fn daily() -> Self {
        Self::new(DAY_MINUTES, DAY_GAIN)
    }

    pub(super) fn weekly() -> Self {
        Self::new(7 * DAY_MINUTES, WEEK_GAIN)
    }

    fn new(length: usize, gain: f32) -> Self {
        Self { minutes: Vec::new(), length, gain, filling: None, growth: 1.0 }
    }

    /// Takes in the load at this second.
    pub(super) fn observe(&mut self, second: f64, load: f64) {
        let minute = (second / MINUTE_S).max(0.0) as u64;
        match &mut self.filling {
            Some(filling) if filling.minute == minute => {
                filling.sum += load;
                filling.count += 1.0;
                return;
            }
            Some(_) | None => {}
        }
        if let Some(done) = self.filling.replace(Filling { minute, sum: load, count: 1.0 }) {
            self.close(done);
        }
    }

    fn close(&mut self, done: Filling) {
        if self.minutes.is_empty() {
            self.minutes = vec![UNSEEN; self.length];
        }
        let place = (done.minute % self.length as u64) as usize;
        let (mean, known) = ((done.sum / done.count) as f32, self.minutes[place].value());
        self.minutes[place] = Mean::of(known.map_or(mean, |known| known + self.gain * (mean - known)));
    }

    /// The profile at this second, straight between the middles of its minutes.
    pub(super) fn at(&self, second: f64) -> Option<f64> {
        if self.minutes.is_empty() {
            return None;
        }
        let place = second / MINUTE_S - 0.5;
        let below = place.floor();
        let index = (below as i64).rem_euclid(self.length as i64) as usize;
        let (from, to) = (self.minutes[index].value()?, self.minutes[(index + 1) % self.length].value()?);
        Some(f64::from(from) + f64::from(to - from) * (place - below))
    }

    /// Follows how today's level compares.
    pub(super) fn follow(&mut self, second: f64, level: f64) {
        if let Some(usual) = self.at(second).filter(|usual| *usual > 0.0) {
            let ratio = (level / usual).clamp(super::GROWTH.0, super::GROWTH.1);
            self.growth += (ratio - self.growth) * super::GROWTH_GAIN;
        }
    }

    /// Today's level over the usual one.
    pub(super) fn growth(&self) -> f64 {
        self.growth
    }

    /// The usual change over the way ahead, and the distance to where it usually leads; none while not known.
    pub(super) fn ahead(&self, second: f64, ahead_s: f64, load: f64) -> [f64; 2] {
        match (self.at(second), self.at(second + ahead_s)) {
            (Some(now), Some(then)) => [(then - now) * self.growth, then * self.growth - load],
            _ => [0.0, 0.0],
        }
    }
}

impl Profile {
    pub(super) fn save(&self, writer: &mut Writer) {
        // Length and gain are those of the kind, a day or a week.
        let Self { minutes, length: _, gain: _, filling, growth } = self;
        writer.list(minutes).put(growth).put(filling);
    }

    /// What was saved of a profile of this kind.
    pub(super) fn load(self, reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let minutes: Vec<Mean> = reader.list()?;
        if !minutes.is_empty() && minutes.len() != self.length {
            return Err(reader.damaged());
        }
        Ok(Self { minutes, growth: reader.get()?, filling: reader.get()?, ..self })
    }
}

impl Stored for Filling {
    fn save(&self, writer: &mut Writer) {
        let Self { minute, sum, count } = self;
        writer.put(minute).put(sum).put(count);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self { minute: reader.get()?, sum: reader.get()?, count: reader.get()? })
    }
}

impl Stored for Mean {
    fn save(&self, writer: &mut Writer) {
        writer.put(&self.0);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        reader.get().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_is_right_to_a_thousandth_and_nothing_is_not_unseen() {
        for mean in [1e-9_f32, 0.013, 1.0, 99.99, 123_456.0, 3e12] {
            let kept = Mean::of(mean).value().unwrap();
            assert!((kept / mean - 1.0).abs() < 0.001, "{mean}: {kept}");
        }
        for nothing in [0.0, -0.0, -3.0, f32::NAN, 1e-20] {
            assert_eq!(Mean::of(nothing).value(), Some(0.0));
        }
        assert!(Mean::of(f32::INFINITY).value().unwrap().is_finite());
        assert_eq!(UNSEEN.value(), None);
    }
}
