//! Time in steps, and in days and weeks as the wall clock counts them.

use std::time::Duration;

use jiff::{Timestamp, tz::TimeZone};

use crate::learn::seasonality::Calendar;

/// A day and a week of the wall clock are held in at most so many cells a week: one per minute.
const WEEK_CELLS_MAX: i64 = 10_080;
const DAY_MS: i64 = 86_400_000;

/// Numbers steps since the epoch.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bins {
    pub(super) step_ms: i64,
    /// Steps per cell of what is remembered.
    pub(super) cell_steps: i64,
    /// Cells per hour (0 if that makes no whole number of at least 2), day and week.
    pub(super) hour: i64,
    pub(super) day: i64,
    pub(super) week: i64,
    zone: Option<Calendar>,
}

impl Bins {
    pub(super) fn new(step: Duration, zone: Option<TimeZone>) -> Self {
        let step_ms = i64::try_from(step.as_millis()).unwrap_or(i64::MAX).clamp(1_000, DAY_MS / 2);
        let cell_steps = (7 * DAY_MS / step_ms / WEEK_CELLS_MAX).max(1);
        let cell_ms = step_ms * cell_steps;
        let hour = if 3_600_000 % cell_ms == 0 && cell_ms <= 1_200_000 { 3_600_000 / cell_ms } else { 0 };
        let day = (DAY_MS / cell_ms).max(2);
        Self {
            step_ms,
            cell_steps,
            hour,
            day,
            week: 7 * day,
            zone: zone.map(|zone| Calendar::new(Some(zone))),
        }
    }

    pub(super) fn bin(&self, at: Timestamp) -> i64 {
        at.as_millisecond().div_euclid(self.step_ms)
    }

    pub(super) fn start(&self, bin: i64) -> Option<Timestamp> {
        Timestamp::from_millisecond(bin.checked_mul(self.step_ms)?).ok()
    }

    pub(super) fn cell(&self, bin: i64) -> i64 {
        bin.div_euclid(self.cell_steps)
    }

    /// Cells by which the wall clock is ahead of UTC.
    pub(super) fn ahead(&self, cell: i64) -> i64 {
        let cell_ms = self.step_ms * self.cell_steps;
        let seconds = cell as f64 * (cell_ms as f64 / 1e3);
        self.zone.as_ref().map_or(0, |zone| ((zone.offset_at(seconds) * 1e3) as i64).div_euclid(cell_ms))
    }

    /// Whether a forecast so far ahead is told from the step that it starts at.
    pub(super) fn reaches_back(&self, steps: usize) -> bool {
        let shortest = if self.hour > 0 { self.hour } else { self.day };
        steps as i64 >= shortest - 1
    }

    /// Remembers the offset in force at that cell.
    pub(super) fn look_up(&mut self, cell: i64) {
        let seconds = cell as f64 * ((self.step_ms * self.cell_steps) as f64 / 1e3);
        if let Some(zone) = &mut self.zone {
            let _ = zone.moment_at(seconds);
        }
    }
}
