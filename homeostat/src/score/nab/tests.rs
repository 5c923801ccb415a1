//! NAB's rules one by one on cases small enough to compute by hand, and whole detectors whose worth is known.

use super::*;

/// 20 rows, so 3 of probation; the window is rows 10..=13.
fn file(detected: &[usize]) -> Judged {
    let mut scores = vec![0.0; 20];
    for row in detected {
        scores[*row] = 0.9;
    }
    Judged {
        name: "case.csv".to_owned(),
        alerts: scores.iter().map(|score| *score > 0.5).collect(),
        scores,
        windows: vec![Window { first: 10, last: 13 }],
    }
}

/// The standard profile's raw score when these rows are detected.
fn raw(detected: &[usize]) -> f64 {
    let file = file(detected);
    let [standard, ..] = fixed(std::slice::from_ref(&file));
    let [same, ..] = at(std::slice::from_ref(&file), 0.5);
    assert_eq!(standard.raw, same.raw, "alerts and scores say the same here");
    standard.raw
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[track_caller]
fn near(left: f64, right: f64) {
    assert!((left - right).abs() < 1e-9, "{left} is not {right}");
}

#[test]
fn probation_is_15_percent_and_never_above_750_rows() {
    assert_eq!(probation(20), 3);
    assert_eq!(probation(4032), 604);
    assert_eq!(probation(5000), 750);
    assert_eq!(probation(22695), 750);
    near(raw(&[0, 1, 2]), -1.0);
    near(raw(&[3]), -1.11);
}

#[test]
fn the_first_row_of_a_window_earns_1_and_later_ones_less() {
    near(raw(&[10]), 1.0);
    // The third row of four: y = -(13 - 12 + 1) / 4 = -1/2; s(-1) = 0.98661.
    let expected = (2.0 * sigmoid(2.5) - 1.0) / (2.0 * sigmoid(5.0) - 1.0);
    near(raw(&[12]), expected);
    assert!((expected - 0.8598).abs() < 1e-3, "about 0.86 in the middle");
    near(raw(&[13]), (2.0 * sigmoid(1.25) - 1.0) / 0.986_614_298_151_430_3);
}

#[test]
fn only_the_best_detection_in_a_window_counts() {
    near(raw(&[10, 11, 12, 13]), 1.0);
    near(raw(&[12, 13]), raw(&[12]));
}

#[test]
fn every_false_row_before_any_window_costs_all() {
    near(raw(&[5, 6, 10]), 1.0 - 0.22);
}

#[test]
fn a_false_row_after_a_window_costs_by_its_distance_in_widths() {
    // y = |15 - 13| / (4 - 1).
    near(raw(&[10, 15]), 1.0 + 0.11 * (2.0 * sigmoid(-5.0 * 2.0 / 3.0) - 1.0));
    let mut long = file(&[10]);
    long.scores.extend([0.0; 4]);
    long.alerts.extend([false, false, false, true]);
    // Row 23 lies 10/3 widths behind, beyond 3: the whole cost.
    near(fixed(&[long])[0].raw, 1.0 - 0.11);
}

#[test]
fn after_a_window_of_one_row_a_false_row_costs_all() {
    let mut narrow = file(&[10, 14]);
    narrow.windows = vec![Window { first: 10, last: 10 }];
    near(fixed(&[narrow])[0].raw, 1.0 - 0.11);
}

#[test]
fn profiles_weigh_misses_and_false_rows() {
    let [standard, low_fp, low_fn] = fixed(&[file(&[5])]);
    near(standard.raw, -1.11);
    near(low_fp.raw, -1.22);
    near(low_fn.raw, -2.11);
    let [standard, low_fp, low_fn] = fixed(&[file(&[5, 10])]);
    near(standard.normalised.unwrap(), 100.0 * (0.89 + 1.0) / 2.0);
    near(low_fp.normalised.unwrap(), 100.0 * (0.78 + 1.0) / 2.0);
    near(low_fn.normalised.unwrap(), 100.0 * (0.89 + 2.0) / 3.0);
}

#[test]
fn one_threshold_for_all_files_and_the_higher_of_equals() {
    let mut first = file(&[]);
    let mut second = file(&[]);
    first.scores[10] = 0.8;
    second.scores[10] = 0.6;
    second.scores[11] = 0.5;
    first.scores[4] = 0.2;
    let [standard, ..] = best(&[first, second]);
    // 0.5 finds no more than 0.6 does, 0.2 costs a false row.
    assert_eq!(standard.threshold, Some(0.6));
    assert_eq!((standard.found, standard.windows, standard.false_rows), (2, 2, 0));
    near(standard.normalised.unwrap(), 100.0);
}

#[test]
fn a_profile_chooses_its_own_threshold() {
    // Finding the window takes 10 false rows before it: worth it at 0.11, not at 0.22.
    let mut scores = vec![0.0; 40];
    scores[10..20].fill(0.5);
    scores[20] = 0.5;
    let judged = Judged {
        scores,
        alerts: vec![false; 40],
        windows: vec![Window { first: 20, last: 23 }],
        ..Judged::default()
    };
    let [standard, low_fp, _] = best(&[judged]);
    assert_eq!(standard.threshold, Some(0.5));
    assert_eq!(low_fp.threshold, Some(NOTHING));
    near(low_fp.normalised.unwrap(), 0.0);
}

#[test]
fn the_best_threshold_is_the_best_of_all_by_trial() {
    let files: Vec<Judged> = (0..4).map(|seed| random(seed, 300)).collect();
    let chosen = best(&files);
    let mut every: Vec<f64> = files.iter().flat_map(|file| file.scores.clone()).collect();
    every.push(NOTHING);
    for (profile, chosen) in chosen.iter().enumerate() {
        let trial = every.iter().map(|t| at(&files, *t)[profile].raw).fold(f64::MIN, f64::max);
        near(chosen.raw, trial);
        near(at(&files, chosen.threshold.unwrap())[profile].raw, chosen.raw);
    }
}

#[test]
fn silence_is_worth_0_and_perfection_100() {
    let mut files: Vec<Judged> = (0..20).map(|seed| random(seed, 4000)).collect();
    for file in &mut files {
        file.scores.fill(0.0);
    }
    for outcome in fixed(&files) {
        near(outcome.normalised.unwrap(), 0.0);
    }
    for file in &mut files {
        for window in &file.windows {
            file.scores[window.first] = 1.0;
            file.alerts[window.first] = true;
        }
    }
    for outcome in best(&files).into_iter().chain(fixed(&files)) {
        near(outcome.normalised.unwrap(), 100.0);
    }
}

#[test]
fn chance_is_worth_about_17() {
    let files: Vec<Judged> = (0..58).map(|seed| random(seed, 4000)).collect();
    let score = best(&files)[0].normalised.unwrap();
    assert!((10.0..25.0).contains(&score), "{score}");
}

#[test]
fn without_windows_there_is_no_normalised_score_and_false_rows_still_cost() {
    let quiet = Judged { windows: Vec::new(), ..file(&[5, 6]) };
    let [standard, ..] = fixed(&[quiet]);
    near(standard.raw, -0.22);
    assert_eq!(standard.normalised, None);
}

#[test]
fn a_score_that_is_no_number_is_never_detected() {
    let mut hostile = file(&[]);
    hostile.scores.fill(f64::NAN);
    let [standard, ..] = best(&[hostile]);
    assert_eq!((standard.found, standard.false_rows), (0, 0));
}

#[test]
fn a_window_that_ends_in_the_probation_counts_neither_way() {
    let mut early = file(&[1, 10]);
    early.windows.insert(0, Window { first: 0, last: 2 });
    let [standard, ..] = fixed(&[early]);
    assert_eq!((standard.windows, standard.found), (1, 1));
    near(standard.raw, 1.0);
}

#[test]
fn spans_are_found_by_the_times_of_their_rows() {
    let times: Vec<i64> = (0..10).map(|row| 60 * row).collect();
    assert_eq!(locate(&times, &[(60, 180)]), Ok(vec![Window { first: 1, last: 3 }]));
    assert_eq!(locate(&times, &[(60, 185)]), Err((60, 185)));
}

/// Scores by chance; two windows of 5 % of the rows each.
fn random(seed: u64, rows: usize) -> Judged {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) + 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let width = rows / 20;
    let windows = [2, 5].map(|eighth| {
        let first = eighth * rows / 8 + (next() * width as f64) as usize;
        Window { first, last: first + width - 1 }
    });
    Judged {
        name: seed.to_string(),
        scores: (0..rows).map(|_| next()).collect(),
        alerts: vec![false; rows],
        windows: windows.to_vec(),
    }
}
