//! Replaying a year of minutes, as `homeostat backtest` does it, from the CSV to the table: days, weeks, growth, noise and bursts,
//! made up from a seed.

use super::{
    Figure,
    timed::{Took, timed},
};
use crate::backtest::{self, args::BacktestArgs};
use anyhow::Context as _;
use chassis::{Context, IdGenerator};
use clap::Parser;
use std::{
    f64::consts::TAU,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

const SEED: u64 = 1;
const DAY_MIN: u32 = 1_440;
const YEAR_MIN: u32 = 365 * DAY_MIN;
/// A week, for the share that grows with the length.
const WEEK_MIN: u32 = 7 * DAY_MIN;
/// "A year of minutes replays in under 60 s on one core."
const TARGET_S: f64 = 60.0;
/// Bursts: about one in two days, of ten minutes each.
const BURST_MIN: u32 = 10;
const BURSTS_PER_MIN: f64 = 1.0 / (2.0 * DAY_MIN as f64);

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    args: BacktestArgs,
}

pub(super) fn a_year(dir: &Path, ctx: &Context) -> anyhow::Result<Vec<Figure>> {
    fs::create_dir_all(dir)?;
    let (week, year) = (written(dir, WEEK_MIN)?, written(dir, YEAR_MIN)?);
    let short = replayed(&week, "static:70", ctx)?;
    let long = replayed(&year, "static:70", ctx)?;
    let beside_hpa = replayed(&year, "hpa:70", ctx)?;
    let mut figure = Figure::at_most("backtest_year_of_minutes", long.processor_s, "s of one core", TARGET_S);
    let per_minute = |took: &Took, minutes: u32| took.processor_s / f64::from(minutes) * 1e6;
    figure.note = format!(
        "{YEAR_MIN} minutes, {:.1} s on the clock; {:.0} µs a minute, of one week alone {:.0}; with --compare hpa:70 {:.1} s",
        long.wall_s,
        per_minute(&long, YEAR_MIN),
        per_minute(&short, WEEK_MIN),
        beside_hpa.processor_s,
    );
    Ok(vec![figure])
}

fn replayed(trace: &Path, compare: &str, ctx: &Context) -> anyhow::Result<Took> {
    let trace = trace.to_str().context("the data directory's name is no text")?;
    let line = Line::try_parse_from(["backtest", "--trace", trace, "--compare", compare])?;
    let (report, took) = timed(ctx, || backtest::report(&line.args).map(|report| report.table()));
    report?;
    Ok(took)
}

fn written(dir: &Path, minutes: u32) -> anyhow::Result<PathBuf> {
    let path = dir.join(format!("minutes-{minutes}.csv"));
    fs::write(&path, csv(minutes, SEED)).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// `timestamp_s,requests_per_s`, one row a minute.
fn csv(minutes: u32, seed: u64) -> String {
    let (mut ids, mut text) = (IdGenerator::from_seed(seed), "timestamp_s,requests_per_s\n".to_owned());
    let (mut burst_until, mut height) = (0, 1.0);
    for minute in 0..minutes {
        if ids.unit_f64() < BURSTS_PER_MIN {
            (burst_until, height) = (minute + BURST_MIN, 1.3 + ids.unit_f64());
        }
        let days = f64::from(minute) / f64::from(DAY_MIN);
        let day = 1.0 + 0.6 * (TAU * days).sin();
        let week = if days as u32 % 7 < 5 { 1.0 } else { 0.6 };
        let growth = 1.0 + 0.5 * days / 365.0;
        let burst = if minute < burst_until { height } else { 1.0 };
        let noise = 1.0 + 0.06 * (ids.unit_f64() + ids.unit_f64() - 1.0);
        _ = writeln!(text, "{},{:.3}", minute * 60, 1_000.0 * day * week * growth * burst * noise);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_replayed() {
        let dir = tempfile::tempdir().unwrap();
        let trace = written(dir.path(), 120).unwrap();
        let took = replayed(&trace, "static:70", &Context::system()).unwrap();
        assert!(took.processor_s > 0.0, "{took:?}");
        assert!(replayed(&dir.path().join("none"), "static:70", &Context::system()).is_err());
    }

    #[test]
    fn made_up_days_are_a_trace_and_the_same_for_the_same_seed() {
        let trace = backtest::trace::Trace::parse(&csv(3 * DAY_MIN, 4)).unwrap();
        assert_eq!((trace.bin_s, trace.rates.len()), (60, 3 * DAY_MIN as usize));
        assert!(trace.missing.is_empty());
        assert_eq!(csv(500, 4), csv(500, 4));
        assert_ne!(csv(500, 4), csv(500, 5));
    }
}
