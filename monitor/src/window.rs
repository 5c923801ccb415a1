//! A bounded ring of a series' latest points, in the order of time.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};

use crate::rate::{self, Increase, Point, Unknown};

/// Holds at most `capacity` points; the oldest makes room for the newest.
#[derive(Debug, Clone)]
pub struct Window {
    points: VecDeque<Point>,
    capacity: usize,
}

impl Window {
    /// An empty window for at least two points, because one point has no rate.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.max(2);
        Self { points: VecDeque::with_capacity(2), capacity }
    }

    /// From now on holds so many points, at least two.
    pub fn hold(&mut self, capacity: usize) {
        self.capacity = capacity.max(2);
    }

    /// Takes a point. When time steps back (or stands still), everything known so far lies on another time line: the
    /// window starts again with this point and says so.
    pub fn push(&mut self, point: Point) -> Result<(), Unknown> {
        let advancing = self.points.back().is_none_or(|last| last.at < point.at);
        if !advancing {
            self.points.clear();
        }
        while self.points.len() >= self.capacity {
            self.points.pop_front();
        }
        self.points.push_back(point);
        if advancing { Ok(()) } else { Err(Unknown::TimeNotAdvancing) }
    }

    /// The newest point.
    #[must_use]
    pub fn last(&self) -> Option<Point> {
        self.points.back().copied()
    }

    /// The newest point, if it is at most `age_max` old at `now`.
    #[must_use]
    pub fn fresh(&self, now: Timestamp, age_max: SignedDuration) -> Option<Point> {
        self.last().filter(|point| now.duration_since(point.at) <= age_max)
    }

    /// The growth of a counter over the last `span`, restarts included, however many points lie within. It is at least
    /// that of the newest two points, and never spans a gap longer than `gap_max`.
    pub fn increase(&self, span: SignedDuration, gap_max: SignedDuration) -> Result<Increase, Unknown> {
        let newest = self.last().ok_or(Unknown::First)?;
        let mut total: Option<Increase> = None;
        for (old, new) in self.points.iter().rev().skip(1).zip(self.points.iter().rev()) {
            if total.is_some() && newest.at.duration_since(old.at) > span {
                break;
            }
            let step = match rate::increase(Some(*old), *new, gap_max) {
                Ok(step) => step,
                Err(unknown) if total.is_none() => return Err(unknown),
                Err(_) => break,
            };
            total = Some(match total {
                None => step,
                Some(sum) => Increase {
                    amount: sum.amount + step.amount,
                    elapsed: sum.elapsed + step.elapsed,
                    reset: sum.reset | step.reset,
                },
            });
        }
        total.ok_or(Unknown::First)
    }

    /// How many points are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.points.len()
    }

    /// Whether no point is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LONG: SignedDuration = SignedDuration::from_secs(1_000_000);

    fn seconds(seconds: i64) -> SignedDuration {
        SignedDuration::from_secs(seconds)
    }

    fn at(millisecond: i64) -> Timestamp {
        Timestamp::from_millisecond(1_700_000_000_000 + millisecond).unwrap()
    }

    fn window(capacity: usize, points: &[(i64, f64)]) -> Window {
        let mut window = Window::new(capacity);
        for (second, value) in points {
            let _ = window.push(Point { at: at(second * 1_000), value: *value });
        }
        window
    }

    #[test]
    fn the_oldest_makes_room() {
        let window = window(3, &[(0, 0.0), (1, 1.0), (2, 2.0), (3, 3.0)]);
        assert_eq!(window.len(), 3);
        assert_eq!(window.increase(LONG, LONG).map(|increase| increase.amount), Ok(2.0));
    }

    #[test]
    fn a_step_back_in_time_starts_again() {
        let mut window = window(4, &[(10, 1.0), (11, 2.0)]);
        let back = Point { at: at(5_000), value: 3.0 };
        assert_eq!(window.push(back), Err(Unknown::TimeNotAdvancing));
        assert_eq!(window.increase(LONG, LONG), Err(Unknown::First));
        assert_eq!(window.last(), Some(back));
    }

    #[test]
    fn an_increase_covers_the_span_and_stops_at_a_gap() {
        let window = window(8, &[(0, 0.0), (50, 5.0), (60, 10.0), (70, 2.0), (80, 4.0)]);
        let amount = |span, gap| window.increase(seconds(span), seconds(gap)).map(|increase| increase.amount);
        assert_eq!(amount(1, 20), Ok(2.0), "never less than two points");
        assert_eq!(amount(20, 20), Ok(4.0), "2 after the restart, then 2");
        assert_eq!(amount(1_000, 20), Ok(9.0));
        assert_eq!(amount(1_000, 5), Err(Unknown::Gap));
    }

    #[test]
    fn an_old_point_is_not_fresh() {
        let window = window(2, &[(0, 1.0)]);
        assert!(window.fresh(at(15_000), seconds(15)).is_some());
        assert!(window.fresh(at(15_001), seconds(15)).is_none());
        assert!(Window::new(2).fresh(at(0), seconds(15)).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// The same growth read at other moments gives the same sum: aggregates do not depend on the scrape rate.
        #[test]
        fn the_increase_is_independent_of_the_sampling_rate(
            mut cuts in prop::collection::btree_set(1_i64..99_999, 0..60),
            per_second in 0.0..1_000.0_f64,
        ) {
            cuts.extend([0, 100_000]);
            let mut window = Window::new(100);
            for ms in cuts {
                window.push(Point { at: at(ms), value: per_second * ms as f64 / 1_000.0 }).unwrap();
            }
            let increase = window.increase(LONG, LONG).unwrap();
            prop_assert!((increase.per_second() - per_second).abs() <= 1e-9 * per_second.max(1.0));
            prop_assert!(!increase.reset);
        }
    }
}
