//! Detectors and forecasters of others in Python, on the same samples in the same run; the libraries come from PyPI into a virtual
//! environment of their own. And our forecasts, which stand beside theirs.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use analyze::{
    detect::generate::{Family, Generator},
    forecast::{ForecastSettings, Forecaster},
};
use anyhow::Context as _;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::usage::cpu_of;
use crate::{
    bench::Figure,
    score::accuracy::{Case, accuracy},
};

const SCRIPT: &str = include_str!("peers.py");
const LIBRARIES: [&str; 3] = ["numpy", "river", "statsforecast"];
/// Samples that detectors of others are given: the slowest takes a second for a few thousand.
const SAMPLES: usize = 20_000;
/// Hourly series, and how far they are forecast: two days, as in the M4 competition.
const SERIES: usize = 40;
const HORIZON: usize = 48;
const SEASON: usize = 24;
/// Hourly series of M4, beside the repository where they were fetched.
const M4: &str = "../shared/data/detection/m4/hourly";

/// What others are given.
#[derive(Debug, Serialize)]
struct Task {
    samples: Vec<f64>,
    series: Vec<Series>,
    season: usize,
}

#[derive(Debug, Serialize)]
struct Series {
    train: Vec<f64>,
    test: Vec<f64>,
}

#[derive(Debug, Deserialize)]
struct Found {
    detectors: BTreeMap<String, Value>,
    forecasts: BTreeMap<String, Value>,
}

/// A number, what a forecaster did, or why there is none.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Value {
    Nanoseconds(f64),
    Forecast { ms: f64, mase: f64 },
    Missing(String),
}

/// What came of the peers.
#[derive(Debug, Default)]
pub(super) struct Peers {
    /// Nanoseconds per sample.
    pub(super) detectors: BTreeMap<String, f64>,
    /// Our forecasts, with theirs beside.
    pub(super) forecasts: Vec<Figure>,
    /// Why they are not there.
    pub(super) missing: Option<String>,
}

/// Runs what can be had of them. Libraries are fetched only when that was asked for.
pub(super) fn peers(dir: &Path, fetch: bool) -> anyhow::Result<Peers> {
    let task = Task { samples: samples(), series: series()?, season: SEASON };
    let (ms, mase) = ours(&task.series)?;
    let mut forecasts = vec![
        Figure::at_most("forecast_per_series", ms, "ms", 1.0),
        Figure::at_most("forecast_mase", mase, "MASE", 1.05),
    ];
    let found = match environment(dir, fetch).and_then(|python| ask(&python, dir, &task)) {
        Ok(found) => found,
        Err(error) => {
            return Ok(Peers { forecasts, missing: Some(format!("{error:#}")), ..Peers::default() });
        }
    };
    let mut peers = Peers::default();
    for (name, value) in found.detectors.into_iter().chain(found.forecasts) {
        match value {
            Value::Nanoseconds(ns) => _ = peers.detectors.insert(name, ns),
            Value::Forecast { ms, mase } => {
                forecasts[0].peers.insert(name.clone(), ms);
                forecasts[1].peers.insert(name, mase);
            }
            Value::Missing(why) => peers.missing = Some(why),
        }
    }
    Ok(Peers { forecasts, ..peers })
}

/// The interpreter of the virtual environment.
fn environment(dir: &Path, fetch: bool) -> anyhow::Result<PathBuf> {
    let (home, python) = (dir.join("venv"), dir.join("venv/bin/python"));
    if python.exists() {
        return Ok(python);
    }
    anyhow::ensure!(
        fetch,
        "there is no {}; --peers fetches {} from PyPI",
        home.display(),
        LIBRARIES.join(", ")
    );
    eprintln!("homeostat:   fetching {} from PyPI into {} ...", LIBRARIES.join(", "), home.display());
    std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    run(Command::new("python3").arg("-m").arg("venv").arg(&home))?;
    let fetched = run(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(LIBRARIES));
    if let Err(error) = fetched {
        // Without libraries it is of no use, and the next run should try again.
        drop(std::fs::remove_dir_all(&home));
        return Err(error);
    }
    Ok(python)
}

fn ask(python: &Path, dir: &Path, task: &Task) -> anyhow::Result<Found> {
    let (script, given) = (dir.join("peers.py"), dir.join("peers.json"));
    std::fs::write(&script, SCRIPT).with_context(|| format!("cannot write {}", script.display()))?;
    std::fs::write(&given, serde_json::to_vec(task)?)
        .with_context(|| format!("cannot write {}", given.display()))?;
    // One thread, as ours.
    let one = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"].map(|name| (name, "1"));
    let answer = run(Command::new(python).arg(&script).arg(&given).envs(one))?;
    serde_json::from_str(&answer).context("the peers' answer cannot be understood")
}

fn run(command: &mut Command) -> anyhow::Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot run {name}"))?;
    let error = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{name} failed: {}", error.lines().last().unwrap_or_default());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn samples() -> Vec<f64> {
    Generator::new(Family::Seasonal, 15.0, 7).take(SAMPLES).map(|(_, value)| value).collect()
}

/// Those of M4 where they are, else generated ones.
fn series() -> anyhow::Result<Vec<Series>> {
    let read = |part: &str| std::fs::read_to_string(format!("{M4}-{part}.csv"));
    if let (Ok(train), Ok(test)) = (read("train"), read("test")) {
        let pairs = rows(&train).into_iter().zip(rows(&test)).take(SERIES);
        return Ok(pairs.map(|(train, test)| Series { train, test }).collect());
    }
    Ok((0..SERIES as u64)
        .map(|seed| {
            let mut values = Generator::new(Family::Seasonal, 3_600.0, seed).map(|(_, value)| value);
            let train = values.by_ref().take(700).collect();
            Series { train, test: values.take(HORIZON).collect() }
        })
        .collect())
}

/// One series a row, its name first, in quotes, filled up with nothing.
fn rows(text: &str) -> Vec<Vec<f64>> {
    let row =
        |line: &str| line.split(',').skip(1).map_while(|cell| cell.trim_matches('"').parse().ok()).collect();
    text.lines().skip(1).map(row).collect()
}

/// Milliseconds and MASE per series.
fn ours(series: &[Series]) -> anyhow::Result<(f64, f64)> {
    let (mut took, mut errors) = (Duration::ZERO, 0.0);
    for Series { train, test } in series {
        let (rows, cpu) = cpu_of(|| forecast(train, test.len()))?;
        took += cpu;
        let median: Vec<f64> = rows?.iter().map(|row| row[1]).collect();
        let case = Case { history: train, actual: test, median: &median, interval: None, season: SEASON };
        errors +=
            accuracy(&case).and_then(|accuracy| accuracy.mase).context("a series that repeats itself")?;
    }
    Ok((took.as_secs_f64() * 1e3 / series.len() as f64, errors / series.len() as f64))
}

fn forecast(train: &[f64], horizon: usize) -> anyhow::Result<Vec<Vec<f64>>> {
    let step = Duration::from_secs(3_600);
    let mut forecaster = Forecaster::new(ForecastSettings { step, horizon, ..ForecastSettings::default() });
    for (hour, value) in train.iter().enumerate() {
        forecaster.observe(Timestamp::UNIX_EPOCH + step * u32::try_from(hour)?, *value);
    }
    Ok(forecaster.quantiles(horizon, &[0.05, 0.5, 0.95]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_m4_end_where_nothing_follows() {
        let text = "\"V1\",\"V2\",\"V3\",\"V4\"\n\"H1\",\"605\",\"586.5\",\n\"H2\",\"1\",\"2\",\"3\"\n";
        assert_eq!(rows(text), [vec![605.0, 586.5], vec![1.0, 2.0, 3.0]]);
    }

    #[test]
    fn the_answer_of_the_peers_is_understood() {
        let answer = r#"{"detectors": {"a": 1.5, "missing": "no river"}, "forecasts": {"b": {"ms": 2.0, "mase": 0.9}}}"#;
        let found: Found = serde_json::from_str(answer).unwrap();
        assert!(matches!(found.detectors["a"], Value::Nanoseconds(ns) if ns == 1.5));
        assert!(matches!(&found.detectors["missing"], Value::Missing(why) if why == "no river"));
        assert!(matches!(found.forecasts["b"], Value::Forecast { ms, mase } if (ms, mase) == (2.0, 0.9)));
    }

    #[test]
    fn without_leave_to_fetch_them_peers_are_missing_and_ours_is_measured() {
        let nowhere = std::env::temp_dir().join("homeostat-no-peers");
        let peers = peers(&nowhere, false).unwrap();
        assert!(peers.missing.is_some_and(|why| why.contains("--peers")));
        assert_eq!(peers.forecasts.len(), 2);
    }
}
