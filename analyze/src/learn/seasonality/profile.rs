//! What is usual at each moment of one or several periods, learned sample by sample in bounded memory: a level, and for each
//! period a cycle of cells of two bytes that holds what the periods before it leave unexplained.

use std::time::Duration;

use super::{
    Moment, is_measured,
    quantised::{Quantised, dither},
};
use crate::snapshot::{
    Damaged,
    codec::{Reader, Stored, Writer},
};

/// A cell remembers this many cycles. Fewer follow changes of habit sooner, more average the noise away.
const MEMORY_CYCLES: f64 = 6.0;
/// Errors larger than this many times the usual one count as if they were that large: an outage is no habit.
const CUT: f64 = 4.0;
/// Most periods of a profile.
const PERIODS_MAX: usize = 4;
/// Most cells of a period.
const CELLS_MAX: usize = 16_384;

/// What a profile consists of.
#[derive(Debug, Clone, PartialEq)]
pub struct ProfileSettings {
    /// Its periods, at most four. Those of whole hours follow the wall clock.
    pub periods: Vec<Duration>,
    /// Time between two samples.
    pub interval: Duration,
    /// Most cells for one period. Where they are coarser than the interval, values between are interpolated.
    pub cells: usize,
}

/// A streaming seasonal profile.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    cycles: Vec<Cycle>,
    /// Seconds between two samples.
    interval_s: f64,
    level: Option<f64>,
    samples: u64,
    /// Usual size of an error.
    scale: f64,
    /// Mean squares around the level, and around what was expected.
    around: (f64, f64),
    /// When the first value came, and when the cells were last centred, by `Moment::unix_s`.
    first_s: f64,
    centred_s: f64,
}

impl Profile {
    /// An empty profile.
    #[must_use]
    pub fn new(settings: &ProfileSettings) -> Self {
        let interval_s = settings.interval.as_secs_f64().max(1e-3);
        let mut periods: Vec<f64> = settings.periods.iter().map(Duration::as_secs_f64).collect();
        periods.retain(|period| *period >= 2.0 * interval_s);
        // A day comes first and a week holds what it leaves, never the other way round.
        periods.sort_by(f64::total_cmp);
        periods.truncate(PERIODS_MAX);
        let cells = settings.cells.clamp(2, CELLS_MAX);
        let cycles = periods.into_iter().map(|period_s| Cycle::new(period_s, interval_s, cells)).collect();
        let (around, first_s) = ((0.0, 0.0), f64::NAN);
        Self { cycles, interval_s, level: None, samples: 0, scale: 0.0, around, first_s, centred_s: first_s }
    }

    /// What is usual at that moment; `None` before the first value.
    #[must_use]
    pub fn expected(&self, at: impl Into<Moment>) -> Option<f64> {
        Some(self.level? + self.seasonal(at))
    }

    /// How far that moment usually lies from the level; 0 while not known.
    #[must_use]
    pub fn seasonal(&self, at: impl Into<Moment>) -> f64 {
        let at = at.into();
        self.cycles.iter().map(|cycle| cycle.value(&cycle.place(at))).sum()
    }

    /// Whether that moment was seen before in the longest period.
    #[must_use]
    pub fn knows(&self, at: impl Into<Moment>) -> bool {
        let at = at.into();
        self.cycles.last().is_some_and(|cycle| cycle.seen[cycle.place(at).cell] > 0)
    }

    /// Takes in a value; a weight below 1 makes it count less. What is not finite is ignored.
    pub fn update(&mut self, at: impl Into<Moment>, value: f64, weight: f64) {
        let at: Moment = at.into();
        if !(is_measured(value) && at.unix_s.is_finite() && weight > 0.0) {
            return;
        }
        let weight = weight.min(1.0);
        if self.level.is_none() {
            (self.first_s, self.centred_s) = (at.unix_s, at.unix_s);
        }
        let level = *self.level.get_or_insert(value);
        let mut places = [Place::default(); PERIODS_MAX];
        self.cycles.iter().zip(&mut places).for_each(|(cycle, place)| *place = cycle.place(at));
        let error = self.judge(&places, value, level) * weight;
        self.samples += 1;
        let longest_s = self.cycles.last().map_or(0.0, |cycle| cycle.period_s);
        let mut rest = error;
        for (cycle, place) in self.cycles.iter_mut().zip(&places) {
            rest -= cycle.learn(place, at, rest, self.interval_s);
        }
        // During the first cycle a moving level would be taken for part of the season.
        let is_first = at.unix_s - self.first_s < longest_s;
        let reach = (longest_s / self.interval_s).max(self.samples.min(256) as f64);
        if !is_first {
            self.level = Some(level + error / reach.max(1.0));
        } else if self.cycles.is_empty() {
            self.level = Some(level + error / self.samples as f64);
        }
        if at.unix_s - self.centred_s >= longest_s {
            self.centre();
            self.centred_s = at.unix_s;
        }
    }

    /// Share of the variance that it explained of late, 0 to 1, judged before each value was taken in.
    #[must_use]
    pub fn strength(&self) -> f64 {
        let (level, expected) = self.around;
        if level > 0.0 { (1.0 - expected / level).clamp(0.0, 1.0) } else { 0.0 }
    }

    /// Its periods, shortest first.
    pub fn periods(&self) -> impl Iterator<Item = Duration> {
        self.cycles.iter().map(|cycle| Duration::from_secs_f64(cycle.period_s))
    }

    /// The slowly moving mean.
    #[must_use]
    pub fn level(&self) -> Option<f64> {
        self.level
    }

    /// Values taken in.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Memory that it takes, besides itself.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.cycles.iter().map(|cycle| size_of::<Cycle>() + cycle.cells.bytes() + cycle.seen.capacity()).sum()
    }

    /// The error, cut where it is absurd, after taking it into account for scale and strength.
    fn judge(&mut self, places: &[Place; PERIODS_MAX], value: f64, level: f64) -> f64 {
        let cycles = self.cycles.iter().zip(places);
        let (mut error, mut is_known) = (value - level, false);
        for (cycle, place) in cycles {
            error -= cycle.value(place);
            is_known = cycle.seen[place.cell] > 0;
        }
        if !is_known {
            return error;
        }
        let memory = self.cycles.last().map_or(1.0, |cycle| 2.0 * cycle.period_s / self.interval_s);
        let gain = 1.0 / memory.min(self.samples.max(1) as f64).max(1.0);
        let cut = if self.scale > 0.0 { error.clamp(-CUT * self.scale, CUT * self.scale) } else { error };
        // A habit that changed shows as many large errors: the scale follows them, if slowly.
        self.scale += 4.0 * gain.min(0.25) * (cut.abs() - self.scale);
        self.around.0 += gain * ((value - level).powi(2) - self.around.0);
        self.around.1 += gain * (error.powi(2) - self.around.1);
        cut
    }

    /// What all cells of a cycle share belongs to the level.
    fn centre(&mut self) {
        let Some(level) = &mut self.level else { return };
        for cycle in &mut self.cycles {
            *level += cycle.centre();
        }
    }
}

/// One period.
#[derive(Debug, Clone, PartialEq)]
struct Cycle {
    period_s: f64,
    /// Whether it follows the wall clock: periods of whole hours do.
    is_clock: bool,
    cells: Quantised,
    /// How often each cell was visited, up to 255.
    seen: Vec<u8>,
}

/// A moment's place in a cycle: between a cell and the next one.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    cell: usize,
    next: usize,
    /// How far it is on its way to the next, 0 to 1.
    share: f64,
}

impl Cycle {
    fn new(period_s: f64, interval_s: f64, cells_max: usize) -> Self {
        // Rounded, and never more cells than samples: each cell is visited in each cycle.
        let cells = ((period_s / interval_s + 1e-6).floor() as usize).clamp(2, cells_max);
        Self { period_s, is_clock: is_clock(period_s), cells: Quantised::new(cells), seen: vec![0; cells] }
    }

    fn place(&self, at: Moment) -> Place {
        let turns = if self.is_clock { at.local_s } else { at.unix_s } / self.period_s;
        let count = self.cells.len();
        let position = (turns - turns.floor()) * count as f64;
        let cell = ((position + 1e-6) as usize).min(count - 1);
        Place { cell, next: (cell + 1) % count, share: (position - cell as f64).clamp(0.0, 1.0) }
    }

    fn value(&self, place: &Place) -> f64 {
        match (self.cells.get(place.cell), self.cells.get(place.next)) {
            (Some(here), Some(next)) => here + place.share * (next - here),
            (Some(only), None) | (None, Some(only)) => only,
            (None, None) => 0.0,
        }
    }

    /// Learns from an error; returns how much of it is now explained.
    fn learn(&mut self, place: &Place, at: Moment, error: f64, interval_s: f64) -> f64 {
        let per_visit = (self.period_s / self.cells.len() as f64 / interval_s).max(1.0);
        let chance = dither(at.unix_s.to_bits() ^ self.period_s.to_bits());
        let (to_next, to_cell) = if per_visit > 1.5 { (place.share, 1.0 - place.share) } else { (0.0, 1.0) };
        // Least change of both cells that takes away the wanted share of the error at this place (normalised LMS).
        let norm = to_cell * to_cell + to_next * to_next;
        let before = self.value(place);
        for (index, part) in [(place.cell, to_cell), (place.next, to_next)] {
            if part <= 0.0 {
                continue;
            }
            let old = self.cells.get(index);
            let visits = f64::from(self.seen[index]);
            let gain = if old.is_some() { 1.0 / (visits + 1.0).min(MEMORY_CYCLES) / per_visit } else { 1.0 };
            let step = if old.is_some() { gain * error * part / norm } else { error };
            self.cells.set(index, old.unwrap_or(0.0) + step, chance);
            if self.seen[index] == 0 || chance < part / per_visit {
                self.seen[index] = self.seen[index].saturating_add(1);
            }
        }
        self.value(place) - before
    }

    fn centre(&mut self) -> f64 {
        let (sum, count) = (0..self.cells.len())
            .filter_map(|i| self.cells.get(i))
            .fold((0.0, 0.0), |(sum, count), cell| (sum + cell, count + 1.0));
        let mean = if count > 0.0 { sum / count } else { 0.0 };
        if mean.is_finite() {
            self.cells.shift(-mean);
            return mean;
        }
        0.0
    }
}

fn is_clock(period_s: f64) -> bool {
    period_s % 3_600.0 == 0.0
}

impl Stored for Cycle {
    fn save(&self, writer: &mut Writer) {
        writer.put(&self.period_s).put(&self.cells).list(&self.seen);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let (period_s, cells, seen): (f64, Quantised, Vec<u8>) =
            (reader.get()?, reader.get()?, reader.list()?);
        let is_sound = period_s.is_finite() && period_s > 0.0 && cells.len() == seen.len() && seen.len() >= 2;
        if is_sound {
            Ok(Self { period_s, is_clock: is_clock(period_s), cells, seen })
        } else {
            Err(reader.damaged())
        }
    }
}

impl Stored for Profile {
    fn save(&self, writer: &mut Writer) {
        let Self { cycles, interval_s, level, samples, scale, around, first_s, centred_s } = self;
        writer.list(cycles).put(interval_s).put(level).put(samples).put(scale);
        writer.put(&around.0).put(&around.1).put(first_s).put(centred_s);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let (cycles, interval_s): (Vec<Cycle>, f64) = (reader.list()?, reader.get()?);
        if cycles.len() > PERIODS_MAX || !(interval_s.is_finite() && interval_s > 0.0) {
            return Err(reader.damaged());
        }
        let (level, samples, scale) = (reader.get()?, reader.get()?, reader.get()?);
        let (around, first_s, centred_s) = ((reader.get()?, reader.get()?), reader.get()?, reader.get()?);
        Ok(Self { cycles, interval_s, level, samples, scale, around, first_s, centred_s })
    }
}
