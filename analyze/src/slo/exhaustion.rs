//! When the budget will be used up: an early, a likely and a late moment. The future burns as one of the recent past did: the
//! interval spans what windows of three lengths say, each with the error of counting so few failures; what leaves a rolling window
//! meanwhile is known and taken into account.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use statrs::distribution::{ContinuousCDF, Gamma};

use super::events::EventHistory;
use super::period::Period;

/// Windows that stand for the recent past, as shares of the period: an hour, six and a day of 28 days.
const RECENT: [f64; 3] = [1.0 / 672.0, 1.0 / 112.0, 1.0 / 28.0];
/// Ends of the interval: 80 % of the moments should lie between.
const TAILS: (f64, f64) = (0.1, 0.9);
/// Steps of the look ahead: a third of a day of 28 days is enough to plan by; the crossing itself is interpolated.
const STEPS: u32 = 200;

/// When the budget will be used up; `None`: not within one more period.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Exhaustion {
    /// One in ten times it comes earlier.
    pub early: Option<Timestamp>,
    /// As likely before as after.
    pub likely: Option<Timestamp>,
    /// One in ten times it comes later.
    pub late: Option<Timestamp>,
}

/// Forecasts from all that is known at `now`; `None` when nothing has been seen lately.
#[must_use]
pub fn forecast(history: &EventHistory, period: &Period, allowed: f64, now: Timestamp) -> Option<Exhaustion> {
    let span_s = period.span().as_secs_f64();
    let (mut high, mut low, mut middle) = (0.0_f64, f64::INFINITY, None);
    let mut per_second = None;
    for (place, share) in RECENT.into_iter().enumerate() {
        let width = Duration::from_secs_f64((span_s * share).max(1.0));
        let sums = history.window(now, width);
        if sums.known_s <= 0.0 {
            continue;
        }
        let (less, likely, more) = rates(sums.bad, sums.known_s);
        // The shortest window is the newest news; the longer ones hold it back from taking chance for fate.
        high = high.max(more);
        low = low.min(less);
        if place <= 1 || middle.is_none() {
            middle = Some(likely);
        }
        per_second = Some(sums.total / sums.known_s);
    }
    let (middle, per_second) = (middle?, per_second?);
    let crossing = |rate: f64| crossing(history, period, allowed, now, rate, per_second);
    Some(Exhaustion { early: crossing(high), likely: crossing(middle), late: crossing(low) })
}

/// Bad events per second that the count is compatible with: the gamma distribution that Jeffreys' prior leaves.
fn rates(bad: f64, seconds: f64) -> (f64, f64, f64) {
    let quantile = |q| Gamma::new(bad + 0.5, seconds).map_or(bad / seconds, |gamma| gamma.inverse_cdf(q));
    let likely = bad / seconds;
    (quantile(TAILS.0).min(likely), likely, quantile(TAILS.1).max(likely))
}

fn crossing(
    history: &EventHistory,
    period: &Period,
    allowed: f64,
    now: Timestamp,
    bad_per_second: f64,
    per_second: f64,
) -> Option<Timestamp> {
    let (begin, end) = period.bounds(now);
    let step = period.span() / STEPS;
    let consumed = |ahead: Duration| -> Option<f64> {
        let then = now.checked_add(ahead).ok()?;
        let from = match period {
            Period::Rolling(span) => then.checked_sub(*span).ok()?,
            Period::Calendar(_) => begin,
        };
        let kept = history.between(from.min(now), now);
        let seconds = ahead.as_secs_f64();
        let total = kept.total + per_second * seconds;
        // The budget is that of the whole window, at the traffic seen in the part of it that is known.
        let share = ((kept.known_s + seconds) / period.span().as_secs_f64()).min(1.0);
        (total > 0.0).then(|| (kept.bad + bad_per_second * seconds) / (allowed * total / share))
    };
    let mut before = consumed(Duration::ZERO)?;
    if before >= 1.0 {
        return Some(now);
    }
    for number in 1..=STEPS {
        let ahead = step * number;
        let then = now.checked_add(ahead).ok()?;
        if matches!(period, Period::Calendar(_)) && then > end {
            return None;
        }
        let after = consumed(ahead)?;
        if after >= 1.0 {
            let share = ((1.0 - before) / (after - before)).clamp(0.0, 1.0);
            return now.checked_add(step * (number - 1) + step.mul_f64(share)).ok();
        }
        before = after;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slo::simulate::Chance;

    const DAY: i64 = 86_400;
    const PERIOD: Period = Period::Rolling(Duration::from_secs(28 * 86_400));

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Four weeks of minutes without failure, then a burn; gives the forecast after six hours of it and when it really ended.
    fn played(burn: f64, seed: u64) -> (Exhaustion, Option<i64>) {
        let mut chance = Chance::new(seed);
        let mut history = EventHistory::new(Duration::from_secs(28 * 86_400), 0.001);
        let begin = 28 * DAY;
        let mut forecast_made = None;
        for minute in 0..(56 * DAY / 60) {
            let now = (minute + 1) * 60;
            let share = if now > begin { 0.001 * burn } else { 0.0 };
            history.add(at(now - 60), at(now), 600.0, chance.poisson(600.0 * share));
            if now == begin + 6 * 3_600 {
                forecast_made = forecast(&history, &PERIOD, 0.001, at(now));
            }
            if now > begin && minute % 30 == 0 {
                let sums = history.window(at(now), PERIOD.span());
                if sums.bad >= 0.001 * sums.total {
                    return (forecast_made.unwrap(), Some(now));
                }
            }
        }
        (forecast_made.unwrap(), None)
    }

    #[test]
    fn the_end_comes_within_the_interval_most_of_the_time() {
        let (mut inside, mut all) = (0, 0);
        for seed in 0..10 {
            for burn in [3.0, 6.0, 14.4] {
                let (forecast, end) = played(burn, seed);
                let end = at(end.unwrap());
                all += 1;
                let after = forecast.early.is_some_and(|early| early <= end);
                let before = forecast.late.is_none_or(|late| end <= late);
                inside += i32::from(after && before);
                let lead = end.duration_since(at(28 * DAY + 6 * 3_600)).as_secs_f64();
                let likely = forecast.likely.unwrap().duration_since(at(28 * DAY + 6 * 3_600)).as_secs_f64();
                assert!(
                    (likely / lead - 1.0).abs() < 0.35,
                    "burn {burn} seed {seed}: {likely} against {lead}"
                );
            }
        }
        println!("{inside} of {all} ends lay within the interval");
        assert!(inside * 10 >= all * 8, "{inside} of {all}");
    }

    #[test]
    fn a_service_that_is_well_is_not_said_to_end() {
        let (forecast, end) = played(0.2, 1);
        assert_eq!((forecast.likely, end), (None, None));
    }

    #[test]
    fn a_budget_that_is_gone_is_gone_now_and_without_data_nothing_is_said() {
        let mut history = EventHistory::new(Duration::from_secs(28 * 86_400), 0.001);
        assert_eq!(forecast(&history, &PERIOD, 0.001, at(60)), None);
        history.add(at(0), at(60), 1_000.0, 500.0);
        let begun = forecast(&history, &PERIOD, 0.001, at(60)).unwrap();
        assert!(begun.likely.is_some_and(|likely| likely > at(60)), "a minute is little of four weeks");
        history.add(at(60), at(28 * DAY), 1e6, 5_000.0);
        let gone = forecast(&history, &PERIOD, 0.001, at(28 * DAY)).unwrap();
        assert_eq!(gone.likely, Some(at(28 * DAY)));
    }
}
