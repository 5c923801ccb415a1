//! One period of a live signal over many searches: on trial, believed, or missed too often.

use jiff::Timestamp;
use proto::model::SeasonalPeriod;

use super::{
    KeeperSettings,
    look::{Drawn, Found},
    shape::{is_clock, starts_at},
};
use crate::snapshot::{
    Damaged,
    codec::{Reader, Stored, Writer},
};

/// Periods nearer than this are the same one.
const SAME: f64 = 0.04;
/// A period is believed when it was found so often in a row...
const FOUND_TO_BELIEVE: i8 = 2;
/// ...and is as unlikely on noise as this, or was found over one more of its cycles: searches of a past that is nearly the same
/// agree by chance, too.
const SURE: f64 = 1e-4;
/// It is given up when it was missed so often, over one more of its cycles.
const MISSED_TO_DROP: i8 = -3;
/// A strength that moved by this makes a version, and so does a shape of which this share is new.
const STRENGTH_MOVED: f32 = 0.15;
const SHAPE_MOVED: f32 = 0.25;
/// A length that moved by this share does so, too. One of the clock stays what it is.
const LENGTH_MOVED: f64 = 0.01;
/// Points of a shape that are remembered to tell whether it changed.
const POINTS: usize = 24;

/// A period that was found of late.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Known {
    pub length_s: f64,
    pub strength: f32,
    autocorrelation: f32,
    chance: f64,
    cycles: f32,
    /// Searches in a row that found it; negative: that missed it; and since when.
    streak: i8,
    since_s: i64,
    /// As the newest version has it; `None` while it is on trial.
    told: Option<Told>,
}

#[derive(Debug, Clone, PartialEq)]
struct Told {
    length_s: f64,
    strength: f32,
    /// From the epoch on; only for periods of the clock, whose phase is known for ever.
    shape: Option<[f32; POINTS]>,
}

impl Known {
    pub(super) fn new(found: &Found, now: Timestamp) -> Self {
        Self {
            length_s: found.length_s,
            strength: found.strength as f32,
            autocorrelation: found.autocorrelation as f32,
            chance: found.chance,
            cycles: found.cycles as f32,
            streak: 1,
            since_s: now.as_second(),
            told: None,
        }
    }

    /// As a version has it. The shape is told anew at the next search.
    pub(super) fn restored(period: &SeasonalPeriod) -> Self {
        let strength = period.strength as f32;
        Self {
            length_s: period.length_s,
            strength,
            autocorrelation: period.autocorrelation as f32,
            chance: period.chance,
            cycles: period.cycles as f32,
            streak: FOUND_TO_BELIEVE,
            since_s: period.starts_at.as_second(),
            told: Some(Told { length_s: period.length_s, strength, shape: None }),
        }
    }

    pub(super) fn is_same(&self, length_s: f64) -> bool {
        (self.length_s / length_s - 1.0).abs() < SAME
    }

    pub(super) fn is_told(&self) -> bool {
        self.told.is_some()
    }

    /// It was found again.
    pub(super) fn found(&mut self, found: &Found, now: Timestamp) {
        if self.streak <= 0 {
            (self.streak, self.since_s) = (0, now.as_second());
        }
        let Self { streak, since_s, told, .. } = self;
        *self = Self {
            streak: streak.saturating_add(1),
            since_s: *since_s,
            told: told.take(),
            ..Self::new(found, now)
        };
    }

    /// It was looked for in vain.
    pub(super) fn missed(&mut self, now: Timestamp) {
        if self.streak >= 0 {
            (self.streak, self.since_s) = (0, now.as_second());
        }
        self.streak = self.streak.saturating_sub(1);
    }

    pub(super) fn is_given_up(&self, now: Timestamp) -> bool {
        self.streak < 0 && (self.told.is_none() || self.streak <= MISSED_TO_DROP && self.has_lasted(now))
    }

    pub(super) fn is_believed(&self, now: Timestamp) -> bool {
        let is_proven = self.chance <= SURE || self.has_lasted(now);
        self.is_told() || self.streak >= FOUND_TO_BELIEVE && is_proven
    }

    fn has_lasted(&self, now: Timestamp) -> bool {
        now.as_second().saturating_sub(self.since_s) as f64 >= self.length_s
    }

    /// Whether the newest version tells something else.
    pub(super) fn has_changed(&self, drawn: &Drawn<'_>) -> bool {
        let Some(told) = &self.told else { return true };
        let has_moved = (told.length_s / self.length_s - 1.0).abs() > LENGTH_MOVED;
        let is_stronger = (told.strength - self.strength).abs() > STRENGTH_MOVED;
        let is_unlike = match (&told.shape, self.shape(drawn)) {
            (Some(before), Some(now)) => differ(before, &now) > SHAPE_MOVED,
            _ => false,
        };
        has_moved || is_stronger || is_unlike
    }

    /// Tells it, and remembers what was told.
    pub(super) fn tell(&mut self, drawn: &Drawn<'_>, settings: &KeeperSettings) -> SeasonalPeriod {
        let shape = self.shape(drawn);
        self.told = Some(Told { length_s: self.length_s, strength: self.strength, shape });
        let starts_at = starts_at(self.length_s, drawn.until_s(), settings.zone.as_ref());
        let from_s = starts_at.as_millisecond() as f64 / 1e3;
        let count = drawn.cells(self.length_s).min(SeasonalPeriod::SHAPE_MOST);
        SeasonalPeriod {
            length_s: self.length_s,
            strength: f64::from(self.strength).clamp(0.0, 1.0),
            chance: self.chance.clamp(0.0, 1.0),
            autocorrelation: f64::from(self.autocorrelation),
            cycles: f64::from(self.cycles),
            starts_at,
            shape: drawn.points(self.length_s, from_s, count),
        }
    }

    fn shape(&self, drawn: &Drawn<'_>) -> Option<[f32; POINTS]> {
        is_clock(self.length_s).then(|| drawn.points(self.length_s, 0.0, POINTS).try_into().ok()).flatten()
    }
}

/// The mean square of the differences, over the mean square of what was.
fn differ(before: &[f32], now: &[f32]) -> f32 {
    let (mut apart, mut all) = (0.0, 0.0);
    for (before, now) in before.iter().zip(now) {
        apart += (now - before).powi(2);
        all += before.powi(2);
    }
    if apart <= 0.0 { 0.0 } else { apart / all.max(f32::MIN_POSITIVE) }
}

impl Stored for Told {
    fn save(&self, writer: &mut Writer) {
        writer.put(&self.length_s).put(&self.strength).put(&self.shape);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self { length_s: reader.get()?, strength: reader.get()?, shape: reader.get()? })
    }
}

impl Stored for Known {
    fn save(&self, writer: &mut Writer) {
        let Self { length_s, strength, autocorrelation, chance, cycles, streak, since_s, told } = self;
        writer.put(length_s).put(strength).put(autocorrelation).put(chance).put(cycles);
        writer.put(&i32::from(*streak)).put(since_s).put(told);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let (length_s, strength, autocorrelation): (f64, f32, f32) =
            (reader.get()?, reader.get()?, reader.get()?);
        let (chance, cycles): (f64, f32) = (reader.get()?, reader.get()?);
        let (streak, since_s, told): (i32, _, _) = (reader.get()?, reader.get()?, reader.get()?);
        let is_length = length_s.is_finite() && length_s > 0.0;
        let are_numbers =
            strength.is_finite() && autocorrelation.is_finite() && chance.is_finite() && cycles >= 0.0;
        match i8::try_from(streak) {
            Ok(streak) if is_length && are_numbers => {
                Ok(Self { length_s, strength, autocorrelation, chance, cycles, streak, since_s, told })
            }
            _ => Err(reader.damaged()),
        }
    }
}
