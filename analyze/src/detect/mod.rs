//! Detectors: each scores one sample against what it has learned, and learns from it afterwards.

mod band;
mod baseline;
pub mod calibration;
mod clock;
pub mod engine;
mod episode;
mod excursion;
pub mod generate;
mod latch;
mod level;
mod mean;
pub mod reliability;
pub mod residual;
mod sample;
mod season;
pub mod series;
mod spread;
mod step;
mod tail;
mod value;
pub mod view;

pub use engine::{Engine, Verdict};
pub use residual::ResidualDetector;
pub use series::{Judgement, Series, SeriesSettings};
pub use view::View;

use proto::model::{Quality, SignalKind};

/// One known sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// Finite.
    pub value: f64,
    /// Good or partial: unknown samples have no value and reach no detector.
    pub quality: Quality,
    /// What the number means.
    pub kind: SignalKind,
}

/// What one detector says of one sample.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Evidence {
    /// 0 when it is just as expected, 0.5 at the limit, towards 1 far beyond.
    pub score: f64,
    /// `None` while learning.
    pub expected: Option<f64>,
    /// `None` while there is no threshold.
    pub lower: Option<f64>,
    /// `None` while there is no threshold.
    pub upper: Option<f64>,
    /// Outside the band.
    pub deviating: bool,
}

#[cfg(test)]
mod tests;
