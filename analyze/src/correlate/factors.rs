//! What the metrics of a host do together: the leading principal components, followed sample by sample.
//!
//! Candid covariance-free incremental PCA (Weng, Zhang, Hwang 2003): each component is a mean of the inputs weighted by how
//! much they go its way; the next sees what is left. Far inputs are pulled in before they are learned (spherical PCA: Locantore
//! et al. 1999), so that a fault does not become a component.

use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// Components: metrics of hosts move in a few groups (load, memory, disk, network). More would follow single metrics.
const COMPONENTS_MAX: usize = 8;
/// Metrics per component at least.
const METRICS_PER_COMPONENT: usize = 4;
/// Samples that components remember: a week at a minute.
const MEMORY: f64 = 10_000.0;
/// Early samples count more than a plain mean would let them (amnesic mean, same paper, section 3.4).
const AMNESIA: f64 = 2.0;
/// Inputs are learned as if they were at most this many times as long as inputs of variance 1 usually are.
const REACH: f64 = 2.0;

/// Leading components of standardised inputs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Factors {
    dimension: usize,
    /// Components in rows; the length of each is its variance.
    rows: Vec<f64>,
    samples: f64,
}

impl Factors {
    /// For so many metrics.
    pub(crate) fn new(dimension: usize) -> Self {
        Self { dimension, rows: vec![0.0; Self::components(dimension) * dimension], samples: 0.0 }
    }

    /// Whether it is for so many metrics.
    pub(crate) fn is_of(&self, dimension: usize) -> bool {
        self.dimension == dimension
    }

    /// How many components so many metrics have.
    pub(crate) fn components(dimension: usize) -> usize {
        (dimension / METRICS_PER_COMPONENT).min(COMPONENTS_MAX)
    }

    /// The same for other metrics: each is given by the place that it had, if it had one. What is new goes no component's way yet.
    pub(crate) fn rearranged(&self, places: &[Option<usize>]) -> Self {
        let mut other = Self { samples: self.samples, ..Self::new(places.len()) };
        if self.dimension == 0 || places.is_empty() {
            return other;
        }
        let old = self.rows.chunks_exact(self.dimension);
        for (row, old) in other.rows.chunks_exact_mut(places.len()).zip(old) {
            for (cell, place) in row.iter_mut().zip(places) {
                *cell = place.and_then(|place| old.get(place)).copied().unwrap_or(0.0);
            }
        }
        other
    }

    /// Replaces the inputs by what the components do not explain of them, gives how far they go along each component, and
    /// learns from them with this weight (0 to 1).
    pub(crate) fn observe(&mut self, inputs: &mut [f64], along: &mut [f64], weight: f64) {
        along.fill(0.0);
        if self.dimension == 0 || inputs.len() != self.dimension {
            return;
        }
        self.samples = (self.samples + weight).min(MEMORY);
        let reach = REACH * (self.dimension as f64).sqrt();
        let shrink = (reach / length(inputs)).min(1.0);
        let share = weight * ((1.0 + AMNESIA) / (self.samples + AMNESIA).max(1.0)).min(0.5);
        for (row, along) in self.rows.chunks_exact_mut(self.dimension).zip(along) {
            let variance = length(row);
            if variance <= f64::MIN_POSITIVE {
                // An empty component takes the direction of what is left, and explains it for now.
                let taken = |(row, input): (&mut f64, &mut f64)| *row = shrink * std::mem::take(input);
                row.iter_mut().zip(inputs.iter_mut()).for_each(taken);
                return;
            }
            *along = row.iter().zip(inputs.iter()).map(|(row, input)| row * input).sum::<f64>() / variance;
            let pull = share * shrink * shrink * *along;
            let part = *along / variance;
            for (row, input) in row.iter_mut().zip(inputs.iter_mut()) {
                let before = *row;
                *row += pull * *input - share * before;
                *input -= part * before;
            }
        }
    }
}

fn length(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum::<f64>().sqrt()
}

impl Stored for Factors {
    fn save(&self, writer: &mut Writer) {
        let Self { dimension, rows, samples } = self;
        writer.put(&(*dimension as u32)).list(rows).put(samples);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let dimension = reader.get::<u32>()? as usize;
        let rows: Vec<f64> = reader.list()?;
        if rows.len() != Self::components(dimension) * dimension {
            return Err(reader.damaged());
        }
        Ok(Self { dimension, rows, samples: reader.get()? })
    }
}

#[cfg(test)]
mod tests {
    use chassis::IdGenerator;

    use super::*;

    #[test]
    fn what_moves_together_is_explained_and_what_breaks_away_is_left() {
        let mut ids = IdGenerator::from_seed(1);
        let mut factors = Factors::new(8);
        let mut along = [0.0; 2];
        let mut noise = || 2.0 * ids.unit_f64() - 1.0;
        for _ in 0..2_000 {
            let common = noise();
            let mut inputs: Vec<f64> = (0..8).map(|_| common + 0.1 * noise()).collect();
            factors.observe(&mut inputs, &mut along, 1.0);
        }
        let mut together = [1.0; 8];
        factors.observe(&mut together, &mut along, 0.0);
        assert!(together.iter().all(|left| left.abs() < 0.2), "{together:?}");
        assert!((along[0].abs() - 8.0_f64.sqrt()).abs() < 0.1, "{along:?}");
        let mut apart = [1.0; 8];
        apart[3] = -1.0;
        factors.observe(&mut apart, &mut along, 0.0);
        let most = (0..8).max_by(|a, b| apart[*a].abs().total_cmp(&apart[*b].abs()));
        assert_eq!(most, Some(3), "{apart:?}");
    }

    #[test]
    fn still_inputs_change_nothing() {
        let mut factors = Factors::new(8);
        for _ in 0..10 {
            let mut still = [0.0; 8];
            factors.observe(&mut still, &mut [0.0; 2], 1.0);
            assert_eq!(still, [0.0; 8]);
        }
    }
}
