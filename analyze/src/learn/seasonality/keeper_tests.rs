//! Claims about what is kept of a live signal's seasons.

use std::time::Duration;

use jiff::{Timestamp, tz::TimeZone};
use proto::model::{SeasonalityModel, SignalId};

use super::*;
use crate::snapshot::codec::{Reader, Stored, Writer};
use crate::testing::Noise;

const STEP_S: i64 = 60;
const DAY: i64 = 86_400;

/// A Monday.
const START_S: i64 = 1_704_067_200;

/// One signal that is watched minute by minute.
struct Watch {
    keeper: Keeper,
    settings: KeeperSettings,
    finder: Finder,
    noise: Noise,
    at_s: i64,
    versions: Vec<SeasonalityModel>,
}

impl Watch {
    fn new(settings: KeeperSettings) -> Self {
        Self {
            keeper: Keeper::new(Duration::from_secs(60), 7),
            settings,
            finder: Finder::default(),
            noise: Noise::new(11),
            at_s: START_S,
            versions: Vec::new(),
        }
    }

    /// Lets days go by. `load` is given the second since Monday and a standard normal number.
    fn days(&mut self, days: i64, mut load: impl FnMut(i64, f64) -> f64) -> &mut Self {
        let signal: SignalId = "service:shop/orders#load".parse().unwrap();
        let end = self.at_s + days * DAY;
        while self.at_s < end {
            let at = Timestamp::from_second(self.at_s).unwrap();
            self.keeper.observe(at, load(self.at_s - START_S, self.noise.normal()));
            if self.keeper.is_due(at, &self.settings) {
                let version = self.keeper.find(at, &signal, &self.settings, &mut self.finder);
                self.versions.extend(version);
            }
            self.at_s += STEP_S;
        }
        self
    }

    fn newest(&self) -> &SeasonalityModel {
        self.versions.last().unwrap()
    }

    fn knows(&self, length_s: f64) -> bool {
        self.keeper.periods_s().any(|known| (known / length_s - 1.0).abs() < 0.01)
    }
}

fn wave(second: i64, length: i64) -> f64 {
    (std::f64::consts::TAU * (second % length) as f64 / length as f64).sin()
}

fn usual(second: i64, noise: f64) -> f64 {
    let weekend = if second / DAY % 7 >= 5 { -40.0 } else { 0.0 };
    200.0 + 50.0 * wave(second, DAY) + weekend + 5.0 * noise
}

#[test]
fn a_day_is_told_after_three_of_them_and_a_week_after_four() {
    let mut watch = Watch::new(KeeperSettings::default());
    watch.days(3, usual);
    assert!(!watch.knows(86_400.0), "three days have not been seen whole three times");
    watch.days(3, usual);
    assert!(watch.knows(86_400.0), "{:?}", watch.versions);
    watch.days(29, usual);
    assert!(watch.knows(604_800.0), "{:?}", watch.versions);
    let model = watch.newest();
    assert!(model.periods.len() == 2 && model.explained_ratio > 0.8, "{model:?}");
    assert!((model.level - 189.0).abs() < 8.0, "{}", model.level);
    assert!(watch.versions.len() <= 8, "{} versions", watch.versions.len());
    let numbers: Vec<u64> = watch.versions.iter().map(|model| model.generation).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
}

#[test]
fn the_shape_is_that_of_the_day_from_midnight_on_the_wall() {
    let zone = TimeZone::get("Asia/Tokyo").unwrap();
    let mut watch = Watch::new(KeeperSettings { zone: Some(zone.clone()), ..KeeperSettings::default() });
    // Busy from nine to five in Tokyo, which is midnight to eight in UTC.
    watch.days(9, |second, noise| if second % DAY < 8 * 3_600 { 100.0 } else { 0.0 } + noise);
    let day = watch.newest().periods.iter().find(|period| period.length_s == 86_400.0).unwrap();
    let start = zone.to_datetime(day.starts_at);
    assert_eq!((start.hour(), start.minute()), (0, 0));
    assert_eq!(watch.newest().time_zone, "Asia/Tokyo");
    let hour = |hour: usize| day.shape[(2 * hour + 1) * day.shape.len() / 48];
    assert!(hour(12) > 50.0 && hour(3) < -20.0 && hour(20) < -20.0, "{:?}", day.shape);
    assert!((40..=200).contains(&day.shape.len()));
}

#[test]
fn a_week_begins_on_a_monday() {
    let mut watch = Watch::new(KeeperSettings::default());
    watch.days(40, usual);
    let model = watch.newest();
    let week = model.periods.iter().find(|period| period.length_s == 604_800.0).unwrap();
    assert_eq!((week.starts_at.as_second() - START_S) % (7 * DAY), 0);
    let day = |day: usize| week.shape[(2 * day + 1) * week.shape.len() / 14];
    assert!(day(0) > 0.0 && day(2) > 0.0 && day(5) < -10.0 && day(6) < -10.0, "{:?}", week.shape);
}

#[test]
fn what_runs_every_hour_is_seen_beside_the_day() {
    let mut watch = Watch::new(KeeperSettings::default());
    watch.days(21, |second, noise| usual(second, noise) + if second % 3_600 < 300 { 60.0 } else { 0.0 });
    assert!(watch.knows(3_600.0) && watch.knows(86_400.0), "{:?}", watch.newest());
}

#[test]
fn noise_and_drift_make_no_version() {
    for seed in 0..4 {
        let mut watch = Watch::new(KeeperSettings::default());
        watch.noise = Noise::new(seed);
        let mut walk = 0.0;
        watch.days(35, |_, noise| {
            walk += noise;
            if seed % 2 == 0 { noise } else { walk }
        });
        assert_eq!(watch.versions, [], "seed {seed}");
    }
}

#[test]
fn a_season_that_ends_is_given_up_with_a_version_that_has_none() {
    let mut watch = Watch::new(KeeperSettings::default());
    watch.days(10, |second, noise| 50.0 * wave(second, DAY) + 5.0 * noise);
    assert!(watch.knows(86_400.0));
    watch.days(90, |_, noise| 5.0 * noise);
    assert_eq!((watch.newest().periods.len(), watch.newest().explained_ratio), (0, 0.0));
}

#[test]
fn a_habit_that_moves_is_a_new_version() {
    let mut watch = Watch::new(KeeperSettings::default());
    watch.days(14, usual);
    let before = watch.newest().generation;
    watch.days(40, |second, noise| usual(second + 6 * 3_600, noise));
    let day = |model: &SeasonalityModel| {
        let shape = model.periods.iter().find(|period| period.length_s == 86_400.0).unwrap().shape.clone();
        (0..shape.len()).max_by(|a, b| shape[*a].total_cmp(&shape[*b])).unwrap() * 24 / shape.len()
    };
    assert!(watch.newest().generation > before, "{:?}", watch.versions);
    assert!((5..=7).contains(&day(&watch.versions[0])) && day(watch.newest()) <= 1, "{:?}", watch.newest());
}

#[test]
fn searches_are_spread_and_become_seldom() {
    let settings = KeeperSettings::default();
    let signal: SignalId = "service:shop/orders#load".parse().unwrap();
    let mut finder = Finder::default();
    let mut first = std::collections::BTreeMap::<i64, u32>::new();
    for seed in 0..100 {
        let (mut keeper, mut looks) = (Keeper::new(Duration::from_secs(60), seed), Vec::new());
        for minute in 0..3 * 24 * 60_i64 {
            let at = Timestamp::from_second(START_S + minute * 60).unwrap();
            if keeper.is_due(at, &settings) {
                keeper.find(at, &signal, &settings, &mut finder);
                looks.push(minute);
            }
        }
        *first.entry(looks[0]).or_default() += 1;
        assert!(looks.windows(2).all(|pair| pair[1] - pair[0] >= 45), "{looks:?}");
        assert!((4..=9).contains(&looks.len()), "{looks:?}");
    }
    let most = first.values().max().copied().unwrap();
    assert!(first.len() >= 20 && most <= 12, "{first:?}");
}

#[test]
fn a_version_of_knowledge_is_where_an_empty_keeper_begins() {
    let mut watch = Watch::new(KeeperSettings::default());
    watch.days(10, usual);
    let model = watch.newest().clone();
    let mut other = Watch { at_s: watch.at_s, ..Watch::new(KeeperSettings::default()) };
    other.keeper.restore(&model);
    assert_eq!(other.keeper.periods_s().collect::<Vec<_>>(), watch.keeper.periods_s().collect::<Vec<_>>());
    // Too short a past to see a day in: it is not taken for gone.
    other.days(2, usual);
    assert!(other.knows(86_400.0));
    other.days(8, usual);
    assert!(other.versions.iter().all(|version| version.generation > model.generation));
    watch.keeper.restore(&SeasonalityModel { periods: Vec::new(), ..model });
    assert!(watch.knows(86_400.0), "it knew that version");
}

#[test]
fn a_restored_keeper_goes_on_as_if_nothing_had_happened() {
    let mut watch = Watch::new(KeeperSettings::default());
    watch.days(20, usual);
    let mut writer = Writer::default();
    writer.put(&watch.keeper);
    let bytes = writer.into_bytes();
    let mut other = Watch::new(KeeperSettings::default());
    other.keeper = Reader::new(&bytes).get().unwrap();
    (other.at_s, other.noise) = (watch.at_s, Noise(watch.noise.0));
    let before = watch.versions.len();
    watch.days(20, usual);
    other.days(20, usual);
    assert_eq!(watch.keeper, other.keeper);
    assert_eq!(watch.versions[before..], other.versions);
    for length in (0..bytes.len()).step_by(7) {
        assert!(Keeper::load(&mut Reader::new(&bytes[..length])).is_err());
    }
}

#[test]
fn a_keeper_takes_four_kilobytes() {
    let mut watch = Watch::new(KeeperSettings::default());
    watch.days(40, usual);
    let bytes = size_of::<Keeper>() + watch.keeper.bytes();
    assert!(bytes <= 5_000, "{bytes}");
}

#[test]
fn hostile_times_and_values_are_survived() {
    let mut watch = Watch::new(KeeperSettings::default());
    let signal: SignalId = "service:shop/orders#load".parse().unwrap();
    for i in 0..3_000_i64 {
        let at = Timestamp::from_second((watch.noise.uniform() * 4e9) as i64 - 2_000_000_000).unwrap();
        let value = [f64::MAX, f64::MIN, f64::NAN, f64::INFINITY, 0.0, 1e-300, 5.0][(i % 7) as usize];
        watch.keeper.observe(at, value);
        if watch.keeper.is_due(at, &watch.settings) {
            watch.keeper.find(at, &signal, &watch.settings, &mut watch.finder);
        }
    }
    assert!(watch.keeper.bytes() < 10_000);
}
