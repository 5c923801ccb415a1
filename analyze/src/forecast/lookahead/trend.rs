//! A rise that nobody has taught the regression yet: a straight line through the last minutes, as far as it is sure.

use std::collections::VecDeque;

/// Fewer samples show no line.
const SAMPLES_MIN: usize = 6;
/// Only what lies beyond so many standard errors of the slope counts: noise has none.
const SURE: f64 = 3.0;
/// A rise is expected to go on for about as long as it was watched, eight samples: each step adds so much of the one before (a
/// damped trend: Gardner & McKenzie, Management Science 31, 1985).
const DAMPED: f64 = 0.875;
/// Half of it is left to the regression after so many samples, an hour at 15 s: until then its weights are mostly prior.
const LEFT_SAMPLES: f64 = 240.0;

/// By how much the load surely rises with each step; 0 when it falls or nothing is sure. A fall is no reason to need less before
/// it came.
pub(super) fn rise(recent: &VecDeque<f64>, taken: u64) -> f64 {
    let count = recent.len() as f64;
    if recent.len() < SAMPLES_MIN {
        return 0.0;
    }
    let (middle, mean) = ((count - 1.0) / 2.0, recent.iter().sum::<f64>() / count);
    let (mut across, mut along, mut up) = (0.0, 0.0, 0.0);
    for (place, load) in recent.iter().enumerate() {
        let (x, y) = (place as f64 - middle, load - mean);
        (across, along, up) = (across + x * x, along + x * y, up + y * y);
    }
    let slope = along / across;
    let error = ((up - slope * along).max(0.0) / (count - 2.0) / across).sqrt();
    (slope - SURE * error).max(0.0) * LEFT_SAMPLES / (LEFT_SAMPLES + taken as f64)
}

/// What a rise adds over so many steps.
pub(super) fn over(rise: f64, steps: usize) -> f64 {
    rise * DAMPED * (1.0 - DAMPED.powf(steps as f64)) / (1.0 - DAMPED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(slope: f64, noise: f64) -> VecDeque<f64> {
        (0..8).map(|step| 100.0 + slope * f64::from(step) + noise * f64::from(step * 5 % 3 - 1)).collect()
    }

    #[test]
    fn sure_rise_is_followed_and_noise_is_not() {
        assert!((rise(&line(4.0, 0.0), 0) - 4.0).abs() < 1e-9);
        assert!(rise(&line(4.0, 1.0), 0) > 2.0);
        assert_eq!(rise(&line(0.0, 10.0), 0), 0.0);
        assert_eq!(rise(&line(1.0, 10.0), 0), 0.0);
    }

    #[test]
    fn falls_and_short_pasts_show_no_rise() {
        assert_eq!(rise(&line(-4.0, 0.0), 0), 0.0);
        assert_eq!(rise(&[1.0, 2.0, 3.0].into(), 0), 0.0);
        assert_eq!(rise(&VecDeque::new(), 0), 0.0);
    }

    #[test]
    fn rise_is_left_to_the_regression_and_ends_in_the_distance() {
        assert!(rise(&line(4.0, 0.0), 240) < 2.1);
        assert!(over(1.0, 1) < over(1.0, 6) && over(1.0, 24) < 7.0);
    }
}
