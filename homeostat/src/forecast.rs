//! Offline forecasts: the engine that Analyze runs, on the samples of a file.

pub mod page;

use analyze::forecast::{ForecastSettings, Forecaster};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde::Serialize;
use std::time::Duration;

/// The engine's steps lie between these.
pub const STEP_MIN: Duration = Duration::from_secs(1);
/// See [`STEP_MIN`].
pub const STEP_MAX: Duration = Duration::from_secs(12 * 3600);
/// A year of hours. Beyond that nothing is known that the last season does not say.
pub const STEPS_MAX: usize = 8784;

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question {
    /// How far ahead.
    pub horizon: Duration,
    /// Length of a step.
    pub step: Duration,
    /// Rising or not, each in (0, 1).
    pub quantiles: Vec<f64>,
    /// Whose wall clock the days follow; UTC without.
    pub zone: Option<TimeZone>,
}

/// The contract's answer: one row of quantiles per step after the origin.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer {
    /// The last step that was known.
    pub origin: Timestamp,
    /// Seconds in a step.
    pub step_s: u64,
    /// As asked.
    pub quantiles: Vec<f64>,
    /// Step by step, in the order of the quantiles.
    pub values: Vec<Vec<f64>>,
}

/// Samples in, quantiles out. `None` when no sample could be used. Samples that come more seldom than the steps asked for are
/// forecast at their own pace, and the steps between are drawn straight.
pub fn forecast(samples: &[(Timestamp, f64)], question: &Question) -> Option<Answer> {
    let step = whole(question.step);
    let pace = step.max(whole(interval(samples).unwrap_or(step))).min(STEP_MAX);
    let count = steps(question.horizon, step);
    let far = steps(question.horizon, pace) + 1;
    let mut forecaster = Forecaster::new(ForecastSettings {
        step: pace,
        horizon: far,
        zone: question.zone.clone(),
        ..ForecastSettings::default()
    });
    let mut last = None;
    for (at, value) in samples {
        if forecaster.observe(*at, *value) {
            last = Some(*value);
        }
    }
    let origin = forecaster.origin()?;
    let coarse = forecaster.quantiles(far, &question.quantiles);
    let values = if pace == step {
        coarse.into_iter().take(count).collect()
    } else {
        between(
            &vec![last?; question.quantiles.len()],
            &coarse,
            step.as_secs_f64() / pace.as_secs_f64(),
            count,
        )
    };
    Some(Answer { origin, step_s: step.as_secs(), quantiles: question.quantiles.clone(), values })
}

/// How many steps reach to the horizon.
pub fn steps(horizon: Duration, step: Duration) -> usize {
    (horizon.as_secs_f64() / step.as_secs_f64()).ceil().max(1.0) as usize
}

/// The usual time between samples: the median.
pub fn interval(samples: &[(Timestamp, f64)]) -> Option<Duration> {
    let mut gaps: Vec<SignedDuration> = samples
        .windows(2)
        .map(|pair| pair[1].0.duration_since(pair[0].0))
        .filter(|gap| gap.is_positive())
        .collect();
    let middle = gaps.len() / 2;
    (!gaps.is_empty()).then(|| gaps.select_nth_unstable(middle).1.unsigned_abs())
}

/// The engine counts in whole seconds.
fn whole(step: Duration) -> Duration {
    Duration::from_secs(step.as_secs_f64().round() as u64).max(STEP_MIN)
}

/// Straight lines between steps of the engine; `ratio` is the part of one that each step here takes.
fn between(now: &[f64], coarse: &[Vec<f64>], ratio: f64, steps: usize) -> Vec<Vec<f64>> {
    let row = |k: usize| if k == 0 { Some(now) } else { coarse.get(k - 1).map(Vec::as_slice) };
    let at = |step: usize| {
        let position = step as f64 * ratio;
        let (from, part) = (position.floor() as usize, position.fract());
        let (low, high) = (row(from)?, row(from + 1).or(row(from))?);
        Some(low.iter().zip(high).map(|(a, b)| a + (b - a) * part).collect())
    };
    (1..=steps).map_while(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(count: i64, every: i64, value: impl Fn(i64) -> f64) -> Vec<(Timestamp, f64)> {
        (0..count).map(|k| (Timestamp::from_second(1_700_000_000 + k * every).unwrap(), value(k))).collect()
    }

    fn question(step: u64) -> Question {
        Question {
            horizon: Duration::from_secs(1800),
            step: Duration::from_secs(step),
            quantiles: vec![0.1, 0.5, 0.9],
            zone: None,
        }
    }

    #[test]
    fn an_answer_has_a_row_per_step_and_a_column_per_quantile() {
        let samples = samples(600, 60, |k| (k % 7) as f64);
        let answer = forecast(&samples, &question(60)).unwrap();
        assert_eq!((answer.step_s, answer.values.len()), (60, 30));
        assert!(answer.values.iter().all(|row| row.len() == 3 && row.is_sorted()), "{:?}", answer.values);
        let shape = serde_json::to_value(&answer).unwrap();
        for field in ["origin", "step_s", "quantiles", "values"] {
            assert!(shape.get(field).is_some(), "{field}");
        }
    }

    #[test]
    fn seldom_samples_give_as_many_steps_as_were_asked_for() {
        let samples = samples(600, 300, |k| 10.0 + (k % 5) as f64);
        let answer = forecast(&samples, &question(60)).unwrap();
        assert_eq!(answer.values.len(), 30);
        let straight = between(&[0.0], &[vec![5.0], vec![15.0]], 0.2, 10);
        let medians: Vec<f64> = straight.iter().map(|row| row[0]).collect();
        assert_eq!(medians.len(), 10);
        assert!(
            (medians[0] - 1.0).abs() < 1e-9
                && (medians[4] - 5.0).abs() < 1e-9
                && (medians[9] - 15.0).abs() < 1e-9
        );
    }

    #[test]
    fn nothing_known_gives_no_answer() {
        assert_eq!(forecast(&[], &question(60)), None);
        assert_eq!(interval(&samples(1, 60, |_| 1.0)), None);
        assert_eq!(interval(&samples(9, 60, |_| 1.0)), Some(Duration::from_secs(60)));
    }
}
