//! Counters → increases and rates. A decrease is a restart, not a negative rate; a gap is unknown, not zero.

use jiff::{SignedDuration, Timestamp};

/// A value at a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// When it was read.
    pub at: Timestamp,
    /// What was read.
    pub value: f64,
}

/// How much a counter grew between two points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Increase {
    /// The growth, never negative.
    pub amount: f64,
    /// The time between the points, above zero.
    pub elapsed: SignedDuration,
    /// Whether the counter restarted in between, so that `amount` is only what came after.
    pub reset: bool,
}

impl Increase {
    /// Growth per second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        self.amount / self.elapsed.as_secs_f64()
    }
}

/// Why there is no increase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// There is no earlier point yet.
    First,
    /// Time did not advance: the clock was stepped, or the target repeated its old sample.
    TimeNotAdvancing,
    /// The earlier point is too old to say what happened in between.
    Gap,
}

impl Unknown {
    /// The name in metrics and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::First => "first_sample",
            Self::TimeNotAdvancing => "time_not_advancing",
            Self::Gap => "gap",
        }
    }
}

/// The increase from `previous` to `current`, unless more than `gap_max` lies between them.
pub fn increase(
    previous: Option<Point>,
    current: Point,
    gap_max: SignedDuration,
) -> Result<Increase, Unknown> {
    let previous = previous.ok_or(Unknown::First)?;
    let elapsed = elapsed(previous.at, current.at, gap_max)?;
    let reset = current.value < previous.value;
    let amount = if reset { current.value } else { current.value - previous.value };
    Ok(Increase { amount, elapsed, reset })
}

/// The time between two points, if it can carry a rate.
pub fn elapsed(
    previous: Timestamp,
    current: Timestamp,
    gap_max: SignedDuration,
) -> Result<SignedDuration, Unknown> {
    let elapsed = current.duration_since(previous);
    if elapsed <= SignedDuration::ZERO {
        return Err(Unknown::TimeNotAdvancing);
    }
    if elapsed > gap_max {
        return Err(Unknown::Gap);
    }
    Ok(elapsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(second: i64, value: f64) -> Point {
        Point { at: Timestamp::from_second(1_700_000_000 + second).unwrap(), value }
    }

    fn rate(previous: Option<Point>, current: Point) -> Result<f64, Unknown> {
        increase(previous, current, SignedDuration::from_secs(30)).map(|increase| increase.per_second())
    }

    #[test]
    fn growth_is_per_second() {
        assert_eq!(rate(Some(point(0, 100.0)), point(10, 150.0)), Ok(5.0));
        assert_eq!(rate(Some(point(0, 100.0)), point(10, 100.0)), Ok(0.0));
    }

    #[test]
    fn a_decrease_counts_from_zero_and_says_so() {
        let increase =
            increase(Some(point(0, 100.0)), point(10, 40.0), SignedDuration::from_secs(30)).unwrap();
        assert_eq!((increase.amount, increase.reset), (40.0, true));
    }

    #[test]
    fn what_cannot_be_known_is_unknown() {
        assert_eq!(rate(None, point(10, 1.0)), Err(Unknown::First));
        assert_eq!(rate(Some(point(10, 1.0)), point(10, 2.0)), Err(Unknown::TimeNotAdvancing));
        assert_eq!(rate(Some(point(10, 1.0)), point(9, 2.0)), Err(Unknown::TimeNotAdvancing));
        assert_eq!(rate(Some(point(0, 1.0)), point(31, 2.0)), Err(Unknown::Gap));
        assert_eq!(rate(Some(point(0, 1.0)), point(30, 1.0)), Ok(0.0));
    }
}
