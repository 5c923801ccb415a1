//! Arguments of the commands that work on files.

use super::{Output, duration};
use crate::output::Format;
use clap::{Args, Subcommand};
use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

/// `detect`.
#[derive(Debug, Clone, Args)]
pub struct DetectArgs {
    /// CSV files (`timestamp,value`; .csv.gz too), or folders of them.
    #[arg(value_name = "CSV", required_unless_present = "multi")]
    pub inputs: Vec<PathBuf>,
    /// Where the results go: one CSV per input, of the same name, below a folder given also of the same path.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Many metrics of one host, a column each; with or without a header and times.
    #[arg(long, value_name = "FILE")]
    pub multi: Option<PathBuf>,
    /// Write a page per series beside its CSV: value, usual range, score and alerts.
    #[arg(long)]
    pub html: bool,
    /// Column of the values, when it is not called `value` nor the first beside the times.
    #[arg(long, value_name = "NAME")]
    pub column: Option<String>,
    /// Labelled spans to show on the pages: JSON, `{"path.csv": [["start", "end"], ...]}`.
    #[arg(long, value_name = "JSON", requires = "html")]
    pub labels: Option<PathBuf>,
    /// Time between the rows of a --multi file that has no times.
    #[arg(long, default_value = "1m", value_parser = duration)]
    pub step: Duration,
    /// How many files are judged at a time [default: one per core].
    #[arg(long, value_name = "N")]
    pub jobs: Option<NonZeroUsize>,
    /// How to print the summary.
    #[command(flatten)]
    pub output: Output,
}

/// `forecast`.
#[derive(Debug, Clone, Args)]
pub struct ForecastArgs {
    /// A CSV file, `timestamp,value`.
    #[arg(value_name = "CSV")]
    pub input: PathBuf,
    /// How far ahead.
    #[arg(long, default_value = "30m", value_parser = duration)]
    pub horizon: Duration,
    /// Length of a step [default: the usual time between the rows].
    #[arg(long, value_parser = duration)]
    pub step: Option<Duration>,
    /// Which quantiles, in (0, 1).
    #[arg(long, value_delimiter = ',', default_value = "0.1,0.5,0.9", value_parser = share)]
    pub quantiles: Vec<f64>,
    /// Whose wall clock the days follow, as Europe/Berlin [default: UTC].
    #[arg(long, value_name = "ZONE")]
    pub zone: Option<String>,
    /// Column of the values, when it is not called `value` nor the first beside the times.
    #[arg(long, value_name = "NAME")]
    pub column: Option<String>,
    /// Write a page with the end of the series and its forecast.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Table for people, JSON or YAML for programs [default: table on a terminal, JSON when piped].
    #[arg(long, short, value_enum)]
    pub output: Option<Format>,
}

/// `score`.
#[derive(Debug, Subcommand)]
pub enum Score {
    /// By the rules of the Numenta Anomaly Benchmark: three profiles, best threshold, and the detector's own alerts.
    Nab(NabArgs),
    /// Volume under the precision-recall surface: ranks scores without a threshold, and forgives small shifts.
    VusPr(VusArgs),
    /// Share of labelled events found, at a rate of false alarms per day.
    Events(EventsArgs),
    /// Forecasts of many series: sMAPE, MASE, pinball loss, coverage.
    Forecast(ScoreForecastArgs),
    /// Whether an alert's confidence is the share of such alerts that are true: on generated series, with events put in.
    Calibration(CalibrationArgs),
}

/// `score calibration`.
#[derive(Debug, Clone, Args)]
pub struct CalibrationArgs {
    /// The same seed gives the same series and events.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Series of 8 weeks of each family.
    #[arg(long, default_value_t = 48, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub series: u64,
    /// Time between samples.
    #[arg(long, default_value = "15m", value_parser = duration)]
    pub interval: Duration,
    /// Show each family.
    #[arg(long)]
    pub details: bool,
    /// How to print the tables.
    #[command(flatten)]
    pub output: Output,
}

/// `score nab`.
#[derive(Debug, Clone, Args)]
pub struct NabArgs {
    /// Folder of the series with windows.json.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Folder that `detect --out` wrote.
    #[arg(long, value_name = "DIR")]
    pub results: PathBuf,
    /// Only these files: a file with a path per line, or paths with commas between.
    #[arg(long, value_name = "LIST")]
    pub files: Option<String>,
    /// Show each file.
    #[arg(long)]
    pub details: bool,
    /// How to print the scores.
    #[command(flatten)]
    pub output: Output,
}

/// Labels and results of one series.
#[derive(Debug, Clone, Args)]
pub struct Labelled {
    /// A result of `detect`.
    #[arg(long, value_name = "CSV")]
    pub results: PathBuf,
    /// A 0 or 1 per row; fewer than the results have rows belong to the last of them.
    #[arg(long, value_name = "FILE")]
    pub labels: PathBuf,
    /// Share of the rows at the start that is not scored: there the detector may learn. Rows without a label never are.
    #[arg(long, default_value_t = 0.0, value_parser = part)]
    pub skip: f64,
}

/// `score vus-pr`.
#[derive(Debug, Clone, Args)]
pub struct VusArgs {
    /// What to score.
    #[command(flatten)]
    pub labelled: Labelled,
    /// Longest buffer around an event, in rows; every length from 0 on counts equally.
    #[arg(long, default_value_t = 100)]
    pub buffer: usize,
    /// How to print the result.
    #[command(flatten)]
    pub output: Output,
}

/// `score events`.
#[derive(Debug, Clone, Args)]
pub struct EventsArgs {
    /// What to score.
    #[command(flatten)]
    pub labelled: Labelled,
    /// Which columns are to blame for each event: `first-last:1,4,7` per line, rows from 0 and columns from 1.
    #[arg(long, value_name = "FILE")]
    pub blame: Option<PathBuf>,
    /// An alert so long after the end of an event still finds it.
    #[arg(long, default_value = "5m", value_parser = duration)]
    pub grace: Duration,
    /// Alerts so close after the first of them are one.
    #[arg(long, default_value = "30m", value_parser = duration)]
    pub merge: Duration,
    /// False alarms per day at which recall is given.
    #[arg(long, value_delimiter = ',', default_value = "0.1,0.5,1,2")]
    pub rates: Vec<f64>,
    /// How to print the result.
    #[command(flatten)]
    pub output: Output,
}

/// `score forecast`.
#[derive(Debug, Clone, Args)]
pub struct ScoreForecastArgs {
    /// Histories: a line per series, its name and then its values.
    #[arg(long, value_name = "FILE")]
    pub train: PathBuf,
    /// What came then, in the same form.
    #[arg(long, value_name = "FILE")]
    pub test: PathBuf,
    /// Rows in a season, for MASE.
    #[arg(long, default_value_t = 24)]
    pub season: usize,
    /// Time between values.
    #[arg(long, default_value = "1h", value_parser = duration)]
    pub step: Duration,
    /// Score these medians, in the form of --test, instead of running the engine.
    #[arg(long, value_name = "FILE")]
    pub results: Option<PathBuf>,
    /// Their 0.05 quantiles.
    #[arg(long, value_name = "FILE", requires_all = ["results", "upper"])]
    pub lower: Option<PathBuf>,
    /// Their 0.95 quantiles.
    #[arg(long, value_name = "FILE", requires_all = ["results", "lower"])]
    pub upper: Option<PathBuf>,
    /// Show each series.
    #[arg(long)]
    pub details: bool,
    /// How to print the result.
    #[command(flatten)]
    pub output: Output,
}

fn number(text: &str) -> Result<f64, String> {
    text.trim().parse().map_err(|_| "must be a number".to_owned())
}

/// A quantile.
fn share(text: &str) -> Result<f64, String> {
    let share = number(text)?;
    if share > 0.0 && share < 1.0 { Ok(share) } else { Err("must lie between 0 and 1".to_owned()) }
}

/// A part of the whole that leaves something.
fn part(text: &str) -> Result<f64, String> {
    let part = number(text)?;
    if (0.0..1.0).contains(&part) { Ok(part) } else { Err("must be 0 or more, and less than 1".to_owned()) }
}
