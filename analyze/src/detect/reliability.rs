//! Whether confidence is what it says: alerts on series of known nature, some of which are about events that were put in, by what
//! was said of them. The table is that of a reliability diagram (Murphy and Winkler, "Reliability of subjective probability forecasts
//! of precipitation and temperature", Applied Statistics 26, 1977).

use super::generate::{Family, Generator, Random};
use super::series::{Series, SeriesSettings};

/// Seconds.
const HOUR: f64 = 3_600.0;
const DAY: f64 = 24.0 * HOUR;
/// Length of each series: 8 weeks.
const LENGTH: f64 = 56.0 * DAY;
/// Confidences between which alerts are counted together.
const EDGES: [f64; 7] = [0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0];
/// Chances at which alarms on nothing but chance are counted.
const CHANCES: [f64; 5] = [1.0, 0.6, 0.3, 0.15, 0.06];
/// Samples of an event and after it that an alert may need.
const SAMPLES_MIN: f64 = 5.0;

/// What is tried.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trial {
    /// Seconds between samples.
    pub interval: f64,
    /// Series of each family.
    pub series: u64,
    /// The same seed gives the same series and events.
    pub seed: u64,
}

/// Alerts with a confidence from `from` up to `to`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Bin {
    /// Included.
    pub from: f64,
    /// Not included, but for the last.
    pub to: f64,
    /// In all.
    pub alerts: usize,
    /// About an event.
    pub real: usize,
    /// Sum of what was said.
    said: f64,
}

impl Bin {
    /// Mean confidence; `None` without alerts.
    #[must_use]
    pub fn said(&self) -> Option<f64> {
        (self.alerts > 0).then(|| self.said / self.alerts as f64)
    }

    /// Share of the alerts that were about an event; `None` without alerts.
    #[must_use]
    pub fn share(&self) -> Option<f64> {
        (self.alerts > 0).then(|| self.real as f64 / self.alerts as f64)
    }
}

/// How often chance opened alerts that were said to come at most so often.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Chance {
    /// In the time of the budget, as the confidence has it.
    pub said: f64,
    /// As counted on series without events.
    pub counted: f64,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reliability {
    /// From the least confidence to the greatest.
    pub bins: Vec<Bin>,
    /// Events put in.
    pub events: usize,
    /// Events with an alert.
    pub found: usize,
}

impl Reliability {
    /// Mean distance of share and stated confidence, each bin weighed by its alerts.
    #[must_use]
    pub fn error(&self) -> f64 {
        let alerts: usize = self.bins.iter().map(|bin| bin.alerts).sum();
        let off: f64 = self.bins.iter().map(|bin| (bin.said - bin.real as f64).abs()).sum();
        off / alerts.max(1) as f64
    }

    /// Takes in what came of others.
    pub fn merge(&mut self, other: &Self) {
        if self.bins.is_empty() {
            self.bins.clone_from(&other.bins);
        } else {
            for (bin, more) in self.bins.iter_mut().zip(&other.bins) {
                bin.alerts += more.alerts;
                bin.real += more.real;
                bin.said += more.said;
            }
        }
        self.events += other.events;
        self.found += other.found;
    }

    fn empty() -> Self {
        let bin = |edges: &[f64]| Bin { from: edges[0], to: edges[1], ..Bin::default() };
        Self { bins: EDGES.windows(2).map(bin).collect(), ..Self::default() }
    }

    fn count(&mut self, confidence: f64, is_real: bool) {
        if let Some(bin) = self.bins.iter_mut().rev().find(|bin| confidence >= bin.from) {
            bin.alerts += 1;
            bin.real += usize::from(is_real);
            bin.said += confidence;
        }
    }
}

/// The level is higher by `by` for a while.
#[derive(Debug, Clone, Copy)]
struct Event {
    from: f64,
    to: f64,
    /// Alerts until then are about it.
    until: f64,
    by: f64,
    is_found: bool,
}

impl Event {
    /// As many as confidence takes for granted, one in the time of the budget: from hardly visible to obvious, from hours to a day.
    fn two(random: &mut Random, spread: f64, interval: f64) -> [Self; 2] {
        [(7.0, 27.0), (29.0, 54.0)].map(|(first, last)| {
            let from = random.between(first, last) * DAY;
            let lasts = random.between(1.0, 24.0) * HOUR;
            let to = from + lasts.max(SAMPLES_MIN * interval);
            let sign = if random.uniform() < 0.5 { -1.0 } else { 1.0 };
            let by = sign * spread * 10_f64.powf(random.between(0.0, 1.0));
            Self { from, to, until: to + SAMPLES_MIN * interval, by, is_found: false }
        })
    }
}

/// Alerts on series of one family with an event in each time of the budget, by their confidence.
#[must_use]
pub fn reliability(family: Family, trial: &Trial) -> Reliability {
    let mut counted = Reliability::empty();
    for seed in seeds(family, trial) {
        let mut generator = Generator::new(family, trial.interval, seed);
        let mut events = Event::two(&mut Random::new(!seed), generator.spread(), trial.interval);
        let mut series = Series::new(SeriesSettings::default());
        while generator.elapsed() < LENGTH {
            let elapsed = generator.elapsed();
            let Some((at, value)) = generator.next() else { break };
            let now = events.iter_mut().find(|event| (event.from..event.until).contains(&elapsed));
            let by = now.as_ref().filter(|event| elapsed < event.to).map_or(0.0, |event| event.by);
            let Some(judgement) = series.observe(at, value + by) else { continue };
            if judgement.deviation {
                counted.count(judgement.confidence, now.is_some());
                now.into_iter().for_each(|event| event.is_found = true);
            }
        }
        counted.events += events.len();
        counted.found += events.iter().filter(|event| event.is_found).count();
    }
    counted
}

/// How often chance opens an alert on series of these families, by how often it was said to.
#[must_use]
pub fn chances(families: &[Family], trial: &Trial) -> Vec<Chance> {
    let (mut said, mut budgets) = (Vec::new(), 0.0);
    for family in families {
        for seed in seeds(*family, trial) {
            let mut generator = Generator::new(*family, trial.interval, seed);
            let mut series = Series::new(SeriesSettings::default());
            while generator.elapsed() < LENGTH {
                let Some((at, value)) = generator.next() else { break };
                let judgement = series.observe(at, value).filter(|judgement| judgement.deviation);
                said.extend(judgement.map(|judgement| 1.0 / judgement.confidence - 1.0));
            }
            budgets += LENGTH / SeriesSettings::default().false_alarm_budget.as_secs_f64();
        }
    }
    let counted = |most: f64| said.iter().filter(|said| **said <= most).count() as f64 / budgets.max(1.0);
    CHANCES.map(|said| Chance { said, counted: counted(said) }).to_vec()
}

/// Seeds of the series of one family: no two of a trial are alike.
fn seeds(family: Family, trial: &Trial) -> impl Iterator<Item = u64> + use<> {
    let mut random = Random::new(trial.seed ^ ((family as u64) << 48));
    (0..trial.series).map(move |_| random.bits())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIAL: Trial = Trial { interval: 900.0, series: 24, seed: 1 };

    /// A confidence of 1 / (1 + c) says that chance opens c such alerts in the time of the budget.
    #[test]
    fn confidence_is_what_chance_leaves() {
        let counted = chances(&[Family::Gaussian, Family::LogNormal], &TRIAL);
        for Chance { said, counted } in counted.into_iter().filter(|chance| chance.said >= 0.3) {
            assert!((said / 3.0..=said * 2.0).contains(&counted), "said {said}, counted {counted}");
        }
    }

    #[test]
    fn the_surer_an_alert_the_more_often_it_is_about_something() {
        let mut all = Reliability::default();
        for family in [Family::Gaussian, Family::LogNormal, Family::Seasonal, Family::Coloured] {
            all.merge(&reliability(family, &TRIAL));
        }
        let of = |low: f64, high: f64| {
            let bins = all.bins.iter().filter(|bin| bin.from >= low && bin.to <= high);
            let (alerts, real) = bins.fold((0, 0), |(all, real), bin| (all + bin.alerts, real + bin.real));
            real as f64 / alerts.max(1) as f64
        };
        assert!(of(0.9, 1.0) > 0.85 && of(0.9, 1.0) > of(0.0, 0.9), "{all:?}");
        assert!(all.error() < 0.1, "{} {all:?}", all.error());
        assert_eq!(all.events, 4 * 24 * 2);
    }

    #[test]
    fn the_same_seed_gives_the_same_table() {
        let few = Trial { series: 2, ..TRIAL };
        assert_eq!(reliability(Family::Gaussian, &few), reliability(Family::Gaussian, &few));
        assert_ne!(
            seeds(Family::Gaussian, &few).collect::<Vec<_>>(),
            seeds(Family::Seasonal, &few).collect::<Vec<_>>()
        );
    }
}
