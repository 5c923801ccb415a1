//! Simple forecasts: each pattern with its level brought up to date at several speeds, and the level with its trend. They are
//! weighed by their errors at one lead time.

use super::patterns::PATTERNS;

/// Speeds at which a pattern's level follows: from "as it is now" to "as it was over a day".
pub(super) const SPEEDS: usize = 4;
/// The last two are a day's ratio to the patterns, and the level with a damped trend.
pub(super) const EXPERTS: usize = PATTERNS * SPEEDS + (PATTERNS - 2) + 1;
/// The trend fades by this much per step.
const DAMPING: f64 = 0.9;

/// What every expert would say.
pub(super) type Opinions = [f64; EXPERTS];

/// How far the signal now lies from each pattern.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Corrections {
    pub(super) gains: [f64; SPEEDS],
    /// By pattern and speed.
    pub(super) offsets: [[f64; SPEEDS]; PATTERNS],
    /// Slow means of the signal and of each pattern, for their ratio.
    pub(super) means: [(f64, f64); PATTERNS],
    /// Values seen with each pattern.
    pub(super) counts: [f64; PATTERNS],
    pub(super) trend: (f64, f64),
}

impl Corrections {
    /// `day` in steps.
    pub(super) fn new(day: f64) -> Self {
        let gains = [0.9, 0.35, 1.0 / (day / 8.0).max(4.0), 1.0 / day.max(8.0)];
        let none = [(0.0, 0.0); PATTERNS];
        Self {
            gains,
            offsets: [[0.0; SPEEDS]; PATTERNS],
            means: none,
            counts: [0.0; PATTERNS],
            trend: (f64::NAN, 0.0),
        }
    }

    /// Takes in a value beside what the patterns had foretold.
    pub(super) fn learn(&mut self, foretold: &[f64; PATTERNS], value: f64) {
        for (pattern, &foretold) in foretold.iter().enumerate() {
            if foretold.is_nan() {
                continue;
            }
            self.counts[pattern] += 1.0;
            let least = 1.0 / self.counts[pattern];
            for (offset, gain) in self.offsets[pattern].iter_mut().zip(self.gains) {
                *offset += gain.max(least) * (value - foretold - *offset);
            }
            let slow = self.gains[SPEEDS - 1].max(least);
            let (own, other) = &mut self.means[pattern];
            *own += slow * (value - *own);
            *other += slow * (foretold - *other);
        }
        let (level, slope) = self.trend;
        if level.is_nan() {
            self.trend = (value, 0.0);
        } else {
            let error = value - level - DAMPING * slope;
            self.trend = (level + DAMPING * slope + 0.6 * error, DAMPING * slope + 0.2 * error);
        }
    }

    /// What every expert says so many steps ahead, where the patterns foretell this.
    pub(super) fn opinions(&self, foretold: &[f64; PATTERNS], steps: usize) -> Opinions {
        let mut opinions = [f64::NAN; EXPERTS];
        let (plain, rest) = opinions.split_at_mut(PATTERNS * SPEEDS);
        for pattern in (0..PATTERNS).filter(|pattern| self.counts[*pattern] > 0.0) {
            for speed in 0..SPEEDS {
                plain[pattern * SPEEDS + speed] = foretold[pattern] + self.offsets[pattern][speed];
            }
            let (own, other) = self.means[pattern];
            if (1..PATTERNS - 1).contains(&pattern) && other > 0.0 && own >= 0.0 {
                rest[pattern - 1] = foretold[pattern] * (own / other).clamp(0.2, 5.0);
            }
        }
        let (level, slope) = self.trend;
        let reach =
            DAMPING * (1.0 - DAMPING.powi(i32::try_from(steps).unwrap_or(i32::MAX))) / (1.0 - DAMPING);
        opinions[EXPERTS - 1] = level + slope * reach;
        opinions
    }
}

/// How well each expert did at one lead time.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Standing {
    /// Mean absolute error, and how many it rests on.
    pub(super) errors: [f32; EXPERTS],
    pub(super) counts: [f32; EXPERTS],
    /// What follows from them, renewed now and then.
    pub(super) weights: [f32; EXPERTS],
    /// Mean error of those weights; infinite while unknown. Forecasts weighed together err no more than that.
    pub(super) error: f32,
    pub(super) answers: u32,
}

/// Errors are remembered over so many forecasts.
const MEMORY: f32 = 150.0;
/// An expert with twice the error has 2^-6 of the weight.
const SHARPNESS: i32 = 6;
/// An expert is heard after so many answers; till then hardly.
const HEARD: f32 = 4.0;
const UNHEARD: f32 = 0.02;
/// Weights are renewed after so many answers.
const RENEWAL: u32 = 4;
/// Opinions weighed at once.
const LANES: usize = 4;

impl Standing {
    pub(super) fn new() -> Self {
        // Nothing is known: the present level.
        let mut weights = [1e-9; EXPERTS];
        weights[0] = 1.0;
        Self { errors: [0.0; EXPERTS], counts: [0.0; EXPERTS], weights, error: f32::INFINITY, answers: 0 }
    }

    pub(super) fn learn(&mut self, opinions: &[f32; EXPERTS], value: f64) {
        for (expert, opinion) in opinions.iter().enumerate() {
            let error = (opinion - value as f32).abs();
            let (one, error) = if error.is_nan() { (0.0, self.errors[expert]) } else { (1.0, error) };
            self.counts[expert] = (self.counts[expert] + one).min(MEMORY);
            self.errors[expert] += (error - self.errors[expert]) / self.counts[expert].max(1.0);
        }
        self.answers += 1;
        if self.answers.is_multiple_of(RENEWAL) {
            self.renew();
        }
    }

    /// Opinions weighed; where nobody has one, NaN.
    pub(super) fn weigh(&self, opinions: &Opinions) -> f64 {
        // In lanes and without branches, so that it becomes vector instructions.
        let (opinions, rest) = opinions.as_chunks::<LANES>();
        let (weights, rest_weights) = self.weights.as_chunks::<LANES>();
        let (mut sums, mut totals) = ([0.0; LANES], [0.0; LANES]);
        for (opinions, weights) in opinions.iter().zip(weights) {
            for lane in 0..LANES {
                let (opinion, weight) = heard(opinions[lane], weights[lane]);
                sums[lane] += weight * opinion;
                totals[lane] += weight;
            }
        }
        for (opinion, weight) in rest.iter().zip(rest_weights) {
            let (opinion, weight) = heard(*opinion, *weight);
            sums[0] += weight * opinion;
            totals[0] += weight;
        }
        sums.iter().sum::<f64>() / totals.iter().sum::<f64>()
    }

    /// Weights fall with the sixth power of the error. An error of zero is taken for a millionth of the usual.
    fn renew(&mut self) {
        let heard = |expert: &usize| self.counts[*expert] >= HEARD;
        let errors = |expert: usize| self.errors[expert];
        let (least, most) = (0..EXPERTS)
            .filter(heard)
            .map(errors)
            .fold((f32::INFINITY, 0.0_f32), |(least, most), error| (least.min(error), most.max(error)));
        if least.is_finite() {
            let floor = (1e-6 * most).max(f32::MIN_POSITIVE);
            let best = least.max(floor);
            self.weights = std::array::from_fn(|expert| {
                if heard(&expert) { (best / errors(expert).max(floor)).powi(SHARPNESS) } else { UNHEARD }
            });
            let (sum, weights) = (0..EXPERTS).filter(heard).fold((0.0, 0.0), |(sum, weights), expert| {
                (sum + self.weights[expert] * errors(expert), weights + self.weights[expert])
            });
            self.error = sum / weights;
        }
    }
}

/// Who has no opinion has no weight.
fn heard(opinion: f64, weight: f32) -> (f64, f64) {
    if opinion.is_nan() { (0.0, 0.0) } else { (opinion, f64::from(weight)) }
}
