//! How often a statistic goes this high by chance: the largest value of each block of time, decayed counts of them, and a tail
//! fitted to the highest tenth.
//!
//! Block maxima need no independence within a block, and count one burst once (Coles, An Introduction to Statistical Modeling
//! of Extreme Values, 3.1 and 4.2). The tail is exponential; heavier, up to shape 0.25, only where the data insist. With n
//! excesses the scale is uncertain, and the predictive tail is of shape 1/n.

use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// Buckets of 9 % each, from 1 up to 2^12.
const BUCKETS: usize = 96;
const PER_OCTAVE: f64 = 8.0;
/// Share of the blocks that the tail is fitted to.
const TAIL_SHARE: f64 = 0.1;
/// Heaviest shape: with heavier ones the threshold is beyond anything.
const SHAPE_MAX: f64 = 0.25;
/// Blocks before anything can be said: with half an hour each and a young memory, about three days.
pub(crate) const BLOCKS_MIN: f64 = 72.0;

/// Largest values of past blocks.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Maxima {
    pub(crate) counts: [f32; BUCKETS],
    pub(crate) total: f64,
    /// Largest value of the block that runs.
    pub(crate) running: f64,
    pub(crate) fit: Option<Fit>,
}

/// The fitted tail.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Fit {
    /// Where it begins,
    pub(crate) start: f64,
    /// how many blocks go there,
    pub(crate) share: f64,
    /// how far they go beyond on average,
    pub(crate) scale: f64,
    /// and how heavy it is.
    pub(crate) shape: f64,
}

impl Default for Maxima {
    fn default() -> Self {
        Self { counts: [0.0; BUCKETS], total: 0.0, running: 0.0, fit: None }
    }
}

impl Maxima {
    /// Takes in a value of the running block.
    pub(crate) fn observe(&mut self, value: f64) {
        self.running = self.running.max(value);
    }

    /// Ends the block; `keep` is what all earlier blocks still count.
    pub(crate) fn close(&mut self, keep: f64, weight: f64) {
        self.counts.iter_mut().for_each(|count| *count *= keep as f32);
        self.total = self.total * keep + weight;
        self.counts[place(self.running)] += weight as f32;
        self.running = 0.0;
        self.fit = self.fitted();
    }

    /// Blocks per block that goes as high, as a logarithm: 0 is every block, 7.2 is one in 1,344. `None` while learning.
    pub(crate) fn rarity(&self, value: f64) -> Option<f64> {
        let fit = self.fit?;
        if value > fit.start {
            let beyond = (value - fit.start) / fit.scale;
            return Some(-fit.share.ln() + (fit.shape * beyond).ln_1p() / fit.shape);
        }
        let above: f32 = self.counts[place(value)..].iter().sum();
        Some((self.total / f64::from(above).max(fit.share * self.total)).ln().max(0.0))
    }

    /// The value whose rarity is this, if it is in the tail.
    pub(crate) fn level(&self, rarity: f64) -> Option<f64> {
        let fit = self.fit?;
        let nats = (rarity + fit.share.ln()).max(0.0);
        Some(fit.start + fit.scale * (fit.shape * nats).exp_m1() / fit.shape)
    }

    fn fitted(&self) -> Option<Fit> {
        if self.total < BLOCKS_MIN {
            return None;
        }
        let mut above = 0.0;
        let mut start = BUCKETS;
        while start > 0 && above < TAIL_SHARE * self.total {
            start -= 1;
            above += f64::from(self.counts[start]);
        }
        // Excesses of a bucket's middle over the lower edge of the first.
        let edge = (start as f64 / PER_OCTAVE).exp2();
        let (mut sum, mut squares) = (0.0, 0.0);
        for (index, count) in self.counts.iter().enumerate().skip(start) {
            let excess = ((index as f64 + 0.5) / PER_OCTAVE).exp2() - edge;
            sum += f64::from(*count) * excess;
            squares += f64::from(*count) * excess * excess;
        }
        let mean = sum / above;
        let variance = (squares / above - mean * mean).max(0.0);
        // Method of moments (Hosking and Wallis 1987): shape 0 is exponential.
        let moments = if variance > 0.0 { 0.5 * (1.0 - mean * mean / variance) } else { 0.0 };
        let shape = moments.min(SHAPE_MAX).max(1.0 / above);
        Some(Fit {
            start: edge,
            share: above / self.total,
            scale: mean * (1.0 - moments.clamp(0.0, SHAPE_MAX)),
            shape,
        })
    }
}

fn place(value: f64) -> usize {
    ((value.max(1.0).log2() * PER_OCTAVE) as usize).min(BUCKETS - 1)
}

impl Stored for Maxima {
    fn save(&self, writer: &mut Writer) {
        let Self { counts, total, running, fit } = self;
        writer.put(counts).put(total).put(running).put(fit);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self { counts: reader.get()?, total: reader.get()?, running: reader.get()?, fit: reader.get()? })
    }
}

impl Stored for Fit {
    fn save(&self, writer: &mut Writer) {
        let Self { start, share, scale, shape } = self;
        writer.put(start).put(share).put(scale).put(shape);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self { start: reader.get()?, share: reader.get()?, scale: reader.get()?, shape: reader.get()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Exponential block maxima by inverse transform of an even grid, shuffled by a step coprime to its length.
    fn learned(blocks: u32) -> Maxima {
        let mut maxima = Maxima::default();
        for i in 0..blocks {
            let rank = (f64::from(i * 7_919 % blocks) + 0.5) / f64::from(blocks);
            maxima.observe(10.0 - 4.0 * rank.ln());
            maxima.close(1.0, 1.0);
        }
        maxima
    }

    #[test]
    fn an_exponential_tail_is_extended_truly() {
        let maxima = learned(1_344);
        let once_in = |blocks: f64| 10.0 + 4.0 * blocks.ln();
        for blocks in [30.0, 300.0, 3_000.0] {
            let rarity = maxima.rarity(once_in(blocks)).unwrap();
            assert!((rarity - blocks.ln()).abs() < 0.5, "{blocks}: {rarity}");
        }
        let level = maxima.level(7.2).unwrap();
        assert!((maxima.rarity(level).unwrap() - 7.2).abs() < 1e-6);
    }

    #[test]
    fn the_fewer_blocks_the_higher_the_level() {
        assert_eq!(learned(20).rarity(1e3), None, "too few to say");
        assert!(learned(100).level(7.2).unwrap() > learned(1_344).level(7.2).unwrap());
    }
}
