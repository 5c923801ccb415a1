//! The reviewed thresholds of a signal: the distance of a sample from its local level, on top of its season where one is known,
//! held against learned limits.

use std::time::Duration;

use jiff::Timestamp;
use proto::model::{Quality, SignalKind, Threshold, ThresholdState};

use super::{Evidence, Reading};
use crate::learn::threshold::Step;
use crate::learn::{
    Level, Limits, Prior, Residuals, Settings, Threshold as Version, Versions, minimum_effect,
};
use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// What a deviating sample counts when learning: an hour of them at 1 s weighs as much as 7 normal ones.
const DEVIATING_WEIGHT: f64 = 1.0 / 512.0;
/// A single deviating sample counts whole while no more than this share of late ones deviated: it is the tail to be learned.
const DEVIATING_SHARE_MAX: f64 = 0.02;
/// Samples over which that share is taken.
const SHARE_SAMPLES: f64 = 500.0;
/// A residual is learned as at most this many times its limit, so that one absurd value does not widen the limits at a stroke.
const LIMITS_MAX: f64 = 2.0;
/// Samples over which coverage is measured.
const COVERAGE_SAMPLES: f64 = 10_000.0;
/// Samples over which the recent mean is taken, to which the level jumps when a shift has become the normal state.
const RECENT_SAMPLES: f64 = 32.0;
/// A shift that lasts this long is the new normal state,
const REGIME: Duration = Duration::from_secs(6 * 3_600);
/// but never one of fewer samples,
const REGIME_SAMPLES_MIN: u32 = 360;
/// or one that needs more.
const REGIME_SAMPLES_MAX: u32 = 21_600;
/// What was learned before counts this much then.
const REGIME_FADE: f64 = 0.05;
/// A version that Knowledge remembers is not used on a level of fewer samples than these; a person's absolute limits always are.
const JUDGE_SAMPLES_MIN: u64 = 20;
/// How often the range of the residuals is looked after: often while they are few, then every 256 samples.
const RECENTRE_EARLY: u64 = 16;
const RECENTRE_LATE: u64 = 256;
/// A warm-up is calm when samples change from one side of the level to the other at least this often: of white noise every second
/// does, where neighbours correlate by 0.8 every fifth, in a rise, a fall or after a step next to none.
const CALM: f64 = 0.2;
/// A warm-up that was not calm begins again, so that limits do not speak of a crowd for weeks; but a signal that always wanders
/// must have limits some time.
const RESTARTS_MAX: u8 = 4;
/// The name of limits that signals of the same name and kind lend.
const METHOD_PRIOR: &str = "prior";

/// The learner of one signal, and its judge.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ResidualDetector {
    level: Level,
    residuals: Residuals,
    versions: Versions,
    samples: u64,
    coverage: f64,
    judged: u64,
    deviating_share: f64,
    run: u32,
    recent: f64,
    first_at: Option<Timestamp>,
    last_at: Option<Timestamp>,
    season: Option<f64>,
    prior: Option<Prior>,
    /// Samples before the warm-up that counts, and how often it began again.
    before: u64,
    restarts: u8,
    /// Samples of it that changed sides, and the side of the last.
    turns: u16,
    above: bool,
    step: Option<Step>,
}

/// What a new version rests on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Proposal {
    /// Its number.
    pub generation: u64,
    /// Its limits.
    pub limits: Limits,
    /// Expected value now.
    pub level: f64,
    /// Samples behind it.
    pub samples: u64,
    /// Share of judged samples inside the limits.
    pub coverage: f64,
    /// What the limits were set for.
    pub probability: f64,
    /// First and last sample behind it.
    pub evidence: (Option<Timestamp>, Option<Timestamp>),
}

/// What learning did in the background of one sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Learned {
    /// A new version is in force and should be recorded.
    Version(Proposal),
    /// A candidate failed its shadow run.
    Discarded,
}

impl ResidualDetector {
    /// Judges one sample, then learns from it. The season is what it adds at this time; `None` while none is known.
    pub fn observe(&mut self, at: Timestamp, sample: Reading, season: Option<f64>) -> Evidence {
        self.follow(season);
        let evidence = self.judge(sample, season);
        // A partial value describes only some of the sources: learning from it would make absence normal.
        if sample.quality == Quality::Good {
            self.learn(at, sample, season.unwrap_or(0.0), &evidence);
        }
        evidence
    }

    /// When a season is found or lost, the level becomes one without or with it, and what is expected stays as it was.
    fn follow(&mut self, season: Option<f64>) {
        match (self.season, season) {
            (None, Some(found)) => self.rebase(-found),
            (Some(lost), None) => self.rebase(lost),
            _ => {}
        }
        self.season = season;
    }

    fn rebase(&mut self, by: f64) {
        self.level.shift(by);
        self.recent += by;
    }

    /// Holds a sample against the version in force, without learning.
    #[must_use]
    pub fn judge(&self, sample: Reading, season: Option<f64>) -> Evidence {
        let Reading { value, quality, kind } = sample;
        let band = self.band(kind, season);
        let (Some(lower), Some(upper)) = (band.lower, band.upper) else { return band };
        let expected = band.expected.unwrap_or(value);
        // A sum over some of the sources is low because the others are missing.
        let sums_some = quality == Quality::Partial && matches!(kind, SignalKind::Rate | SignalKind::Gauge);
        let deviating = value > upper || (value < lower && !sums_some);
        let room = if value >= expected { upper - expected } else { expected - lower };
        let ratio = (value - expected).abs() / room.max(minimum_effect(kind, expected));
        let score = ratio / (1.0 + ratio);
        Evidence { score, deviating, ..band }
    }

    /// The band that a sample meets at a time at which the season adds this much.
    #[must_use]
    pub fn band(&self, kind: SignalKind, season: Option<f64>) -> Evidence {
        let expected = self.level.expected().map(|level| level + season.unwrap_or(0.0));
        let usable = |threshold: &&Version| threshold.is_absolute() || self.samples >= JUDGE_SAMPLES_MIN;
        let middle = expected.unwrap_or(0.0);
        let Some(threshold) = self.versions.in_force().filter(usable) else {
            let (below, above) = self.prior_in_use().map(|prior| prior.limits(kind, middle)).unzip();
            let lower = below.map(|below| possible(kind, middle + below));
            let upper = above.map(|above| middle + above);
            return Evidence { expected, lower, upper, ..Evidence::default() };
        };
        let (lower, upper) = threshold.band(middle, minimum_effect(kind, middle));
        // What a person gave stands as given.
        let lower = if threshold.pinned_lower.is_some() { lower } else { possible(kind, lower) };
        Evidence { expected, lower: Some(lower), upper: Some(upper), ..Evidence::default() }
    }

    /// Looks after the versions of the threshold; call it after each judged sample.
    pub fn propose(&mut self, at: Timestamp, interval: Duration, settings: &Settings) -> Option<Learned> {
        let probability = settings.false_alarm_probability(interval);
        let mut step = self.step.take();
        if self.accept_regime(interval) {
            self.versions.reconsider(at);
        }
        if step.is_none()
            && self.run == 0
            && self.warmed() >= settings.warm_up_samples
            && self.versions.is_due(at)
        {
            if self.state() == ThresholdState::Learning && !self.is_calm() && self.restarts < RESTARTS_MAX {
                self.begin_again();
            } else {
                let limits = self.limits(probability);
                step = self.versions.consider(at, &limits, settings);
            }
        }
        match step? {
            Step::Discarded => Some(Learned::Discarded),
            Step::Promoted => {
                let version = self.versions.in_force()?;
                let limits =
                    Limits { lower: version.lower, upper: version.upper, ..self.limits(probability) };
                Some(Learned::Version(Proposal {
                    generation: version.generation,
                    limits,
                    level: self.level.expected()? + self.season.unwrap_or(0.0),
                    samples: self.samples,
                    coverage: self.coverage,
                    probability,
                    evidence: (self.first_at, self.last_at),
                }))
            }
        }
    }

    /// Follows what Knowledge says of a version; true if that changed anything.
    pub fn review(&mut self, version: &Threshold) -> bool {
        self.versions.review(version)
    }

    /// Takes off a pin that Knowledge no longer knows of; true if there was one.
    pub fn release(&mut self) -> bool {
        self.versions.release()
    }

    /// Knowledge's answer to our recording of a version; true if it changed anything.
    pub fn recorded(&mut self, sent: &Threshold, stored: &Threshold) -> bool {
        self.versions.recorded(sent, stored)
    }

    /// Starts with what signals of its kind have learned; of no effect once it has limits of its own.
    pub fn begin_with(&mut self, prior: Option<Prior>) {
        self.prior = prior.filter(|_| self.state() == ThresholdState::Learning);
    }

    fn prior_in_use(&self) -> Option<Prior> {
        let learning = self.state() == ThresholdState::Learning;
        self.prior.filter(|_| learning && Prior::is_due(self.samples))
    }

    /// How the version in force was made; empty when there is none.
    #[must_use]
    pub fn method(&self) -> &'static str {
        let prior = || self.prior_in_use().map_or("", |_| METHOD_PRIOR);
        self.versions.in_force().map_or_else(prior, Version::method)
    }

    /// Level and limits of the version in force, which others may begin with; `None` when there is none or a person holds it.
    #[must_use]
    pub fn taught(&self) -> Option<(f64, (f64, f64))> {
        let version = self.versions.in_force().filter(|version| !version.pinned)?;
        Some((self.level.expected()? + self.season.unwrap_or(0.0), (version.lower, version.upper)))
    }

    /// Samples learned from.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Samples of the warm-up that counts.
    #[must_use]
    pub fn warmed(&self) -> u64 {
        self.samples - self.before
    }

    fn is_calm(&self) -> bool {
        f64::from(self.turns) >= CALM * self.warmed() as f64
    }

    /// Whether a sample changes sides; a fifth of what is worth a word is on both.
    fn turn(&mut self, residual: f64, effect: f64) {
        if residual.abs() <= effect / 5.0 || (residual > 0.0) != self.above {
            self.turns = self.turns.saturating_add(1);
            self.above = residual > 0.0;
        }
    }

    /// Forgets a warm-up in which the signal was not calm.
    fn begin_again(&mut self) {
        self.residuals = Residuals::default();
        self.level = Level::default();
        (self.before, self.restarts, self.turns) = (self.samples, self.restarts.saturating_add(1), 0);
    }

    /// Share of judged samples inside the band; 0 while none was judged.
    #[must_use]
    pub fn coverage(&self) -> f64 {
        self.coverage.clamp(0.0, 1.0)
    }

    /// Robust scale of the residual, never below a fifth of what is worth a word.
    #[must_use]
    pub fn scale(&self, kind: SignalKind) -> Option<f64> {
        let expected = self.level.expected()?;
        Some(self.residuals.scale().max(minimum_effect(kind, expected) / 5.0))
    }

    /// Where the threshold stands.
    #[must_use]
    pub fn state(&self) -> ThresholdState {
        self.versions.state()
    }

    /// Number of the version in force; 0 when there is none.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.versions.in_force().map_or(0, |version| version.generation)
    }

    fn limits(&self, probability: f64) -> Limits {
        let limits = self.residuals.limits(probability);
        let effect = self.level.expected().map_or(0.0, |level| minimum_effect(SignalKind::Gauge, level));
        Limits { scale: limits.scale.max(effect / 5.0), ..limits }
    }

    fn learn(&mut self, at: Timestamp, sample: Reading, season: f64, evidence: &Evidence) {
        let value = sample.value - season;
        let level = self.level.expected().unwrap_or(value);
        let expected = level + season;
        let effect = minimum_effect(sample.kind, expected);
        let residual = value - level;
        let limits = evidence.lower.zip(evidence.upper);
        if let Some((lower, upper)) = limits.filter(|_| self.versions.in_force().is_some()) {
            self.judged = self.judged.saturating_add(1);
            let share = 1.0 / COVERAGE_SAMPLES.min(self.judged as f64);
            self.coverage += share * (f64::from(!evidence.deviating) - self.coverage);
            self.step = self.versions.shadow(residual, effect, evidence.deviating);
            let reach = ((lower - expected) * LIMITS_MAX, (upper - expected) * LIMITS_MAX);
            let weight = self.weight(evidence.deviating);
            self.residuals.add(residual.clamp(reach.0.min(0.0), reach.1.max(0.0)), weight);
            self.level.update(value, weight, effect);
        } else {
            if evidence.deviating {
                self.prior = self.prior.and_then(Prior::missed);
            }
            self.turn(residual, effect);
            self.residuals.add(residual, 1.0);
            self.level.update(value, 1.0, effect);
        }
        self.samples = self.samples.saturating_add(1);
        let every = if self.samples < RECENTRE_LATE { RECENTRE_EARLY } else { RECENTRE_LATE };
        if self.samples.is_multiple_of(every) {
            self.residuals.recentre();
        }
        self.recent += (value - self.recent) / RECENT_SAMPLES.min(self.samples as f64);
        self.first_at.get_or_insert(at);
        self.last_at = Some(at);
    }

    /// How much a judged sample counts, and the memory of how many deviated.
    fn weight(&mut self, deviating: bool) -> f64 {
        let lone = self.run == 0 && self.deviating_share < DEVIATING_SHARE_MAX;
        self.run = if deviating { self.run.saturating_add(1) } else { self.run / 2 };
        self.deviating_share += (f64::from(deviating) - self.deviating_share) / SHARE_SAMPLES;
        if deviating && !lone { DEVIATING_WEIGHT } else { 1.0 }
    }

    /// Whether a shift has lasted so long that it is the normal state now; then the level goes there.
    fn accept_regime(&mut self, interval: Duration) -> bool {
        let samples = REGIME.div_duration_f64(interval.max(Duration::from_millis(1))) as u32;
        if self.run < samples.clamp(REGIME_SAMPLES_MIN, REGIME_SAMPLES_MAX) {
            return false;
        }
        self.level.restart(self.recent);
        self.residuals.fade(REGIME_FADE);
        (self.run, self.deviating_share) = (0, 0.0);
        true
    }
}

/// A lower limit that a value can cross: what counts or measures events is never below zero.
fn possible(kind: SignalKind, lower: f64) -> f64 {
    if kind == SignalKind::Gauge { lower } else { lower.max(0.0) }
}

impl Stored for ResidualDetector {
    fn save(&self, writer: &mut Writer) {
        // `step` lives between two calls for one sample only.
        let Self {
            level,
            residuals,
            versions,
            samples,
            coverage,
            judged,
            deviating_share,
            run,
            recent,
            first_at,
            last_at,
            season,
            prior,
            before,
            restarts,
            turns,
            above,
            step: _,
        } = self;
        writer.put(level).put(residuals).put(versions).put(samples).put(coverage).put(judged);
        writer.put(deviating_share).put(run).put(recent).put(first_at).put(last_at).put(season).put(prior);
        writer.put(before).put(restarts).put(turns).put(above);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let (level, residuals, versions) = (reader.get()?, reader.get()?, reader.get()?);
        let samples: u64 = reader.get()?;
        Ok(Self {
            level,
            residuals,
            versions,
            samples,
            coverage: reader.get()?,
            judged: reader.get()?,
            deviating_share: reader.get()?,
            run: reader.get()?,
            recent: reader.get()?,
            first_at: reader.get()?,
            last_at: reader.get()?,
            season: reader.get()?,
            prior: reader.get()?,
            before: reader.get::<u64>()?.min(samples),
            restarts: reader.get()?,
            turns: reader.get()?,
            above: reader.get()?,
            step: None,
        })
    }
}

#[cfg(test)]
mod tests;
