//! Numbers in two bytes each, on a common scale that grows and shrinks with them. Rounding is dithered, so that a change smaller
//! than a step is not lost but taken in now and then.

use crate::snapshot::{
    Damaged,
    codec::{Reader, Stored, Writer},
};

const LARGEST: f64 = 32_000.0;
const MISSING: i16 = i16::MIN;
/// A scale is set so that the first number takes this many steps: room for numbers 30 times larger before it must change.
const FIRST: f64 = 1_024.0;

/// A list of numbers, each of which may be missing.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Quantised {
    cells: Vec<i16>,
    step: f64,
}

impl Quantised {
    /// All missing.
    pub(super) fn new(count: usize) -> Self {
        Self { cells: vec![MISSING; count], step: 0.0 }
    }

    pub(super) fn len(&self) -> usize {
        self.cells.len()
    }

    pub(super) fn get(&self, index: usize) -> Option<f64> {
        self.cells.get(index).filter(|cell| **cell != MISSING).map(|cell| f64::from(*cell) * self.step)
    }

    /// Sets a number; `dither` in 0..1 decides which way it is rounded.
    pub(super) fn set(&mut self, index: usize, value: f64, dither: f64) {
        if !value.is_finite() || index >= self.cells.len() {
            return;
        }
        if self.step == 0.0 {
            self.step = value.abs() / FIRST;
        }
        while value.abs() > LARGEST * self.step {
            // The next scale that holds it; at the end of the range of numbers it is cut.
            let step = (self.step * 2.0).max(value.abs() / LARGEST / 2.0);
            if !step.is_finite() {
                return;
            }
            self.rescale(step);
        }
        self.cells[index] = if self.step > 0.0 {
            ((value / self.step + dither).floor()).clamp(-LARGEST, LARGEST) as i16
        } else {
            0
        };
    }

    pub(super) fn clear(&mut self, index: usize) {
        if let Some(cell) = self.cells.get_mut(index) {
            *cell = MISSING;
        }
    }

    /// Adds a number to all, and makes the scale finer where they have become small.
    pub(super) fn shift(&mut self, by: f64) {
        let cells: Vec<Option<f64>> = (0..self.len()).map(|i| self.get(i).map(|value| value + by)).collect();
        let largest = cells.iter().flatten().fold(0.0_f64, |most, value| most.max(value.abs()));
        if largest > 0.0 && (largest < 0.02 * LARGEST * self.step || largest > LARGEST * self.step) {
            self.step = largest / (LARGEST / 8.0);
        }
        if self.step > 0.0 {
            for (cell, value) in self.cells.iter_mut().zip(cells) {
                *cell = value.map_or(MISSING, |value| (value / self.step).round() as i16);
            }
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.cells.capacity() * size_of::<i16>()
    }

    fn rescale(&mut self, step: f64) {
        let ratio = self.step / step;
        for cell in self.cells.iter_mut().filter(|cell| **cell != MISSING) {
            *cell = (f64::from(*cell) * ratio).round() as i16;
        }
        self.step = step;
    }
}

impl Stored for Quantised {
    fn save(&self, writer: &mut Writer) {
        let bits: Vec<u16> = self.cells.iter().map(|cell| cell.cast_unsigned()).collect();
        writer.put(&self.step).list(&bits);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let step: f64 = reader.get()?;
        let bits: Vec<u16> = reader.list()?;
        if !(step.is_finite() && step >= 0.0) {
            return Err(reader.damaged());
        }
        Ok(Self { cells: bits.into_iter().map(u16::cast_signed).collect(), step })
    }
}

/// A number in 0..1 that depends on nothing but the seed, and looks like chance (SplitMix64).
pub(super) fn dither(seed: u64) -> f64 {
    let mut bits = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (bits ^ (bits >> 31)) as f64 / u64::MAX as f64 * 0.999_999
}
