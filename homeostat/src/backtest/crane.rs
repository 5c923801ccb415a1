//! gocrane's DSP predictor under its effective HPA: a spectrum of the last days, its strong lines carried on, and the largest of
//! the next hour beside the live metric.

use super::{
    hpa::Keda,
    replay::{Policy, View, Wish},
};

const MINUTE_S: u32 = 60;
const DAY_MINUTES: usize = 1_440;
/// History that is looked at, and how often.
const DAYS_MAX: usize = 7;
const UPDATE_S: u32 = 12 * 3_600;
/// What is asked of HPA is the largest prediction of this time.
const AHEAD_MINUTES: usize = 60;
/// The strongest line must lie this near to one day.
const PERIOD_TOLERANCE: f64 = 1e-3;
/// Lines above one per hour are zeroed.
const FREQUENCY_MAX_PER_DAY: usize = 24;
/// Estimators: least lines, and the amplitude below which a line is dropped; each with all margins.
const ESTIMATORS: [(usize, f64); 2] = [(3, 1.0), (50, 0.05)];
const MARGINS: [f64; 4] = [0.01, 0.1, 0.15, 0.2];

/// The autoscaler.
#[derive(Debug)]
pub struct Crane {
    name: String,
    target: f64,
    reactive: Keda,
    minutes: Vec<f64>,
    /// A day's prediction by minute of the day, when the load is periodic.
    predicted: Option<Vec<f64>>,
    updated_s: u32,
}

impl Crane {
    /// With this target in requests per second and replica.
    #[must_use]
    pub fn new(name: String, target: f64, bounds: (u32, u32)) -> Self {
        let reactive = Keda::new(String::new(), target, bounds);
        Self { name, target, reactive, minutes: Vec::new(), predicted: None, updated_s: 0 }
    }

    fn update(&mut self, now_s: u32) {
        if now_s - self.updated_s < UPDATE_S {
            return;
        }
        self.updated_s = now_s;
        let days = (self.minutes.len() / DAY_MINUTES).min(DAYS_MAX);
        self.predicted = (days >= 2).then(|| self.minutes.len() - days * DAY_MINUTES).and_then(|from| {
            let phase = from % DAY_MINUTES;
            let mut day = predict(&self.minutes[from..], days)?;
            day.rotate_right(phase);
            Some(day)
        });
    }

    fn asks_for(&self, now_s: u32) -> u32 {
        let Some(day) = &self.predicted else { return 0 };
        let minute = (now_s / MINUTE_S) as usize;
        let largest =
            (minute..minute + AHEAD_MINUTES).map(|minute| day[minute % DAY_MINUTES]).fold(0.0, f64::max);
        (largest / self.target).ceil() as u32
    }
}

impl Policy for Crane {
    fn name(&self) -> &str {
        &self.name
    }

    fn decide(&mut self, view: &View<'_>) -> Option<Wish> {
        if view.now_s.is_multiple_of(MINUTE_S) {
            let last = self.minutes.last().copied().unwrap_or(0.0);
            self.minutes.push(view.arrivals(MINUTE_S + 15, 15).unwrap_or(last));
            self.update(view.now_s);
        }
        let also = self.asks_for(view.now_s);
        Some(Wish { replicas: self.reactive.replicas(view, also).unwrap_or(view.total), admitted: None })
    }
}

/// A day, if the strongest line is a day's: by the estimator that was best on the last one, where too little counts more.
fn predict(history: &[f64], days: usize) -> Option<Vec<f64>> {
    let spectrum = transform(&history.iter().map(|value| (*value, 0.0)).collect::<Vec<_>>(), -1.0);
    let half = spectrum.len() / 2;
    let power = |line: usize| spectrum[line].0.hypot(spectrum[line].1);
    let strongest = (days..half).max_by(|a, b| power(*a).total_cmp(&power(*b)))?;
    if (strongest as f64 / days as f64 - 1.0).abs() > PERIOD_TOLERANCE {
        return None;
    }
    let last_day = &history[history.len() - DAY_MINUTES..];
    let candidates = ESTIMATORS.iter().flat_map(|estimator| {
        let carried = carry_on(&spectrum, days, *estimator);
        MARGINS.map(|margin| carried.iter().map(|value| value * (1.0 + margin)).collect::<Vec<_>>())
    });
    let scored = candidates.map(|day| (error(last_day, &day), day));
    scored.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, day)| day)
}

fn carry_on(spectrum: &[(f64, f64)], days: usize, (least, amplitude): (usize, f64)) -> Vec<f64> {
    let (length, half) = (spectrum.len(), spectrum.len() / 2);
    let size = |line: usize| 2.0 * spectrum[line].0.hypot(spectrum[line].1) / length as f64;
    let mut lines: Vec<usize> = (1..half.min(FREQUENCY_MAX_PER_DAY * days + 1)).collect();
    lines.sort_by(|a, b| size(*b).total_cmp(&size(*a)));
    let mut kept = vec![(0.0, 0.0); length];
    kept[0] = spectrum[0];
    for (rank, line) in lines.into_iter().enumerate() {
        if rank < least || size(line) >= amplitude {
            (kept[line], kept[length - line]) = (spectrum[line], spectrum[length - line]);
        }
    }
    let wave = transform(&kept, 1.0);
    wave[length - DAY_MINUTES..].iter().map(|value| (value.0 / length as f64).max(0.0)).collect()
}

/// Mean relative error, with too low predictions amplified as gocrane does.
fn error(real: &[f64], predicted: &[f64]) -> f64 {
    let pairs = real.iter().zip(predicted).filter(|(real, _)| **real > 0.0);
    let errors = pairs.map(|(real, predicted)| {
        let off = (predicted - real) / real;
        if off < 0.0 { -(1.0 + off.max(-0.99)).ln() / 1.25f64.ln() } else { off }
    });
    let (sum, count) = errors.fold((0.0, 0.0), |(sum, count), error| (sum + error, count + 1.0));
    if count > 0.0 { sum / count } else { f64::MAX }
}

/// Discrete Fourier transform by the prime factors of the length, not scaled; `sign` -1 forward, 1 back.
fn transform(values: &[(f64, f64)], sign: f64) -> Vec<(f64, f64)> {
    let length = values.len();
    let Some(factor) = (2..=length).find(|factor| length.is_multiple_of(*factor)) else {
        return values.to_vec();
    };
    let parts: Vec<Vec<(f64, f64)>> = (0..factor)
        .map(|offset| {
            transform(&values.iter().skip(offset).step_by(factor).copied().collect::<Vec<_>>(), sign)
        })
        .collect();
    let part = length / factor;
    let turn = |step: usize| (sign * std::f64::consts::TAU * step as f64 / length as f64).sin_cos();
    let turns: Vec<(f64, f64)> = (0..length).map(turn).collect();
    (0..length)
        .map(|line| {
            parts.iter().enumerate().fold((0.0, 0.0), |sum, (offset, values)| {
                let ((sin, cos), (re, im)) = (turns[line * offset % length], values[line % part]);
                (sum.0 + re * cos - im * sin, sum.1 + re * sin + im * cos)
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transform_and_back_gives_what_was_given() {
        let values: Vec<(f64, f64)> = (0..90).map(|i| (f64::from(i * 7 % 13), 0.0)).collect();
        let back = transform(&transform(&values, -1.0), 1.0);
        assert!(values.iter().zip(&back).all(|(one, other)| (one.0 - other.0 / 90.0).abs() < 1e-9));
    }

    #[test]
    fn daily_wave_is_carried_on() {
        let wave =
            |minute: usize| 100.0 + 50.0 * (minute as f64 / DAY_MINUTES as f64 * std::f64::consts::TAU).sin();
        let history: Vec<f64> = (0..3 * DAY_MINUTES).map(wave).collect();
        let day = predict(&history, 3).unwrap();
        assert!(day.iter().enumerate().all(|(minute, value)| (value / wave(minute) - 1.0).abs() < 0.03));
    }
}
