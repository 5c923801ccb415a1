//! Pairs that part company are told, and only those.

use chassis::IdGenerator;

use super::*;

struct Chance(IdGenerator);

impl Chance {
    fn normal(&mut self) -> f64 {
        // Irwin and Hall: the sum of twelve uniform numbers.
        (0..12).map(|_| self.0.unit_f64()).sum::<f64>() - 6.0
    }
}

/// Ten groups of four signals; the last of each follows three samples later. Where `broken`, the first group falls apart.
fn signals(samples: usize, broken: bool, chance: &mut Chance) -> Vec<Vec<f64>> {
    let mut series = vec![vec![0.0; samples]; 40];
    for group in 0..10 {
        let causes: Vec<f64> = (0..samples + 3).map(|_| chance.normal()).collect();
        for member in 0..4 {
            let lag = if member == 3 { 3 } else { 0 };
            for at in 0..samples {
                let cause =
                    if broken && group == 0 && member == 1 { chance.normal() } else { causes[at + 3 - lag] };
                series[4 * group + member][at] = 5.0 * cause + 2.0 * chance.normal();
            }
        }
    }
    series
}

#[test]
fn a_broken_pair_is_told_and_steady_ones_are_not() {
    let mut chance = Chance(IdGenerator::from_seed(3));
    let settings = ChangeSettings::default();
    let baseline = Baseline::learn(&signals(1_000, false, &mut chance), &settings);
    let changes = baseline.review(&signals(200, true, &mut chance), &settings);
    assert!(changes.len() >= 2, "{changes:?}");
    assert!(changes.iter().all(|change| change.pair.leader == 1 || change.pair.follower == 1), "{changes:?}");
    assert_eq!(baseline.review(&signals(200, false, &mut chance), &settings), []);
}

#[test]
fn false_changes_keep_within_the_rate() {
    let mut chance = Chance(IdGenerator::from_seed(4));
    let settings = ChangeSettings { false_rate: 0.05, effect: 0.0, ..ChangeSettings::default() };
    let baseline = Baseline::learn(&signals(1_000, false, &mut chance), &settings);
    let runs = 100;
    let told = (0..runs)
        .filter(|_| !baseline.review(&signals(100, false, &mut chance), &settings).is_empty())
        .count();
    // With nothing true, the share of runs that tell of anything is the rate; three standard deviations of 100 runs are 6.5.
    assert!(told <= 11, "{told} of {runs}");
}

#[test]
fn followers_are_found_at_their_lag() {
    let mut chance = Chance(IdGenerator::from_seed(5));
    let baseline = Baseline::learn(&signals(1_000, false, &mut chance), &ChangeSettings::default());
    let lagged = baseline.pairs().iter().find(|pair| pair.follower == 3 && pair.leader == 0).unwrap();
    assert_eq!(lagged.lag, 3);
}

#[test]
fn cost_is_bounded_by_partners() {
    let mut chance = Chance(IdGenerator::from_seed(6));
    let cause: Vec<f64> = (0..200).map(|_| chance.normal()).collect();
    let all: Vec<Vec<f64>> =
        (0..60).map(|_| cause.iter().map(|cause| cause + 0.1 * chance.normal()).collect()).collect();
    let baseline = Baseline::learn(&all, &ChangeSettings::default());
    assert!(baseline.pairs().len() <= 4 * 60, "{} of 1,770 pairs", baseline.pairs().len());
}

#[test]
fn unknown_and_still_signals_are_no_change() {
    let mut chance = Chance(IdGenerator::from_seed(7));
    let settings = ChangeSettings::default();
    let baseline = Baseline::learn(&signals(500, false, &mut chance), &settings);
    let mut window = signals(100, false, &mut chance);
    window[0].fill(f64::NAN);
    window[5].fill(3.0);
    window.truncate(30);
    assert_eq!(baseline.review(&window, &settings), []);
    assert!(Baseline::learn(&[], &settings).pairs().is_empty());
}

#[test]
fn slow_signals_are_worth_fewer_samples() {
    let mut chance = Chance(IdGenerator::from_seed(8));
    let mut walk = |keep: f64| -> Vec<f64> {
        let mut value = 0.0;
        (0..1_000)
            .map(|_| {
                value = keep * value + chance.normal();
                value
            })
            .collect()
    };
    let (_, quick) = correlation(&walk(0.0), &walk(0.0), 0).unwrap();
    let (_, slow) = correlation(&walk(0.95), &walk(0.95), 0).unwrap();
    assert!(quick > 900.0 && slow < 200.0, "{quick} {slow}");
}
