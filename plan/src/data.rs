//! How far the data about a resource can be trusted at one moment. Missing, partial or old data is never read as health.

use jiff::Timestamp;
use proto::model::{Assessment, Quality};
use std::{
    fmt::{self, Write as _},
    time::Duration,
};

/// Assessments older than so many scrape intervals are stale: one may be late, two are a pattern, three are an outage.
pub const STALE_INTERVALS: u32 = 3;
/// Never stale before this age: at a 100 ms interval, three intervals would be less than one pause of a busy machine.
pub const STALE_MIN: Duration = Duration::from_secs(5);
/// A scale-out may follow the last good assessment for this long; what was true half an hour ago may no longer be.
pub const LAST_GOOD_MAX: Duration = Duration::from_secs(30 * 60);
/// Stands in for an interval that was not told.
const INTERVAL_DEFAULT: Duration = Duration::from_secs(1);

/// What can be said about a resource now.
#[derive(Debug, Clone, PartialEq)]
pub enum Data<'a> {
    /// Everything expected is there.
    Good {
        /// What is known.
        assessment: &'a Assessment,
        /// How old it is.
        age: Duration,
    },
    /// Some sources are missing; the values describe the rest.
    Partial {
        /// What is known of the rest.
        assessment: &'a Assessment,
        /// How old it is.
        age: Duration,
        /// What is missing.
        reason: String,
    },
    /// There are no values.
    Unknown {
        /// Why.
        reason: String,
        /// The last good assessment that is young enough to be followed, and its age.
        last_good: Option<(&'a Assessment, Duration)>,
    },
    /// The newest assessment is too old.
    Stale {
        /// How old it is, or how far in the future.
        age: Duration,
        /// How old it may be.
        limit: Duration,
    },
    /// There is no assessment.
    Absent,
}

impl<'a> Data<'a> {
    /// Judges what is at hand.
    pub fn of(assessment: Option<&'a Assessment>, last_good: Option<&'a Assessment>, now: Timestamp) -> Self {
        let Some(assessment) = assessment else { return Self::Absent };
        let (age, limit) = (distance(now, assessment.at), stale_after(assessment));
        if age > limit {
            return Self::Stale { age, limit };
        }
        let (quality, signal) = weakest(assessment);
        let reason = || match signal {
            Some(signal) => format!("{signal} is {quality}"),
            None => assessment.data.reason.clone(),
        };
        match quality {
            Quality::Good => Self::Good { assessment, age },
            Quality::Partial => Self::Partial { assessment, age, reason: reason() },
            Quality::Unknown => {
                let aged = last_good.map(|last| (last, distance(now, last.at)));
                Self::Unknown { reason: reason(), last_good: aged.filter(|(_, age)| *age <= LAST_GOOD_MAX) }
            }
        }
    }

    /// The assessment, when it has values of now.
    pub fn usable(&self) -> Option<&'a Assessment> {
        match self {
            Self::Good { assessment, .. } | Self::Partial { assessment, .. } => Some(assessment),
            Self::Unknown { .. } | Self::Stale { .. } | Self::Absent => None,
        }
    }

    /// Whether nothing is missing.
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Good { .. })
    }

    /// What is wrong with it, in words; `None` when it is good.
    pub fn fault(&self) -> Option<String> {
        match self {
            Self::Good { .. } => None,
            Self::Partial { reason, .. } => Some(format!("data is partial ({reason})")),
            Self::Unknown { reason, .. } => Some(format!("data is unknown ({reason})")),
            Self::Stale { age, limit } => {
                Some(format!("data is {} s old, at most {} s are trusted", seconds(*age), seconds(*limit)))
            }
            Self::Absent => Some("there is no assessment yet".to_owned()),
        }
    }
}

/// How old an assessment may be before nothing rests on it.
pub fn stale_after(assessment: &Assessment) -> Duration {
    interval(assessment).saturating_mul(STALE_INTERVALS).max(STALE_MIN)
}

/// The scrape interval, never zero.
pub fn interval(assessment: &Assessment) -> Duration {
    if assessment.interval.is_zero() { INTERVAL_DEFAULT } else { assessment.interval }
}

/// A signal's value when it is a number that a rate, ratio, time or count can be.
pub fn value(assessment: &Assessment, signal: &str) -> Option<f64> {
    assessment.value(signal).filter(|value| value.is_finite() && *value >= 0.0)
}

/// The largest count: above any policy's maximum (100,000), so that a cut never hides a difference.
const COUNT_MAX: f64 = 1_000_000.0;

/// The replicas that are ready, as a count; a number that no plant has is no count.
pub fn ready_replicas(assessment: &Assessment) -> Option<u32> {
    value(assessment, "ready_replicas").filter(|ready| *ready <= COUNT_MAX).map(count)
}

/// A rounded count, cut at the largest.
pub fn count(value: f64) -> u32 {
    if value.is_nan() { 0 } else { value.round().clamp(0.0, COUNT_MAX) as u32 }
}

/// Time between two moments, whichever came first: an assessment from the future is as suspect as an old one.
pub fn distance(one: Timestamp, other: Timestamp) -> Duration {
    one.duration_since(other).unsigned_abs()
}

/// Seconds for people: whole ones from ten on, else one decimal.
pub fn seconds(value: Duration) -> impl fmt::Display {
    fmt::from_fn(move |f| match value.as_secs() {
        whole @ 10.. => write!(f, "{whole}"),
        _ => write!(f, "{}", number(value.as_secs_f64())),
    })
}

/// A number for people: at most three significant digits after a leading zero, one decimal below 100. Writing it allocates nothing.
pub fn number(value: f64) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        let decimals = match value.abs() {
            // No plant has such numbers; whatever made them, the text stays short.
            size if size >= 1e9 => return write!(f, "{value:.1e}"),
            size if size >= 100.0 => 0,
            size if size >= 1.0 => 1,
            _ => 3,
        };
        let mut text = ShortText::default();
        write!(text, "{value:.decimals$}")?;
        let text = text.as_str();
        f.write_str(if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text })
    })
}

/// A share for people.
pub fn percent(ratio: f64) -> impl fmt::Display {
    fmt::from_fn(move |f| write!(f, "{} %", number((ratio * 100.0).min(f64::MAX))))
}

/// A number's digits: below 1e9 a sign, nine of them, a point and three more.
#[derive(Debug, Default)]
struct ShortText {
    bytes: [u8; 16],
    length: usize,
}

impl ShortText {
    fn as_str(&self) -> &str {
        str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

impl fmt::Write for ShortText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

/// Whether nothing is missing, neither in the whole nor in the signals on which plans rest.
pub fn is_whole(assessment: &Assessment) -> bool {
    weakest(assessment).0 == Quality::Good
}

/// The resource's quality, lowered by that of the signals on which plans rest, and which of those lowered it.
fn weakest(assessment: &Assessment) -> (Quality, Option<&'static str>) {
    let mut found = (assessment.data.quality, None);
    for name in ["load", "ready_replicas"] {
        let Some(signal) = assessment.signal(name) else { continue };
        if signal.quality > found.0 {
            found = (signal.quality, Some(name));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{at, service_assessment};

    #[test]
    fn age_beyond_three_intervals_is_stale_in_both_directions() {
        let assessment = service_assessment("catalog", 100, &[("load", 5.0)]);
        for (now, stale) in [(100, false), (105, false), (106, true), (94, true), (95, false)] {
            let data = Data::of(Some(&assessment), None, at(now));
            assert_eq!(matches!(data, Data::Stale { .. }), stale, "now {now}: {data:?}");
        }
    }

    #[test]
    fn slow_scrapes_are_given_their_three_intervals() {
        let mut assessment = service_assessment("catalog", 100, &[]);
        assessment.interval = Duration::from_secs(15);
        assert!(Data::of(Some(&assessment), None, at(145)).is_good());
        assert!(!Data::of(Some(&assessment), None, at(146)).is_good());
    }

    #[test]
    fn one_partial_load_makes_the_whole_partial() {
        let mut assessment = service_assessment("catalog", 100, &[("load", 5.0)]);
        assessment.signals[0].quality = Quality::Partial;
        let data = Data::of(Some(&assessment), None, at(100));
        assert_eq!(data.fault().as_deref(), Some("data is partial (load is partial)"));
    }

    #[test]
    fn unknown_follows_the_last_good_for_half_an_hour_only() {
        let last = service_assessment("catalog", 100, &[("load", 5.0)]);
        let follows = |now: i64| {
            let mut assessment = service_assessment("catalog", now, &[]);
            assessment.data.quality = Quality::Unknown;
            match Data::of(Some(&assessment), Some(&last), at(now)) {
                Data::Unknown { last_good, .. } => last_good.is_some(),
                other => panic!("{other:?}"),
            }
        };
        assert!(follows(100 + 1_800));
        assert!(!follows(100 + 1_801));
    }

    #[test]
    fn values_that_cannot_be_are_no_values() {
        for bad in [f64::NAN, f64::INFINITY, -1.0] {
            let assessment = service_assessment("catalog", 100, &[("load", bad), ("ready_replicas", bad)]);
            assert_eq!((value(&assessment, "load"), ready_replicas(&assessment)), (None, None));
        }
    }

    #[test]
    fn numbers_are_written_short() {
        for (value, text) in [
            (0.0, "0"),
            (0.0123, "0.012"),
            (1.25, "1.2"),
            (3.0, "3"),
            (812.4, "812"),
            (100.0, "100"),
            (f64::MAX, "1.8e308"),
        ] {
            assert_eq!(number(value).to_string(), text);
        }
        assert_eq!(percent(0.6).to_string(), "60 %");
    }
}
