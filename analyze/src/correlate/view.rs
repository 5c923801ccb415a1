//! One way to look at a host: deviations of its metrics, taken apart into what they do together and what each does alone, and
//! how far out all of that is.
//!
//! This is Hotelling's T² and the Q statistic of multivariate process control in one (Jackson and Mudholkar 1979), except that
//! every direction has a scale from its own rare sizes instead of a variance: metrics of hosts are not normal. Ten metrics that
//! say the same count once.

use super::factors::Factors;
use super::tail::{Scale, Tail};
use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

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

    /// The same for other metrics, each given by the place that it had, if it had one.
    pub(crate) fn rearranged(&self, places: &[Option<usize>]) -> Self {
        let mut other = Self { factors: self.factors.rearranged(places), ..Self::new(places.len()) };
        let (before, metrics) = (self.left.len(), places.len());
        let components = self.along.len().min(other.along.len());
        let components = (0..components).map(|component| (metrics + component, Some(before + component)));
        for (to, from) in places.iter().copied().enumerate().chain(components) {
            if let (Some(to), Some(from)) =
                (other.directions.get_mut(to), from.and_then(|from| self.directions.get(from)))
            {
                *to = from.clone();
            }
        }
        other
    }

    /// Whether it is for as many metrics.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.left.len() == other.left.len()
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

impl Stored for Direction {
    fn save(&self, writer: &mut Writer) {
        let Self { tail, scale } = self;
        writer.put(tail).put(scale);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self { tail: reader.get()?, scale: reader.get()? })
    }
}

impl Stored for View {
    fn save(&self, writer: &mut Writer) {
        // The rest is room to work in.
        let Self { factors, directions, left, along: _ } = self;
        writer.put(&(left.len() as u32)).put(factors).list(directions);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let metrics = reader.get::<u32>()? as usize;
        let (factors, directions): (Factors, Vec<Direction>) = (reader.get()?, reader.list()?);
        let components = Factors::components(metrics);
        if directions.len() != metrics + components || !factors.is_of(metrics) {
            return Err(reader.damaged());
        }
        Ok(Self { factors, directions, left: vec![0.0; metrics], along: vec![0.0; components] })
    }
}
