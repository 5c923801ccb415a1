//! Holds the engine against series whose nature is known: how many false alarms it raises, and whether it finds what was put in.

use super::generate::{Family, Generator};
use super::series::{Series, SeriesSettings};

/// Length of each series, in seconds: 8 weeks.
const LENGTH: f64 = 56.0 * 86_400.0;
/// Samples within which a shift must be found.
const FOUND_SAMPLES: usize = 5;

/// What happened to shifts that were put into series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shifts {
    /// Put in.
    pub all: usize,
    /// An alert opened within 5 samples.
    pub found: usize,
    /// Still severe a day later.
    pub held: usize,
}

/// False alarms in `series` series of 8 weeks with a sample each `interval` seconds, as a multiple of what the default budget allows.
#[must_use]
pub fn false_alarms(family: Family, interval: f64, series: u64) -> f64 {
    let settings = SeriesSettings::default();
    let allowed = LENGTH / settings.false_alarm_budget.as_secs_f64();
    let count = |seed| {
        let mut engine = Series::new(settings);
        let mut generator = Generator::new(family, interval, seed);
        let mut alarms = 0;
        while generator.elapsed() < LENGTH {
            let Some((at, value)) = generator.next() else { break };
            alarms += usize::from(engine.observe(at, value).is_some_and(|judgement| judgement.deviation));
        }
        alarms
    };
    let alarms: usize = (0..series).map(count).sum();
    alarms as f64 / (allowed * series.max(1) as f64)
}

/// Shifts the level of `series` series by so many standard deviations of their noise, each at another time of its second to fifth week.
#[must_use]
pub fn shifts(family: Family, interval: f64, sigmas: f64, series: u64) -> Shifts {
    let mut shifts = Shifts::default();
    for seed in 0..series {
        let after = (7.0 + (seed % 28) as f64 + 0.37) * 86_400.0;
        let mut engine = Series::new(SeriesSettings::default());
        let mut generator = Generator::new(family, interval, seed).with_shift(after, sigmas);
        let (mut since, mut found, mut severity) = (0, false, 0.0);
        while generator.elapsed() < after + 86_400.0 {
            let is_shifted = generator.elapsed() >= after;
            let Some((at, value)) = generator.next() else { break };
            let Some(judgement) = engine.observe(at, value) else { continue };
            since += usize::from(is_shifted);
            found |= is_shifted && since <= FOUND_SAMPLES && judgement.deviation;
            severity = judgement.severity;
        }
        shifts.all += 1;
        shifts.found += usize::from(found);
        shifts.held += usize::from(severity > 0.0);
    }
    shifts
}
