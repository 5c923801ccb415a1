//! Finds periods in evenly spaced values: calendar periods first, then peaks of the spectrum and of the autocorrelation, each
//! tested against the noise beside it (`spectrum::Spectra::chance`), each only for what the periods before it leave unexplained.

use std::time::Duration;

use super::{
    fold::{detrended, mean_cycle, smoothed, told, without},
    nested::nested,
    spectrum::{Spectra, vertex, whitened},
};

/// Fewer values than this have no season.
const VALUES_MIN: usize = 16;
/// A period must be seen this often.
const CYCLES_MIN: f64 = 3.0;
/// Least share of the variance that is worth a period.
const STRENGTH_MIN: f64 = 0.02;
/// Peaks that are looked at, of the spectrum and of the autocorrelation each.
const PEAKS: usize = 6;
/// Values beyond these quantiles are cut to them: outliers have no say in what is regular.
const CLIP: f64 = 0.005;
/// With few cycles a season shows only where its neighbouring moments are taken together: this many parts of a cycle.
const SMOOTHING: f64 = 12.0;
/// A shorter period is preferred to a longer one that tells less than this much more.
const PREFERENCE: f64 = 0.85;
/// A broken period must tell more than a whole one near it by this.
const WHOLE_PREFERENCE: f64 = 0.99;
/// A period that holds more cycles than this of a shorter one is a season above it, as the week is above the day...
const NESTED: f64 = 4.5;
/// ...if the shorter one tells at least this share of what the longer one does.
const NESTED_PREFERENCE: f64 = 0.25;
/// People live by hours, days and weeks: each found period is also tried as a day of a week, and doubled.
const MULTIPLES: [usize; 2] = [7, 2];
/// Least share of the variance of a longer period above a shorter one, and of what the shorter one leaves. A day can be nearly
/// all of the variance; what it leaves is what limits are set on, and there the week counts.
const NESTED_STRENGTH_MIN: f64 = 0.001;
const SHARE_MIN: f64 = 0.02;
/// Probability of believing in such a multiple where there is none. Noise does not come this far.
const MULTIPLE_CHANCE: f64 = 0.05;

/// Searches for which what was prepared is kept: about 10 lengths of 20 KB each make 13 MB at most.
const FINDS_KEPT: u32 = 64;

/// What the finder is told.
#[derive(Debug, Clone, PartialEq)]
pub struct FinderSettings {
    /// Time between two values, if there is a clock: then an hour, a day and a week are tried first.
    pub interval: Option<Duration>,
    /// Most periods to report.
    pub most: usize,
    /// Probability of any period at all on noise.
    pub false_alarm: f64,
}

impl Default for FinderSettings {
    fn default() -> Self {
        Self { interval: None, most: 4, false_alarm: 0.01 }
    }
}

/// One period and why it is believed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Period {
    /// Its length in samples; need not be whole.
    pub samples: f64,
    /// Share of the variance that it explains, 0 to 1, beyond the periods found before it.
    pub strength: f64,
    /// Autocorrelation at that lag.
    pub autocorrelation: f64,
    /// How many times it fits into the data.
    pub cycles: f64,
    /// Probability that noise would look like it.
    pub chance: f64,
}

/// Periods in `values`, strongest first. NaN is a gap. Noise has none, whatever its colour.
#[must_use]
pub fn find(values: &[f64], settings: &FinderSettings) -> Vec<Period> {
    Finder::default().find(values, settings)
}

/// Finds periods, and keeps what it prepared for one length of values for the next time.
#[derive(Default)]
pub struct Finder {
    spectra: Spectra,
    finds: u32,
}

impl std::fmt::Debug for Finder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Finder").finish_non_exhaustive()
    }
}

impl Finder {
    /// Periods in `values`, strongest first. NaN is a gap. Noise has none, whatever its colour.
    pub fn find(&mut self, values: &[f64], settings: &FinderSettings) -> Vec<Period> {
        // What is prepared for one length is kept for all that follow, and lengths differ: begin anew now and then.
        self.finds = self.finds.wrapping_add(1);
        if self.finds.is_multiple_of(FINDS_KEPT) {
            self.spectra = Spectra::default();
        }
        let Some(Prepared { values, .. }) = prepared(values) else { return Vec::new() };
        let mut search = Search::new(&values, settings, &mut self.spectra);
        while search.found.len() < settings.most {
            let Some(period) = search.next() else { break };
            search.found.push(period);
        }
        let mut found = search.found;
        found.sort_by(|a, b| b.strength.total_cmp(&a.strength));
        found
    }
}

struct Search<'a> {
    values: &'a [f64],
    settings: &'a FinderSettings,
    spectra: &'a mut Spectra,
    autocorrelation: Vec<f64>,
    found: Vec<Period>,
}

impl<'a> Search<'a> {
    fn new(values: &'a [f64], settings: &'a FinderSettings, spectra: &'a mut Spectra) -> Self {
        let lags = (values.len() as f64 / CYCLES_MIN) as usize + 1;
        let autocorrelation = spectra.autocorrelation(values, lags);
        Self { values, settings, spectra, autocorrelation, found: Vec::new() }
    }

    /// The next period that explains something, if any.
    fn next(&mut self) -> Option<Period> {
        let rest = self.rest();
        let white = whitened(&rest);
        let mut believed = self.believed(&rest, &white, &self.calendar(), self.settings.false_alarm / 6.0);
        if believed.is_empty() && !self.found.is_empty() {
            believed = self.multiples(&rest);
        }
        if believed.is_empty() {
            let peaks = self.peaks(&rest, &white);
            // Half of the frequencies could have been the peak by chance; the other half of the chances went to the calendar.
            believed = self.believed(&rest, &white, &peaks, self.settings.false_alarm / rest.len() as f64);
        }
        let mut believed = settled(believed, self.values.len());
        believed.sort_by(|a, b| a.period.samples.total_cmp(&b.period.samples));
        (0..believed.len())
            .find(|&i| believed[i + 1..].iter().all(|longer| believed[i].stands_for(longer)))
            .map(|i| believed[i].period)
    }

    /// What the periods found so far leave.
    fn rest(&self) -> Vec<f64> {
        let mut rest = self.values.to_vec();
        for period in &self.found {
            let cycle = mean_cycle(&detrended(&rest, period.samples), period.samples);
            rest = without(&rest, period.samples, &cycle);
        }
        rest
    }

    /// Periods that people live by.
    fn calendar(&self) -> Vec<f64> {
        let interval = self.settings.interval.map_or(0.0, |interval| interval.as_secs_f64());
        let periods = [3_600.0, 86_400.0, 604_800.0].map(|seconds| seconds / interval);
        periods.into_iter().filter(|period| self.is_open(*period)).collect()
    }

    /// Periods that the data suggest.
    fn peaks(&mut self, rest: &[f64], white: &[f64]) -> Vec<f64> {
        let autocorrelation = self.spectra.autocorrelation(rest, self.autocorrelation.len() - 1);
        let mut candidates = Vec::new();
        for period in self.spectra.peaks(white, PEAKS) {
            candidates.extend(
                (1..=4).map(|times| on_hill(&autocorrelation, period * f64::from(times), rest.len())),
            );
        }
        let mut hills: Vec<usize> = (2..autocorrelation.len() - 1)
            .filter(|&lag| autocorrelation[lag] > 0.0 && is_hill(&autocorrelation, lag))
            .collect();
        hills.sort_by(|a, b| autocorrelation[*b].total_cmp(&autocorrelation[*a]));
        candidates.extend(hills.into_iter().take(PEAKS).map(|lag| vertex(&autocorrelation, lag)));
        // What does not repeat is no period, whatever the spectrum says.
        let least = 1.0 / (rest.len() as f64).sqrt();
        candidates.retain(|period| {
            self.is_open(*period)
                && autocorrelation.get(period.round() as usize).is_some_and(|height| *height > least)
        });
        // Most periods are whole; the better of the two will tell more.
        let whole: Vec<f64> =
            candidates.iter().map(|period| period.round()).filter(|p| self.is_open(*p)).collect();
        candidates.extend(whole);
        candidates.sort_by(f64::total_cmp);
        candidates.dedup_by(|a, b| (*a - *b).abs() < 1e-3 * *b);
        candidates
    }

    /// Those candidates that stand the tests.
    fn believed(&mut self, rest: &[f64], white: &[f64], candidates: &[f64], limit: f64) -> Vec<Candidate> {
        let taken: Vec<f64> = self.found.iter().map(|period| period.samples).collect();
        let told: Vec<(f64, f64)> = candidates.iter().map(|samples| self.told(rest, *samples)).collect();
        // A candidate that tells much less than the best one could not be chosen: its test is spared.
        let least = told.iter().map(|(told, _)| *told).fold(0.0, f64::max) * NESTED_PREFERENCE;
        let mut believed = Vec::new();
        for (&samples, &(told, all)) in candidates.iter().zip(&told) {
            let strength = (told / all).clamp(0.0, 1.0);
            if told < least || strength < STRENGTH_MIN {
                continue;
            }
            match self.spectra.chance(white, samples, &taken) {
                Some(chance) if chance <= limit => {
                    believed.push(Candidate { period: self.period(samples, strength, chance), told });
                }
                _ => {}
            }
        }
        believed
    }

    /// Multiples of what was found by which its cycles differ: a week, whose days are not alike.
    fn multiples(&self, rest: &[f64]) -> Vec<Candidate> {
        let mut believed = Vec::new();
        for base in &self.found {
            for times in MULTIPLES {
                let base = self.whole(base.samples);
                let samples = times as f64 * base;
                let Some(nested) = self.is_open(samples).then(|| nested(rest, base, times)).flatten() else {
                    continue;
                };
                let told = nested.share * squares(rest);
                let strength = told / squares(self.values).max(f64::MIN_POSITIVE);
                if nested.share >= SHARE_MIN
                    && strength >= NESTED_STRENGTH_MIN
                    && nested.chance <= MULTIPLE_CHANCE
                {
                    believed.push(Candidate { period: self.period(samples, strength, nested.chance), told });
                }
            }
        }
        believed
    }

    /// The whole number that so many values cannot tell from this period: most periods are whole.
    fn whole(&self, period: f64) -> f64 {
        let blur = 0.5 * period * period / self.values.len() as f64;
        if (period.round() - period).abs() < blur { period.round() } else { period }
    }

    fn period(&self, samples: f64, strength: f64, chance: f64) -> Period {
        let lag = (samples.round() as usize).min(self.autocorrelation.len() - 1);
        let cycles = self.values.len() as f64 / samples;
        Period { samples, strength, autocorrelation: self.autocorrelation[lag], cycles, chance }
    }

    /// Sum of squares around the trend that the period explains beyond the others, and that of the values themselves.
    fn told(&self, rest: &[f64], samples: f64) -> (f64, f64) {
        let rest = detrended(rest, samples);
        let all = squares(&detrended(self.values, samples)).max(f64::MIN_POSITIVE);
        let smooth = smoothed(&rest, samples / SMOOTHING);
        let plain = told(&rest, samples) * squares(&rest);
        ((told(&smooth, samples) * squares(&smooth)).max(plain), all)
    }

    /// Whether a period could be seen in this many values, and is none of those found.
    fn is_open(&self, period: f64) -> bool {
        period >= 2.5
            && self.values.len() as f64 / period >= CYCLES_MIN
            && self.found.iter().all(|found| (found.samples / period - 1.0).abs() >= 0.04)
    }
}

/// A candidate that stood the tests.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    period: Period,
    /// Sum of squares that it explains.
    told: f64,
}

impl Candidate {
    /// Whether this shorter period comes before a longer one. A day with two peaks is a day, not half a day, unless it is told
    /// as well by its half; but a week whose days are alike is days first, and a week in what they leave.
    fn stands_for(&self, longer: &Candidate) -> bool {
        let is_nested = longer.period.samples / self.period.samples > NESTED;
        self.told >= if is_nested { NESTED_PREFERENCE } else { PREFERENCE } * longer.told
    }
}

/// Of candidates nearer to each other than so many values can tell apart, the one that tells most; a whole one before a
/// broken one that tells hardly more.
fn settled(mut candidates: Vec<Candidate>, length: usize) -> Vec<Candidate> {
    let weight = |candidate: &Candidate| {
        let is_whole = candidate.period.samples.fract() == 0.0;
        candidate.told * if is_whole { 1.0 } else { WHOLE_PREFERENCE }
    };
    candidates.sort_by(|a, b| weight(b).total_cmp(&weight(a)));
    let mut settled: Vec<Candidate> = Vec::new();
    for candidate in candidates {
        let period = candidate.period.samples;
        let blur = period * period / length as f64;
        if settled.iter().all(|kept| (kept.period.samples - period).abs() > blur) {
            settled.push(candidate);
        }
    }
    settled
}

/// Values as the search wants them: without gaps, without the straight line through all, without outliers, on a scale of their own.
pub(super) struct Prepared {
    pub values: Vec<f64>,
    /// Values before the first of these.
    pub skipped: usize,
    /// What they were divided by: neither 1e-300 nor 1e300 leaves the range of numbers.
    pub spread: f64,
}

/// `None` if there is nothing to find.
pub(super) fn prepared(values: &[f64]) -> Option<Prepared> {
    let first = values.iter().position(|v| v.is_finite())?;
    let last = values.iter().rposition(|v| v.is_finite())?;
    let mut filled: Vec<f64> = values[first..=last].to_vec();
    let present = filled.iter().filter(|v| v.is_finite()).count();
    if present < VALUES_MIN || present * 2 < filled.len() {
        return None;
    }
    let mut before = 0;
    for i in 1..filled.len() {
        if filled[i].is_finite() {
            let (from, to, gap) = (filled[before], filled[i], (i - before) as f64);
            (before + 1..i).for_each(|j| filled[j] = from + (to - from) * (j - before) as f64 / gap);
            before = i;
        }
    }
    let mut sorted = filled.clone();
    sorted.sort_unstable_by(f64::total_cmp);
    let cut = (CLIP * sorted.len() as f64).ceil() as usize;
    let (low, high) = (sorted[cut], sorted[sorted.len() - 1 - cut]);
    let spread = high - low;
    if !(spread.is_finite() && spread > 0.0) {
        return None;
    }
    filled.iter_mut().for_each(|v| *v = (v.clamp(low, high) - low) / spread);
    remove_line(&mut filled);
    (squares(&filled) > 1e-18).then_some(Prepared { values: filled, skipped: first, spread })
}

fn remove_line(values: &mut [f64]) {
    let count = values.len() as f64;
    let (middle, mean) = ((count - 1.0) / 2.0, values.iter().sum::<f64>() / count);
    let products: f64 = values.iter().enumerate().map(|(i, v)| (i as f64 - middle) * (v - mean)).sum();
    let slope = products * 12.0 / (count * (count * count - 1.0));
    values.iter_mut().enumerate().for_each(|(i, v)| *v -= mean + slope * (i as f64 - middle));
}

/// The top of the hill of the autocorrelation that a period from the spectrum lies on; itself where there is none.
fn on_hill(autocorrelation: &[f64], period: f64, length: usize) -> f64 {
    // A period from n values is known to within a frequency step either way.
    let blur = (period * period / length as f64).min(period / 4.0).max(1.0);
    let (low, high) = ((period - blur).floor() as usize, (period + blur).ceil() as usize);
    let top = (low.max(1)..=high.min(autocorrelation.len().saturating_sub(2)))
        .max_by(|a, b| autocorrelation[*a].total_cmp(&autocorrelation[*b]));
    match top {
        Some(lag)
            if autocorrelation[lag] > autocorrelation[lag - 1]
                && autocorrelation[lag] >= autocorrelation[lag + 1] =>
        {
            vertex(autocorrelation, lag)
        }
        _ => period,
    }
}

fn is_hill(heights: &[f64], lag: usize) -> bool {
    heights[lag] > heights[lag - 1] && heights[lag] >= heights[lag + 1]
}

fn squares(values: &[f64]) -> f64 {
    values.iter().map(|v| v * v).sum()
}
