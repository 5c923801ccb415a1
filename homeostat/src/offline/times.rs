//! Times as they stand in files.

use jiff::{Timestamp, civil, tz::TimeZone};

/// Reads RFC 3339 (`2026-03-01T12:00:00Z`, any offset), `2026-03-01 12:00:00` (taken as UTC, with or without a fraction),
/// a date alone, `20260301120000`, or seconds since 1970 (with or without a fraction; milliseconds too, which no second of a
/// four-digit year can be mistaken for).
pub fn parse(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(number) = text.parse::<i64>() {
        return match text.len() {
            14 => compact(text),
            13 => Timestamp::from_millisecond(number).ok(),
            _ => Timestamp::from_second(number).ok(),
        };
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at);
    }
    if let Ok(local) = text.parse::<civil::DateTime>() {
        return Some(local.to_zoned(TimeZone::UTC).ok()?.timestamp());
    }
    fraction(text)
}

/// Year to second without anything between.
fn compact(text: &str) -> Option<Timestamp> {
    let local = civil::DateTime::strptime("%Y%m%d%H%M%S", text).ok()?;
    Some(local.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// Seconds with a fraction; to the microsecond, which is what a double holds of today's times.
fn fraction(text: &str) -> Option<Timestamp> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| seconds.is_finite())?;
    // A double beyond the range of i64 becomes its end, which no timestamp accepts.
    Timestamp::from_microsecond((seconds * 1e6).round() as i64).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_one_moment_reads_the_same() {
        let moment = Timestamp::from_second(1_393_423_200).unwrap();
        for text in [
            "2014-02-26T14:00:00Z",
            "2014-02-26T16:00:00+02:00",
            "2014-02-26 14:00:00",
            "2014-02-26T14:00:00",
            "2014-02-26 14:00:00.000000",
            " 2014-02-26 14:00 ",
            "1393423200",
            "1393423200000",
            "20140226140000",
            "1393423200.0",
            "1.3934232e9",
        ] {
            assert_eq!(parse(text), Some(moment), "{text}");
        }
        assert_eq!(parse("2014-02-26").map(|at| at.to_string()).as_deref(), Some("2014-02-26T00:00:00Z"));
        assert_eq!(parse("0.25").map(|at| at.as_millisecond()), Some(250));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", "timestamp", "2014-13-01 00:00:00", "NaN", "inf", "1e300", "99999999999999", "12:00"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
