//! The whole engine of one signal: the same offline and in production.
//!
//! Every detector watches one view of the series for records, on one scale. A signal's threshold on that scale is set for the
//! false-alarm budget: for noise without memory by the tail of its records, for a series with a course by what is worth a word.

use std::time::Duration;

use jiff::Timestamp;

use super::band::Band;
use super::baseline::Baseline;
use super::clock::Clock;
use super::episode::Episode;
use super::latch::Latch;
use super::level::LevelRecord;
use super::mean::{LONG, MeanRecord, SHORT};
use super::sample::{Detector, Sample};
use super::season::SeasonRecord;
use super::spread::SpreadRecord;
use super::value::ValueRecord;
use super::view::View;
use crate::learn::{Dependence, Extremes, Records};
use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// Samples before anything is said.
const WARM_UP_SAMPLES: f64 = 50.0;
/// Samples in which extremes go half the way back to the mean in a series with a course. Those of noise are never forgotten:
/// then the n-th sample is a record with probability 1/n, and the budget can be kept.
const HALF_LIFE_SAMPLES: f64 = 5_000.0;
/// Samples over which the usual size of values is taken.
const SIZE_SAMPLES: f64 = 1_000.0;
/// A record that exceeds what was seen by less than this share of its range is not worth a word in any series.
const NOVELTY_MIN: f64 = 0.015;
/// Records smaller than this teach nothing about the tail.
const LEARNED_MIN: f64 = 0.002;
/// The novelty that scores one half.
const NOVELTY_HALF: f64 = 0.1;

/// What the engine of one signal is told. The defaults are meant for every signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeriesSettings {
    /// One false deviation per signal is accepted in this time.
    pub false_alarm_budget: Duration,
}

impl Default for SeriesSettings {
    fn default() -> Self {
        Self { false_alarm_budget: Duration::from_secs(28 * 86_400) }
    }
}

/// What is said of one sample. It depends on earlier samples and this one only.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Judgement {
    /// How unusual, in [0, 1]: the novelty on a scale common to all signals. 0 while an event goes on that was told.
    pub score: f64,
    /// How much it matters now, in [0, 1]; decays after an alert.
    pub severity: f64,
    /// The value that was expected.
    pub expected: Option<f64>,
    /// Lower end of what is usual.
    pub lower: Option<f64>,
    /// Upper end of what is usual.
    pub upper: Option<f64>,
    /// True only where an alert opens.
    pub deviation: bool,
    /// The view that gave the score.
    pub view: View,
    /// Probability that this is no chance, in [0, 1].
    pub confidence: f64,
}

/// The engine of one signal.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    settings: SeriesSettings,
    last_at: Option<Timestamp>,
    samples: f64,
    size: f64,
    clock: Clock,
    dependence: Dependence,
    records: Records,
    value: ValueRecord,
    short: MeanRecord<SHORT>,
    long: MeanRecord<LONG>,
    spread: SpreadRecord,
    season: SeasonRecord,
    level: LevelRecord,
    baseline: Baseline,
    latch: Latch,
    episode: Episode,
}

impl Series {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(settings: SeriesSettings) -> Self {
        Self {
            settings,
            last_at: None,
            samples: 0.0,
            size: 0.0,
            clock: Clock::default(),
            dependence: Dependence::default(),
            records: Records::default(),
            value: ValueRecord::default(),
            short: MeanRecord::default(),
            long: MeanRecord::default(),
            spread: SpreadRecord::default(),
            season: SeasonRecord::default(),
            level: LevelRecord::default(),
            baseline: Baseline::default(),
            latch: Latch::default(),
            episode: Episode::default(),
        }
    }

    /// What it was told.
    #[must_use]
    pub fn settings(&self) -> SeriesSettings {
        self.settings
    }

    /// Judges by earlier samples only, then learns. `None` = refused (repeated or backward time, not finite): nothing changes.
    pub fn observe(&mut self, at: Timestamp, value: f64) -> Option<Judgement> {
        if !value.is_finite() || value.abs() > VALUE_MAX || self.last_at.is_some_and(|last| at <= last) {
            return None;
        }
        self.last_at = Some(at);
        let seconds = at.as_millisecond() as f64 / 1_000.0;
        let steps = self.clock.tick(seconds);
        let dependence = f64::from(self.dependence.measure());
        let forget = dependence * std::f64::consts::LN_2 / HALF_LIFE_SAMPLES;
        let limit = self.limit(dependence);
        let band = self.band(limit);
        let expected = self.expected(seconds);
        self.samples += 1.0;
        self.size += (value.abs() - self.size) / self.samples.min(SIZE_SAMPLES);
        let seasonal = self.baseline.is_seasonal();
        let residual = self.baseline.learn(seconds, steps * self.clock.interval(), value);
        let sample = Sample { at: seconds, steps, value, residual, seasonal, size: self.size, forget };
        let (novelty, view) = self.look(&sample);
        self.dependence.learn(value);
        let Some(band) = band.filter(|_| self.samples > WARM_UP_SAMPLES) else {
            return Some(Judgement { expected, ..Judgement::default() });
        };
        Some(self.tell(&sample, novelty, view, limit, band, expected))
    }

    /// The strongest view.
    fn look(&mut self, sample: &Sample) -> (f64, View) {
        let found = [
            seen_by(&mut self.value, sample),
            seen_by(&mut self.short, sample),
            seen_by(&mut self.long, sample),
            seen_by(&mut self.spread, sample),
            seen_by(&mut self.season, sample),
            seen_by(&mut self.level, sample),
        ];
        found.into_iter().fold((0.0, View::Value), |most, this| if this.0 > most.0 { this } else { most })
    }

    fn tell(
        &mut self,
        sample: &Sample,
        novelty: f64,
        view: View,
        limit: f64,
        band: Band,
        expected: Option<f64>,
    ) -> Judgement {
        let heard = self.latch.pass(novelty, 1.0);
        let deviation = heard > limit;
        let chance = self.records.expected(heard, self.samples, self.budget_samples()).exp();
        self.records.learn(self.samples, Some(heard).filter(|heard| *heard > LEARNED_MIN));
        let held = self.episode.held().unwrap_or(band);
        let (lower, upper) = held.around(expected);
        if deviation {
            self.episode.open(sample.at, heard / (heard + limit), band);
        } else {
            let is_inside = lower <= sample.value && sample.value <= upper;
            self.episode.follow(sample.at, sample.steps, is_inside);
        }
        Judgement {
            score: heard / (heard + NOVELTY_HALF),
            severity: self.episode.severity(),
            expected,
            lower: Some(lower),
            upper: Some(upper),
            deviation,
            view,
            confidence: if heard > 0.0 { 1.0 / (1.0 + chance) } else { 0.0 },
        }
    }

    /// Samples in the time in which one false alarm is accepted.
    fn budget_samples(&self) -> f64 {
        let interval = self.clock.interval().max(1e-3);
        (self.settings.false_alarm_budget.as_secs_f64() / interval).max(WARM_UP_SAMPLES)
    }

    /// The novelty above which an alert opens.
    fn limit(&self, dependence: f64) -> f64 {
        let noise = self.records.limit(self.samples, self.budget_samples()).max(NOVELTY_MIN);
        NOVELTY_MIN + (1.0 - dependence) * (noise - NOVELTY_MIN)
    }

    /// Where a value would open no alert.
    fn band(&self, limit: f64) -> Option<Band> {
        let floor = 0.05 * self.size;
        let widened = |extremes: &Extremes| {
            let room = limit * extremes.range(floor);
            extremes.bounds().map(|(low, high)| (low - room, high + room))
        };
        let value = widened(self.value.extremes())?;
        let residual = self.season.extremes();
        Some(Band { value, residual: widened(residual).filter(|_| self.baseline.is_seasonal()) })
    }

    fn expected(&self, at: f64) -> Option<f64> {
        (self.samples > 0.0).then(|| self.baseline.expected(at))
    }
}

/// Larger numbers measure nothing, and their squares would overflow.
const VALUE_MAX: f64 = 1e150;

fn seen_by<D: Detector>(detector: &mut D, sample: &Sample) -> (f64, View) {
    (detector.observe(sample), D::VIEW)
}

impl Stored for Series {
    fn save(&self, writer: &mut Writer) {
        let Self {
            settings,
            last_at,
            samples,
            size,
            clock,
            dependence,
            records,
            value,
            short,
            long,
            spread,
            season,
            level,
            baseline,
            latch,
            episode,
        } = self;
        let budget = u64::try_from(settings.false_alarm_budget.as_millis()).unwrap_or(u64::MAX);
        writer.put(&budget).put(last_at).put(samples).put(size).put(clock).put(dependence).put(records);
        writer
            .put(value)
            .put(short)
            .put(long)
            .put(spread)
            .put(season)
            .put(level)
            .put(baseline)
            .put(latch)
            .put(episode);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self {
            settings: SeriesSettings { false_alarm_budget: Duration::from_millis(reader.get()?) },
            last_at: reader.get()?,
            samples: reader.get()?,
            size: reader.get()?,
            clock: reader.get()?,
            dependence: reader.get()?,
            records: reader.get()?,
            value: reader.get()?,
            short: reader.get()?,
            long: reader.get()?,
            spread: reader.get()?,
            season: reader.get()?,
            level: reader.get()?,
            baseline: reader.get()?,
            latch: reader.get()?,
            episode: reader.get()?,
        })
    }
}
