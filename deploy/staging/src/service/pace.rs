//! How long a request keeps a worker: log-normal around a mean, from a seed.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chassis::IdGenerator;

/// Spread of the logarithm: the slowest request in a hundred takes 1.7 times the mean.
const SIGMA: f64 = 0.25;

#[derive(Debug)]
pub(crate) struct Pace {
    mean: Duration,
    ids: Mutex<IdGenerator>,
}

impl Pace {
    pub(crate) fn new(mean: Duration, ids: IdGenerator) -> Self {
        Self { mean, ids: Mutex::new(ids) }
    }

    /// The next request's time.
    pub(crate) fn next(&self) -> Duration {
        if self.mean.is_zero() {
            return Duration::ZERO;
        }
        let (a, b) = self.units();
        // Box and Muller: two uniform numbers make a normal one.
        let normal = (-2.0 * (1.0 - a).ln()).sqrt() * (std::f64::consts::TAU * b).cos();
        self.mean.mul_f64((SIGMA * normal - SIGMA * SIGMA / 2.0).exp())
    }

    /// Whether this request is among a share of all.
    pub(crate) fn among(&self, share: f64) -> bool {
        share > 0.0 && self.units().0 < share
    }

    fn units(&self) -> (f64, f64) {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        (ids.unit_f64(), ids.unit_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_its_mean_and_its_tail_short() {
        let pace = Pace::new(Duration::from_millis(40), IdGenerator::from_seed(3));
        let mut times: Vec<f64> = (0..20_000).map(|_| pace.next().as_secs_f64()).collect();
        times.sort_by(f64::total_cmp);
        let mean = times.iter().sum::<f64>() / times.len() as f64;
        // The mean of 20,000 has a deviation of 0.07 ms.
        assert!((mean - 0.040).abs() < 0.000_4, "{mean}");
        assert!(times[19_800] < 0.075, "{}", times[19_800]);
    }
}
