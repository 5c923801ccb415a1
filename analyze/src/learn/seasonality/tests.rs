//! Claims about seasons, on generated series and, where the data directory is there, on M4.

use std::time::Duration;

use jiff::{Timestamp, tz::TimeZone};

use super::*;
use crate::snapshot::codec::{Reader, Stored, Writer};
use crate::testing::Noise;

const HOUR: u64 = 3_600;

fn settings(interval: Duration) -> FinderSettings {
    FinderSettings { interval: Some(interval), ..FinderSettings::default() }
}

fn has(periods: &[Period], samples: f64) -> bool {
    periods.iter().any(|period| (period.samples / samples - 1.0).abs() < 0.02)
}

fn false_share(length: usize, mut draw: impl FnMut(&mut Noise, &mut f64) -> f64) -> f64 {
    let seeds = 100;
    let found = (0..seeds).filter(|seed| {
        let (mut noise, mut state) = (Noise::new(seed + 7 * length as u64), 0.0);
        let values: Vec<f64> = (0..length).map(|_| draw(&mut noise, &mut state)).collect();
        !find(&values, &FinderSettings::default()).is_empty()
    });
    found.count() as f64 / seeds as f64
}

#[test]
fn noise_of_any_colour_has_no_period() {
    for length in [150, 300, 700] {
        let white = false_share(length, |noise, _| noise.normal());
        let exponential = false_share(length, |noise, _| -noise.uniform().ln());
        let walk = false_share(length, |noise, state| {
            *state += noise.normal();
            *state
        });
        let red = false_share(length, |noise, state| {
            *state = 0.9 * *state + noise.normal();
            *state
        });
        let heavy = false_share(length, |noise, _| noise.normal() / noise.normal());
        for (name, share) in
            [("white", white), ("exponential", exponential), ("walk", walk), ("red", red), ("heavy", heavy)]
        {
            assert!(share <= 0.05, "{name} noise of {length} values: {share}");
        }
    }
}

#[test]
fn a_day_and_a_week_are_found_beside_each_other_without_a_clock() {
    let mut noise = Noise::new(1);
    let values: Vec<f64> = (0..840)
        .map(|hour| {
            let weekend = if hour / 24 % 7 >= 5 { -30.0 } else { 0.0 };
            let day = 50.0 * (std::f64::consts::TAU * f64::from(hour % 24) / 24.0).sin();
            200.0 + 0.1 * f64::from(hour) + day + weekend + 8.0 * noise.normal()
        })
        .collect();
    let periods = find(&values, &FinderSettings::default());
    assert!((periods[0].samples - 24.0).abs() < 0.5, "{periods:?}");
    assert!(has(&periods, 168.0), "{periods:?}");
    assert!(periods.windows(2).all(|pair| pair[0].strength >= pair[1].strength));
}

#[test]
fn spikes_on_the_hour_are_a_period() {
    let mut noise = Noise::new(2);
    let values: Vec<f64> = (0..600)
        .map(|minute| if minute % 60 == 3 { 40.0 } else { 0.0 } + 100.0 + 3.0 * noise.normal())
        .collect();
    let periods = find(&values, &settings(Duration::from_secs(60)));
    assert!(has(&periods, 60.0), "{periods:?}");
}

#[test]
fn gaps_outliers_and_extreme_scales_do_not_hide_a_period() {
    for scale in [1e-290, 1.0, 1e290] {
        let mut noise = Noise::new(3);
        let values: Vec<f64> = (0..500)
            .map(|i| match i {
                100..140 => f64::NAN,
                333 => f64::INFINITY,
                250 => 1e3 * scale,
                _ => scale * ((std::f64::consts::TAU * f64::from(i) / 37.0).sin() + 0.3 * noise.normal()),
            })
            .collect();
        let periods = find(&values, &FinderSettings::default());
        assert!(
            periods.first().is_some_and(|period| (period.samples - 37.0).abs() < 0.5),
            "{scale}: {periods:?}"
        );
    }
}

#[test]
fn nothing_is_found_where_there_is_nothing() {
    for values in [
        vec![],
        vec![1.0; 300],
        vec![f64::NAN; 300],
        vec![f64::MAX, -f64::MAX],
        (0..300).map(f64::from).collect(),
    ] {
        assert_eq!(find(&values, &FinderSettings::default()), []);
    }
}

#[test]
fn m4_days_and_weeks_are_found_where_the_data_are_there() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/detection/m4/hourly-train.csv");
    let Ok(text) = std::fs::read_to_string(path) else { return };
    // Every fourth series, for time's sake.
    let series = text.lines().skip(1).step_by(4).map(|line| {
        line.split(',').skip(1).filter_map(|cell| cell.trim_matches('"').parse().ok()).collect::<Vec<f64>>()
    });
    let mut finder = Finder::default();
    let (mut all, mut days, mut weeks) = (0.0, 0.0, 0.0);
    for values in series {
        let periods = finder.find(&values, &FinderSettings::default());
        let is = |period: &Period, samples: f64| (period.samples - samples).abs() <= 1.0;
        all += 1.0;
        days += f64::from(u8::from(periods.first().is_some_and(|period| is(period, 24.0))));
        weeks += f64::from(u8::from(periods.iter().any(|period| is(period, 168.0))));
    }
    assert!(days >= 0.95 * all, "{days} of {all}");
    // Two in five have none: they are temperatures.
    assert!(weeks >= 0.42 * all, "{weeks} of {all}");
}

fn week() -> ProfileSettings {
    let periods = vec![Duration::from_secs(24 * HOUR), Duration::from_secs(168 * HOUR)];
    ProfileSettings { periods, interval: Duration::from_secs(300), cells: 168 }
}

fn usual(second: i64) -> f64 {
    let hour = (second / 3_600).rem_euclid(24) as f64 + (second % 3_600) as f64 / 3_600.0;
    let weekend = if (second / 86_400).rem_euclid(7) >= 5 { -30.0 } else { 0.0 };
    1_000.0 + 100.0 * (std::f64::consts::TAU * hour / 24.0).sin() + weekend
}

#[test]
fn a_profile_learns_days_and_weeks_in_a_kilobyte() {
    let (mut profile, mut noise) = (Profile::new(&week()), Noise::new(4));
    let mut errors = 0.0;
    for i in 0..(28 * 288) {
        let second = i * 300;
        let at = Timestamp::from_second(second).unwrap();
        if i >= 21 * 288 {
            errors += (profile.expected(at).unwrap() - usual(second)).abs() / (7.0 * 288.0);
        }
        profile.update(at, usual(second) + 10.0 * noise.normal(), 1.0);
    }
    assert!(errors < 6.0, "{errors}");
    assert!(profile.strength() > 0.95, "{}", profile.strength());
    assert!(profile.bytes() < 1_300, "{}", profile.bytes());
}

#[test]
fn an_outage_is_no_habit() {
    let (mut profile, mut noise) = (Profile::new(&week()), Noise::new(5));
    for i in 0..(21 * 288) {
        let is_out = (18 * 288 + 100..18 * 288 + 112).contains(&i);
        let at = Timestamp::from_second(i * 300).unwrap();
        profile.update(at, if is_out { 0.0 } else { usual(i * 300) + 10.0 * noise.normal() }, 1.0);
    }
    let noon = (21 * 288 + 106) * 300;
    let expected = profile.expected(Timestamp::from_second(noon).unwrap()).unwrap();
    assert!((expected - usual(noon)).abs() < 30.0, "{expected} for {}", usual(noon));
}

#[test]
fn nine_on_the_wall_stays_nine_when_the_clocks_change() {
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    let mut calendar = Calendar::new(Some(zone));
    let settings = ProfileSettings {
        interval: Duration::from_secs(900),
        cells: 96,
        periods: vec![Duration::from_secs(24 * HOUR)],
    };
    let mut profile = Profile::new(&settings);
    // Two weeks before the change of 2024-03-31, then the day after.
    let start = "2024-03-16T00:00:00+01:00".parse::<Timestamp>().unwrap().as_second();
    let busy =
        |local_s: f64| if (9.0..17.0).contains(&(local_s / 3_600.0).rem_euclid(24.0)) { 100.0 } else { 10.0 };
    for quarter in 0..(15 * 96) {
        let moment = calendar.moment_at((start + quarter * 900) as f64);
        profile.update(moment, busy(moment.local_s), 1.0);
    }
    for (text, value) in [
        ("2024-04-01T09:30:00+02:00", 100.0),
        ("2024-04-01T08:30:00+02:00", 10.0),
        ("2024-04-01T17:30:00+02:00", 10.0),
    ] {
        let at = text.parse::<Timestamp>().unwrap();
        let expected = profile.expected(calendar.moment(at)).unwrap();
        assert!((expected - value).abs() < 12.0, "{text}: {expected}");
    }
}

#[test]
fn a_calendar_agrees_with_its_zone() {
    let zone = TimeZone::get("America/New_York").unwrap();
    let mut calendar = Calendar::new(Some(zone.clone()));
    for step in 0..2_000 {
        // Back and forth over years.
        let at = Timestamp::from_second(1_700_000_000 + step * 7_654_321 % 200_000_000).unwrap();
        let moment = calendar.moment(at);
        assert_eq!(moment.local_s - moment.unix_s, f64::from(zone.to_offset(at).seconds()), "{at}");
    }
    // At the change itself, then a second before it.
    let change = "2024-03-10T07:00:00Z".parse::<Timestamp>().unwrap().as_second() as f64;
    assert_eq!(
        [0.0, 1.0].map(|back| calendar.moment_at(change - back).local_s - change),
        [-14_400.0, -18_001.0]
    );
}

#[test]
fn a_ring_grows_coarse_and_keeps_the_whole_past() {
    let mut ring = Ring::new(64, Duration::from_secs(10), Duration::from_secs(64 * 80));
    for i in 0..2_000_i64 {
        ring.push(Timestamp::from_second(i * 10).unwrap(), 1e6 + i as f64);
        let values = ring.values();
        assert!(values.len() <= 64 && values.windows(2).all(|pair| pair[1] > pair[0]), "{i}: {values:?}");
    }
    assert_eq!(ring.interval(), Duration::from_secs(80));
    assert!((ring.values().last().unwrap() - (1e6 + 1_987.5)).abs() < 2.0, "{:?}", ring.values().last());
}

#[test]
fn a_ring_shows_gaps_and_refuses_the_past() {
    let mut ring = Ring::new(32, Duration::from_secs(10), Duration::from_secs(320));
    for i in [0_i64, 1, 2, 6, 7, 8, 3] {
        ring.push(Timestamp::from_second(i * 10).unwrap(), i as f64);
    }
    let values = ring.values();
    assert_eq!(values.iter().filter(|value| value.is_nan()).count(), 3, "{values:?}");
    assert_eq!(values.len(), 8);
    ring.push(Timestamp::from_second(1_000_000).unwrap(), 1.0);
    assert!(ring.values().iter().all(|value| value.is_nan()));
}

#[test]
fn a_decomposition_tells_level_season_and_remainder_apart() {
    let (mut decomposition, mut noise) =
        (Decomposition::new(&week(), Duration::from_secs(6 * HOUR)), Noise::new(6));
    let mut remainders = 0.0;
    for i in 0..(28 * 288) {
        let at = Timestamp::from_second(i * 300).unwrap();
        let parts = decomposition.observe(at, usual(i * 300) + noise.normal()).unwrap();
        if i > 21 * 288 {
            remainders += parts.remainder.abs() / (7.0 * 288.0);
            assert!((parts.level + parts.seasonal + parts.remainder - usual(i * 300)).abs() < 6.0);
        }
    }
    assert!(remainders < 3.0, "{remainders}");
    assert_eq!(decomposition.observe(Timestamp::UNIX_EPOCH, 1.0), None);
}

#[test]
fn restored_state_goes_on_as_if_nothing_had_happened() {
    let (mut profile, mut ring) =
        (Profile::new(&week()), Ring::new(64, Duration::from_secs(300), Duration::from_secs(86_400)));
    let mut noise = Noise::new(8);
    let mut feed = |profile: &mut Profile, ring: &mut Ring, i: i64| {
        let (at, value) = (Timestamp::from_second(i * 300).unwrap(), usual(i * 300) + noise.normal());
        profile.update(at, value, 1.0);
        ring.push(at, value);
        value
    };
    for i in 0..5_000 {
        feed(&mut profile, &mut ring, i);
    }
    let mut writer = Writer::default();
    writer.put(&profile).put(&ring);
    let bytes = writer.into_bytes();
    let mut reader = Reader::new(&bytes);
    let (mut other, mut other_ring): (Profile, Ring) = (reader.get().unwrap(), reader.get().unwrap());
    for i in 5_000..6_000 {
        let value = feed(&mut profile, &mut ring, i);
        other.update(Timestamp::from_second(i * 300).unwrap(), value, 1.0);
        other_ring.push(Timestamp::from_second(i * 300).unwrap(), value);
    }
    assert_eq!((profile, ring), (other, other_ring));
    assert!(Profile::load(&mut Reader::new(&bytes[..bytes.len() / 2 - 100])).is_err());
}

#[test]
fn hostile_values_leave_a_profile_sound() {
    let (mut profile, mut noise) = (Profile::new(&week()), Noise::new(9));
    for i in 0..20_000_i64 {
        let at = Timestamp::from_second((noise.uniform() * 4e9) as i64 - 2_000_000_000).unwrap();
        let value = [f64::MAX, f64::MIN, f64::NAN, f64::INFINITY, 0.0, 1e-300, 5.0][(i % 7) as usize];
        profile.update(at, value, noise.normal());
        assert!(!profile.expected(at).is_some_and(f64::is_nan) && (0.0..=1.0).contains(&profile.strength()));
    }
}
