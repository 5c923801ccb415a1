//! The signals of a target that no Service names: each of its series by itself, to be learned and shown, never acted on.

use proto::model::{DataGap, Quality, SignalKind};

use crate::normalize::write_key;
use crate::roles::{ResourceRows, Row};
use crate::series::{Entry, Measured, SeriesStore};
use crate::tally::Tally;
use crate::target::Target;

/// Longest signal name that the model takes.
const NAME_LENGTH_MAX: usize = 2_048;

/// Every series that is remembered of the target; without an answer, or when the answer lacks it, it is unknown.
/// Names too long for a signal are dropped and counted.
#[must_use]
pub fn target_rows(
    target: &Target,
    series: &SeriesStore,
    answer: Result<(), &str>,
    dropped: &mut Tally,
) -> ResourceRows {
    let mut rows = Vec::with_capacity(series.len());
    for (metric, entry, fresh) in series.entries() {
        let row = row(metric, entry, fresh && answer.is_ok());
        if row.name.len() > NAME_LENGTH_MAX {
            dropped.count("signal_name_too_long");
        } else {
            rows.push(row);
        }
    }
    let cut_short = || if series.complete() { Ok(()) } else { Err("the answer was cut short") };
    let resource = target.host();
    let gap = answer.and_then(|()| cut_short()).err().map(|reason| DataGap {
        resource: resource.clone(),
        sources_expected: 1,
        sources_seen: 0,
        reason: format!("{}: {reason}", target.id),
    });
    ResourceRows { resource, rows, gap }
}

fn row(metric: &str, entry: &Entry, fresh: bool) -> Row {
    let (suffix, kind, unit, value) = match &entry.measured {
        Measured::Gauge(value) => ("", SignalKind::Gauge, unit(metric), Some(*value)),
        Measured::Counter { growth, .. } => {
            ("", SignalKind::Rate, "per_second", growth.ok().map(|growth| growth.per_second()))
        }
        Measured::Histogram { growth, .. } => {
            let p99 = growth.as_ref().ok().and_then(|observed| observed.quantile(0.99));
            ("_p99", SignalKind::Quantile, unit(metric), p99)
        }
    };
    let labels: Vec<_> = entry.labels.iter().map(|(n, v)| (n.as_ref().into(), v.as_ref().into())).collect();
    let mut name = String::new();
    write_key(&mut name, &format!("{metric}{suffix}"), &labels);
    let value = value.filter(|value| fresh && value.is_finite());
    Row { name, kind, unit, value, quality: if value.is_some() { Quality::Good } else { Quality::Unknown } }
}

/// The unit that a metric's name ends with, by Prometheus' habit; empty if it has none that is known.
fn unit(metric: &str) -> &'static str {
    const UNITS: [&str; 8] = ["seconds", "bytes", "ratio", "celsius", "volts", "amperes", "joules", "meters"];
    let ending = metric.rsplit_once('_').map_or(metric, |(_, ending)| ending);
    UNITS.iter().find(|unit| **unit == ending).copied().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{Scraped, target};

    fn values(scraped: &Scraped, answer: Result<(), &str>) -> Vec<(String, Option<f64>)> {
        let rows = target_rows(&target("node", "a:1"), &scraped.store, answer, &mut Tally::default());
        rows.rows.into_iter().map(|row| (row.name, row.value)).collect()
    }

    #[test]
    fn each_series_is_a_signal_and_unknown_without_an_answer() {
        let body = |n: u32| {
            format!(
                "up{{a=\"b\"}} 1\nread_bytes_total {n}\nh_seconds_bucket{{le=\"1\"}} {n}\nh_seconds_bucket{{le=\"+Inf\"}} {n}\n"
            )
        };
        let mut scraped = Scraped::default();
        scraped.scrape(0, &body(0));
        scraped.scrape(10, &body(100));
        let names = ["h_seconds_p99", "read_bytes_total", "up{a=\"b\"}"].map(str::to_owned);
        let known = [Some(0.99), Some(10.0), Some(1.0)];
        assert_eq!(values(&scraped, Ok(())), names.clone().into_iter().zip(known).collect::<Vec<_>>());
        assert_eq!(values(&scraped, Err("gone")), names.map(|name| (name, None)));
        let rows = target_rows(&target("node", "a:1"), &scraped.store, Err("gone"), &mut Tally::default());
        assert_eq!(rows.gap.unwrap().reason, "node/a:1: gone");
    }

    #[test]
    fn a_series_that_left_the_answer_is_unknown() {
        let mut scraped = Scraped::default();
        scraped.scrape(0, "a 1\nb 2\n");
        scraped.scrape(10, "b 3\n");
        assert_eq!(values(&scraped, Ok(())), [("a".to_owned(), None), ("b".to_owned(), Some(3.0))]);
    }

    #[test]
    fn a_name_too_long_is_dropped_and_counted() {
        let mut scraped = Scraped::default();
        let label = |name: &str| format!("{name}=\"{}\"", "x".repeat(1_000));
        scraped.scrape(0, &format!("long{{{},{},{}}} 1\nshort 1\n", label("a"), label("b"), label("c")));
        let mut dropped = Tally::default();
        let rows = target_rows(&target("node", "a:1"), &scraped.store, Ok(()), &mut dropped);
        assert_eq!((rows.rows.len(), dropped.get("signal_name_too_long")), (1, 1));
    }

    #[test]
    fn units_end_the_name() {
        assert_eq!(
            [unit("a_seconds"), unit("a_bytes"), unit("bytes"), unit("a_total")],
            ["seconds", "bytes", "bytes", ""]
        );
    }
}
