//! How much is asked when: a rate over time, and seeded Poisson arrivals from it.

use std::time::Duration;

use chassis::IdGenerator;
use serde::{Deserialize, Serialize};

/// The rate is taken as constant over this long, so that a flash crowd by command takes effect soon.
const GRID_S: f64 = 0.05;

/// Requests per second at given seconds, linear in between, constant before the first and after the last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    points: Vec<(f64, f64)>,
}

/// A profile that makes no sense.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ProfileError {
    /// It has no points.
    #[error("a profile needs at least one point")]
    Empty,
    /// A number is negative or none, or times run back.
    #[error("point {index} ({at_s} s, {rate}/s): times must rise and rates be at least 0")]
    Point {
        /// Which point, from 0.
        index: usize,
        /// Its time.
        at_s: f64,
        /// Its rate.
        rate: f64,
    },
    /// A line of a trace is not `timestamp_s,rate`.
    #[error("line {0} of the trace is not timestamp_s,rate")]
    Line(usize),
}

impl Profile {
    /// A profile through these points, `(second, requests per second)`.
    pub fn new(points: Vec<(f64, f64)>) -> Result<Self, ProfileError> {
        if points.is_empty() {
            return Err(ProfileError::Empty);
        }
        let mut last = f64::NEG_INFINITY;
        for (index, &(at_s, rate)) in points.iter().enumerate() {
            let valid = at_s.is_finite() && at_s > last && rate.is_finite() && rate >= 0.0;
            if !valid {
                return Err(ProfileError::Point { index, at_s, rate });
            }
            last = at_s;
        }
        Ok(Self { points })
    }

    /// The same rate for ever.
    pub fn constant(rate: f64) -> Result<Self, ProfileError> {
        Self::new(vec![(0.0, rate)])
    }

    /// A recorded trace, `timestamp_s,rate` per line; a heading is skipped, times count from the first.
    pub fn from_trace(csv: &str) -> Result<Self, ProfileError> {
        let mut points: Vec<(f64, f64)> = Vec::new();
        for (index, line) in csv.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let fields = line.split_once(',');
            let parsed =
                fields.and_then(|(at, rate)| Some((at.trim().parse().ok()?, rate.trim().parse().ok()?)));
            match parsed {
                Some(point) => points.push(point),
                None if index == 0 => {}
                None => return Err(ProfileError::Line(index + 1)),
            }
        }
        let start = points.first().ok_or(ProfileError::Empty)?.0;
        Self::new(points.into_iter().map(|(at, rate)| (at - start, rate)).collect())
    }

    /// Requests per second at a moment.
    pub fn rate(&self, at_s: f64) -> f64 {
        let after = self.points.partition_point(|(t, _)| *t <= at_s);
        match (self.points.get(after.wrapping_sub(1)), self.points.get(after)) {
            (Some(&(t0, r0)), Some(&(t1, r1))) => r0 + (r1 - r0) * (at_s - t0) / (t1 - t0),
            (Some(&(_, rate)), None) | (None, Some(&(_, rate))) => rate,
            (None, None) => 0.0,
        }
    }
}

/// The intended starts of a run, one after the other.
#[derive(Debug)]
pub struct Arrivals {
    profile: Profile,
    ids: IdGenerator,
    at_s: f64,
    end_s: f64,
}

impl Arrivals {
    /// The same seed, profile and factors give the same arrivals.
    pub fn new(profile: Profile, seed: u64, duration: Duration) -> Self {
        Self { profile, ids: IdGenerator::from_seed(seed), at_s: 0.0, end_s: duration.as_secs_f64() }
    }

    /// The next intended start within one grid step at the rate times `factor`, or the step's end without one.
    pub fn step(&mut self, factor: f64) -> Step {
        if self.at_s >= self.end_s {
            return Step::End;
        }
        let edge = (((self.at_s / GRID_S).floor() + 1.0) * GRID_S).min(self.end_s);
        // Rounding must never leave us in the same step for ever.
        let edge = if edge <= self.at_s { self.at_s + GRID_S } else { edge };
        let rate = self.profile.rate(self.at_s) * factor;
        let gap = -(1.0 - self.ids.unit_f64()).ln() / rate;
        // Exponential gaps have no memory: one that reaches past the step is drawn anew at the next step's rate.
        if gap < edge - self.at_s {
            self.at_s += gap;
            Step::Due(Duration::from_secs_f64(self.at_s))
        } else {
            self.at_s = edge;
            Step::Quiet(Duration::from_secs_f64(self.at_s))
        }
    }
}

/// What [`Arrivals::step`] found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    /// A request is due then.
    Due(Duration),
    /// None before then.
    Quiet(Duration),
    /// The run is over.
    End,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(seed: u64, profile: Profile, seconds: u64) -> Vec<f64> {
        let mut arrivals = Arrivals::new(profile, seed, Duration::from_secs(seconds));
        let mut due = Vec::new();
        loop {
            match arrivals.step(1.0) {
                Step::Due(at) => due.push(at.as_secs_f64()),
                Step::Quiet(_) => {}
                Step::End => return due,
            }
        }
    }

    #[test]
    fn rate_is_linear_between_points_and_constant_outside() {
        let profile = Profile::new(vec![(10.0, 100.0), (20.0, 200.0)]).unwrap();
        assert_eq!([0.0, 15.0, 99.0].map(|at| profile.rate(at)), [100.0, 150.0, 200.0]);
    }

    #[test]
    fn arrivals_repeat_with_the_seed() {
        let run = |seed| due(seed, Profile::constant(100.0).unwrap(), 5);
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }

    #[test]
    fn arrivals_are_poisson_at_the_stated_rate() {
        let counts: Vec<f64> = (0..200)
            .map(|seed| due(seed, Profile::new(vec![(0.0, 0.0), (10.0, 100.0)]).unwrap(), 10).len() as f64)
            .collect();
        let mean = counts.iter().sum::<f64>() / 200.0;
        let variance = counts.iter().map(|n| (n - mean).powi(2)).sum::<f64>() / 199.0;
        // 500 expected; the mean of 200 runs has a deviation of 1.6, the variance one of 50 (10 %).
        assert!((mean - 500.0).abs() < 7.0, "{mean}");
        assert!((variance / mean - 1.0).abs() < 0.4, "{variance}");
    }

    #[test]
    fn a_trace_counts_from_its_first_line() {
        let profile = Profile::from_trace("timestamp_s,rate\n1000,10\n1060,20\n").unwrap();
        assert_eq!(profile.rate(30.0), 15.0);
        assert_eq!(Profile::from_trace("1,2\nx\n"), Err(ProfileError::Line(2)));
        assert!(matches!(Profile::from_trace("5,1\n4,1\n"), Err(ProfileError::Point { index: 1, .. })));
    }
}
