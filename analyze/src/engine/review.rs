//! What Knowledge says of thresholds: reviews by people, answers to recordings, pins.

use std::collections::BTreeSet;

use proto::model::{Threshold, ThresholdState};

use super::{BLOCK_SIGNALS, SIGNALS_MAX, Shard};
use crate::detect::ResidualDetector;

/// Versions remembered of a signal that was not heard of yet: one in force, one that waits, and what replaces them.
const EARLY_VERSIONS_MAX: usize = 8;

impl Shard {
    /// Follows what Knowledge says of a threshold; false if nothing changed. It is kept for a signal that is yet to come.
    pub fn review(&mut self, version: &Threshold) -> bool {
        if let Some(place) = self.find(&version.signal) {
            return self.change(place, |detector| detector.review(version));
        }
        let text = version.signal.to_string();
        if self.early.len() < SIGNALS_MAX || self.early.contains_key(&text) {
            let versions = self.early.entry(text).or_default();
            if versions.len() == EARLY_VERSIONS_MAX {
                versions.remove(0);
            }
            versions.push(version.clone());
        }
        false
    }

    /// Follows Knowledge's answer to the recording of a version.
    pub fn recorded(&mut self, sent: &Threshold, stored: &Threshold) -> bool {
        self.find(&stored.signal)
            .is_some_and(|place| self.change(place, |detector| detector.recorded(sent, stored)))
    }

    /// Takes off every pin but these signals': they were unpinned while nobody listened.
    pub fn release_pins(&mut self, pinned: &BTreeSet<String>) {
        let held = self.signals.iter().filter(|(_, signal)| {
            signal.engine.thresholds.state() == ThresholdState::Pinned
                && !pinned.contains(&signal.id.id().to_string())
        });
        let held: Vec<u32> = held.map(|(place, _)| place).collect();
        held.into_iter().for_each(|place| _ = self.change(place, ResidualDetector::release));
    }

    fn change(&mut self, place: u32, change: impl FnOnce(&mut ResidualDetector) -> bool) -> bool {
        let signal = self.signals.get_mut(place);
        let changed = signal.is_some_and(|signal| change(&mut signal.engine.thresholds));
        if changed {
            self.changed.insert(place as usize / BLOCK_SIGNALS);
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::Plant;

    fn pin(upper: f64) -> Threshold {
        Threshold {
            signal: "service:staging/catalog#load".parse().unwrap(),
            generation: 3,
            state: ThresholdState::Pinned,
            method: "pinned".to_owned(),
            residual_lower: -1.0,
            residual_upper: 1.0,
            level: 10.0,
            scale: 1.0,
            samples: 100,
            coverage_ratio: 1.0,
            false_alarm_probability: 1e-6,
            evidence_from: None,
            evidence_to: None,
            created_at: jiff::Timestamp::UNIX_EPOCH,
            pinned_lower: Some(0.0),
            pinned_upper: Some(upper),
            reviewed_by: "ada".to_owned(),
            reason: String::new(),
        }
    }

    #[test]
    fn pin_made_before_the_first_sample_holds_from_it_on() {
        let mut plant = Plant::new("service:staging/catalog");
        plant.shard.review(&pin(50.0));
        assert!(plant.tick(&[("load", Some(60.0))]).signals[0].deviating);
        assert!(!plant.tick(&[("load", Some(40.0))]).signals[0].deviating);
    }

    #[test]
    fn learned_version_from_before_waits_for_a_level() {
        let mut plant = Plant::new("service:staging/catalog");
        let version =
            Threshold { state: ThresholdState::Active, pinned_lower: None, pinned_upper: None, ..pin(0.0) };
        plant.shard.review(&version);
        assert!(!plant.tick(&[("load", Some(10.0))]).signals[0].deviating);
        assert!(!plant.tick(&[("load", Some(20.0))]).signals[0].deviating, "one sample is no level");
        (0..200).for_each(|_| _ = plant.tick(&[("load", Some(10.0))]));
        let assessment = plant.tick(&[("load", Some(20.0))]);
        assert!(assessment.signals[0].deviating, "{:?}", assessment.signals[0]);
    }

    #[test]
    fn pin_taken_off_while_nobody_listened_is_released() {
        let mut plant = Plant::new("service:staging/catalog");
        plant.tick(&[("load", Some(10.0))]);
        plant.shard.review(&pin(50.0));
        plant.shard.release_pins(&BTreeSet::from(["service:staging/catalog#load".to_owned()]));
        assert!(plant.tick(&[("load", Some(60.0))]).signals[0].deviating);
        plant.shard.release_pins(&BTreeSet::new());
        assert!(!plant.tick(&[("load", Some(60.0))]).signals[0].deviating);
    }
}
