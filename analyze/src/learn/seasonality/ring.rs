//! The past of a signal in about a kilobyte: it starts at the rate of the samples, and whenever it is full, neighbours are
//! averaged and the rate halves, until it spans all that is wanted; then the oldest goes. So short periods are visible early and
//! long ones later.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    is_measured,
    quantised::{Quantised, dither},
};
use crate::snapshot::{
    Damaged,
    codec::{Reader, Stored, Writer},
};

/// Evenly spaced means of the past.
#[derive(Debug, Clone, PartialEq)]
pub struct Ring {
    cells: Quantised,
    /// The value that all are measured from, so that small changes on a high level keep their digits.
    origin: Option<f64>,
    /// Seconds per cell now, and at most.
    cell_s: (f64, f64),
    /// Number of the newest cell since the epoch, and how many are in use.
    newest: i64,
    used: usize,
    /// Sum and count of the cell that is being filled.
    open: (f64, u32),
}

impl Ring {
    /// A ring of so many cells (even, at least 16) for samples at that interval; it spans at most `span`.
    #[must_use]
    pub fn new(cells: usize, interval: Duration, span: Duration) -> Self {
        let cells = cells.clamp(16, 1 << 16) & !1;
        let first = interval.as_secs_f64().max(1e-3);
        let most = (span.as_secs_f64() / cells as f64).max(first);
        Self {
            cells: Quantised::new(cells),
            origin: None,
            cell_s: (first, most),
            newest: i64::MIN,
            used: 0,
            open: (0.0, 0),
        }
    }

    /// Takes in a value. Older than the newest cell, or not finite: ignored. Returns whether a cell was completed.
    pub fn push(&mut self, at: Timestamp, value: f64) -> bool {
        if !is_measured(value) {
            return false;
        }
        let number = self.number(at);
        if self.newest == i64::MIN {
            (self.origin, self.newest, self.used) = (Some(value), number, 1);
        }
        if number < self.newest {
            return false;
        }
        let is_complete = number > self.newest;
        if is_complete {
            self.close();
            self.advance(number);
            // Full: halve the rate as often as it takes, while that is allowed.
            while self.used >= self.cells.len() && self.cell_s.0 * 2.0 <= self.cell_s.1 * 1.000_001 {
                self.halve();
            }
        }
        self.open = (self.open.0 + (value - self.origin.unwrap_or(0.0)), self.open.1 + 1);
        is_complete
    }

    /// Oldest first, without the cell that is being filled; NaN where nothing was seen.
    #[must_use]
    pub fn values(&self) -> Vec<f64> {
        let count = self.used.saturating_sub(1);
        let origin = self.origin.unwrap_or(0.0);
        (0..count)
            .map(|i| self.newest - (count - i) as i64)
            .map(|number| self.cells.get(self.index(number)).map_or(f64::NAN, |value| origin + value))
            .collect()
    }

    /// Time that a cell spans now.
    #[must_use]
    pub fn interval(&self) -> Duration {
        Duration::from_secs_f64(self.cell_s.0)
    }

    /// When the first of [`Self::values`] begins, in seconds since the epoch; `None` while there are none.
    #[must_use]
    pub fn starts_s(&self) -> Option<f64> {
        let count = self.used.checked_sub(1).filter(|count| *count > 0)?;
        Some((self.newest - count as i64) as f64 * self.cell_s.0)
    }

    /// Memory that it takes, besides itself.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.cells.bytes()
    }

    fn number(&self, at: Timestamp) -> i64 {
        (at.as_millisecond() as f64 / 1e3 / self.cell_s.0).floor() as i64
    }

    fn index(&self, number: i64) -> usize {
        number.rem_euclid(self.cells.len() as i64) as usize
    }

    fn close(&mut self) {
        let index = self.index(self.newest);
        match self.open {
            (_, 0) => self.cells.clear(index),
            (sum, count) => {
                self.cells.set(index, sum / f64::from(count), dither(self.newest.cast_unsigned()))
            }
        }
        self.open = (0.0, 0);
    }

    fn advance(&mut self, number: i64) {
        let steps = number - self.newest;
        let count = self.cells.len() as i64;
        for skipped in (number - steps.min(count) + 1)..=number {
            self.cells.clear(self.index(skipped));
        }
        self.used =
            self.used.saturating_add(usize::try_from(steps).unwrap_or(usize::MAX)).min(self.cells.len());
        self.newest = number;
    }

    fn halve(&mut self) {
        let mut halved = Quantised::new(self.cells.len());
        let oldest = self.newest - self.used as i64 + 1;
        let (first, last) = (oldest.div_euclid(2), self.newest.div_euclid(2));
        for number in first..last {
            let pair = [2 * number, 2 * number + 1]
                .map(|half| if half < oldest { None } else { self.cells.get(self.index(half)) });
            let mean = match pair {
                [Some(a), Some(b)] => Some(0.5 * (a + b)),
                [one, other] => one.or(other),
            };
            if let Some(mean) = mean {
                halved.set(self.index(number), mean, 0.5);
            }
        }
        if self.newest % 2 != 0
            && self.newest > oldest
            && let Some(value) = self.cells.get(self.index(self.newest - 1))
        {
            self.open = (value, 1);
        }
        self.cells = halved;
        self.used = usize::try_from(last - first + 1).unwrap_or(1).min(self.cells.len());
        self.newest = last;
        self.cell_s.0 *= 2.0;
    }
}

impl Stored for Ring {
    fn save(&self, writer: &mut Writer) {
        let Self { cells, origin, cell_s, newest, used, open } = self;
        writer.put(cells).put(origin).put(&cell_s.0).put(&cell_s.1).put(newest);
        writer.put(&(*used as u64)).put(&open.0).put(&open.1);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let (cells, origin, cell_s): (Quantised, _, (f64, f64)) =
            (reader.get()?, reader.get()?, (reader.get()?, reader.get()?));
        let (newest, used): (i64, u64) = (reader.get()?, reader.get()?);
        let used = usize::try_from(used).unwrap_or(usize::MAX);
        let is_sound = cell_s.0 > 0.0 && cell_s.0 <= cell_s.1 && cell_s.1.is_finite();
        // Far beyond any time, yet far from where numbers of cells would overflow.
        let is_near = newest == i64::MIN || newest.abs() < 1 << 48;
        if !is_sound || !is_near || used > cells.len() || cells.len() < 16 {
            return Err(reader.damaged());
        }
        Ok(Self { cells, origin, cell_s, newest, used, open: (reader.get()?, reader.get()?) })
    }
}
