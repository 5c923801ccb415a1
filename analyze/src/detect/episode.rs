//! What follows an alert: the band from before it is held, so that trouble does not become normal while it lasts, and the
//! severity fades once it is over.

use super::band::Band;
use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// What is still outside the old band after so many seconds is the new normal state,
const REGIME: f64 = 36.0 * 3_600.0;
/// but never after fewer intervals.
const REGIME_INTERVALS: f64 = 48.0;
/// It is over after so many intervals inside the band.
const OVER_INTERVALS: f64 = 24.0;
/// Intervals in which the severity halves once values are back inside.
const HALF_LIFE: f64 = 24.0;

/// The time after an alert.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Episode {
    held: Option<Band>,
    since: f64,
    lasted: f64,
    inside: f64,
    severity: f64,
}

impl Episode {
    /// The band from before the alert, while the episode is open.
    pub(crate) fn held(&self) -> Option<Band> {
        self.held
    }

    /// In [0, 1].
    pub(crate) fn severity(&self) -> f64 {
        self.severity
    }

    /// An alert at `at`: `band` was in force until now.
    pub(crate) fn open(&mut self, at: f64, severity: f64, band: Band) {
        self.severity = self.severity.max(severity);
        self.inside = 0.0;
        if self.held.is_none() {
            (self.held, self.since, self.lasted) = (Some(band), at, 0.0);
        }
    }

    /// A sample without an alert.
    pub(crate) fn follow(&mut self, at: f64, steps: f64, is_inside: bool) {
        if self.severity <= 0.0 {
            return;
        }
        self.lasted += steps;
        if is_inside || self.held.is_none() {
            self.inside += steps;
            self.severity *= (-std::f64::consts::LN_2 * steps / HALF_LIFE).exp();
        } else {
            self.inside = 0.0;
        }
        if self.severity < 1e-3 {
            self.severity = 0.0;
        }
        let regime = at - self.since >= REGIME && self.lasted >= REGIME_INTERVALS;
        if self.inside >= OVER_INTERVALS || regime {
            self.held = None;
        }
    }
}

impl Stored for Episode {
    fn save(&self, writer: &mut Writer) {
        let Self { held, since, lasted, inside, severity } = self;
        writer.put(held).put(since).put(lasted).put(inside).put(severity);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let (held, since, lasted) = (reader.get()?, reader.get()?, reader.get()?);
        Ok(Self { held, since, lasted, inside: reader.get()?, severity: reader.get()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAND: Band = Band { value: (0.0, 1.0), residual: None, level: None };

    #[test]
    fn severity_stays_while_values_are_outside_and_fades_afterwards() {
        let mut episode = Episode::default();
        episode.open(0.0, 0.8, BAND);
        (1..100).for_each(|i| episode.follow(f64::from(i) * 60.0, 1.0, false));
        assert_eq!((episode.severity(), episode.held()), (0.8, Some(BAND)));
        (100..123).for_each(|i| episode.follow(f64::from(i) * 60.0, 1.0, true));
        assert!(episode.severity() < 0.5 && episode.held().is_some());
        episode.follow(123.0 * 60.0, 1.0, true);
        assert_eq!(episode.held(), None);
    }

    #[test]
    fn what_lasts_longer_than_a_day_is_the_new_state() {
        let mut episode = Episode::default();
        episode.open(0.0, 0.8, BAND);
        let step = |episode: &mut Episode, hour: i32| episode.follow(f64::from(hour) * 3_600.0, 4.0, false);
        (1..=30).for_each(|hour| step(&mut episode, hour));
        assert!(episode.held().is_some(), "not absorbed within a day");
        (31..=36).for_each(|hour| step(&mut episode, hour));
        assert_eq!(episode.held(), None);
    }
}
