//! How lateness grows with utilisation: counts of requests and late ones in narrow bands of utilisation, as far as a tick was
//! calm enough to tell.

use proto::model::LatePoint;

use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// Bands of 2 %: within one, lateness changes by less than a factor of two where it matters.
const WIDTH: f64 = 0.02;
/// Up to full utilisation.
const BANDS: usize = 50;
/// From here on queues rule and a tick's utilisation does not tell how overloaded it was.
const UTILISATION_MAX: f64 = 0.97;
/// Requests that a band remembers, before old ones are halved: a hundred thousand late ones at one in a thousand.
const REQUESTS_MAX: f64 = 1e8;
/// Ticks with the same ready replicas before one counts: rates mix before and after, and new replicas warm up.
const SETTLED_TICKS: u32 = 2;

/// One tick of a service, as far as its values are known and whole.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LateTick {
    /// Requests in the tick.
    pub requests: Option<f64>,
    /// Ready replicas.
    pub ready: Option<f64>,
    /// Busy share.
    pub utilisation: Option<f64>,
    /// Share of requests that missed the objective.
    pub bad_ratio: Option<f64>,
}

/// The learner of one service.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LateLearner {
    bands: Vec<(f64, f64)>,
    ready: f64,
    settled: u32,
}

impl LateLearner {
    /// Takes in one tick. Unknown values teach nothing.
    pub fn observe(&mut self, tick: LateTick) {
        let LateTick { requests, ready, utilisation, bad_ratio } = tick;
        let Some(ready) = ready else { return };
        self.settled = if ready == self.ready { self.settled.saturating_add(1) } else { 0 };
        self.ready = ready;
        let (Some(requests), Some(used), Some(bad)) = (requests, utilisation, bad_ratio) else { return };
        let sound = requests.is_finite() && requests > 0.0 && (0.0..=1.0).contains(&bad);
        if self.settled < SETTLED_TICKS || !sound || !(0.0..UTILISATION_MAX).contains(&used) {
            return;
        }
        if self.bands.is_empty() {
            self.bands = vec![(0.0, 0.0); BANDS];
        }
        let band = &mut self.bands[((used / WIDTH) as usize).min(BANDS - 1)];
        if band.0 > REQUESTS_MAX {
            *band = (band.0 / 2.0, band.1 / 2.0);
        }
        *band = (band.0 + requests, band.1 + requests * bad);
    }

    /// The bands that have seen anything.
    #[must_use]
    pub fn points(&self) -> Vec<LatePoint> {
        let seen = self.bands.iter().enumerate().filter(|(_, band)| band.0 > 0.0);
        let point = |(index, (requests, late)): (usize, &(f64, f64))| LatePoint {
            utilisation_ratio: (index as f64 + 0.5) * WIDTH,
            requests: *requests,
            late: *late,
        };
        seen.map(point).collect()
    }
}

impl Stored for LateLearner {
    fn save(&self, writer: &mut Writer) {
        let Self { bands, ready, settled } = self;
        let (all, late): (Vec<f64>, Vec<f64>) = bands.iter().copied().unzip();
        writer.list(&all).list(&late).put(ready).put(settled);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let (all, late): (Vec<f64>, Vec<f64>) = (reader.list()?, reader.list()?);
        if all.len() != late.len() || !(all.is_empty() || all.len() == BANDS) {
            return Err(reader.damaged());
        }
        let bands = all.into_iter().zip(late).collect();
        Ok(Self { bands, ready: reader.get()?, settled: reader.get()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(utilisation: f64, ready: f64, bad: f64) -> LateTick {
        LateTick {
            requests: Some(1_000.0),
            ready: Some(ready),
            utilisation: Some(utilisation),
            bad_ratio: Some(bad),
        }
    }

    #[test]
    fn calm_ticks_are_counted_where_they_lie() {
        let mut learner = LateLearner::default();
        (0..12).for_each(|_| learner.observe(tick(0.85, 4.0, 0.004)));
        let points = learner.points();
        assert_eq!(points.len(), 1);
        assert!(
            (points[0].utilisation_ratio - 0.85).abs() < 0.011 && points[0].requests == 10_000.0,
            "{points:?}"
        );
        assert!((points[0].late / points[0].requests - 0.004).abs() < 1e-12);
    }

    #[test]
    fn changes_queues_and_unknowns_teach_nothing() {
        let mut learner = LateLearner::default();
        (0..10).for_each(|n| learner.observe(tick(0.8, f64::from(n), 0.01)));
        (0..10).for_each(|_| learner.observe(tick(0.99, 4.0, 0.9)));
        (0..10).for_each(|_| learner.observe(LateTick { bad_ratio: None, ..tick(0.5, 4.0, 0.0) }));
        (0..10).for_each(|_| learner.observe(tick(f64::NAN, 4.0, 0.0)));
        (0..10).for_each(|_| learner.observe(tick(0.5, 4.0, f64::NAN)));
        assert_eq!(learner.points(), Vec::new());
    }
}
