//! One lead time: who did well at it, how wrong the forecasts were, and those that still wait for what comes.

use std::collections::VecDeque;

use super::{
    experts::{EXPERTS, Opinions, Standing},
    residuals::Residuals,
    root::Root,
    score::{LeadScore, SCORED},
};
use crate::snapshot::{
    Damaged,
    codec::{Reader, Stored, Writer},
};

/// What is known at one lead time.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Lead {
    pub(super) steps: usize,
    stride: i64,
    pub(super) standing: Standing,
    pub(super) residuals: Residuals,
    /// `SCORED` quantiles in units of the scale, refreshed now and then.
    factors: [f64; 5],
    pending: VecDeque<Pending>,
    /// How far the last values lay from what this lead's experts say of the present.
    surprises: [f64; 2],
    pub(super) score: LeadScore,
}

/// A forecast that waits for what comes.
#[derive(Debug, Clone, PartialEq)]
struct Pending {
    target: i64,
    opinions: [f32; EXPERTS],
    combined: f64,
    quantiles: [f32; 5],
}

impl Lead {
    pub(super) fn new(steps: usize) -> Self {
        let residuals = Residuals::new();
        Self {
            steps,
            stride: stride(steps),
            standing: Standing::new(),
            factors: SCORED.map(|share| residuals.quantile(share)),
            residuals,
            pending: VecDeque::new(),
            surprises: [0.0; 2],
            score: LeadScore::new(steps),
        }
    }

    /// Whether a forecast is made from this step on.
    pub(super) fn is_due(&self, bin: i64) -> bool {
        bin.rem_euclid(self.stride) == 0
    }

    /// Notes what is forecast from step `bin`; `scale` is the error to expect.
    pub(super) fn register(&mut self, bin: i64, opinions: &Opinions, combined: f64, scale: f64, root: Root) {
        let quantiles = self.factors.map(|factor| root.back(combined + scale * factor) as f32);
        let opinions = opinions.map(|opinion| opinion as f32);
        self.pending.push_back(Pending { target: bin + self.steps as i64, opinions, combined, quantiles });
    }

    /// Mean absolute error to expect, once there is one to go by.
    pub(super) fn scale(&self) -> Option<f64> {
        self.residuals.scale().map(|scale| scale.min(f64::from(self.standing.error)))
    }

    /// How far a value lies from what this lead's experts say of it.
    pub(super) fn surprise(&self, opinions: &Opinions, value: f64) -> f64 {
        value - self.standing.weigh(opinions)
    }

    /// Notes the newest surprise.
    pub(super) fn note(&mut self, surprise: f64) {
        self.surprises = [surprise, self.surprises[0]];
    }

    /// What the experts' opinions from the last closed step amount to.
    pub(super) fn combined(&self, opinions: &Opinions) -> f64 {
        self.standing.weigh(opinions) + self.shift(self.surprises[0])
    }

    /// Whether the last value was beyond what is usual.
    pub(super) fn is_surprised(&self) -> bool {
        self.scale().is_some_and(|scale| self.surprises[0].abs() > SURPRISE * scale)
    }

    /// What is added to forecasts when the last values all lay far off on the same side: the level has moved, and the experts
    /// that this lead trusts are too slow to follow. `newest` is the newest surprise.
    pub(super) fn shift(&self, newest: f64) -> f64 {
        let Some(scale) = self.scale() else { return 0.0 };
        let (low, high) =
            self.surprises.iter().fold((newest, newest), |(low, high), s| (low.min(*s), high.max(*s)));
        let limit = SURPRISE * scale;
        if low > limit {
            low - limit
        } else if high < -limit {
            high + limit
        } else {
            0.0
        }
    }

    /// Judges the forecasts for step `bin` by its value. From an outage nothing is learned.
    pub(super) fn answer(&mut self, bin: i64, value: f64, is_suspect: bool, root: Root) {
        while self.pending.front().is_some_and(|pending| pending.target <= bin) {
            let Some(Pending { target, opinions, combined, quantiles }) = self.pending.pop_front() else {
                break;
            };
            if target < bin {
                continue;
            }
            self.score.learn(&quantiles, root.back(value));
            if is_suspect {
                continue;
            }
            self.standing.learn(&opinions, value);
            self.residuals.learn(value - combined, self.scale());
            if self.residuals.seen() % FACTORS_RENEWAL < 1.0 {
                self.factors = SCORED.map(|share| self.residuals.quantile(share));
            }
        }
    }
}

/// Mean errors beyond which a value is a surprise.
const SURPRISE: f64 = 3.0;
/// The quantiles that are scored are taken anew after so many answers.
const FACTORS_RENEWAL: f64 = 8.0;

/// A forecast is judged every so many steps: four that overlap tell almost as much as all. A prime, so that all times of day have
/// their turn.
fn stride(steps: usize) -> i64 {
    let mut stride = (steps as i64 / 4).max(1);
    while (2..stride).any(|divisor| stride % divisor == 0) || 60 % stride == 0 && stride > 1 {
        stride += 1;
    }
    stride
}

impl Stored for Pending {
    fn save(&self, writer: &mut Writer) {
        let Self { target, opinions, combined, quantiles } = self;
        writer.put(target).list(opinions).put(combined).list(quantiles);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let target = reader.get()?;
        Ok(Self { target, opinions: array(reader)?, combined: reader.get()?, quantiles: array(reader)? })
    }
}

impl Lead {
    pub(super) fn save(&self, writer: &mut Writer) {
        let Self { steps: _, stride: _, standing, residuals, factors, pending, surprises, score } = self;
        writer.put(standing).put(residuals).list(factors).list(surprises).put(score);
        writer.list(&pending.iter().cloned().collect::<Vec<_>>());
    }

    pub(super) fn restore(&mut self, reader: &mut Reader<'_>) -> Result<(), Damaged> {
        (self.standing, self.residuals, self.factors) = (reader.get()?, reader.get()?, array(reader)?);
        self.surprises = array(reader)?;
        self.score = LeadScore { steps: self.steps, ..reader.get()? };
        let pending: Vec<Pending> = reader.list()?;
        self.pending = pending.into();
        Ok(())
    }
}

/// A list of exactly so many.
pub(super) fn array<T: Stored, const N: usize>(reader: &mut Reader<'_>) -> Result<[T; N], Damaged> {
    let list: Vec<T> = reader.list()?;
    list.try_into().map_err(|_| reader.damaged())
}
