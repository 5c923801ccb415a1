//! detect, forecast and score as processes: what they write, how they refuse, and that the scorer agrees with published figures.

use super::{refuses, run};
use serde_json::Value;
use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A day's course in five-minute rows with one burst, beginning 2026-01-01.
fn series(rows: i64) -> String {
    let mut text = "timestamp,value\n".to_owned();
    for row in 0..rows {
        let course =
            100.0 + 20.0 * (row as f64 / 288.0 * std::f64::consts::TAU).sin() + ((row * 37) % 11) as f64;
        let value = if (1500..1503).contains(&row) { 900.0 } else { course };
        writeln!(text, "{},{value}", 1_767_225_600 + 300 * row).unwrap();
    }
    text
}

fn write(folder: &TempDir, name: &str, text: &str) -> PathBuf {
    let file = folder.path().join(name);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, text).unwrap();
    file
}

/// Runs a command that must end well, and reads the JSON that it prints.
#[track_caller]
fn answer(arguments: &[&str]) -> Value {
    let output = run(arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {error}");
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{arguments:?} prints no JSON: {error}"))
}

#[track_caller]
fn fails(arguments: &[&str], words: &[&str]) {
    let output = run(arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
    for word in words {
        assert!(error.contains(word), "{arguments:?} must say {word:?}: {error}");
    }
}

#[test]
fn detect_writes_a_csv_and_a_page_per_series_and_keeps_folders() {
    let data = TempDir::new().unwrap();
    write(&data, "a/one.csv", &series(2000));
    write(&data, "b/one.csv", &series(1000).replace("1767226200,", "gone,"));
    let out = data.path().join("out");
    let given =
        ["detect", path(data.path()), "--out", path(&out), "--html", "--jobs", "2", "--output", "json"];
    let summary = answer(&given);
    assert_eq!(summary.as_array().unwrap().len(), 2);
    assert_eq!(summary[0]["rows"], 2000);
    assert_eq!((&summary[1]["rows"], &summary[1]["refused"]), (&Value::from(1000), &Value::from(1)));
    for (name, rows) in [("a/one.csv", 2000), ("b/one.csv", 1000)] {
        let text = fs::read_to_string(out.join(name)).unwrap();
        assert!(text.starts_with("timestamp,value,score,severity,expected,lower,upper,deviation\n"));
        assert_eq!(text.lines().count(), rows + 1, "every row of {name} stays");
    }
    let refused = fs::read_to_string(out.join("b/one.csv")).unwrap();
    let line = refused.lines().find(|line| line.starts_with("gone,")).unwrap();
    assert!(line.ends_with(",0.0,0.0,,,,0"), "{line}");
    let page = fs::read_to_string(out.join("a/one.html")).unwrap();
    assert!(page.contains("one.csv") && page.contains("\"rows\":2000"));
}

#[test]
fn detect_says_of_the_first_rows_the_same_whatever_follows() {
    let data = TempDir::new().unwrap();
    let text = series(1600);
    let head: String = text.lines().take(1505).map(|line| format!("{line}\n")).collect();
    let (whole, part) = (write(&data, "whole.csv", &text), write(&data, "part.csv", &head));
    let out = data.path().join("out");
    answer(&["detect", path(&whole), path(&part), "--out", path(&out), "--output", "json"]);
    let read = |name: &str| fs::read_to_string(out.join(name)).unwrap();
    let expected: String = read("whole.csv").lines().take(1505).map(|line| format!("{line}\n")).collect();
    assert_eq!(read("part.csv"), expected);
}

#[test]
fn detect_refuses_what_it_cannot_name_or_read() {
    let data = TempDir::new().unwrap();
    let (one, other) = (write(&data, "a/x.csv", "1,2\n"), write(&data, "b/x.csv", "1,2\n"));
    let out = path(&data.path().join("out")).to_owned();
    refuses(&["detect", path(&one)], &["--out"]);
    refuses(&["detect", "--out", &out], &["CSV"]);
    refuses(&["detect", path(&one), path(&other), "--out", &out], &["x.csv", "both"]);
    refuses(&["detect", path(&one), "--out", &out, "--jobs", "0"], &["--jobs"]);
    fails(&["detect", "/no/such.csv", "--out", &out], &["/no/such.csv"]);
    fails(&["detect", path(&one), "--out", path(one.parent().unwrap())], &["overwrite"]);
    assert_eq!(fs::read_to_string(&one).unwrap(), "1,2\n", "the input is untouched");
    fails(&["detect", path(&one), "--out", &out, "--column", "cpu"], &["cpu"]);
}

#[test]
fn detect_does_not_pass_files_without_a_sample() {
    let data = TempDir::new().unwrap();
    let out = data.path().join("out");
    for (name, text) in [("empty", ""), ("header", "timestamp,value\n"), ("words", "a,b\nc,d\n")] {
        let file = write(&data, &format!("{name}.csv"), text);
        fails(&["detect", path(&file), "--out", path(&out)], &[&format!("{name}.csv"), "timestamp"]);
    }
}

#[test]
fn forecast_answers_in_the_shape_of_the_contract() {
    let data = TempDir::new().unwrap();
    let file = write(&data, "x.csv", &series(1400));
    let file = path(&file);
    let horizon = ["--horizon", "30m", "--step", "5m", "--quantiles", "0.1,0.5,0.9"];
    for format in [&["--output", "json"][..], &[]] {
        let answer = answer(&[&["forecast", file][..], &horizon, format].concat());
        assert_eq!(answer["step_s"], 300);
        assert_eq!(answer["quantiles"], serde_json::json!([0.1, 0.5, 0.9]));
        assert!(answer["origin"].as_str().unwrap().starts_with("2026-01-05T20:"), "{}", answer["origin"]);
        let values = answer["values"].as_array().unwrap();
        assert_eq!(values.len(), 6);
        for row in values {
            let row: Vec<f64> = row.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect();
            assert!(row.len() == 3 && row.is_sorted(), "{row:?}");
        }
    }
    let finer = answer(&["forecast", file, "--horizon", "30m", "--step", "1m"]);
    assert_eq!(finer["values"].as_array().unwrap().len(), 30);
    refuses(&["forecast", file, "--step", "1d"], &["--step", "12h"]);
    refuses(&["forecast", file, "--quantiles", "1.5"], &["between 0 and 1"]);
    refuses(&["forecast", file, "--horizon", "1s", "--step", "1m"], &["--horizon"]);
    refuses(&["forecast", file, "--zone", "Nowhere/Land"], &["Nowhere/Land"]);
    fails(&["forecast", "/no/such.csv"], &["/no/such.csv"]);
    let empty = write(&data, "empty.csv", "timestamp,value\nx,y\n");
    fails(&["forecast", path(&empty)], &["no row", "time and a number"]);
}

/// Two files of 200 rows, a window each; results that alert in `row` of both.
fn corpus(data: &TempDir, row: usize) -> [String; 2] {
    let mut labels = serde_json::Map::new();
    for name in ["a/one.csv", "b/two.csv"] {
        let rows: String = (0..200).map(|k| format!("{},1\n", 1_767_225_600 + 300 * k)).collect();
        write(data, &format!("data/{name}"), &format!("timestamp,value\n{rows}"));
        let rows = (0..200).map(|k| {
            let hit = u8::from(k == row);
            format!("{},1,{hit},{hit},,,,{hit}\n", 1_767_225_600 + 300 * k)
        });
        let header = "timestamp,value,score,severity,expected,lower,upper,deviation\n";
        write(data, &format!("results/{name}"), &format!("{header}{}", rows.collect::<String>()));
        labels.insert(name.to_owned(), serde_json::json!([["2026-01-01 08:20:00", "2026-01-01 10:00:00"]]));
    }
    write(data, "data/windows.json", &Value::from(labels).to_string());
    [data.path().join("data"), data.path().join("results")].map(|folder| path(&folder).to_owned())
}

#[test]
fn score_nab_gives_100_for_the_first_row_of_every_window_and_names_what_is_missing() {
    let folder = TempDir::new().unwrap();
    let [data, results] = corpus(&folder, 100);
    let nab = ["score", "nab", "--data", &data, "--results", &results];
    let report = answer(&[&nab[..], &["--details", "--output", "json"]].concat());
    for profile in report["profiles"].as_array().unwrap() {
        for way in ["best", "fixed"] {
            assert_eq!(profile[way]["score"], 100.0, "{way} {profile}");
        }
    }
    assert_eq!(report["folds"].as_array().unwrap().len(), 2);
    assert_eq!(report["details"][0]["file"], "a/one.csv");
    let one = answer(&[&nab[..], &["--files", "b/two.csv", "--output", "json"]].concat());
    assert_eq!(one["files"], 1);
    refuses(&[&nab[..], &["--files", "c/three.csv"]].concat(), &["c/three.csv"]);
    fs::remove_file(folder.path().join("results/a/one.csv")).unwrap();
    fails(&nab, &["a/one.csv", "no result"]);
}

#[test]
fn score_nab_gives_nothing_for_silence_and_takes_away_for_false_rows() {
    let folder = TempDir::new().unwrap();
    let [data, results] = corpus(&folder, 0);
    let nab = ["score", "nab", "--data", &data, "--results", &results, "--output", "json"];
    let silent = answer(&nab);
    assert_eq!(silent["profiles"][0]["fixed"]["score"], 0.0, "the only alert lies in the probation");
    let [data, results] = corpus(&folder, 60);
    let wrong = answer(&["score", "nab", "--data", &data, "--results", &results, "--output", "json"]);
    let score = wrong["profiles"][0]["fixed"]["score"].as_f64().unwrap();
    assert!((score + 100.0 * 0.22 / 4.0).abs() < 1e-9, "two false rows of 0.11 in two windows: {score}");
}

#[test]
fn score_events_and_vus_pr_take_a_label_per_row() {
    let folder = TempDir::new().unwrap();
    let [_, results] = corpus(&folder, 101);
    let result = format!("{results}/a/one.csv");
    let labels: String = (0..200).map(|row| if (100..=120).contains(&row) { "1\n" } else { "0\n" }).collect();
    let labels = write(&folder, "labels.txt", &labels);
    let given = ["--results", &result, "--labels", path(&labels), "--output", "json"];
    let events = answer(&[&["score", "events"][..], &given].concat());
    assert_eq!(
        (&events["fixed"]["found"], &events["fixed"]["false_alarms"]),
        (&Value::from(1), &Value::from(0))
    );
    assert_eq!(events["details"][0]["delay_s"], 300.0);
    let volume = answer(&[&["score", "vus-pr", "--buffer", "10"][..], &given].concat());
    assert!(volume["score"].as_f64().unwrap() > volume["chance"].as_f64().unwrap());
    let short = write(&folder, "short.txt", "0\n1\nx\n");
    fails(&["score", "events", "--results", &result, "--labels", path(&short)], &["line 3", "0 or 1"]);
}

#[test]
fn score_forecast_runs_the_engine_or_takes_other_forecasts() {
    let folder = TempDir::new().unwrap();
    let line = |name: &str, hours: std::ops::Range<u32>| {
        let values: Vec<String> = hours.map(|hour| (10 + (hour % 24) * (hour % 24)).to_string()).collect();
        format!("\"{name}\",{},,\n", values.join(","))
    };
    let both = |hours: std::ops::Range<u32>| {
        format!("\"V1\",\"V2\"\n{}{}", line("H1", hours.clone()), line("H2", hours))
    };
    let train = write(&folder, "train.csv", &format!("{}{}", both(0..240), "H3,1,2,1,3,NA\n"));
    let test = write(&folder, "test.csv", &format!("{}{}", both(240..264), "H3,2\n"));
    let given = ["score", "forecast", "--train", path(&train), "--test", path(&test), "--season", "24"];
    let perfect = answer(&[&given[..], &["--results", path(&test), "--output", "json"]].concat());
    assert_eq!((&perfect["series"], &perfect["smape"]), (&Value::from(3), &Value::from(0.0)));
    let ours = answer(&[&given[..], &["--output", "json", "--details"]].concat());
    assert_eq!(ours["details"].as_array().unwrap().len(), 3);
    assert!(ours["ms_per_series"].as_f64().unwrap() > 0.0 && ours["coverage_90"].is_number());
    let broken = write(&folder, "broken.csv", "H1,1,2\nH2,1,oops\n");
    fails(&["score", "forecast", "--train", path(&broken), "--test", path(&test)], &["line 2"]);
}

/// NAB's windowed Gaussian detector (6,400 rows, moved on by 100), as its repository describes it.
fn windowed_gaussian(values: &[f64]) -> Vec<f64> {
    let (mut window, mut next): (Vec<f64>, Vec<f64>) = (Vec::new(), Vec::new());
    let (mut sum, mut squares) = (0.0, 0.0);
    let shift = values.first().copied().unwrap_or_default();
    let mut scores = Vec::new();
    for value in values {
        let count = window.len() as f64;
        if window.is_empty() {
            scores.push(0.0);
        } else {
            let mean = sum / count;
            let deviation = (squares / count - mean * mean).max(0.0).sqrt();
            let deviation = if deviation < 1e-9 * shift.abs().max(1.0) { 1e-6 } else { deviation };
            let far = (value - shift - mean).abs() / deviation;
            scores.push(1.0 - 0.5 * statrs::function::erf::erfc(far / std::f64::consts::SQRT_2));
        }
        if window.len() < 6400 {
            window.push(*value);
            sum += value - shift;
            squares += (value - shift).powi(2);
        } else {
            next.push(*value);
            if next.len() == 100 {
                window.drain(..100);
                window.append(&mut next);
                sum = window.iter().map(|value| value - shift).sum();
                squares = window.iter().map(|value| (value - shift).powi(2)).sum();
            }
        }
    }
    scores
}

/// The published figures of that detector on these 28 files, from the official scorer: 41.0, 22.3 and 48.8. Its results were
/// written with 12 digits, which ties the highest scores.
#[test]
fn the_scorer_agrees_with_the_official_one_where_the_data_is() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/detection/nab");
    let Ok(labels) = fs::read_to_string(data.join("windows.json")) else { return };
    let labels: serde_json::Map<String, Value> = serde_json::from_str(&labels).unwrap();
    let folder = TempDir::new().unwrap();
    for name in labels.keys() {
        let text = fs::read_to_string(data.join(name)).unwrap();
        let rows: Vec<(&str, &str)> =
            text.lines().skip(1).map(|line| line.split_once(',').unwrap()).collect();
        let values: Vec<f64> = rows.iter().map(|(_, value)| value.parse().unwrap()).collect();
        let mut result = "timestamp,score,deviation\n".to_owned();
        for ((at, _), score) in rows.iter().zip(windowed_gaussian(&values)) {
            writeln!(result, "{at},{score:.12},0").unwrap();
        }
        write(&folder, name, &result);
    }
    let report = answer(&[
        "score",
        "nab",
        "--data",
        path(&data),
        "--results",
        path(folder.path()),
        "--output",
        "json",
    ]);
    for (profile, published) in [41.0, 22.3, 48.8].into_iter().enumerate() {
        let score = report["profiles"][profile]["best"]["score"].as_f64().unwrap();
        assert!((score - published).abs() < 0.06, "profile {profile}: {score}, published {published}");
    }
}
