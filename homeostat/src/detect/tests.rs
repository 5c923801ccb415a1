//! The promises of the contract, held through the very function that the command runs.

use super::*;
use proptest::prelude::*;

fn judged(text: &str) -> (String, Tally) {
    let mut out = Vec::new();
    let mut rows = Rows::open(text.as_bytes(), None).unwrap();
    let tally = file(&mut rows, SeriesSettings::default(), &mut out, |_| {}).unwrap();
    (String::from_utf8(out).unwrap(), tally)
}

#[test]
fn every_row_stays_and_a_refused_one_has_score_0_and_no_band() {
    let text = "timestamp,value\n2026-01-01 00:00:00,1\n2026-01-01 00:00:00,2\nnever,3\n2026-01-01 00:05:00,\n2025-01-01 00:00:00,4\n2026-01-01 00:10:00,5\n";
    let (out, tally) = judged(text);
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines[0], "timestamp,value,score,severity,expected,lower,upper,deviation");
    assert_eq!(lines.len(), 7);
    assert_eq!(lines[2], "2026-01-01 00:00:00,2,0.0,0.0,,,,0");
    assert_eq!(lines[3], "never,3,0.0,0.0,,,,0");
    assert_eq!(lines[4], "2026-01-01 00:05:00,,0.0,0.0,,,,0");
    assert_eq!(lines[5], "2025-01-01 00:00:00,4,0.0,0.0,,,,0");
    assert_eq!((tally.rows, tally.refused), (6, 4));
    let said: Vec<_> = tally.refusals.iter().map(ToString::to_string).collect();
    let beginnings = [
        "line 3: the time must be later",
        "line 4: the time must be RFC",
        "line 5: the value",
        "line 6: the time",
    ];
    for (said, beginning) in said.iter().zip(beginnings) {
        assert!(said.starts_with(beginning), "{said}");
    }
    assert_eq!(said.len(), 4);
}

#[test]
fn refused_rows_in_a_row_are_named_together_and_a_flood_of_them_is_counted() {
    let (_, tally) = judged("60,1\nx,1\ny,2\nz,3\n120,1\n");
    assert_eq!(tally.refusals.len(), 1);
    assert!(tally.refusals[0].to_string().starts_with("lines 2 to 4 (3 rows): the time"));
    let flood: String = (0..1000).map(|k| format!("x,1\n{},2\n", 60 * k)).collect();
    let (_, tally) = judged(&flood);
    assert_eq!((tally.refused, tally.refusals.len()), (1000, NAMED_MAX));
}

#[test]
fn an_empty_file_gives_a_header() {
    let (out, tally) = judged("");
    assert_eq!(out.lines().count(), 1);
    assert_eq!(tally, Tally::default());
}

/// A day's course with noise, now and then a burst, a gap, a refused row.
fn series(rows: usize, seed: u64) -> String {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut noise = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut text = "timestamp,value\n".to_owned();
    for row in 0..rows {
        let (chance, at) = (noise(), 1_700_000_000 + 300 * row as i64);
        let course = 100.0 + 30.0 * (row as f64 / 288.0 * std::f64::consts::TAU).sin() + 3.0 * noise();
        let line = match chance {
            c if c < 0.01 => format!("{at},{}\n", course * 4.0),
            c if c < 0.02 => format!("{at},lost\n"),
            c if c < 0.03 => format!("{},{course}\n", at - 3600),
            _ => format!("{at},{course}\n"),
        };
        text.push_str(&line);
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn the_first_rows_of_the_output_are_the_output_of_the_first_rows(seed in 1u64..1000, rows in 1usize..3000, share in 0.0f64..1.0) {
        let text = series(rows, seed);
        let kept = 1 + (rows as f64 * share) as usize;
        let head: String = text.lines().take(kept).map(|line| format!("{line}\n")).collect();
        let (whole, _) = judged(&text);
        let (part, _) = judged(&head);
        let expected: Vec<_> = whole.lines().take(kept).collect();
        prop_assert_eq!(part.lines().collect::<Vec<_>>(), expected);
    }
}
