//! Counters as they are read → events per span of time. A scrape that was lost costs nothing: the next reading tells what
//! happened since the last one. A counter that fell has restarted, and counts from zero.

use jiff::Timestamp;

use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// What one series of good or bad events and one of all events read at the same moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// All events since the counter began.
    pub total: f64,
    /// The bad ones among them.
    pub bad: f64,
}

/// What happened between two readings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Growth {
    /// The earlier reading.
    pub from: Timestamp,
    /// The later one.
    pub to: Timestamp,
    /// Events in between; after a restart only those since it, so never more than there were.
    pub total: f64,
    /// The bad ones.
    pub bad: f64,
    /// Whether a counter restarted in between: some events may be missing.
    pub reset: bool,
}

/// Follows a pair of counters.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Counter {
    last: Option<(Timestamp, Reading)>,
}

impl Counter {
    /// Takes in a reading. `None` for the first one, for one that is not later than the last, and for numbers that no counter
    /// shows (negative, infinite, not a number): those are left out, and the next one bridges them.
    pub fn read(&mut self, at: Timestamp, reading: Reading) -> Option<Growth> {
        let is_count = |value: f64| value.is_finite() && value >= 0.0;
        if !(is_count(reading.total) && is_count(reading.bad)) {
            return None;
        }
        let Some((from, before)) = self.last else {
            self.last = Some((at, reading));
            return None;
        };
        if at <= from {
            return None;
        }
        self.last = Some((at, reading));
        let reset = reading.total < before.total || reading.bad < before.bad;
        let since = |now: f64, before: f64| if now < before { now } else { now - before };
        let (total, bad) = if reset && reading.total >= before.total {
            // Only one of the two fell: the replicas behind the sum restarted at different moments.
            (since(reading.total, before.total), since(reading.bad, before.bad))
        } else if reset {
            (reading.total, since(reading.bad, before.bad))
        } else {
            (reading.total - before.total, reading.bad - before.bad)
        };
        Some(Growth { from, to: at, total, bad: bad.min(total), reset })
    }
}

impl Stored for Counter {
    fn save(&self, writer: &mut Writer) {
        writer.put(&self.last.map(|(at, _)| at));
        writer
            .put(&self.last.map(|(_, reading)| reading.total))
            .put(&self.last.map(|(_, reading)| reading.bad));
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let (at, total, bad) = (reader.get()?, reader.get()?, reader.get()?);
        let last = match (at, total, bad) {
            (Some(at), Some(total), Some(bad)) => Some((at, Reading { total, bad })),
            _ => None,
        };
        Ok(Self { last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn read(counter: &mut Counter, second: i64, total: f64, bad: f64) -> Option<(f64, f64, bool)> {
        counter
            .read(at(second), Reading { total, bad })
            .map(|growth| (growth.total, growth.bad, growth.reset))
    }

    #[test]
    fn a_lost_scrape_loses_no_event() {
        let mut counter = Counter::default();
        assert_eq!(read(&mut counter, 0, 100.0, 1.0), None);
        assert_eq!(read(&mut counter, 45, 400.0, 4.0), Some((300.0, 3.0, false)));
    }

    #[test]
    fn a_restart_counts_from_zero_and_says_so() {
        let mut counter = Counter::default();
        read(&mut counter, 0, 100.0, 10.0);
        assert_eq!(read(&mut counter, 15, 40.0, 2.0), Some((40.0, 2.0, true)));
        assert_eq!(read(&mut counter, 30, 41.0, 2.0), Some((1.0, 0.0, false)));
    }

    #[test]
    fn a_restart_without_bad_events_before_is_seen_by_the_total() {
        let mut counter = Counter::default();
        read(&mut counter, 0, 100.0, 0.0);
        assert_eq!(read(&mut counter, 15, 20.0, 5.0), Some((20.0, 5.0, true)));
    }

    #[test]
    fn what_no_counter_shows_is_left_out_and_bridged() {
        let mut counter = Counter::default();
        read(&mut counter, 0, 100.0, 0.0);
        for value in [f64::NAN, f64::INFINITY, -1.0] {
            assert_eq!(read(&mut counter, 10, value, 0.0), None);
        }
        assert_eq!(read(&mut counter, 0, 500.0, 0.0), None, "time stands still");
        assert_eq!(read(&mut counter, 20, 130.0, 3.0), Some((30.0, 3.0, false)));
    }

    #[test]
    fn never_more_bad_events_than_events() {
        let mut counter = Counter::default();
        read(&mut counter, 0, 100.0, 0.0);
        assert_eq!(read(&mut counter, 10, 102.0, 7.0), Some((2.0, 2.0, false)));
    }
}
