//! Whether an objective was kept over a time, from the spans of its budget: weighted by events, the same however often it is asked,
//! with every violation from its begin to its end. What is unknown is told apart; it neither keeps an objective nor breaks it.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

/// A span of the budget's history.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    /// Its begin.
    pub from: Timestamp,
    /// How long.
    pub width: Duration,
    /// Events.
    pub total: f64,
    /// The bad ones.
    pub bad: f64,
    /// How much of it is known.
    pub known: Duration,
    /// Whether series were dropped.
    pub incomplete: bool,
}

/// A time in which the target was missed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Violation {
    /// Begin of its first span.
    pub opened_at: Timestamp,
    /// End of its last one; `None`: it goes on.
    pub closed_at: Option<Timestamp>,
    /// Bad events in it.
    pub bad: f64,
    /// Events in it.
    pub total: f64,
}

/// What a time was like.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Events.
    pub total: f64,
    /// Bad ones.
    pub bad: f64,
    /// Share of good events; `None` without any.
    pub good_ratio: Option<f64>,
    /// Share that was promised.
    pub target_ratio: f64,
    /// Whether it was kept; `None`: unknown.
    pub kept: Option<bool>,
    /// Share of the time that is known.
    pub known_ratio: f64,
    /// Whether some events were not counted.
    pub incomplete: bool,
    /// Violations, oldest first.
    pub violations: Vec<Violation>,
}

/// Less known time than this says nothing about a time as a whole.
const KNOWN_MIN: f64 = 0.5;

/// The report from `from` to `to` over spans in order of time; those that do not lie inside are left out.
#[must_use]
pub fn report(spans: &[Span], from: Timestamp, to: Timestamp, target_ratio: f64) -> Report {
    let end = |span: &Span| span.from.checked_add(span.width).unwrap_or(Timestamp::MAX);
    let inside = || spans.iter().filter(|span| span.from >= from && end(span) <= to);
    let (mut total, mut bad, mut known_s, mut incomplete) = (0.0, 0.0, 0.0, false);
    let mut violations: Vec<Violation> = Vec::new();
    for span in inside() {
        total += span.total;
        bad += span.bad;
        known_s += span.known.as_secs_f64();
        incomplete |= span.incomplete;
        if span.total <= 0.0 {
            // Neither good nor bad: nothing begins and nothing ends.
            continue;
        }
        let is_bad = 1.0 - span.bad / span.total < target_ratio;
        match (violations.last_mut().filter(|violation| violation.closed_at.is_none()), is_bad) {
            (Some(open), true) => {
                open.bad += span.bad;
                open.total += span.total;
            }
            (Some(open), false) => open.closed_at = Some(span.from),
            (None, true) => violations.push(Violation {
                opened_at: span.from,
                closed_at: None,
                bad: span.bad,
                total: span.total,
            }),
            (None, false) => {}
        }
    }
    let length = to.duration_since(from).as_secs_f64().max(1.0);
    let known_ratio = (known_s / length).clamp(0.0, 1.0);
    let good_ratio = (total > 0.0).then(|| 1.0 - bad / total);
    let kept = match good_ratio {
        // What is missed with what is known stays missed.
        Some(good) if good < target_ratio => Some(false),
        Some(_) if known_ratio >= KNOWN_MIN && !incomplete => Some(true),
        _ => None,
    };
    Report { total, bad, good_ratio, target_ratio, kept, known_ratio, incomplete, violations }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).unwrap()
    }

    fn span(minute: i64, total: f64, bad: f64) -> Span {
        let width = Duration::from_secs(60);
        Span { from: at(minute), width, total, bad, known: width, incomplete: false }
    }

    #[test]
    fn violations_open_and_close_by_themselves() {
        let spans: Vec<_> = (0..60)
            .map(|minute| span(minute, 100.0, if (20..25).contains(&minute) { 50.0 } else { 0.0 }))
            .collect();
        let report = report(&spans, at(0), at(60), 0.99);
        assert_eq!(report.violations.len(), 1);
        let violation = &report.violations[0];
        assert_eq!((violation.opened_at, violation.closed_at), (at(20), Some(at(25))));
        assert_eq!((violation.bad, report.kept), (250.0, Some(false)));
    }

    #[test]
    fn events_weigh_not_the_times_that_were_looked_at() {
        let busy = span(0, 10_000.0, 0.0);
        let quiet = span(1, 10.0, 5.0);
        let report = report(&[busy, quiet], at(0), at(2), 0.999);
        assert_eq!(report.kept, Some(true), "half of the minutes were bad, 0.05 % of the events: {report:?}");
    }

    #[test]
    fn what_is_unknown_neither_keeps_nor_ends_anything() {
        let spans = [span(0, 100.0, 90.0), Span { known: Duration::ZERO, ..span(1, 0.0, 0.0) }];
        let open = report(&spans, at(0), at(10), 0.99);
        assert_eq!(open.violations[0].closed_at, None);
        let little = report(&[span(0, 100.0, 0.0)], at(0), at(10), 0.99);
        assert_eq!((little.kept, little.known_ratio), (None, 0.1));
        assert_eq!(report(&[], at(0), at(10), 0.99).kept, None);
    }

    #[test]
    fn dropped_series_leave_the_whole_unknown() {
        let spans = [Span { incomplete: true, ..span(0, 100.0, 0.0) }];
        assert_eq!(report(&spans, at(0), at(1), 0.99).kept, None);
    }
}
