//! The mean cycle of each period, drawn by the wall clock, and how much all of them tell together.

use jiff::{Timestamp, tz::TimeZone};

use super::{
    finder::prepared,
    fold::{detrended, left, mean_cycle, without},
};

const DAY_S: f64 = 86_400.0;
const WEEK_S: f64 = 7.0 * DAY_S;
/// From the epoch, a Thursday, to the first Monday.
const MONDAY_S: f64 = 4.0 * DAY_S;

/// A past, taken apart into the mean cycles of its periods: a day first, and a week holds what the day leaves.
pub(super) struct Cycles {
    /// When the first value is.
    starts_s: f64,
    cycles: Vec<(f64, Vec<f64>)>,
    /// Share of the variance that they tell together, each value by other cycles than its own.
    pub explained: f64,
}

impl Cycles {
    /// Of evenly spaced values, NaN where there are none, from `starts_s` on. `None` if there is nothing to tell.
    pub(super) fn of(values: &[f64], starts_s: f64, cell_s: f64, lengths_s: &[f64]) -> Option<Self> {
        let past = prepared(values)?;
        let mut lengths_s = lengths_s.to_vec();
        lengths_s.sort_by(f64::total_cmp);
        let (mut rest, mut missed) = (past.values.clone(), past.values.clone());
        let all = squares(&rest);
        let (mut cycles, mut explained) = (Vec::new(), 0.0_f64);
        for length_s in lengths_s {
            let samples = length_s / cell_s;
            let around = detrended(&rest, samples);
            let cycle = mean_cycle(&around, samples);
            let others = left(&around, samples);
            missed
                .iter_mut()
                .zip(around.iter().zip(others))
                .for_each(|(missed, (value, left))| *missed -= value - left);
            // A week of few cycles can tell less than nothing: then the day alone counts.
            explained = explained.max(1.0 - squares(&missed) / all);
            rest = without(&rest, samples, &cycle);
            cycles.push((length_s, cycle.into_iter().map(|cell| cell * past.spread).collect()));
        }
        let starts_s = starts_s + past.skipped as f64 * cell_s;
        Some(Self { starts_s, cycles, explained: explained.clamp(0.0, 1.0) })
    }

    /// How many cells a cycle of that length has.
    pub(super) fn cells(&self, length_s: f64) -> Option<usize> {
        self.cycles.iter().find(|(length, _)| *length == length_s).map(|(_, cycle)| cycle.len())
    }

    /// The cycle of that length from `from_s` on, as the means of so many equal parts. `None` if there is none.
    pub(super) fn points(&self, length_s: f64, from_s: f64, count: usize) -> Option<Vec<f32>> {
        let (_, cycle) = self.cycles.iter().find(|(length, _)| *length == length_s)?;
        let turns = (from_s - self.starts_s) / length_s;
        let (first, width) =
            ((turns - turns.floor()) * cycle.len() as f64, cycle.len() as f64 / count as f64);
        Some((0..count).map(|part| mean(cycle, first + part as f64 * width, width) as f32).collect())
    }
}

/// Mean of a cycle over a part of it, which may begin and end within a cell.
fn mean(cycle: &[f64], from: f64, width: f64) -> f64 {
    let (mut sum, mut at, end) = (0.0, from, from + width);
    while at < end - 1e-9 {
        let next = (at + 1e-9).floor() + 1.0;
        let until = next.min(end);
        sum += cycle[((at + 1e-9) as usize) % cycle.len()] * (until - at);
        at = until;
    }
    sum / width
}

/// When the last cycle begins that is whole before `until_s`: at midnight by the wall clock for days and what divides them, on a Monday for
/// weeks.
pub(super) fn starts_at(length_s: f64, until_s: f64, zone: Option<&TimeZone>) -> Timestamp {
    let whole =
        |at_s: f64, origin_s: f64| ((at_s - origin_s) / length_s).floor() * length_s + origin_s - length_s;
    let moment =
        |at_s: f64| Timestamp::from_millisecond((at_s * 1e3) as i64).unwrap_or(Timestamp::UNIX_EPOCH);
    if !is_clock(length_s) {
        return moment(whole(until_s, 0.0));
    }
    let offset_s = |at_s: f64| zone.map_or(0.0, |zone| f64::from(zone.to_offset(moment(at_s)).seconds()));
    let origin_s = if length_s % WEEK_S == 0.0 { MONDAY_S } else { 0.0 };
    let local_s = whole(until_s + offset_s(until_s), origin_s);
    // By the offset of that moment, which may be another one than now.
    moment(local_s - offset_s(local_s - offset_s(until_s)))
}

/// Whether it keeps its place on the clock: what divides a day, and whole days.
pub(super) fn is_clock(length_s: f64) -> bool {
    DAY_S % length_s == 0.0 || length_s % DAY_S == 0.0
}

fn squares(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum()
}
