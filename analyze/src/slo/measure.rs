//! Numbers that are no events: a quantile, a rate, an age or a level that must stay on one side of a value.

use super::indicator::Tick;

/// Which number of a signal is meant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Statistic {
    /// Good events of all.
    Ratio,
    /// Growth per second.
    Rate,
    /// The mean.
    Mean,
    /// The quantile, 0 to 1.
    Quantile(f64),
    /// How many.
    Count,
    /// The newest value.
    Latest,
}

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricType {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by size.
    Histogram,
}

/// A statistic that a metric does not have.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{statistic:?} of a {metric:?}: {rule}")]
pub struct Mismatch {
    statistic: Statistic,
    metric: MetricType,
    rule: &'static str,
}

impl Statistic {
    /// Checks that the metric has this statistic: the mean of a counter, or the rate of a gauge, means nothing.
    ///
    /// # Errors
    /// Says why not.
    pub fn of(self, metric: MetricType) -> Result<Self, Mismatch> {
        let wrong = |rule| Err(Mismatch { statistic: self, metric, rule });
        match (self, metric) {
            (Self::Quantile(q), _) if !(0.0..=1.0).contains(&q) => wrong("a quantile is 0 to 1"),
            (Self::Mean | Self::Quantile(_) | Self::Latest, MetricType::Counter) => {
                wrong("what a counter has reached depends on when it began; take its rate")
            }
            (Self::Rate | Self::Count, MetricType::Gauge) => wrong("a gauge counts nothing; take its mean"),
            _ => Ok(self),
        }
    }

    /// Reads `rate`, `mean`, `p99`, `p99.9`, ...
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "ratio" => Self::Ratio,
            "rate" => Self::Rate,
            "mean" => Self::Mean,
            "count" => Self::Count,
            "latest" => Self::Latest,
            _ => {
                let percent: f64 = text.strip_prefix('p')?.parse().ok()?;
                Self::Quantile((0.0..=100.0).contains(&percent).then_some(percent / 100.0)?)
            }
        })
    }
}

/// How a number is compared with the objective's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Comparison {
    /// At most.
    AtMost,
    /// At least.
    AtLeast,
    /// Below.
    Below,
    /// Above.
    Above,
    /// As far as this on either side.
    Within(f64),
}

impl Comparison {
    /// Reads `<=`, `>=`, `<`, `>`, `lte`, `gte`, `lt`, `gt`; `==` and `eq` need a tolerance. Anything else is refused: a word that
    /// is not understood must not become a violation later.
    #[must_use]
    pub fn parse(text: &str, tolerance: Option<f64>) -> Option<Self> {
        Some(match text {
            "<=" | "lte" => Self::AtMost,
            ">=" | "gte" => Self::AtLeast,
            "<" | "lt" => Self::Below,
            ">" | "gt" => Self::Above,
            "==" | "eq" => Self::Within(tolerance.filter(|tolerance| *tolerance >= 0.0)?),
            _ => return None,
        })
    }

    /// The operator as PromQL has it.
    #[must_use]
    pub fn symbol(self) -> &'static str {
        match self {
            Self::AtMost => "<=",
            Self::AtLeast => ">=",
            Self::Below => "<",
            Self::Above => ">",
            Self::Within(_) => "==",
        }
    }

    /// Whether the number is good; `None` when it is none.
    #[must_use]
    pub fn holds(self, number: f64, value: f64) -> Option<bool> {
        if !number.is_finite() {
            return None;
        }
        Some(match self {
            Self::AtMost => number <= value,
            Self::AtLeast => number >= value,
            Self::Below => number < value,
            Self::Above => number > value,
            Self::Within(tolerance) => (number - value).abs() <= tolerance,
        })
    }
}

/// When there are so few events that a number says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LowTraffic {
    /// Events per tick below which it does not count; 0: it always does.
    pub minimum_events: f64,
}

/// A tick of a number: one event, good or bad. A missing number is unknown; one of too few events counts for nothing, so that
/// a service is not in violation at night for want of visitors.
#[must_use]
pub fn tick(
    number: Option<f64>,
    comparison: Comparison,
    value: f64,
    events: Option<f64>,
    low: LowTraffic,
) -> Tick {
    if low.minimum_events > 0.0 {
        match events {
            None => return Tick::Unknown,
            Some(events) if events < low.minimum_events => return Tick::Known { total: 0.0, bad: 0.0 },
            Some(_) => {}
        }
    }
    match number.and_then(|number| comparison.holds(number, value)) {
        None => Tick::Unknown,
        Some(good) => Tick::Known { total: 1.0, bad: f64::from(u8::from(!good)) },
    }
}

/// Events at or below a latency bound, from cumulative buckets `(upper limit, count)`. A bound inside a bucket counts that bucket
/// as too slow: it may only look worse than it is. `None` when the buckets are out of order or there is none.
#[must_use]
pub fn within_bound(buckets: &[(f64, f64)], bound: f64) -> Option<(f64, f64)> {
    let ordered = buckets.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
    let total = buckets.last().filter(|_| ordered)?.1;
    // Limits are decimal text: 0.25 and 0.250000000000001 are the same bucket.
    let reached = bound * (1.0 + 1e-9);
    let good = buckets.iter().rev().find(|(limit, _)| *limit <= reached).map_or(0.0, |(_, count)| *count);
    (total.is_finite() && good >= 0.0).then_some((good, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_a_rate_and_a_gauge_is_not() {
        assert!(Statistic::Mean.of(MetricType::Counter).is_err());
        assert!(Statistic::Rate.of(MetricType::Counter).is_ok());
        assert!(Statistic::Rate.of(MetricType::Gauge).is_err());
        assert!(Statistic::Quantile(0.95).of(MetricType::Histogram).is_ok());
        assert!(Statistic::Quantile(1.5).of(MetricType::Histogram).is_err());
        let Some(Statistic::Quantile(q)) = Statistic::parse("p99.9") else { panic!("a quantile") };
        assert!((q - 0.999).abs() < 1e-12);
        assert_eq!(Statistic::parse("p101"), None);
    }

    #[test]
    fn operators_are_the_five_and_equality_has_a_tolerance() {
        for (text, number, expect) in
            [("<=", 5.0, true), ("<", 5.0, false), (">=", 5.0, true), (">", 5.0, false), ("lt", 4.9, true)]
        {
            assert_eq!(Comparison::parse(text, None).unwrap().holds(number, 5.0), Some(expect), "{text}");
        }
        assert_eq!(Comparison::parse("==", None), None, "equality of measurements needs a tolerance");
        assert_eq!(Comparison::parse("==", Some(0.01)).unwrap().holds(5.009, 5.0), Some(true));
        assert_eq!(Comparison::parse("==", Some(0.01)).unwrap().holds(5.011, 5.0), Some(false));
        assert_eq!(Comparison::parse("~", None), None);
        assert_eq!(Comparison::AtMost.holds(f64::NAN, 5.0), None);
    }

    #[test]
    fn at_night_too_few_events_count_for_nothing() {
        let low = LowTraffic { minimum_events: 10.0 };
        let at = |number, events| tick(number, Comparison::AtLeast, 100.0, events, low);
        assert_eq!(at(Some(3.0), Some(2.0)), Tick::Known { total: 0.0, bad: 0.0 });
        assert_eq!(at(Some(3.0), Some(50.0)), Tick::Known { total: 1.0, bad: 1.0 });
        assert_eq!(at(Some(3.0), None), Tick::Unknown);
        assert_eq!(at(None, Some(50.0)), Tick::Unknown);
    }

    #[test]
    fn a_bound_inside_a_bucket_may_only_look_worse() {
        let buckets = [(0.1, 50.0), (0.25, 80.0), (1.0, 95.0), (f64::INFINITY, 100.0)];
        assert_eq!(within_bound(&buckets, 0.25), Some((80.0, 100.0)));
        assert_eq!(within_bound(&buckets, 0.5), Some((80.0, 100.0)));
        assert_eq!(within_bound(&buckets, 0.05), Some((0.0, 100.0)));
        assert_eq!(within_bound(&[], 0.25), None);
        assert_eq!(within_bound(&[(0.1, 5.0), (0.2, 3.0)], 0.25), None);
    }
}
