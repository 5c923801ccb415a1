//! The load of a replay: a trace scaled to the model's size and laid onto the model's time grid.

use super::trace::Trace;

/// The trace's 99.5 % bin becomes this many requests per second, so that traces of all sizes can be compared.
const SCALED_RATE: f64 = 3_000.0;
/// Which bin is scaled.
const SCALED_QUANTILE: f64 = 0.995;
/// One step for traces of 1 s bins, whose noise is real; all others are smooth within a bin.
const FINE_STEP_S: u32 = 1;
/// One step for all others.
const STEP_S: u32 = 5;
const DAY_S: f64 = 86_400.0;

/// How a trace becomes a load.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scaling {
    /// So that the 99.5 % bin is 3,000 requests/s, times a factor.
    Model(f64),
    /// The trace's own rate, times a factor.
    Own(f64),
}

/// Arrivals per second at each step of the grid.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// Seconds per step.
    pub step_s: u32,
    /// Requests per second in each step.
    pub rates: Vec<f64>,
    /// By what the trace's values were multiplied.
    pub scale: f64,
    /// First second that is scored; what comes before is for learning.
    pub evaluated_from_s: u32,
    /// Seconds per bin of the trace.
    pub bin_s: u32,
    /// Nothing was measured in these seconds: the load is a guess that nobody who decides may see.
    pub dark: Vec<(u32, u32)>,
}

impl Load {
    /// Scales the trace, and interpolates linearly between the middles of its bins; traces of 1 s are used as they are.
    #[must_use]
    pub fn of(trace: &Trace, scaling: Scaling) -> Self {
        let scale = match scaling {
            Scaling::Own(factor) => factor,
            Scaling::Model(factor) => {
                let reference = quantile(&trace.rates, SCALED_QUANTILE);
                if reference > 0.0 { factor * SCALED_RATE / reference } else { factor }
            }
        };
        let step_s = if trace.bin_s <= FINE_STEP_S { FINE_STEP_S } else { STEP_S };
        let seconds = trace.rates.len() as u64 * u64::from(trace.bin_s);
        let steps = (seconds / u64::from(step_s)) as usize;
        let rate = |step: usize| {
            if trace.bin_s == step_s {
                return trace.rates[step] * scale;
            }
            between(&trace.rates, (step as f64 + 0.5) * f64::from(step_s) / f64::from(trace.bin_s) - 0.5)
                * scale
        };
        let rates = (0..steps).map(rate).collect();
        let evaluated_from_s = evaluated_from(seconds as f64 / DAY_S);
        Self { step_s, rates, scale, evaluated_from_s, bin_s: trace.bin_s, dark: Vec::new() }
    }

    /// What the trace did not know is seen by no policy either.
    #[must_use]
    pub fn seen_as(self, trace: &Trace) -> Self {
        let second = |bin: u32| bin.saturating_mul(trace.bin_s);
        let dark = trace.missing.iter().map(|(from, to)| (second(*from), second(*to))).collect();
        Self { dark, ..self }
    }

    /// Whether nothing was measured in this second.
    #[must_use]
    pub fn is_dark(&self, second: u32) -> bool {
        let after = self.dark.partition_point(|(from, _)| *from <= second);
        after.checked_sub(1).is_some_and(|before| second < self.dark[before].1)
    }

    /// Seconds in all.
    #[must_use]
    pub fn seconds(&self) -> u32 {
        self.rates.len() as u32 * self.step_s
    }

    /// The step at which this second lies.
    #[must_use]
    pub fn step_at(&self, second: u32) -> usize {
        (second / self.step_s) as usize
    }

    /// The largest scored rate.
    #[must_use]
    pub fn peak(&self) -> f64 {
        self.rates[self.step_at(self.evaluated_from_s).min(self.rates.len())..]
            .iter()
            .copied()
            .fold(0.0, f64::max)
    }
}

/// Long traces give two weeks or one for learning, short ones ten minutes; those between a third of their length, at most
/// a week.
fn evaluated_from(days: f64) -> u32 {
    let start = match days {
        days if days >= 28.0 => 14.0,
        days if days >= 10.5 => 7.0,
        days if days < 0.2 => return (600.0f64).min(days * DAY_S / 3.0) as u32,
        days => (days / 3.0).min(7.0),
    };
    (start * DAY_S) as u32
}

/// The value at a fractional place, held at both ends.
fn between(values: &[f64], place: f64) -> f64 {
    let Some(last) = values.len().checked_sub(1) else { return 0.0 };
    let place = place.clamp(0.0, last as f64);
    let below = place.floor() as usize;
    let (from, to) = (values[below], values[(below + 1).min(last)]);
    (to - from) * (place - below as f64) + from
}

/// Linearly interpolated quantile, as numpy's default. 0 of nothing.
fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    between(&sorted, share * sorted.len().saturating_sub(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(bin_s: u32, rates: &[f64]) -> Trace {
        Trace { bin_s, rates: rates.to_vec(), missing: Vec::new(), notes: Vec::new() }
    }

    #[test]
    fn load_is_held_at_the_ends_and_straight_between_the_middles() {
        let load = Load::of(&trace(20, &[10.0, 30.0]), Scaling::Own(1.0));
        assert_eq!(load.rates, [10.0, 10.0, 12.5, 17.5, 22.5, 27.5, 30.0, 30.0]);
    }

    #[test]
    fn seconds_are_used_as_they_are() {
        assert_eq!(Load::of(&trace(1, &[1.0, 5.0, 2.0]), Scaling::Own(2.0)).rates, [2.0, 10.0, 4.0]);
    }

    #[test]
    fn model_scale_takes_the_upper_bins_to_three_thousand() {
        let load = Load::of(&trace(60, &[1.0; 50]), Scaling::Model(1.0));
        assert!(load.rates.iter().all(|rate| (rate - 3_000.0).abs() < 1e-9));
        let third = Load::of(&trace(60, &[1.0; 50]), Scaling::Model(0.3));
        assert!((third.rates[0] - 900.0).abs() < 1e-9);
    }

    #[test]
    fn idle_trace_stays_idle() {
        let load = Load::of(&trace(60, &[0.0; 5]), Scaling::Model(1.0));
        assert!(load.rates.iter().all(|rate| *rate == 0.0));
    }

    #[test]
    fn learning_time_is_never_scored() {
        for (days, start) in [(55.0, 14.0), (28.0, 14.0), (14.0, 7.0), (11.0, 7.0), (3.0, 1.0)] {
            assert_eq!(f64::from(evaluated_from(days)), start * DAY_S, "{days} days");
        }
        assert_eq!(evaluated_from(1.0 / 24.0), 600);
        assert_eq!(evaluated_from(600.0 / DAY_S), 200);
    }
}
