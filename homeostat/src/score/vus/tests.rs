//! The volume against the definition computed the slow way, and against detectors whose order is known.

use super::*;

fn noise(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn labels(rows: usize, spans: &[(usize, usize)]) -> Vec<bool> {
    (0..rows).map(|row| spans.iter().any(|(first, last)| (*first..=*last).contains(&row))).collect()
}

/// The definition word by word: for each buffer and each threshold, from whole vectors.
fn by_definition(scores: &[f64], labels: &[bool], buffer: usize) -> f64 {
    let rows = scores.len();
    let events = events(labels);
    let mut falling = scores.to_vec();
    falling.sort_by(|a, b| b.total_cmp(a));
    let labelled: f64 = labels.iter().filter(|label| **label).count() as f64;
    let mut volume = 0.0;
    for window in 0..=buffer {
        let half = window / 2;
        let mut extended: Vec<f64> = labels.iter().map(|label| if *label { 1.0 } else { 0.0 }).collect();
        let mut spans: Vec<(usize, usize)> = Vec::new();
        for event in &events {
            for (row, weight) in extended.iter_mut().enumerate() {
                let distance =
                    if row < event.first { event.first - row } else { row.saturating_sub(event.last) };
                if distance > 0 && distance <= half {
                    *weight = (*weight + (1.0 - distance as f64 / window as f64).sqrt()).min(1.0);
                }
            }
            let (start, end) = (event.first.saturating_sub(half), (event.last + half).min(rows - 1));
            match spans.last_mut() {
                Some(span) if span.1 >= start => span.1 = end,
                _ => spans.push((start, end)),
            }
        }
        let mut before = 0.0;
        for k in 0..250 {
            let threshold = falling[(rows - 1) * k / 249];
            let detected: Vec<bool> = scores.iter().map(|score| *score >= threshold).collect();
            let count = detected.iter().filter(|detected| **detected).count() as f64;
            let existing = spans.iter().filter(|(a, b)| (*a..=*b).any(|row| detected[row])).count() as f64;
            let hit = |row: usize| if detected[row] { extended[row] } else { 0.0 };
            let hits: f64 = (0..rows).map(hit).sum();
            let sum: f64 = (0..rows).map(|row| if labels[row] { 1.0 } else { hit(row) }).sum();
            let recall = (hits / ((labelled + sum) / 2.0)).min(1.0) * existing / spans.len() as f64;
            volume += (recall - before) * hits / count;
            before = recall;
        }
    }
    volume / (buffer + 1) as f64
}

#[test]
fn the_fast_way_is_the_definition() {
    let labels = labels(400, &[(0, 3), (60, 75), (90, 90), (250, 300), (396, 399)]);
    for seed in 1..6 {
        let mut noise = noise(seed);
        let scores: Vec<f64> = labels
            .iter()
            .map(|label| ((noise() + if *label { 0.3 } else { 0.0 }) * 50.0).round() / 50.0)
            .collect();
        let (fast, slow) = (vus_pr(&scores, &labels, 20).unwrap(), by_definition(&scores, &labels, 20));
        assert!((fast - slow).abs() < 1e-12, "seed {seed}: {fast} is not {slow}");
    }
}

#[test]
fn perfect_beats_late_beats_chance() {
    let labels = labels(2000, &[(400, 450), (1200, 1300)]);
    let score = |shift: usize| -> Vec<f64> {
        (0..labels.len()).map(|row| f64::from(u8::from(row >= shift && labels[row - shift]))).collect()
    };
    let mut noise = noise(7);
    let chance: Vec<f64> = labels.iter().map(|_| noise()).collect();
    let of = |scores: &[f64]| vus_pr(scores, &labels, 50).unwrap();
    let (perfect, late, chance) = (of(&score(0)), of(&score(10)), of(&chance));
    assert!(perfect > 0.9 && perfect <= 1.0, "{perfect}");
    assert!(late > 0.5 && late < perfect, "{late}");
    assert!(chance < 0.15, "{chance}");
}

#[test]
fn without_buffer_a_perfect_score_has_the_whole_area() {
    let labels = labels(1000, &[(400, 499)]);
    let scores: Vec<f64> = labels.iter().map(|label| f64::from(u8::from(*label))).collect();
    assert!((vus_pr(&scores, &labels, 0).unwrap() - 1.0).abs() < 1e-12);
}

#[test]
fn nothing_is_said_without_both_kinds_of_rows() {
    assert_eq!(vus_pr(&[0.1, 0.2], &[false, false], 5), None);
    assert_eq!(vus_pr(&[0.1, 0.2], &[true, true], 5), None);
    assert_eq!(vus_pr(&[0.1], &[true, false], 5), None);
    assert!(vus_pr(&[f64::NAN, 0.2, 0.1], &[false, true, false], 5).unwrap() > 0.5);
}
