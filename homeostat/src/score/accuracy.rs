//! How good forecasts are: sMAPE and MASE as the M4 competition computed them (Makridakis, Spiliotis, Assimakopoulos, "The M4
//! Competition: 100,000 time series and 61 forecasting methods", IJF 2020, section 2.2), pinball loss and coverage of
//! quantiles, MSIS (Gneiting and Raftery 2007, scaled as in M4).

/// One forecast beside what came.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// The past, for the scale.
    pub history: &'a [f64],
    /// What came.
    pub actual: &'a [f64],
    /// The medians, as many.
    pub median: &'a [f64],
    /// The 0.05 and 0.95 quantiles, as many each.
    pub interval: Option<(&'a [f64], &'a [f64])>,
    /// Rows in a season.
    pub season: usize,
}

/// How good one forecast is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Accuracy {
    /// In percent, 0 to 200.
    pub smape: f64,
    /// Mean absolute error over that of repeating the season within the history; none for a history that repeats exactly.
    pub mase: Option<f64>,
    /// Mean pinball loss of the 0.05, 0.5 and 0.95 quantiles over the same scale.
    pub pinball: Option<[f64; 3]>,
    /// Share of the values within the 90 % interval.
    pub coverage: Option<f64>,
    /// Mean scaled interval score of the 90 % interval.
    pub msis: Option<f64>,
}

/// Measures one forecast; none when lengths differ or nothing came.
pub fn accuracy(case: &Case) -> Option<Accuracy> {
    let Case { history, actual, median, interval, season } = *case;
    let count = actual.len();
    let fits = |other: &[f64]| other.len() == count;
    if count == 0 || !fits(median) || !interval.is_none_or(|(low, high)| fits(low) && fits(high)) {
        return None;
    }
    let mean = |each: &dyn Fn(usize) -> f64| (0..count).map(each).sum::<f64>() / count as f64;
    let smape = mean(&|k| {
        let size = actual[k].abs() + median[k].abs();
        if size > 0.0 { 200.0 * (actual[k] - median[k]).abs() / size } else { 0.0 }
    });
    let scale = scale(history, season);
    let mase = scale.map(|scale| mean(&|k| (actual[k] - median[k]).abs()) / scale);
    let pinball = interval.zip(scale).map(|((low, high), scale)| {
        [(low, 0.05), (median, 0.5), (high, 0.95)]
            .map(|(forecast, quantile)| mean(&|k| loss(actual[k], forecast[k], quantile)) / scale)
    });
    let inside = |(low, high): (&[f64], &[f64])| {
        mean(&|k| f64::from(u8::from((low[k]..=high[k]).contains(&actual[k]))))
    };
    let msis = interval.zip(scale).map(|((low, high), scale)| {
        let penalty = 2.0 / 0.1;
        mean(&|k| {
            let missed = (low[k] - actual[k]).max(0.0) + (actual[k] - high[k]).max(0.0);
            high[k] - low[k] + penalty * missed
        }) / scale
    });
    Some(Accuracy { smape, mase, pinball, coverage: interval.map(inside), msis })
}

/// Mean absolute difference between values a season apart.
fn scale(history: &[f64], season: usize) -> Option<f64> {
    let pairs = history.len().checked_sub(season).filter(|pairs| *pairs > 0 && season > 0)?;
    let sum: f64 = history.iter().zip(&history[season..]).map(|(before, now)| (now - before).abs()).sum();
    Some(sum / pairs as f64).filter(|scale| *scale > 0.0)
}

fn loss(actual: f64, forecast: f64, quantile: f64) -> f64 {
    let error = actual - forecast;
    if error >= 0.0 { quantile * error } else { (quantile - 1.0) * error }
}

/// Mean and median of the values that are known.
pub fn summary(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    let count = values.len();
    let middle = values.get(count / 2)?;
    let median = if count % 2 == 1 { *middle } else { (values[count / 2 - 1] + middle) / 2.0 };
    Some((values.iter().sum::<f64>() / count as f64, median))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HISTORY: [f64; 6] = [1.0, 2.0, 3.0, 5.0, 4.0, 8.0];

    fn near(left: f64, right: f64) {
        assert!((left - right).abs() < 1e-12, "{left} is not {right}");
    }

    #[test]
    fn a_small_case_by_hand() {
        let case = Case {
            history: &HISTORY,
            actual: &[4.0, 6.0],
            median: &[5.0, 6.0],
            interval: Some((&[3.0, 6.5], &[6.0, 8.0])),
            season: 2,
        };
        let accuracy = accuracy(&case).unwrap();
        // |4-5| / (4+5) * 200 / 2 steps.
        near(accuracy.smape, 100.0 / 9.0);
        // Seasonal differences 2, 3, 1, 3: scale 9/4; errors 1 and 0.
        near(accuracy.mase.unwrap(), 0.5 / 2.25);
        near(accuracy.coverage.unwrap(), 0.5);
        let [low, middle, high] = accuracy.pinball.unwrap();
        near(low, (0.05 * 1.0 + 0.95 * 0.5) / 2.0 / 2.25);
        near(middle, 0.5 / 2.0 / 2.25);
        near(high, (0.05 * 2.0 + 0.05 * 2.0) / 2.0 / 2.25);
        near(accuracy.msis.unwrap(), (3.0 + 1.5 + 20.0 * 0.5) / 2.0 / 2.25);
    }

    #[test]
    fn repeating_the_season_in_a_steady_series_is_worth_one() {
        let history: Vec<f64> = (0..96).map(|hour| f64::from(hour % 24) + f64::from(hour / 24)).collect();
        let actual: Vec<f64> = (96..120).map(|hour| f64::from(hour % 24) + f64::from(hour / 24)).collect();
        let case =
            Case { history: &history, actual: &actual, median: &history[72..], interval: None, season: 24 };
        near(accuracy(&case).unwrap().mase.unwrap(), 1.0);
    }

    #[test]
    fn what_cannot_be_measured_is_unknown() {
        let flat = [5.0; 50];
        let case = Case { history: &flat, actual: &[5.0], median: &[5.0], interval: None, season: 24 };
        let accuracy_of_flat = accuracy(&case).unwrap();
        assert_eq!((accuracy_of_flat.mase, accuracy_of_flat.coverage), (None, None));
        near(accuracy_of_flat.smape, 0.0);
        assert_eq!(accuracy(&Case { median: &[1.0, 2.0], ..case }), None);
        assert_eq!(summary([]), None);
        assert_eq!(summary([3.0, 1.0, f64::NAN, 2.0]), Some((2.0, 2.0)));
    }
}
