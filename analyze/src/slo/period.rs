//! The time over which an objective holds: a rolling window, or the calendar's day, week, month, quarter or year in a time zone.
//! Calendar periods follow civil time, so a day in which clocks change has 23 or 25 hours.

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};

/// Hops that correct the first guess of which period it is: months differ by 3 days, so one or two suffice.
const HOPS_MAX: usize = 8;

/// Units of calendar periods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CalendarUnit {
    /// Civil days.
    Day,
    /// Seven civil days.
    Week,
    /// Calendar months.
    Month,
    /// Three months.
    Quarter,
    /// Calendar years.
    Year,
}

impl CalendarUnit {
    fn span(self, count: i64) -> Result<Span, jiff::Error> {
        let span = Span::new();
        match self {
            Self::Day => span.try_days(count),
            Self::Week => span.try_weeks(count),
            Self::Month => span.try_months(count),
            Self::Quarter => span.try_months(count.saturating_mul(3)),
            Self::Year => span.try_years(count),
        }
    }

    /// About how long it is.
    #[must_use]
    pub fn about(self) -> Duration {
        const DAY: u64 = 86_400;
        Duration::from_secs(match self {
            Self::Day => DAY,
            Self::Week => 7 * DAY,
            Self::Month => 30 * DAY + DAY * 10 / 23,
            Self::Quarter => 91 * DAY + DAY * 31 / 100,
            Self::Year => 365 * DAY + DAY / 4,
        })
    }
}

/// A calendar-aligned window.
#[derive(Debug, Clone, PartialEq)]
pub struct Calendar {
    /// When one of the periods begins, by the clocks of the zone.
    pub anchor: DateTime,
    /// Where.
    pub zone: TimeZone,
    /// Unit of the period.
    pub unit: CalendarUnit,
    /// How many units it has; at least 1.
    pub count: u32,
}

impl Calendar {
    fn begin(&self, number: i64) -> Option<Zoned> {
        let span = self.unit.span(number.checked_mul(i64::from(self.count.max(1)))?).ok()?;
        // Counted from the anchor each time: the 31st comes back after February.
        self.anchor.checked_add(span).ok()?.to_zoned(self.zone.clone()).ok()
    }

    /// Begin and end of the period that holds `now`; `None` outside the calendar's range.
    #[must_use]
    pub fn period(&self, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let anchor = self.begin(0)?.timestamp();
        let about = self.unit.about().as_secs_f64() * f64::from(self.count.max(1));
        let mut number = (now.duration_since(anchor).as_secs_f64() / about).floor() as i64;
        for _ in 0..HOPS_MAX {
            let (begin, end) = (self.begin(number)?.timestamp(), self.begin(number + 1)?.timestamp());
            if now < begin {
                number -= 1;
            } else if now >= end {
                number += 1;
            } else {
                return Some((begin, end));
            }
        }
        None
    }
}

/// The window of an objective.
#[derive(Debug, Clone, PartialEq)]
pub enum Period {
    /// The last so much time.
    Rolling(Duration),
    /// The running period of the calendar.
    Calendar(Calendar),
}

impl Period {
    /// Begin and end of the window at `now`: a rolling one ends now, a calendar one where its period does.
    #[must_use]
    pub fn bounds(&self, now: Timestamp) -> (Timestamp, Timestamp) {
        match self {
            Self::Rolling(span) => (now.checked_sub(*span).unwrap_or(Timestamp::MIN), now),
            Self::Calendar(calendar) => calendar.period(now).unwrap_or((now, now)),
        }
    }

    /// How long it is, calendar periods about.
    #[must_use]
    pub fn span(&self) -> Duration {
        match self {
            Self::Rolling(span) => *span,
            Self::Calendar(calendar) => calendar.unit.about() * calendar.count.max(1),
        }
    }

    /// The most that must be remembered: a period can be longer than most of its kind.
    #[must_use]
    pub fn longest(&self) -> Duration {
        match self {
            Self::Rolling(span) => *span,
            Self::Calendar(_) => self.span() + self.span() / 16 + Duration::from_secs(7_200),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    fn calendar(zone: &str, unit: CalendarUnit, count: u32, anchor: DateTime) -> Calendar {
        Calendar { anchor, zone: TimeZone::get(zone).unwrap(), unit, count }
    }

    #[track_caller]
    fn check(calendar: &Calendar, now: &str, begin: &str, end: &str) {
        let parse = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(calendar.period(parse(now)), Some((parse(begin), parse(end))));
    }

    #[test]
    fn the_day_on_which_clocks_change_has_another_length() {
        let days = calendar("Europe/Berlin", CalendarUnit::Day, 1, date(2026, 1, 1).at(0, 0, 0, 0));
        check(&days, "2026-03-29T10:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z");
        check(&days, "2026-10-25T10:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z");
        let night = calendar("Europe/Berlin", CalendarUnit::Day, 1, date(2026, 1, 1).at(2, 30, 0, 0));
        // 02:30 does not exist on that day: the period begins as much later as the clocks were set.
        check(&night, "2026-03-29T12:00:00Z", "2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z");
    }

    #[test]
    fn the_last_day_of_a_month_comes_back_after_february() {
        let months = calendar("UTC", CalendarUnit::Month, 1, date(2026, 1, 31).at(12, 0, 0, 0));
        check(&months, "2026-02-28T11:00:00Z", "2026-01-31T12:00:00Z", "2026-02-28T12:00:00Z");
        check(&months, "2026-03-15T00:00:00Z", "2026-02-28T12:00:00Z", "2026-03-31T12:00:00Z");
    }

    #[test]
    fn weeks_quarters_and_years_follow_their_anchor() {
        let weeks = calendar("America/New_York", CalendarUnit::Week, 1, date(2022, 1, 1).at(12, 0, 0, 0));
        check(&weeks, "2022-03-13T18:00:00Z", "2022-03-12T17:00:00Z", "2022-03-19T16:00:00Z");
        let quarters = calendar("UTC", CalendarUnit::Quarter, 1, date(2020, 1, 1).at(0, 0, 0, 0));
        check(&quarters, "2026-11-21T00:00:00Z", "2026-10-01T00:00:00Z", "2027-01-01T00:00:00Z");
        let years = calendar("UTC", CalendarUnit::Year, 1, date(2030, 1, 1).at(0, 0, 0, 0));
        check(&years, "2026-11-21T00:00:00Z", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z");
    }

    #[test]
    fn periods_follow_one_another_without_gap() {
        for unit in [CalendarUnit::Day, CalendarUnit::Week, CalendarUnit::Month, CalendarUnit::Quarter] {
            let calendar = calendar("Pacific/Apia", unit, 1, date(2011, 1, 31).at(0, 0, 0, 0));
            let mut now: Timestamp = "2011-12-01T00:00:00Z".parse().unwrap();
            for _ in 0..60 {
                let (begin, end) = calendar.period(now).unwrap();
                assert!(begin <= now && now < end, "{unit:?} {now}");
                now = end;
            }
        }
    }

    #[test]
    fn a_rolling_window_ends_now() {
        let now: Timestamp = "2026-03-29T10:00:00Z".parse().unwrap();
        let (begin, end) = Period::Rolling(Duration::from_secs(86_400)).bounds(now);
        assert_eq!((begin.to_string().as_str(), end), ("2026-03-28T10:00:00Z", now));
    }
}
