//! One way to look at a host: deviations of its metrics, taken apart into what they do together and what each does alone, and
//! how far out all of that is.
//!
//! This is Hotelling's T² and the Q statistic of multivariate process control in one (Jackson and Mudholkar 1979), except that
//! every direction has a scale from its own rare sizes instead of a variance: metrics of hosts are not normal. Ten metrics that
//! say the same count once.

use super::factors::Factors;
use super::tail::{Scale, Tail};

/// Each sample refreshes the scale of one direction in so many: scales move slowly, and reading them costs more than the rest.
const REFRESH: usize = 16;

/// A thousandth of a deviation is nothing, and may come of rounding.
const NOTHING: f64 = 1e-3;

/// What is learned of one view.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct View {
    factors: Factors,
    /// Of each metric alone, then of each component.
    directions: Vec<Direction>,
    left: Vec<f64>,
    along: Vec<f64>,
}

#[derive(Debug, Clone, PartialEq, Default)]
struct Direction {
    tail: Tail,
    scale: Option<Scale>,
}

/// How far out a view is.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Distance {
    /// Sum of the squares of all deviations: few directions far out show in it.
    pub(crate) square: f64,
    /// Sum of the logarithms: many directions a little out show in it.
    pub(crate) breadth: f64,
}

impl View {
    pub(crate) fn new(metrics: usize) -> Self {
        let components = Factors::components(metrics);
        Self {
            factors: Factors::new(metrics),
            directions: vec![Direction::default(); metrics + components],
            left: vec![0.0; metrics],
            along: vec![0.0; components],
        }
    }

    /// Judges deviations, then learns from them. Unknown ones are `None`: they are taken as none, and not learned. `share` is the
    /// weight of this sample (0 to 1), `unit` that of a full one.
    pub(crate) fn observe(
        &mut self,
        deviations: &[Option<f64>],
        share: f64,
        unit: f64,
        turn: usize,
    ) -> Distance {
        let Self { factors, directions, left, along } = self;
        for (left, deviation) in left.iter_mut().zip(deviations) {
            *left = deviation.unwrap_or(0.0);
        }
        factors.observe(left, along, share);
        let mut distance = Distance::default();
        let known = deviations.iter().map(Option::is_some).chain(std::iter::repeat(true));
        let values = left.iter().chain(along.iter());
        for (index, ((direction, value), known)) in directions.iter_mut().zip(values).zip(known).enumerate() {
            if known {
                let square = direction.judge(*value, share * unit, unit).powi(2);
                distance.square += square;
                distance.breadth += square.ln_1p();
            }
            if index % REFRESH == turn % REFRESH {
                direction.scale = direction.tail.scale(unit);
            }
        }
        distance
    }

    /// Multiplies all weights.
    pub(crate) fn rescale(&mut self, factor: f64) {
        self.directions.iter_mut().for_each(|direction| direction.tail.rescale(factor));
    }
}

impl Direction {
    fn judge(&mut self, value: f64, weight: f64, unit: f64) -> f64 {
        let value = if value.abs() < NOTHING { 0.0 } else { value };
        let deviations = match &self.scale {
            _ if value == 0.0 => 0.0,
            Some(scale) => scale.deviations(value),
            None => self.tail.first_move(unit),
        };
        self.tail.learn(value, weight);
        deviations
    }
}
