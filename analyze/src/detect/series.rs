//! The whole engine of one signal: the same offline and in production.
//!
//! Detectors watch views of the series for records, on one scale. Those of the values themselves are one channel, those of what
//! a baseline leaves unexplained another, steps of that a third; each has the tail of its own records. A signal's limit keeps the
//! false-alarm budget by that tail where the series is noise; where it has a course, records mean something themselves, memory
//! fades, and the limit is what is worth a word, more with each alert of late. Who alarms too often for that is held to the tail
//! again.

use std::time::Duration;

use jiff::Timestamp;

use super::band::Band;
use super::baseline::Baseline;
use super::clock::Clock;
use super::episode::Episode;
use super::latch::{BEATS, Latch};
use super::level::LevelRecord;
use super::mean::{LONG, MeanRecord, SHORT};
use super::sample::{Detector, Novelty, Sample};
use super::season::SeasonRecord;
use super::spread::SpreadRecord;
use super::step::StepRecord;
use super::tail::Tail;
use super::value::ValueRecord;
use super::view::View;
use crate::learn::{Dependence, Extremes};
use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// Samples before anything is said.
const WARM_UP: f64 = 50.0;
/// Seconds of the residual before anything is said of it, two thirds of them after its slow mean is known, but within these numbers
/// of samples.
const RESIDUAL_WARM_UP: f64 = 3.0 * DAY;
const RESIDUAL_WARM_UP_MIN: f64 = 100.0;
const RESIDUAL_WARM_UP_MAX: f64 = 300.0;
/// In a series with a course, extremes follow those of late with this half-life: a week, but never in fewer samples. Those of noise
/// never do: then the n-th sample is a record with probability 1/n, and the budget can be kept.
const HALF_LIFE: f64 = 7.0 * DAY;
const HALF_LIFE_SAMPLES: f64 = 2_000.0;
/// Extremes of late go half the way back to the mean in so long: two and a half weeks, but never in fewer samples.
const FADE: f64 = 17.5 * DAY;
const FADE_SAMPLES: f64 = 5_000.0;
/// After an alert the same event is not told again for ten hours, nor while it is still within the longest mean, an exponential one.
const SILENCE: f64 = 36_000.0;
const SILENCE_SAMPLES: f64 = 120.0;
const SILENCE_SAMPLES_MAX: f64 = 1e6;
/// What the baseline leaves is held against itself over no longer than half the way between two knots of its profile: beyond that, it
/// is the error of the knots that is alike.
const REACH: f64 = 1_800.0;
/// Samples over which the usual size of values is taken.
const SIZE_SAMPLES: f64 = 1_000.0;
/// A record that exceeds what was seen by less than this share of its range is not worth a word: in noise, where chance sets
/// the limit anyway, and in a course.
const NOVELTY_NOISE: f64 = 0.005;
const NOVELTY_COURSE: f64 = 0.02;
/// The same for what a baseline leaves unexplained. In a course it errs, by some of all that it ever left.
const RESIDUAL_NOISE: f64 = 0.02;
const RESIDUAL_COURSE: f64 = 0.15;
/// Alerts are remembered for this share of the time of the budget.
const ALERTS_MEMORY: f64 = 0.5;
/// With each of them the limit in a course grows by this share,
const ALERTS_GROWTH: f64 = 0.2;
/// and with more than so many, six times the budget, its records are taken for chance: what comes that often is no news.
const ALERTS_MAX: f64 = 3.0;
/// Each of the two wide channels is given its part of the budget, and steps half as much. They overlap, so that the parts are a little
/// more than the whole.
const CHANNELS: f64 = 2.2;
const CHANNELS_STEPS: f64 = 2.0 * CHANNELS;
/// In how many records it is worth what is known of any channel beforehand, and of means of five samples, which are near to normal.
const SURE: u8 = 2;
const SURE_STEPS: u8 = 6;
/// A shift so many times beyond its limit is told even in the silence after an alert on a single value. Its own silence is over as
/// soon as its slow mean has come along.
const SHIFT_BEATS: f64 = 1.25;
/// In noise, where shifts do not come in crowds, one that beats another as many times is told in the silence of that.
const SHIFT_BEATS_NOISE: f64 = 2.0;
/// The novelty that scores one half.
const NOVELTY_HALF: f64 = 0.1;
/// Rarer chances than this, in the time of the budget, are not told apart: the tail is known no better.
const CHANCE_MIN: f64 = 0.05;
/// Seconds.
const DAY: f64 = 86_400.0;
/// Larger numbers measure nothing, and their squares would overflow.
const VALUE_MAX: f64 = 1e150;

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
    /// Probability that this is no chance, in [0, 1]: 1 / (1 + c), where chance alone brings c such alerts in the time of the
    /// budget, and something real is taken to come once in it.
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
    baseline: Baseline,
    dependence: Dependence,
    value: ValueRecord,
    short: MeanRecord<SHORT>,
    long: MeanRecord<LONG>,
    spread: SpreadRecord,
    season: SeasonRecord,
    level: LevelRecord,
    step: StepRecord,
    values: Tail<SURE>,
    residuals: Tail<SURE>,
    steps: Tail<SURE_STEPS>,
    score: Latch,
    alert: Latch,
    shift: Latch,
    episode: Episode,
    alerts: f64,
}

/// What one channel says.
#[derive(Debug, Clone, Copy)]
struct Found {
    novelty: Novelty,
    view: View,
}

/// Something of each channel.
#[derive(Debug, Clone, Copy)]
struct Channels<T> {
    values: T,
    residuals: T,
    steps: T,
}

/// Limits of the channels, that of steps only where there is one, and what that of the values would be by chance alone.
#[derive(Debug, Clone, Copy)]
struct Limits {
    course: f64,
    by_chance: f64,
    of: Channels<f64>,
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
            baseline: Baseline::default(),
            dependence: Dependence::default(),
            value: ValueRecord::default(),
            short: MeanRecord::default(),
            long: MeanRecord::default(),
            spread: SpreadRecord::default(),
            season: SeasonRecord::default(),
            level: LevelRecord::default(),
            step: StepRecord::default(),
            values: Tail::default(),
            residuals: Tail::default(),
            steps: Tail::default(),
            score: Latch::default(),
            alert: Latch::default(),
            shift: Latch::default(),
            episode: Episode::default(),
            alerts: 0.0,
        }
    }

    /// What it was told.
    #[must_use]
    pub fn settings(&self) -> SeriesSettings {
        self.settings
    }

    /// What the season adds at this time; `None` while none is known.
    #[must_use]
    pub fn season(&self, at: Timestamp) -> Option<f64> {
        let known = self.baseline.is_settled() && self.baseline.is_seasonal();
        known.then(|| self.baseline.offset(at.as_millisecond() as f64 / 1_000.0))
    }

    /// Judges by earlier samples only, then learns. `None` = refused (repeated or backward time, not finite): nothing changes.
    pub fn observe(&mut self, at: Timestamp, value: f64) -> Option<Judgement> {
        if !value.is_finite() || value.abs() > VALUE_MAX || self.last_at.is_some_and(|last| at <= last) {
            return None;
        }
        self.last_at = Some(at);
        let seconds = at.as_millisecond() as f64 / 1_000.0;
        let steps = self.clock.tick(seconds);
        let mut limits = self.limits();
        let band = self.band(&limits);
        let expected = (self.samples > 0.0).then(|| self.baseline.expected(seconds));
        let sample = self.sample(seconds, steps, value, limits.course);
        let found = self.look(&sample, limits.course);
        limits.of.steps = self.limit_of_steps(&found.steps, limits.course);
        let silence = self.silence();
        if sample.residual.is_some() {
            let warm_up = self.residual_warm_up();
            self.residuals.learn(found.residuals.novelty.ever, silence, warm_up);
            self.steps.learn(found.steps.novelty.ever, silence, warm_up);
        }
        let warm = self.values.is_warm(WARM_UP);
        self.values.learn(found.values.novelty.ever, silence, WARM_UP);
        let Some(band) = band.filter(|_| warm) else {
            return Some(Judgement { expected, ..Judgement::default() });
        };
        Some(self.tell(&sample, found, &limits, band, expected))
    }

    /// The sample as detectors see it; level, size and dependence learn from it.
    fn sample(&mut self, at: f64, steps: f64, value: f64, course: f64) -> Sample {
        self.samples += 1.0;
        self.size += (value.abs() - self.size) / self.samples.min(SIZE_SAMPLES);
        let forget = course * std::f64::consts::LN_2 / self.in_samples(HALF_LIFE, HALF_LIFE_SAMPLES);
        let fade = std::f64::consts::LN_2 / self.in_samples(FADE, FADE_SAMPLES);
        let (seasonal, settled) = (self.baseline.is_seasonal(), self.baseline.is_settled());
        let residual =
            Some(self.baseline.learn(at, steps * self.clock.interval(), value)).filter(|_| settled);
        if let Some(residual) = residual {
            self.dependence.learn(residual);
        }
        Sample {
            at,
            steps,
            interval: self.clock.interval(),
            value,
            residual,
            seasonal,
            size: self.size,
            forget,
            fade,
        }
    }

    /// The strongest view of each channel.
    fn look(&mut self, sample: &Sample, course: f64) -> Channels<Found> {
        let values = Found::of(&mut self.value, sample)
            .or(Found::of(&mut self.short, sample), course)
            .or(Found::of(&mut self.long, sample), course)
            .or(Found::of(&mut self.spread, sample), course);
        let residuals = Found::of(&mut self.season, sample).or(Found::of(&mut self.level, sample), 0.0);
        Channels { values, residuals, steps: Found::of(&mut self.step, sample) }
    }

    /// How many times what was found exceeds its limit.
    fn ratios(&self, found: &Channels<Found>, limits: &Limits) -> Channels<f64> {
        let of_residuals =
            |found: Found, limit: f64| if self.knows_residuals() { found.novelty.ever / limit } else { 0.0 };
        Channels {
            values: found.values.novelty.told(limits.course) / limits.of.values,
            residuals: of_residuals(found.residuals, limits.of.residuals),
            steps: of_residuals(found.steps, limits.of.steps),
        }
    }

    fn tell(
        &mut self,
        sample: &Sample,
        found: Channels<Found>,
        limits: &Limits,
        band: Band,
        expected: Option<f64>,
    ) -> Judgement {
        let budget = self.budget_samples();
        let silence = self.silence();
        let by = self.ratios(&found, limits);
        let (by_shift, shift) =
            if by.steps > by.residuals { (by.steps, found.steps) } else { (by.residuals, found.residuals) };
        let ratio = by.values.max(by_shift);
        // As much beyond the limit by chance as beyond the one in force.
        let chance = if by.values >= by_shift {
            self.values.expected(by.values * limits.by_chance, budget)
        } else if by.steps > by.residuals {
            self.steps.expected(shift.novelty.ever, budget)
        } else {
            self.residuals.expected(shift.novelty.ever, budget)
        };
        let is_shift = by_shift > by.values.max(1.0);
        let heard = self.alert.pass(if ratio > 1.0 { ratio } else { 0.0 }, silence, BEATS) > 0.0;
        let is_news = by_shift > SHIFT_BEATS || (heard && is_shift);
        let beats = SHIFT_BEATS_NOISE + limits.course * (BEATS - SHIFT_BEATS_NOISE);
        let shifted =
            self.shift.pass(if is_news { by_shift } else { 0.0 }, self.shift_silence(), beats) > 0.0;
        let deviation = heard || shifted;
        let score = self.score.pass(found.values.novelty.late, silence, BEATS);
        let score = if deviation && is_shift { score.max(shift.novelty.ever) } else { score };
        let held = self.episode.held();
        // Without a season, the band around the level is one of open episodes only.
        let shown = held.unwrap_or(Band { residual: band.residual.filter(|_| sample.seasonal), ..band });
        let (lower, upper) = shown.around(expected);
        self.alerts *= (1.0 - sample.steps / (ALERTS_MEMORY * budget)).max(0.0);
        self.alerts += f64::from(u8::from(deviation));
        if deviation {
            self.episode.open(sample.at, ratio / (1.0 + ratio), band);
        } else {
            let level = sample.residual.map(|_| self.level.short());
            let is_inside = held.is_none_or(|held| held.holds(sample.value, expected, level));
            self.episode.follow(sample.at, sample.steps, is_inside);
        }
        Judgement {
            score: score / (score + NOVELTY_HALF),
            severity: self.episode.severity(),
            expected,
            lower: Some(lower),
            upper: Some(upper),
            deviation,
            view: if is_shift { shift.view } else { found.values.view },
            confidence: if ratio > 0.0 { 1.0 / (1.0 + chance.max(CHANCE_MIN)) } else { 0.0 },
        }
    }

    /// Samples in the time in which one false alarm is accepted.
    fn budget_samples(&self) -> f64 {
        let interval = self.clock.interval().max(1e-3);
        (self.settings.false_alarm_budget.as_secs_f64() / interval).max(WARM_UP)
    }

    /// So many seconds in samples, but not fewer than `least`.
    fn in_samples(&self, seconds: f64, least: f64) -> f64 {
        (seconds / self.clock.interval().max(1e-3)).max(least)
    }

    fn silence(&self) -> u32 {
        self.in_samples(SILENCE, SILENCE_SAMPLES).min(SILENCE_SAMPLES_MAX) as u32
    }

    /// After a shift the same one is not told again while its slow mean still comes along.
    fn shift_silence(&self) -> u32 {
        let slow = LevelRecord::slow_samples(self.clock.interval());
        self.in_samples(SILENCE, slow).min(f64::from(self.silence())) as u32
    }

    fn residual_warm_up(&self) -> f64 {
        self.in_samples(RESIDUAL_WARM_UP, RESIDUAL_WARM_UP_MIN).min(RESIDUAL_WARM_UP_MAX)
    }

    fn knows_residuals(&self) -> bool {
        self.residuals.is_warm(self.residual_warm_up())
    }

    /// How far the series is taken to have a course, in [0, 1], rather than to be noise.
    fn course(&self) -> f64 {
        let reach = REACH / self.clock.interval().max(1e-3);
        self.dependence.measure(reach) * (1.0 - (self.alerts - ALERTS_MAX).clamp(0.0, 1.0))
    }

    fn limits(&self) -> Limits {
        let budget = CHANNELS * self.budget_samples();
        let course = self.course();
        let by_chance = self.values.limit(budget).max(NOVELTY_NOISE);
        // What is worth a word, but no more than what chance demands.
        let told = (NOVELTY_COURSE * (1.0 + ALERTS_GROWTH * self.alerts)).min(by_chance.max(NOVELTY_COURSE));
        Limits {
            course,
            by_chance,
            of: Channels {
                values: by_chance + course * (told - by_chance),
                residuals: self.residuals.limit(budget).max(least(course)),
                steps: f64::INFINITY,
            },
        }
    }

    /// Few samples are a step: only for these it is worked out.
    fn limit_of_steps(&self, found: &Found, course: f64) -> f64 {
        if found.novelty.ever <= 0.0 {
            return f64::INFINITY;
        }
        let limit = self.steps.limit(CHANNELS_STEPS * self.budget_samples()).max(least(course));
        // In a course a step is nothing new by itself.
        limit / (1.0 - course).max(f64::EPSILON)
    }

    /// Where a value would open no alert.
    fn band(&self, limits: &Limits) -> Option<Band> {
        let floor = Sample::least(self.size);
        let room = |(low, high): (f64, f64), limit: f64| {
            let room = limit * (high - low).max(floor);
            (low - room, high + room)
        };
        let widened = |extremes: &Extremes, limit: f64| Some(room(extremes.bounds()?, limit));
        let ever = widened(self.value.extremes(), limits.of.values)?;
        let late = room(self.value.extremes().late()?, limits.of.values);
        let between = |ever: f64, late: f64| ever + limits.course * (late - ever);
        let value = (between(ever.0, late.0), between(ever.1, late.1));
        let residual =
            widened(self.season.extremes(), limits.of.residuals).filter(|_| self.knows_residuals());
        let level = self.level.usual().filter(|_| self.knows_residuals());
        Some(Band { value, residual, level })
    }
}

/// What is worth a word of what a baseline leaves unexplained.
fn least(course: f64) -> f64 {
    RESIDUAL_NOISE + course * (RESIDUAL_COURSE - RESIDUAL_NOISE)
}

impl Found {
    fn of<D: Detector>(detector: &mut D, sample: &Sample) -> Self {
        Self { novelty: detector.observe(sample), view: D::VIEW }
    }

    /// The stronger one, in both respects; the view is that of the stronger by what counts.
    fn or(self, other: Self, course: f64) -> Self {
        let key = |found: &Self| (found.novelty.told(course), found.novelty.late);
        let view = if key(&other) > key(&self) { other.view } else { self.view };
        let late = self.novelty.late.max(other.novelty.late);
        Self { novelty: Novelty { late, ever: self.novelty.ever.max(other.novelty.ever) }, view }
    }
}

impl Stored for Series {
    fn save(&self, writer: &mut Writer) {
        let Self {
            settings,
            last_at,
            samples,
            size,
            clock,
            baseline,
            dependence,
            value,
            short,
            long,
            spread,
            season,
            level,
            step,
            values,
            residuals,
            steps,
            score,
            alert,
            shift,
            episode,
            alerts,
        } = self;
        let budget = u64::try_from(settings.false_alarm_budget.as_millis()).unwrap_or(u64::MAX);
        writer.put(&budget).put(last_at).put(samples).put(size).put(clock).put(baseline).put(dependence);
        writer.put(value).put(short).put(long).put(spread).put(season).put(level).put(step);
        writer.put(values).put(residuals).put(steps);
        writer.put(score).put(alert).put(shift).put(episode).put(alerts);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self {
            settings: SeriesSettings { false_alarm_budget: Duration::from_millis(reader.get()?) },
            last_at: reader.get()?,
            samples: reader.get()?,
            size: reader.get()?,
            clock: reader.get()?,
            baseline: reader.get()?,
            dependence: reader.get()?,
            value: reader.get()?,
            short: reader.get()?,
            long: reader.get()?,
            spread: reader.get()?,
            season: reader.get()?,
            level: reader.get()?,
            step: reader.get()?,
            values: reader.get()?,
            residuals: reader.get()?,
            steps: reader.get()?,
            score: reader.get()?,
            alert: reader.get()?,
            shift: reader.get()?,
            episode: reader.get()?,
            alerts: reader.get()?,
        })
    }
}
