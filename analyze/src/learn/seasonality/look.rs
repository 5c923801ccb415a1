//! One look at the past of a signal: what periods the fine and the coarse ring show, and what their cycles look like.

use jiff::Timestamp;
use proto::model::{SeasonalPeriod, SeasonalityModel, SeasonalityState, SignalId};

use super::{Finder, FinderSettings, KeeperSettings, Ring, shape::Cycles};

/// A period needs so many cells of a ring to be seen for what it is.
const CELLS_PER_CYCLE: f64 = 6.0;
/// Fewer cells than this tell nothing worth a search.
const CELLS_MIN: usize = 48;
/// A period must fit in so often.
const CYCLES_MIN: f64 = 3.0;
/// How the periods were found.
const METHOD: &str = "spectrum+autocorrelation+nested-F";

/// A period that one search found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Found {
    pub length_s: f64,
    pub strength: f64,
    pub autocorrelation: f64,
    pub chance: f64,
    pub cycles: f64,
}

/// The values of one ring.
struct Past {
    values: Vec<f64>,
    starts_s: f64,
    cell_s: f64,
}

impl Past {
    fn of(ring: &Ring) -> Option<Self> {
        let (values, starts_s) = (ring.values(), ring.starts_s()?);
        let seen = values.iter().filter(|value| value.is_finite()).count();
        (seen >= CELLS_MIN).then(|| Self { values, starts_s, cell_s: ring.interval().as_secs_f64() })
    }

    fn found(&self, settings: &KeeperSettings, finder: &mut Finder) -> Vec<Found> {
        let interval = Some(std::time::Duration::from_secs_f64(self.cell_s));
        let asked =
            FinderSettings { interval, false_alarm: settings.false_alarm, ..FinderSettings::default() };
        let found = finder.find(&self.values, &asked);
        let period = |period: super::Period| Found {
            length_s: nice(period.samples * self.cell_s),
            strength: period.strength,
            autocorrelation: period.autocorrelation,
            chance: period.chance,
            cycles: period.cycles,
        };
        found.into_iter().map(period).collect()
    }

    fn shows(&self, length_s: f64) -> bool {
        length_s >= CELLS_PER_CYCLE * self.cell_s
            && self.values.len() as f64 * self.cell_s >= CYCLES_MIN * length_s
    }
}

/// Whole seconds where rounding alone made it no whole number.
fn nice(length_s: f64) -> f64 {
    if (length_s - length_s.round()).abs() < 1e-6 * length_s { length_s.round() } else { length_s }
}

/// What one look at both rings shows.
pub(super) struct Look {
    fine: Option<Past>,
    coarse: Option<Past>,
    pub found: Vec<Found>,
}

impl Look {
    pub(super) fn at(fine: &Ring, coarse: &Ring, settings: &KeeperSettings, finder: &mut Finder) -> Self {
        // As long as both have the same cells, the long one shows all that the short one does.
        let fine = if fine.interval() < coarse.interval() { Past::of(fine) } else { None };
        let mut look = Self { fine, coarse: Past::of(coarse), found: Vec::new() };
        let mut found = Vec::new();
        for past in [&look.coarse, &look.fine].into_iter().flatten() {
            let all = past.found(settings, finder);
            found.extend(
                all.into_iter()
                    .filter(|found| look.past(found.length_s).is_some_and(|of| std::ptr::eq(of, past))),
            );
        }
        look.found = found;
        look
    }

    /// The ring that shows a period best: the coarse one, unless its cells are too long.
    fn past(&self, length_s: f64) -> Option<&Past> {
        [&self.coarse, &self.fine].into_iter().flatten().find(|past| past.shows(length_s))
    }

    pub(super) fn could_show(&self, length_s: f64) -> bool {
        self.past(length_s).is_some()
    }

    /// The cycles of these periods; `None` if there is nothing to draw.
    pub(super) fn drawn(&self, lengths_s: &[f64]) -> Option<Drawn<'_>> {
        let of = |past: &Past| {
            let is_ours = |length: &&f64| self.past(**length).is_some_and(|best| std::ptr::eq(best, past));
            let lengths: Vec<f64> = lengths_s.iter().filter(is_ours).copied().collect();
            Cycles::of(&past.values, past.starts_s, past.cell_s, &lengths)
        };
        let cycles: Vec<Cycles> = [&self.coarse, &self.fine].into_iter().flatten().filter_map(of).collect();
        let past = self.coarse.as_ref().or(self.fine.as_ref())?;
        Some(Drawn { past, cycles })
    }
}

/// The cycles of periods.
pub(super) struct Drawn<'a> {
    past: &'a Past,
    cycles: Vec<Cycles>,
}

impl Drawn<'_> {
    /// So many points of a cycle from `from_s` on; none if it was not drawn.
    pub(super) fn points(&self, length_s: f64, from_s: f64, count: usize) -> Vec<f32> {
        self.cycles.iter().find_map(|cycles| cycles.points(length_s, from_s, count)).unwrap_or_default()
    }

    /// How many of the ring's cells a cycle has.
    pub(super) fn cells(&self, length_s: f64) -> usize {
        self.cycles.iter().find_map(|cycles| cycles.cells(length_s)).unwrap_or(0)
    }

    /// Where the past ends.
    pub(super) fn until_s(&self) -> f64 {
        self.past.starts_s + self.past.values.len() as f64 * self.past.cell_s
    }

    /// The version with these periods.
    pub(super) fn model(
        &self,
        signal: &SignalId,
        generation: u64,
        periods: Vec<SeasonalPeriod>,
        settings: &KeeperSettings,
        now: Timestamp,
    ) -> SeasonalityModel {
        let seen = || self.past.values.iter().filter(|value| value.is_finite());
        let count = seen().count();
        let zone = settings.zone.as_ref().and_then(|zone| zone.iana_name()).unwrap_or_default();
        let moment = |at_s: f64| Timestamp::from_millisecond((at_s * 1e3) as i64).unwrap_or(now);
        // The fine ring's share is of what a day or two hold, the coarse one's of weeks: the larger is what is told.
        let explained = self.cycles.iter().map(|cycles| cycles.explained).fold(0.0, f64::max);
        SeasonalityModel {
            signal: signal.clone(),
            generation,
            state: SeasonalityState::Active,
            method: METHOD.to_owned(),
            time_zone: zone.to_owned(),
            explained_ratio: if periods.is_empty() { 0.0 } else { explained },
            periods,
            samples: count as u64,
            interval_s: self.past.cell_s,
            level: seen().map(|value| value / count.max(1) as f64).sum(),
            evidence_from: moment(self.past.starts_s),
            evidence_to: moment(self.until_s()),
            created_at: now,
        }
    }
}
