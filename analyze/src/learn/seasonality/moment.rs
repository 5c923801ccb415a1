//! Moments that know their wall clock, so that "09:00" stays 09:00 when the clocks change.

use jiff::{Timestamp, tz::TimeZone};

/// An instant and what the wall clock shows then.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moment {
    /// Seconds since the Unix epoch.
    pub unix_s: f64,
    /// The same, moved by the zone's offset: its remainder by a day is the time of day on the wall.
    pub local_s: f64,
}

impl From<Timestamp> for Moment {
    /// In UTC.
    fn from(at: Timestamp) -> Self {
        let unix_s = seconds(at);
        Self { unix_s, local_s: unix_s }
    }
}

/// Turns instants into moments. It remembers the offset until the clocks next change, so that a batch asks the zone once.
#[derive(Debug, Clone, PartialEq)]
pub struct Calendar {
    zone: Option<TimeZone>,
    valid_s: (f64, f64),
    offset_s: f64,
}

impl Calendar {
    /// Without a zone: UTC.
    #[must_use]
    pub fn new(zone: Option<TimeZone>) -> Self {
        Self { zone, valid_s: (f64::INFINITY, f64::NEG_INFINITY), offset_s: 0.0 }
    }

    /// This instant on the wall clock.
    pub fn moment(&mut self, at: Timestamp) -> Moment {
        let unix_s = seconds(at);
        self.moment_at(unix_s)
    }

    /// The same for seconds since the Unix epoch.
    pub fn moment_at(&mut self, unix_s: f64) -> Moment {
        if self.zone.is_some() && !(self.valid_s.0..self.valid_s.1).contains(&unix_s) {
            self.look_up(unix_s);
        }
        Moment { unix_s, local_s: unix_s + self.offset_s }
    }

    /// Seconds by which the wall clock is ahead of UTC then. Quick near the last moment that was asked for.
    #[must_use]
    pub fn offset_at(&self, unix_s: f64) -> f64 {
        match (&self.zone, Timestamp::from_second(unix_s.floor() as i64)) {
            (Some(zone), Ok(at)) if !(self.valid_s.0..self.valid_s.1).contains(&unix_s) => {
                f64::from(zone.to_offset(at).seconds())
            }
            _ => self.offset_s,
        }
    }

    fn look_up(&mut self, unix_s: f64) {
        let (Some(zone), Ok(at)) = (&self.zone, Timestamp::from_second(unix_s.floor() as i64)) else {
            return;
        };
        self.offset_s = f64::from(zone.to_offset(at).seconds());
        // `preceding` is strictly before: a second later, so that a change at this very moment counts.
        let since = Timestamp::from_second(unix_s.floor() as i64 + 1).unwrap_or(at);
        let before =
            zone.preceding(since).next().map_or(f64::NEG_INFINITY, |change| seconds(change.timestamp()));
        let after = zone.following(at).next().map_or(f64::INFINITY, |change| seconds(change.timestamp()));
        self.valid_s = (before, after);
    }
}

fn seconds(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1e3
}
