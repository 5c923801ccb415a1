//! What is remembered of the past: a week cell by cell, and the usual hour, day and week.

use super::bins::Bins;

/// Number of patterns; each foretells a value from the past alone.
pub(super) const PATTERNS: usize = 6;
/// Those that tell what was at this time of the day or week.
pub(super) const CALENDAR: std::ops::Range<usize> = 1..5;
/// A cell of the usual hour remembers so many hours; likewise of the day and of the week.
const MEMORY: [f64; 3] = [12.0, 5.0, 3.0];

/// The past of one signal.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Patterns {
    /// The last week and an hour, by cell number; NaN where nothing came.
    pub(super) history: Vec<f32>,
    pub(super) hour: Usual,
    pub(super) day: Usual,
    pub(super) week: Usual,
    /// Newest cell; `i64::MIN` before the first.
    pub(super) newest: i64,
    /// Slow mean, which the usual hour is measured from.
    pub(super) level: f64,
}

/// Usual values over a period.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Usual {
    pub(super) cells: Vec<f32>,
    pub(super) seen: Vec<u8>,
}

impl Usual {
    fn new(count: i64) -> Self {
        let count = usize::try_from(count).unwrap_or(0);
        Self { cells: vec![f32::NAN; count], seen: vec![0; count] }
    }

    fn index(&self, cell: i64) -> usize {
        cell.rem_euclid(self.cells.len().max(1) as i64) as usize
    }

    fn get(&self, cell: i64) -> f64 {
        self.cells.get(self.index(cell)).map_or(f64::NAN, |value| f64::from(*value))
    }

    fn learn(&mut self, cell: i64, value: f64, memory: f64) {
        if self.cells.is_empty() {
            return;
        }
        let index = self.index(cell);
        let old = f64::from(self.cells[index]);
        let gain = 1.0 / (f64::from(self.seen[index]) + 1.0).min(memory);
        self.cells[index] = if old.is_nan() { value } else { old + gain * (value - old) } as f32;
        self.seen[index] = self.seen[index].saturating_add(1);
    }
}

impl Patterns {
    pub(super) fn new(bins: &Bins) -> Self {
        // An hour more than a week, because of the hour that the clocks jump.
        let length = bins.week + bins.hour.max(1) + 1;
        Self {
            history: vec![f32::NAN; usize::try_from(length).unwrap_or(0)],
            hour: Usual::new(bins.hour),
            day: Usual::new(bins.day),
            week: Usual::new(bins.week),
            newest: i64::MIN,
            level: f64::NAN,
        }
    }

    /// Whether two have the same shape.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let shape = |patterns: &Self| {
            let usual = [&patterns.hour, &patterns.day, &patterns.week];
            (patterns.history.len(), usual.map(|usual| (usual.cells.len(), usual.seen.len())))
        };
        shape(self) == shape(other)
    }

    /// Takes in the value of the next cell; cells that were skipped are gaps.
    pub(super) fn learn(&mut self, bins: &Bins, cell: i64, value: f64) {
        let length = self.history.len() as i64;
        if self.newest != i64::MIN {
            for gap in (self.newest + 1).max(cell - length)..cell {
                self.history[gap.rem_euclid(length) as usize] = f32::NAN;
            }
        }
        self.newest = cell;
        self.history[cell.rem_euclid(length) as usize] = value as f32;
        if self.level.is_nan() {
            self.level = value;
        }
        let local = cell + bins.ahead(cell);
        self.hour.learn(local, value - self.level, MEMORY[0]);
        self.day.learn(local, value, MEMORY[1]);
        self.week.learn(local, value, MEMORY[2]);
        self.level += (value - self.level) / bins.hour.max(1) as f64;
    }

    /// What each pattern foretells for a cell after the newest; NaN where one does not know.
    pub(super) fn foretell(&self, bins: &Bins, cell: i64) -> [f64; PATTERNS] {
        let local = cell + bins.ahead(cell);
        [
            0.0,
            self.ago(bins, cell, local, bins.day),
            self.ago(bins, cell, local, bins.week),
            self.day.get(local),
            self.week.get(local),
            self.hour.get(local),
        ]
    }

    /// The newest value that lies whole periods back on the wall clock.
    fn ago(&self, bins: &Bins, cell: i64, local: i64, period: i64) -> f64 {
        if self.newest == i64::MIN {
            return f64::NAN;
        }
        let length = self.history.len() as i64;
        let mut back = ((cell - self.newest).max(1) + period - 1) / period * period;
        // A gap: one period further back, as far as memory goes.
        while back < length {
            let then = cell - back;
            let then = local - back - bins.ahead(then);
            if then <= self.newest && then > self.newest - length {
                let value = self.history[then.rem_euclid(length) as usize];
                if !value.is_nan() {
                    return f64::from(value);
                }
            }
            back += period;
        }
        f64::NAN
    }
}
