//! One signal: its engine, its newest sample, and what was said of it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proto::model::{
    LearnedSignal, Quality, Sample, SignalDescriptor, SignalGlance, SignalId, SignalKind, Threshold,
    ThresholdState,
};

use super::Refusal;
use super::name::Name;
use crate::detect::residual::{Learned, Proposal};
use crate::detect::{Engine, Evidence, Reading, SeriesSettings, Verdict};
use crate::learn::seasonality::Keeper;
use crate::learn::{Lesson, Settings};
use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};
use crate::symptom::rules::{Judged, is_adverse};

/// How far a sample may be ahead of our clock. More is a broken clock, which would block the signal until time catches up.
const AHEAD_MAX: SignedDuration = SignedDuration::from_secs(30);

/// Larger numbers measure nothing, and their squares would overflow.
const VALUE_MAX: f64 = 1e150;

/// Tells signals of one resource apart, the same in every life of the process.
fn seed(name: &str) -> u64 {
    name.bytes().fold(0, |seed: u64, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)))
}

/// One signal of a shard.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Signal {
    pub(crate) id: Name,
    pub(crate) kind: SignalKind,
    pub(crate) unit: Box<str>,
    pub(crate) declared: bool,
    /// Place of its resource.
    pub(crate) resource: u32,
    pub(crate) engine: Engine,
    /// Only of what is declared: it takes 4 KiB.
    pub(crate) seasons: Option<Box<Keeper>>,
    pub(crate) last_at: Option<Timestamp>,
    crossings: u8,
    now: Now,
}

/// The newest sample.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Now {
    value: Option<f64>,
    quality: Quality,
    evidence: Evidence,
}

const UNKNOWN: Now = Now {
    value: None,
    quality: Quality::Unknown,
    evidence: Evidence { score: 0.0, expected: None, lower: None, upper: None, deviating: false },
};

impl Signal {
    pub(crate) fn new(descriptor: SignalDescriptor, resource: u32, settings: &Settings) -> Self {
        let SignalDescriptor { signal, kind, unit, declared, handle: _ } = descriptor;
        let engine = Engine::new(SeriesSettings { false_alarm_budget: settings.false_alarm_budget });
        let unit = unit.into_boxed_str();
        Self {
            id: signal.into(),
            kind,
            unit,
            declared,
            resource,
            engine,
            seasons: None,
            last_at: None,
            crossings: 0,
            now: UNKNOWN,
        }
    }

    /// Judges a sample, and learns from it.
    pub(crate) fn take(
        &mut self,
        sample: Sample,
        interval: Duration,
        now: Timestamp,
        settings: &Settings,
    ) -> Result<Option<Learned>, Refusal> {
        let Sample { at, value, quality, handle: _ } = sample;
        self.check_time(at, now)?;
        if value.is_some_and(|value| !value.is_finite() || value.abs() > VALUE_MAX) {
            return Err(Refusal::NotFinite);
        }
        self.last_at = Some(at);
        let Some(value) = value.filter(|_| quality != Quality::Unknown) else {
            self.now = UNKNOWN;
            return Ok(None);
        };
        self.keep_seasons(at, value, quality, interval);
        let verdict = self.engine.observe(at, Reading { value, quality, kind: self.kind });
        let crossed = self.crossed(value, &verdict).is_some_and(|above| is_adverse(self.id.name(), above));
        self.crossings = (self.crossings << 1) | u8::from(crossed);
        self.now = Now { value: Some(value), quality, evidence: verdict.evidence };
        Ok(self.engine.thresholds.propose(at, interval, settings))
    }

    /// Whether the sample crossed a limit, and then whether the upper one. Where a person decided, the detectors are not asked.
    fn crossed(&self, value: f64, verdict: &Verdict) -> Option<bool> {
        if verdict.evidence.deviating {
            return Some(verdict.evidence.upper.is_some_and(|upper| value > upper));
        }
        let judged = self.engine.thresholds.state() == ThresholdState::Active;
        verdict.astray(value).filter(|_| judged)
    }

    fn keep_seasons(&mut self, at: Timestamp, value: f64, quality: Quality, interval: Duration) {
        if !self.declared {
            self.seasons = None;
        } else if quality == Quality::Good {
            let keeper =
                self.seasons.get_or_insert_with(|| Box::new(Keeper::new(interval, seed(self.id.name()))));
            keeper.observe(at, value);
        }
    }

    fn check_time(&self, at: Timestamp, now: Timestamp) -> Result<(), Refusal> {
        let limit = now.saturating_add(AHEAD_MAX).unwrap_or(Timestamp::MAX);
        if at > limit {
            return Err(Refusal::FromTheFuture);
        }
        // A last time beyond the limit was taken before our own clock was set back: it binds nobody.
        match self.last_at {
            Some(last) if at <= last && last <= limit => Err(Refusal::NotNewer),
            _ => Ok(()),
        }
    }

    /// As it stands at a tick; without a sample at that tick it is unknown.
    pub(crate) fn judged(&self, at: Timestamp) -> Judged {
        Judged { glance: self.glance(Some(at)), crossings: self.crossings }
    }

    /// As it stands in listings.
    pub(crate) fn learned(&self, settings: &Settings) -> LearnedSignal {
        let samples = self.engine.thresholds.samples();
        LearnedSignal {
            signal: self.id.id(),
            unit: self.unit.to_string(),
            declared: self.declared,
            glance: self.glance(None),
            samples,
            warm_up_remaining: match self.engine.thresholds.state() {
                ThresholdState::Learning => {
                    settings.warm_up_samples.saturating_sub(self.engine.thresholds.warmed())
                }
                _ => 0,
            },
            coverage_ratio: self.engine.thresholds.coverage(),
            generation: self.engine.thresholds.generation(),
            method: self.engine.thresholds.method().to_owned(),
        }
    }

    /// What it can teach signals of the same name and kind; `None` while it has no limits of its own.
    pub(crate) fn lesson(&self) -> Option<Lesson> {
        let (level, limits) = self.engine.thresholds.taught()?;
        Some(Lesson { signal: self.id.id(), kind: self.kind, level, limits })
    }

    /// The version that was just put in force, as Knowledge keeps it.
    pub(crate) fn threshold(&self, proposal: &Proposal, now: Timestamp) -> Threshold {
        let Proposal { generation, limits, level, samples, coverage, probability, evidence } = *proposal;
        Threshold {
            signal: self.id.id(),
            generation,
            state: self.engine.thresholds.state(),
            method: self.engine.thresholds.method().to_owned(),
            residual_lower: limits.lower,
            residual_upper: limits.upper,
            level,
            scale: limits.scale,
            samples,
            coverage_ratio: coverage.clamp(0.0, 1.0),
            false_alarm_probability: probability,
            evidence_from: evidence.0,
            evidence_to: evidence.1,
            created_at: now,
            pinned_lower: None,
            pinned_upper: None,
            reviewed_by: String::new(),
            reason: String::new(),
        }
    }

    fn glance(&self, tick: Option<Timestamp>) -> SignalGlance {
        let is_now = tick.is_none_or(|tick| self.last_at == Some(tick));
        let Now { value, quality, evidence } = if is_now { self.now } else { UNKNOWN };
        // The band of a sample that is not there is the one that the next sample will meet.
        let Evidence { expected, lower, upper, deviating, .. } = match value {
            Some(_) => evidence,
            None => self.engine.band(tick.or(self.last_at), self.kind),
        };
        // A level of a few samples is no expectation yet; a person's limits hold from the first sample on.
        let expected = expected.filter(|_| upper.is_some());
        SignalGlance {
            name: self.id.name().to_owned(),
            value,
            quality,
            expected,
            lower: lower.filter(|lower| lower.is_finite()),
            upper: upper.filter(|upper| upper.is_finite()),
            scale: self.engine.thresholds.scale(self.kind).filter(|scale| scale.is_finite()),
            threshold_state: self.engine.thresholds.state(),
            deviating,
            at: tick.filter(|_| is_now).or(self.last_at).or(tick).unwrap_or(Timestamp::UNIX_EPOCH),
            deviation: self.engine.deviation(),
        }
    }
}

impl Signal {
    /// Writes it, without the place of its resource, which a restart may change.
    pub(crate) fn save(&self, writer: &mut Writer) {
        let Self { id, kind, unit, declared, resource: _, engine, seasons, last_at, crossings, now } = self;
        writer.text(&id.id().to_string()).text(kind.as_str()).text(unit);
        writer.put(declared).put(engine).put(seasons).put(last_at);
        writer.put(crossings).put(&now.value).text(now.quality.as_str()).put(&now.evidence);
    }

    pub(crate) fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self {
            id: reader.parse::<SignalId>()?.into(),
            kind: reader.parse()?,
            unit: reader.text()?.into(),
            declared: reader.get()?,
            resource: 0,
            engine: reader.get()?,
            seasons: reader.get()?,
            last_at: reader.get()?,
            crossings: reader.get()?,
            now: Now { value: reader.get()?, quality: reader.parse()?, evidence: reader.get()? },
        })
    }
}

impl Stored for Evidence {
    fn save(&self, writer: &mut Writer) {
        let Self { score, expected, lower, upper, deviating } = self;
        writer.put(score).put(expected).put(lower).put(upper).put(deviating);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self {
            score: reader.get()?,
            expected: reader.get()?,
            lower: reader.get()?,
            upper: reader.get()?,
            deviating: reader.get()?,
        })
    }
}
