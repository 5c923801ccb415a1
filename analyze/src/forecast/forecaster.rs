//! The forecaster: fills steps, lets the experts speak and answer for it, and gives quantiles.

use std::{borrow::Cow, time::Duration};

use jiff::{Timestamp, tz::TimeZone};

use super::{
    bins::Bins,
    experts::{Corrections, Opinions},
    lead::Lead,
    patterns::{self, PATTERNS, Patterns},
    root::Root,
    score::ForecastScore,
};

/// Most steps that can be forecast: a week of minutes.
const HORIZON_MAX: usize = 10_080;
/// Answers of the shortest lead before a drop can be told from what is usual.
const ACQUAINTED: f64 = 30.0;
/// A drop is suspicious if it is below this share of what was expected...
const SUSPECT_SHARE: f64 = 0.5;
/// ...and by so many mean errors.
const SUSPECT_ERRORS: f64 = 8.0;
/// Error to expect of the first forecasts, as a share of the value (of its root).
const FIRST_ERROR: f64 = 0.3;

/// What a forecaster is told.
#[derive(Debug, Clone)]
pub struct ForecastSettings {
    /// Length of a step, 1 s to 12 h. Values within one are averaged.
    pub step: Duration,
    /// Most steps that anyone will ask for.
    pub horizon: usize,
    /// Whose wall clock the days follow; UTC without.
    pub zone: Option<TimeZone>,
    /// A sudden drop is not believed for this long: an outage upstream is no reason to expect less load after it.
    pub patience: Duration,
}

impl Default for ForecastSettings {
    fn default() -> Self {
        Self { step: Duration::from_secs(60), horizon: 60, zone: None, patience: Duration::from_secs(3_600) }
    }
}

/// Forecasts one signal. It judges each step by what was known before it, and learns from it afterwards.
#[derive(Debug, Clone, PartialEq)]
pub struct Forecaster {
    pub(super) bins: Bins,
    pub(super) horizon: usize,
    patience: i64,
    pub(super) state: State,
}

/// All that was learned.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct State {
    pub(super) root: Root,
    pub(super) patterns: Patterns,
    pub(super) corrections: Corrections,
    pub(super) leads: Vec<Lead>,
    /// The step being filled: its number, sum and count.
    pub(super) open: Option<(i64, f64, u32)>,
    /// Sum and count of the steps of the cell being filled.
    pub(super) cell: (f64, u32),
    /// Since when the signal has been suspiciously low.
    pub(super) suspect_since: Option<i64>,
}

impl State {
    fn new(bins: &Bins, horizon: usize, root: Root) -> Self {
        let mut steps = vec![1];
        while steps[steps.len() - 1] < horizon {
            steps.push((steps[steps.len() - 1] * 2).min(horizon));
        }
        Self {
            root,
            patterns: Patterns::new(bins),
            corrections: Corrections::new((bins.day * bins.cell_steps) as f64),
            leads: steps.into_iter().map(Lead::new).collect(),
            open: None,
            cell: (0.0, 0),
            suspect_since: None,
        }
    }
}

impl Forecaster {
    /// One that knows nothing yet.
    #[must_use]
    pub fn new(settings: ForecastSettings) -> Self {
        let ForecastSettings { step, horizon, zone, patience } = settings;
        let bins = Bins::new(step, zone);
        let horizon = horizon.clamp(1, HORIZON_MAX);
        let patience = i64::try_from(patience.as_millis()).unwrap_or(i64::MAX) / bins.step_ms;
        Self { state: State::new(&bins, horizon, Root(true)), bins, horizon, patience }
    }

    /// Takes in a value. `false` if it was refused: no number, beyond 1e30, or older than the current step.
    pub fn observe(&mut self, at: Timestamp, value: f64) -> bool {
        let bin = self.bins.bin(at);
        if value.is_nan() || value.abs() > 1e30 {
            return false;
        }
        match &mut self.state.open {
            Some((open, ..)) if bin < *open => return false,
            Some((open, sum, count)) if bin == *open => {
                (*sum, *count) = (*sum + value, count.saturating_add(1))
            }
            _ => {
                self.close();
                self.state.open = Some((bin, value, 1));
            }
        }
        true
    }

    /// Quantiles of the next `steps` steps (at most the horizon), `[step][quantile]`, step 1 first. Empty before the first value.
    #[must_use]
    pub fn quantiles(&self, steps: usize, quantiles: &[f64]) -> Vec<Vec<f64>> {
        let outlooks = self.outlooks(steps);
        outlooks.map(|outlook| quantiles.iter().map(|share| outlook.quantile(*share)).collect()).collect()
    }

    /// Start of the last step that was taken in.
    #[must_use]
    pub fn origin(&self) -> Option<Timestamp> {
        self.bins.start(self.state.open?.0)
    }

    /// Length of a step.
    #[must_use]
    pub fn step(&self) -> Duration {
        Duration::from_millis(self.bins.step_ms.unsigned_abs())
    }

    /// How good the forecasts were.
    #[must_use]
    pub fn score(&self) -> ForecastScore {
        ForecastScore { leads: self.state.leads.iter().map(|lead| lead.score).collect() }
    }

    /// Whether the signal is so low now that an outage is suspected; forecasts then hold on to what was usual.
    #[must_use]
    pub fn is_suspect(&self) -> bool {
        self.state.open.is_some_and(|(bin, sum, count)| self.is_outage(bin, sum / f64::from(count)))
    }

    /// What is to be expected of each of the next steps.
    pub(super) fn outlooks(&self, steps: usize) -> impl Iterator<Item = Outlook<'_>> {
        let steps = if self.state.open.is_some() { steps.min(self.horizon) } else { 0 };
        let (bin, sum, count) = self.state.open.unwrap_or((0, 0.0, 1));
        // What the open step tells about the level counts already.
        let mut corrections = self.state.corrections.clone();
        let mut patterns = Cow::Borrowed(&self.state.patterns);
        let value = sum / f64::from(count);
        let mut present = None;
        if steps > 0 && !self.is_outage(bin, value) {
            let value = self.state.root.of(value);
            let foretold = patterns.foretell(&self.bins, self.bins.cell(bin));
            corrections.learn(&foretold, value);
            present = Some((corrections.opinions(&foretold, 1), value));
            if self.bins.cell_steps == 1 && self.bins.reaches_back(steps) {
                patterns.to_mut().learn(&self.bins, bin, value);
            }
        }
        (1..=steps).map(move |step| {
            let cell = self.bins.cell(bin + step as i64);
            let opinions = corrections.opinions(&patterns.foretell(&self.bins, cell), step);
            self.outlook(&opinions, present.as_ref(), step)
        })
    }

    /// What the opinions amount to; `present` is what they were for the open step, and its value.
    fn outlook(&self, opinions: &Opinions, present: Option<&(Opinions, f64)>, step: usize) -> Outlook<'_> {
        // Between two leads that are tracked: both, by the logarithm of the distance.
        let leads = &self.state.leads;
        let upper = leads.iter().position(|lead| lead.steps >= step).unwrap_or(leads.len() - 1);
        let lower = upper.saturating_sub(1);
        let (near, far) = (&leads[lower], &leads[upper]);
        let span = (far.steps as f64 / near.steps as f64).ln();
        let share = if span > 0.0 { (step as f64 / near.steps as f64).ln() / span } else { 1.0 };
        let share = share.clamp(0.0, 1.0);
        let mix = |near: f64, far: f64| (1.0 - share) * near + share * far;
        let say = |lead: &Lead| {
            let shift = present.map_or(0.0, |(opinions, value)| lead.shift(lead.surprise(opinions, *value)));
            lead.standing.weigh(opinions) + shift
        };
        let middle = mix(say(near), say(far));
        let scale = mix(self.scale(lower, middle), self.scale(upper, middle));
        Outlook { near, far, share, middle, scale, root: self.state.root }
    }

    /// Mean absolute error to expect at a lead; before there is one, that of a shorter lead grown as a random walk grows.
    fn scale(&self, lead: usize, middle: f64) -> f64 {
        let leads = &self.state.leads;
        let steps = leads[lead].steps as f64;
        let known = leads[..=lead].iter().rev().find_map(|l| Some((l.scale()?, l.steps as f64)));
        known.map_or(FIRST_ERROR * middle.abs(), |(scale, known)| scale * (steps / known).sqrt())
    }

    /// Closes the open step: everyone answers for it, everyone learns from it, and new forecasts are made.
    fn close(&mut self) {
        let Some((bin, sum, count)) = self.state.open.take() else { return };
        let raw = sum / f64::from(count);
        if raw < 0.0 && self.state.root.0 {
            // Not what it was taken for: all that was learned of its roots goes.
            self.state = State::new(&self.bins, self.horizon, Root(false));
        }
        let cell = self.bins.cell(bin);
        self.bins.look_up(cell);
        let is_outage = self.is_outage(bin, raw);
        let value = self.state.root.of(raw);
        for lead in &mut self.state.leads {
            lead.answer(bin, value, is_outage, self.state.root);
        }
        let foretold = self.state.patterns.foretell(&self.bins, cell);
        let mut kept = value;
        if is_outage {
            self.state.suspect_since.get_or_insert(bin);
            // The past that later days are told from keeps what was usual.
            let usual = self.state.leads[0].standing.weigh(&self.state.corrections.opinions(&foretold, 1));
            kept = usual.max(value);
        } else {
            self.learn_level(&foretold, value);
        }
        if !is_outage && !self.is_low(bin, raw) {
            self.state.suspect_since = None;
        }
        self.fill(bin, cell, kept);
        for index in 0..self.state.leads.len() {
            self.register(index, bin);
        }
    }

    /// Brings the levels up to date, and notes who is surprised by the value all the same.
    fn learn_level(&mut self, foretold: &[f64; PATTERNS], value: f64) {
        let State { corrections, leads, .. } = &mut self.state;
        let surprise = leads[0].surprise(&corrections.opinions(foretold, 1), value);
        let is_new = leads[0].scale().is_some_and(|scale| surprise.abs() > 3.0 * scale);
        corrections.learn(foretold, value);
        let is_surprising = is_new || leads.iter().any(Lead::is_surprised);
        let opinions = is_surprising.then(|| corrections.opinions(foretold, 1));
        for lead in leads {
            let surprise = opinions.as_ref().map_or(0.0, |opinions| lead.surprise(opinions, value));
            lead.note(surprise);
        }
    }

    fn fill(&mut self, bin: i64, cell: i64, value: f64) {
        let (sum, count) = self.state.cell;
        self.state.cell = (sum + value, count + 1);
        if self.bins.cell(bin + 1) != cell {
            let (sum, count) = std::mem::take(&mut self.state.cell);
            self.state.patterns.learn(&self.bins, cell, sum / f64::from(count));
        }
    }

    fn register(&mut self, index: usize, bin: i64) {
        if !self.state.leads[index].is_due(bin) {
            return;
        }
        let opinions = self.opinions(bin, self.state.leads[index].steps);
        let combined = self.state.leads[index].combined(&opinions);
        let (scale, root) = (self.scale(index, combined), self.state.root);
        self.state.leads[index].register(bin, &opinions, combined, scale, root);
    }

    /// What the experts say from a closed step on.
    fn opinions(&self, bin: i64, steps: usize) -> Opinions {
        let foretold = self.state.patterns.foretell(&self.bins, self.bins.cell(bin + steps as i64));
        self.state.corrections.opinions(&foretold, steps)
    }

    /// Whether a value is suspiciously low, and has not been for so long that it must be believed.
    fn is_outage(&self, bin: i64, raw: f64) -> bool {
        let is_believed = self.state.suspect_since.is_some_and(|since| bin - since >= self.patience);
        !is_believed && self.is_low(bin, raw)
    }

    /// Whether a value is so far below everything expected that it is rather an outage than a habit: below what the last values
    /// tell, and below what was usual at this time before. In the first day nothing is usual yet.
    fn is_low(&self, bin: i64, raw: f64) -> bool {
        let (lead, root) = (&self.state.leads[0], self.state.root);
        let Some(scale) = lead.scale().filter(|_| lead.residuals.seen() >= ACQUAINTED) else {
            return false;
        };
        let foretold = self.state.patterns.foretell(&self.bins, self.bins.cell(bin));
        let Some(usual) = least(&foretold[patterns::CALENDAR]) else { return false };
        if raw >= SUSPECT_SHARE * root.back(usual) {
            return false;
        }
        let expected = lead.standing.weigh(&self.state.corrections.opinions(&foretold, 1)).min(usual);
        raw < SUSPECT_SHARE * root.back(expected) && root.of(raw) < expected - SUSPECT_ERRORS * scale
    }
}

fn least(values: &[f64]) -> Option<f64> {
    values.iter().copied().filter(|value| !value.is_nan()).reduce(f64::min)
}

/// What is to be expected of one step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outlook<'a> {
    near: &'a Lead,
    far: &'a Lead,
    share: f64,
    middle: f64,
    scale: f64,
    root: Root,
}

impl Outlook<'_> {
    pub(super) fn quantile(&self, share: f64) -> f64 {
        let error = self.mix(self.near.residuals.quantile(share), self.far.residuals.quantile(share));
        self.root.back(self.middle + self.scale * error)
    }

    /// Probability of a value above a limit.
    pub(super) fn above(&self, limit: f64) -> f64 {
        if self.root.0 && limit < 0.0 {
            return 1.0;
        }
        let units = (self.root.of(limit) - self.middle) / self.scale.max(f64::MIN_POSITIVE);
        1.0 - self.mix(self.near.residuals.below(units), self.far.residuals.below(units))
    }

    fn mix(&self, near: f64, far: f64) -> f64 {
        (1.0 - self.share) * near + self.share * far
    }
}
