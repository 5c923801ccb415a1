//! A series as exposed → a reading with a meaning, or a counted rejection.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::exposition::{Exposition, Family, Label, MetricType, Series};
use crate::tally::Tally;

/// What a reading's value means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// A total that only grows, except at a restart.
    Counter,
    /// A level.
    Gauge,
    /// The cumulative count of a histogram's observations up to `bound`.
    Bucket {
        /// The bucket's upper bound; infinite for the last one.
        bound: f64,
    },
}

/// One series at one scrape, typed and finite.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading<'a> {
    /// The metric's name as exposed.
    pub name: Cow<'a, str>,
    /// Labels ordered by name; a bucket's `le` stays among them.
    pub labels: Vec<Label<'a>>,
    /// What the value means.
    pub kind: Kind,
    /// A finite value.
    pub value: f64,
    /// The target's own time, where it gave one.
    pub timestamp_ms: Option<i64>,
    /// The unit its family declares, or empty.
    pub unit: &'a str,
}

/// Why a series gave no reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reject {
    /// NaN: the target says that it has no value.
    NotANumber,
    /// An infinity, which no sum or rate survives.
    Infinite,
    /// A total below zero.
    NegativeTotal,
    /// A bucket whose `le` is missing or no number.
    BucketBound,
    /// `_created` and other times of birth: they say nothing of behaviour.
    Created,
}

impl Reject {
    /// The name in metrics and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NotANumber => "not_a_number",
            Self::Infinite => "infinite",
            Self::NegativeTotal => "negative_total",
            Self::BucketBound => "bucket_bound",
            Self::Created => "created",
        }
    }
}

/// All readings of a body in its order; the others are counted in `rejected`.
#[must_use]
pub fn normalize<'a>(exposition: Exposition<'a>, rejected: &mut Tally) -> Vec<Reading<'a>> {
    let Exposition { families, series, .. } = exposition;
    let mut readings = Vec::with_capacity(series.len());
    for series in series {
        let (role, family) = Role::of(&series.name, |name| families.get(name));
        let unit = family.map_or("", |family| family.unit);
        match reading(series, role, unit) {
            Ok(reading) => readings.push(reading),
            Err(reject) => rejected.count(reject.name()),
        }
    }
    readings
}

/// Writes the series' one text form into `out`: `name{a="1",b="2"}`, or the bare name. Equal series, equal text.
pub fn write_key(out: &mut String, name: &str, labels: &[Label<'_>]) {
    out.clear();
    out.push_str(name);
    for (index, (label, value)) in labels.iter().enumerate() {
        // `{:?}` quotes and escapes; writing to a string cannot fail.
        let _ = write!(out, "{}{label}={value:?}", if index == 0 { '{' } else { ',' });
    }
    if !labels.is_empty() {
        out.push('}');
    }
}

fn reading<'a>(series: Series<'a>, role: Role, unit: &'a str) -> Result<Reading<'a>, Reject> {
    let Series { name, labels, value, timestamp_ms } = series;
    let kind = match role {
        Role::Created => return Err(Reject::Created),
        Role::Level => Kind::Gauge,
        Role::Total => Kind::Counter,
        Role::Bucket => Kind::Bucket { bound: bound(&labels).ok_or(Reject::BucketBound)? },
    };
    if value.is_nan() {
        return Err(Reject::NotANumber);
    }
    if value.is_infinite() {
        return Err(Reject::Infinite);
    }
    if value < 0.0 && kind != Kind::Gauge {
        return Err(Reject::NegativeTotal);
    }
    Ok(Reading { name, labels, kind, value, timestamp_ms, unit })
}

fn bound(labels: &[Label<'_>]) -> Option<f64> {
    let (_, le) = labels.iter().find(|(name, _)| name == "le")?;
    le.parse().ok().filter(|bound: &f64| !bound.is_nan())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Total,
    Level,
    Bucket,
    Created,
}

impl Role {
    /// By the family's type where one is declared, else by the name's ending.
    fn of<'f, 'a: 'f>(
        name: &str,
        family: impl Fn(&str) -> Option<&'f Family<'a>>,
    ) -> (Self, Option<&'f Family<'a>>) {
        use MetricType::{Counter, GaugeHistogram, Histogram, Summary, Unknown};
        if let Some(exact) = family(name).filter(|family| family.metric_type != Unknown) {
            return (if exact.metric_type == Counter { Self::Total } else { Self::Level }, Some(exact));
        }
        for (suffix, types, role) in [
            ("_total", &[Counter][..], Self::Total),
            ("_bucket", &[Histogram], Self::Bucket),
            ("_count", &[Histogram, Summary], Self::Total),
            ("_sum", &[Histogram, Summary], Self::Total),
            ("_created", &[Counter, Histogram, Summary], Self::Created),
            ("_bucket", &[GaugeHistogram], Self::Level),
            ("_gcount", &[GaugeHistogram], Self::Level),
            ("_gsum", &[GaugeHistogram], Self::Level),
        ] {
            let declared = name.strip_suffix(suffix).and_then(&family);
            if let Some(declared) = declared.filter(|family| types.contains(&family.metric_type)) {
                return (role, Some(declared));
            }
        }
        (Self::by_ending(name), family(name))
    }

    fn by_ending(name: &str) -> Self {
        match name.rsplit_once('_').map(|(_, ending)| ending) {
            Some("total" | "count" | "sum") => Self::Total,
            Some("bucket") => Self::Bucket,
            Some("created") => Self::Created,
            _ => Self::Level,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exposition::{Format, Limits, parse};

    fn check(body: &str, expect: &[(&str, Kind)], rejected: &[(&str, u64)]) {
        let mut tally = Tally::default();
        let readings = normalize(parse(body.as_bytes(), Format::Text, &Limits::default()), &mut tally);
        let got: Vec<_> = readings.iter().map(|reading| (reading.name.as_ref(), reading.kind)).collect();
        assert_eq!(got, expect, "{body}");
        assert_eq!(tally.iter().collect::<Vec<_>>(), rejected, "{body}");
    }

    #[test]
    fn the_declared_type_decides() {
        check("# TYPE a counter\na 1\n", &[("a", Kind::Counter)], &[]);
        check("# TYPE a gauge\na -1\n", &[("a", Kind::Gauge)], &[]);
        check("# TYPE a_total gauge\na_total 1\n", &[("a_total", Kind::Gauge)], &[]);
        check("# TYPE a counter\na_total 1\na_created 9\n", &[("a_total", Kind::Counter)], &[("created", 1)]);
        check(
            "# TYPE a histogram\na_bucket{le=\"0.5\"} 1\na_bucket{le=\"+Inf\"} 2\na_sum 3\na_count 2\n",
            &[
                ("a_bucket", Kind::Bucket { bound: 0.5 }),
                ("a_bucket", Kind::Bucket { bound: f64::INFINITY }),
                ("a_sum", Kind::Counter),
                ("a_count", Kind::Counter),
            ],
            &[],
        );
        check(
            "# TYPE a summary\na{quantile=\"0.5\"} 1\na_sum 3\na_count 2\n",
            &[("a", Kind::Gauge), ("a_sum", Kind::Counter), ("a_count", Kind::Counter)],
            &[],
        );
        check("# TYPE a gaugehistogram\na_bucket{le=\"1\"} 1\n", &[("a_bucket", Kind::Gauge)], &[]);
        check("# TYPE b gauge\nb_count 1\n", &[("b_count", Kind::Counter)], &[]);
    }

    #[test]
    fn without_a_type_the_ending_decides() {
        check("a_total 1\n", &[("a_total", Kind::Counter)], &[]);
        check("total 1\n", &[("total", Kind::Gauge)], &[]);
        check("a_bucket{le=\"1\"} 1\n", &[("a_bucket", Kind::Bucket { bound: 1.0 })], &[]);
        check("# TYPE a untyped\na 1\n", &[("a", Kind::Gauge)], &[]);
    }

    #[test]
    fn what_has_no_usable_value_is_rejected_and_counted() {
        check("a NaN\nb +Inf\nc -Inf\nd 1\n", &[("d", Kind::Gauge)], &[("infinite", 2), ("not_a_number", 1)]);
        check("a_total -1\n", &[], &[("negative_total", 1)]);
        check("a_bucket 1\nb_bucket{le=\"wide\"} 1\nc_bucket{le=\"NaN\"} 1\n", &[], &[("bucket_bound", 3)]);
    }

    #[test]
    fn equal_series_have_equal_keys() {
        let out = parse(b"a{y=\"2\",x=\"1\"} 1\na 1\n", Format::Text, &Limits::default());
        let mut key = String::from("left over");
        write_key(&mut key, &out.series[0].name, &out.series[0].labels);
        assert_eq!(key, r#"a{x="1",y="2"}"#);
        write_key(&mut key, &out.series[1].name, &out.series[1].labels);
        assert_eq!(key, "a");
    }
}
