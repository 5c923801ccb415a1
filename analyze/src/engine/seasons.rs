//! Seasons of what is declared: each declared signal has a keeper, and now and then one of them looks for periods.

use jiff::Timestamp;
use proto::model::SeasonalityModel;

use super::{BLOCK_SIGNALS, Shard};
use crate::learn::seasonality::{Finder, KeeperSettings};

/// Signals that are asked in one call whether it is time to look. The asking goes on where it stopped.
const ASKED_MAX: u32 = 256;

/// A signal has looked for its seasons.
#[derive(Debug, Clone, PartialEq)]
pub struct Sought {
    /// The new version; `None`: nothing has changed.
    pub model: Option<SeasonalityModel>,
}

impl Shard {
    /// Lets at most one signal look for its seasons, which takes milliseconds; `None`: it was time for none.
    pub fn seek(&mut self, now: Timestamp, settings: &KeeperSettings, finder: &mut Finder) -> Option<Sought> {
        let places = u32::try_from(self.signals.places()).unwrap_or(u32::MAX);
        for _ in 0..ASKED_MAX.min(places) {
            self.asked = (self.asked + 1) % places;
            let place = self.asked;
            let Some(signal) = self.signals.get_mut(place) else { continue };
            let Some(keeper) = signal.seasons.as_deref_mut() else { continue };
            if keeper.is_due(now, settings) {
                self.changed.insert(place as usize / BLOCK_SIGNALS);
                return Some(Sought { model: keeper.find(now, &signal.id.id(), settings, finder) });
            }
        }
        None
    }

    /// Follows what Knowledge holds of a signal's seasons, or answered to a recording.
    pub fn season(&mut self, stored: &SeasonalityModel, is_answer: bool) {
        let signal = self.find(&stored.signal).and_then(|place| self.signals.get_mut(place));
        if let Some(keeper) = signal.and_then(|signal| signal.seasons.as_deref_mut()) {
            if is_answer {
                keeper.recorded(stored);
            } else {
                keeper.restore(stored);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::Plant;

    fn sought(plant: &mut Plant, finder: &mut Finder) -> Option<SeasonalityModel> {
        let now = plant.now();
        plant.shard.seek(now, &KeeperSettings::default(), finder)?.model
    }

    #[test]
    fn the_day_of_one_signal_is_found_and_the_noise_of_another_has_none() {
        let mut plant = Plant::new("service:staging/catalog");
        plant.interval = std::time::Duration::from_secs(600);
        let (mut finder, mut found) = (Finder::default(), Vec::new());
        for step in 0..(21 * 144) {
            let hour = f64::from(step) / 6.0;
            let load = 100.0 + 40.0 * (hour / 24.0 * std::f64::consts::TAU).sin() + plant.gauss();
            let noise = 5.0 + plant.gauss();
            plant.second += 599;
            plant.tick(&[("load", Some(load)), ("late", Some(noise))]);
            found.extend(sought(&mut plant, &mut finder));
        }
        let names: std::collections::BTreeSet<_> = found.iter().map(|model| model.signal.name()).collect();
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["load"]);
        let day = &found.last().unwrap().periods[0];
        assert!((day.length_s / 86_400.0 - 1.0).abs() < 0.02, "{day:?}");
    }
}
