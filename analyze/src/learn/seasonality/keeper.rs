//! What is known about the seasons of one live signal: its past in two rings, the periods that are believed, and when to look
//! again. A version is made when something changed, at most once in `KeeperSettings::every`.

use std::time::Duration;

use jiff::{Timestamp, tz::TimeZone};
use proto::model::{SeasonalityModel, SignalId};

use super::{Finder, Ring, known::Known, look::Look, quantised::dither};
use crate::snapshot::{
    Damaged,
    codec::{Reader, Stored, Writer},
};

/// Cells of 2 bytes for the long past. They double from the interval of the samples on, until they span 4 to 8 weeks.
const COARSE_CELLS: usize = 1_344;
const COARSE_SPAN: Duration = Duration::from_secs(8 * 7 * 86_400);
/// And for the last day or two, in which an hour shows.
const FINE_CELLS: usize = 512;
const FINE_SPAN: Duration = Duration::from_secs(2 * 86_400);
/// Most periods of a model, and most that are looked at again: as many more may be on trial.
const PERIODS_MAX: usize = 4;
const KNOWN_MAX: usize = 2 * PERIODS_MAX;

/// What all keepers are told.
#[derive(Debug, Clone)]
pub struct KeeperSettings {
    /// Where the signal's people live; UTC if not known.
    pub zone: Option<TimeZone>,
    /// Least time between two searches of one signal, and so between two versions.
    pub every: Duration,
    /// Time between two searches when nothing changes any more. They become this seldom by doubling.
    pub seldom: Duration,
    /// Probability of any period on noise, for one search.
    pub false_alarm: f64,
}

impl Default for KeeperSettings {
    fn default() -> Self {
        Self {
            zone: None,
            every: Duration::from_secs(3_600),
            seldom: Duration::from_secs(86_400),
            false_alarm: 0.01,
        }
    }
}

/// Keeps the seasons of one signal: 4 KB, and 200 bytes for each period. So not for each of a million signals: for those that a
/// Service names, and as many others as there is room for.
#[derive(Debug, Clone, PartialEq)]
pub struct Keeper {
    fine: Ring,
    coarse: Ring,
    /// Strongest first.
    known: Vec<Known>,
    /// The newest version; 0: none yet.
    generation: u64,
    /// When to look again, in seconds since the epoch; `None` before the first value.
    next_s: Option<i64>,
    pause_s: u64,
    /// Moves this signal's searches away from those of others, 0 to 1.
    turn: f64,
}

impl Keeper {
    /// For samples at that interval. Signals of unlike seeds search at unlike times.
    #[must_use]
    pub fn new(interval: Duration, seed: u64) -> Self {
        Self {
            fine: Ring::new(FINE_CELLS, interval, FINE_SPAN),
            coarse: Ring::new(COARSE_CELLS, interval, COARSE_SPAN),
            known: Vec::new(),
            generation: 0,
            next_s: None,
            pause_s: 0,
            turn: dither(seed),
        }
    }

    /// Takes in a value. What is not finite, or older than what was taken in, is ignored.
    pub fn observe(&mut self, at: Timestamp, value: f64) {
        self.fine.push(at, value);
        self.coarse.push(at, value);
    }

    /// Whether it is time to look. The first call sets when that is.
    pub fn is_due(&mut self, now: Timestamp, settings: &KeeperSettings) -> bool {
        // What lies farther ahead was set by a clock that was wrong.
        let farthest_s = now.as_second().saturating_add(signed(settings.seldom.as_secs().saturating_mul(2)));
        match self.next_s.filter(|next_s| *next_s <= farthest_s) {
            Some(next_s) => now.as_second() >= next_s,
            None => {
                self.pause_s = settings.every.as_secs().max(1);
                self.next_s = Some(self.after(now));
                false
            }
        }
    }

    /// Looks for periods; gives the next version when something changed. Costs a few milliseconds: `is_due` tells when it is worth it.
    pub fn find(
        &mut self,
        now: Timestamp,
        signal: &SignalId,
        settings: &KeeperSettings,
        finder: &mut Finder,
    ) -> Option<SeasonalityModel> {
        let look = Look::at(&self.fine, &self.coarse, settings, finder);
        let dropped = self.weigh(now, &look);
        let version = self.version(now, signal, settings, &look, dropped);
        let longest_s = settings.seldom.max(settings.every).as_secs().max(1);
        self.pause_s = match version {
            Some(_) => settings.every.as_secs().max(1),
            None => self.pause_s.saturating_mul(2).clamp(1, longest_s),
        };
        self.next_s = Some(self.after(now));
        version
    }

    /// Takes over the number that Knowledge gave to the version just recorded: another instance may have taken ours.
    pub fn recorded(&mut self, stored: &SeasonalityModel) {
        self.generation = self.generation.max(stored.generation);
    }

    /// Begins from the version that Knowledge holds, unless it knows that one already. The past is not in it.
    pub fn restore(&mut self, model: &SeasonalityModel) {
        if model.generation > self.generation {
            self.generation = model.generation;
            self.known = model.periods.iter().take(PERIODS_MAX).map(Known::restored).collect();
        }
    }

    /// The newest version; 0: none yet.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Lengths in seconds of the periods of that version, strongest first.
    pub fn periods_s(&self) -> impl Iterator<Item = f64> {
        self.known.iter().filter(|known| known.is_told()).map(|known| known.length_s)
    }

    /// Memory that it takes, besides itself.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.fine.bytes() + self.coarse.bytes() + self.known.capacity() * size_of::<Known>()
    }

    /// The next moment of its own after a pause: half of the pause is spread over the signals.
    fn after(&self, now: Timestamp) -> i64 {
        let wait_s = self.pause_s as f64 * (0.75 + 0.5 * self.turn);
        now.as_second().saturating_add((wait_s as i64).max(1))
    }

    /// Counts for each period whether it was found again; tells how many of the last version are given up.
    fn weigh(&mut self, now: Timestamp, look: &Look) -> usize {
        for known in &mut self.known {
            match look.found.iter().find(|found| known.is_same(found.length_s)) {
                Some(found) => known.found(found, now),
                // What the rings cannot show any more, or not yet, was not looked for.
                None if look.could_show(known.length_s) => known.missed(now),
                None => {}
            }
        }
        let told = |known: &[Known]| known.iter().filter(|known| known.is_told()).count();
        let before = told(&self.known);
        self.known.retain(|known| !known.is_given_up(now));
        let dropped = before - told(&self.known);
        for found in &look.found {
            if self.known.len() < KNOWN_MAX && !self.known.iter().any(|known| known.is_same(found.length_s)) {
                self.known.push(Known::new(found, now));
            }
        }
        self.known.sort_by(|a, b| b.strength.total_cmp(&a.strength));
        dropped
    }

    /// The next version, if the believed periods are not those of the last one.
    fn version(
        &mut self,
        now: Timestamp,
        signal: &SignalId,
        settings: &KeeperSettings,
        look: &Look,
        dropped: usize,
    ) -> Option<SeasonalityModel> {
        let mut believed: Vec<&mut Known> =
            self.known.iter_mut().filter(|known| known.is_believed(now)).take(PERIODS_MAX).collect();
        let lengths: Vec<f64> = believed.iter().map(|known| known.length_s).collect();
        let drawn = look.drawn(&lengths)?;
        let has_changed = believed.iter().any(|known| known.has_changed(&drawn));
        if !has_changed && dropped == 0 {
            return None;
        }
        self.generation += 1;
        let periods = believed.iter_mut().map(|known| known.tell(&drawn, settings)).collect();
        Some(drawn.model(signal, self.generation, periods, settings, now))
    }
}

fn signed(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

impl Stored for Keeper {
    fn save(&self, writer: &mut Writer) {
        let Self { fine, coarse, known, generation, next_s, pause_s, turn } = self;
        writer.put(fine).put(coarse).list(known).put(generation).put(next_s).put(pause_s).put(turn);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let (fine, coarse, known): (_, _, Vec<Known>) = (reader.get()?, reader.get()?, reader.list()?);
        let (generation, next_s, pause_s): (u64, Option<i64>, u64) =
            (reader.get()?, reader.get()?, reader.get()?);
        let turn: f64 = reader.get()?;
        // Far beyond any time, yet far from where sums would overflow.
        let is_near = next_s.is_none_or(|next_s| next_s.abs() < 1 << 40) && pause_s < 1 << 40;
        if known.len() > KNOWN_MAX || !is_near || !(0.0..=1.0).contains(&turn) || generation == u64::MAX {
            return Err(reader.damaged());
        }
        Ok(Self { fine, coarse, known, generation, next_s, pause_s, turn })
    }
}
