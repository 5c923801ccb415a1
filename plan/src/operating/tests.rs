//! A state machine that is shaken by everything that comes and goes.

use super::*;
use crate::fixtures::at;
use chassis::IdGenerator;

/// One look a second at this pressure, for so many seconds; the seconds at which the state changed.
fn run(
    operating: &mut Operating,
    from: i64,
    seconds: i64,
    pressure: impl FnMut(i64) -> Option<f64>,
) -> Vec<i64> {
    run_with(operating, from, seconds, pressure, |_| false)
}

fn run_with(
    operating: &mut Operating,
    from: i64,
    seconds: i64,
    mut pressure: impl FnMut(i64) -> Option<f64>,
    mut spare: impl FnMut(i64) -> bool,
) -> Vec<i64> {
    let interval = Duration::from_secs(1);
    (from..from + seconds)
        .filter(|second| {
            let look = Look { at: at(*second), pressure: pressure(*second), spare: spare(*second), interval };
            operating.observe(&look)
        })
        .collect()
}

#[test]
fn trouble_shows_in_two_looks_and_ends_by_recovering() {
    let mut operating = Operating::default();
    assert_eq!(run(&mut operating, 0, 10, |_| Some(0.0)), [] as [i64; 0]);
    assert_eq!(run(&mut operating, 10, 1, |_| Some(50.0)), [] as [i64; 0], "one look may be chance");
    assert_eq!(run(&mut operating, 11, 1, |_| Some(50.0)), [11]);
    assert_eq!(operating.state(), State::Critical);
    let changes = run(&mut operating, 12, 300, |_| Some(0.0));
    assert_eq!(changes.len(), 3, "critical, degraded, recovering, healthy: {changes:?}");
    assert_eq!(operating.state(), State::Healthy);
    assert!(changes.windows(2).all(|pair| pair[1] - pair[0] >= 60), "{changes:?}");
}

#[test]
fn between_the_limits_nothing_moves() {
    for (state, pressure) in [(State::Degraded, 1.5), (State::Critical, 7.0)] {
        let mut operating = Operating::default();
        run(&mut operating, 0, 5, |_| Some(if state == State::Critical { 20.0 } else { 3.0 }));
        assert_eq!(operating.state(), state);
        assert_eq!(run(&mut operating, 5, 7_200, |_| Some(pressure)), [] as [i64; 0], "{state}");
    }
}

#[test]
fn unknown_is_degraded_and_calms_nothing() {
    let mut operating = Operating::default();
    run(&mut operating, 0, 5, |_| None);
    assert_eq!(operating.state(), State::Degraded);
    run(&mut operating, 5, 5, |_| Some(30.0));
    assert_eq!(run(&mut operating, 10, 7_200, |_| None), [] as [i64; 0]);
    assert_eq!(operating.state(), State::Critical);
    let mut spoilt = Operating::default();
    run(&mut spoilt, 0, 5, |_| Some(f64::NAN));
    assert_eq!(spoilt.state(), State::Degraded);
}

#[test]
fn spare_is_optimised_after_a_dwell_and_trouble_ends_that_at_once() {
    let mut operating = Operating::default();
    let changes = run_with(&mut operating, 0, 120, |_| Some(0.0), |_| true);
    assert_eq!((changes, operating.state()), (vec![60], State::Optimizing));
    run(&mut operating, 120, 2, |_| Some(5.0));
    assert_eq!(operating.state(), State::Degraded);
}

/// Half of each period is bad, half is well.
fn square(period: i64, pressure: f64) -> impl Fn(i64) -> Option<f64> {
    move |second| Some(if second % period < period / 2 { pressure } else { 0.0 })
}

#[test]
fn no_oscillation_survives() {
    // Whatever comes and goes within the longest dwell, an hour: after some relapses the state stays where it is.
    for period in [2, 3, 5, 10, 30, 60, 121, 240, 600, 1_200, 3_600, 7_000] {
        for pressure in [2.0, 3.0, 9.9, 10.0, 100.0] {
            let mut operating = Operating::default();
            let learning = 40 * period.max(3_600);
            let before = run(&mut operating, 0, learning, square(period, pressure));
            let after = run(&mut operating, learning, 10 * period.max(3_600), square(period, pressure));
            assert!(after.is_empty(), "period {period} s at {pressure}: {after:?} after {}", before.len());
            assert!(before.len() <= 40, "period {period} s at {pressure}: {} changes", before.len());
            let settled = if period == 2 || period == 3 { operating.state() } else { State::Degraded };
            assert!(operating.state() >= settled, "period {period} s at {pressure}: {}", operating.state());
        }
    }
}

#[test]
fn noise_around_every_limit_moves_it_a_few_times_a_day_at_most() {
    for (seed, middle) in [0.9, 1.0, 1.5, 2.0, 2.1, 5.0, 7.5, 10.0, 10.5].into_iter().enumerate() {
        let mut dice = IdGenerator::from_seed(seed as u64);
        let mut operating = Operating::default();
        let noisy = |_| Some(middle * (0.5 + dice.unit_f64()));
        let changes = run(&mut operating, 0, 86_400, noisy);
        assert!(changes.len() <= 12, "around {middle}: {} changes", changes.len());
        // The second half of the day is calmer still.
        let late = changes.iter().filter(|second| **second > 43_200).count();
        assert!(late <= 2, "around {middle}: {late} late changes");
    }
}

#[test]
fn spare_that_comes_and_goes_does_not_move_it_for_ever() {
    for period in [2, 30, 119, 240, 600, 3_600] {
        let mut operating = Operating::default();
        let spare = |second: i64| second % period < period / 2;
        let learning = 40 * 3_600;
        let changes = run_with(&mut operating, 0, learning, |_| Some(0.0), spare);
        assert!(changes.windows(2).all(|pair| pair[1] - pair[0] >= 60), "period {period} s: {changes:?}");
        assert!(period > 120 || changes.is_empty(), "period {period} s: {changes:?}");
        let after = run_with(&mut operating, learning, learning, |_| Some(0.0), spare);
        assert!(after.is_empty(), "period {period} s: {after:?}");
    }
}

#[test]
fn relapses_are_forgotten_when_it_stays_well() {
    let mut operating = Operating::default();
    run(&mut operating, 0, 20_000, square(600, 5.0));
    assert!(operating.relapses > 0);
    run(&mut operating, 20_000, 10 * 86_400, |_| Some(0.0));
    assert_eq!((operating.state(), operating.relapses), (State::Healthy, 0));
}

#[test]
fn older_looks_change_nothing() {
    let mut operating = Operating::default();
    run(&mut operating, 100, 5, |_| Some(50.0));
    let state = operating;
    assert!(run(&mut operating, 0, 50, |_| Some(0.0)).is_empty());
    assert_eq!(operating, state);
}
