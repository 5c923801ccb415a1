//! What `backtest` can be told.

use clap::{Args, ValueEnum};
use std::{path::PathBuf, time::Duration};

/// How the result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people; `*` marks policies that no other beats in both violations and cost.
    Table,
    /// For programs.
    Json,
    /// One self-contained page: load, replicas, violations and decisions over time.
    Html,
}

/// `backtest`.
#[derive(Debug, Clone, Args)]
pub struct BacktestArgs {
    /// CSV with a timestamp (seconds or RFC 3339) and a rate (requests/s) in each row.
    #[arg(long, required_unless_present = "from_prometheus", conflicts_with = "from_prometheus")]
    pub trace: Option<PathBuf>,
    /// Takes the trace from this Prometheus instead, by range queries in steps; what it does not know is missing, never zero.
    #[arg(long, value_name = "URL", requires_all = ["query", "from", "to"])]
    pub from_prometheus: Option<String>,
    /// PromQL that gives one series of requests per second, such as `sum(rate(requests_total[1m]))`.
    #[arg(long, requires = "from_prometheus")]
    pub query: Option<String>,
    /// First moment: RFC 3339, YYYY-MM-DD HH:MM:SS as UTC, or Unix seconds.
    #[arg(long, requires = "from_prometheus", value_parser = moment)]
    pub from: Option<jiff::Timestamp>,
    /// Last moment.
    #[arg(long, requires = "from_prometheus", value_parser = moment)]
    pub to: Option<jiff::Timestamp>,
    /// Between two points; not longer than the range in the query's brackets.
    #[arg(long, default_value = "60s", value_parser = duration)]
    pub step: Duration,
    /// YAML with the Policy to replay [default: 2 to 500 replicas, 70 % as the declared target].
    #[arg(long)]
    pub policy: Option<PathBuf>,
    /// Others to replay, as NAME:TARGET[+shedPERCENT]: hpa, keda, kpa, snaive, week, crane, static, each with a target in
    /// percent, and oracle, hold.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "hpa:70,keda:70,kpa:70,snaive:70,week:70,crane:70,keda:70+shed90,oracle"
    )]
    pub compare: Vec<String>,
    /// From the request for a replica until it is ready.
    #[arg(long, default_value = "60s", value_parser = duration)]
    pub start_up: Duration,
    /// A later answer violates the objective.
    #[arg(long, default_value = "400ms", value_parser = duration)]
    pub objective: Duration,
    /// Percentage of requests that must be in time.
    #[arg(long, default_value_t = 99.9)]
    pub slo: f64,
    /// Requests per second that one replica can serve.
    #[arg(long, default_value_t = 100.0)]
    pub service_rate: f64,
    /// Workers in one replica.
    #[arg(long, default_value_t = 4)]
    pub workers: u32,
    /// Use the trace's own rate; otherwise its 99.5 % bin becomes 3,000 requests/s.
    #[arg(long)]
    pub no_scale: bool,
    /// Multiply the load by this.
    #[arg(long, default_value_t = 1.0)]
    pub scale: f64,
    /// No metrics that were measured in these seconds of the trace are seen, as FROM..TO (3600..4200 or 1h..70m).
    #[arg(long, value_parser = seconds_range)]
    pub drop_metrics: Option<(u32, u32)>,
    /// Our policy has no limiter that turns away what is too much.
    #[arg(long)]
    pub no_shed: bool,
    /// Add every decision with its full report (JSON only).
    #[arg(long)]
    pub decisions: bool,
    /// How to print.
    #[arg(long, short, value_enum, default_value = "table")]
    pub output: Format,
}

impl BacktestArgs {
    /// Where the trace comes from, for people.
    #[must_use]
    pub fn source(&self) -> String {
        match (&self.trace, &self.from_prometheus, &self.query) {
            (Some(file), ..) => file.display().to_string(),
            (None, Some(url), Some(query)) => format!("{query} at {url}"),
            (None, ..) => String::new(),
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write it as 60s or 400ms"))
}

fn moment(text: &str) -> Result<jiff::Timestamp, String> {
    let second = text.parse::<i64>().ok().and_then(|second| jiff::Timestamp::from_second(second).ok());
    let utc = || text.parse::<jiff::civil::DateTime>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok();
    let found = second.or_else(|| text.parse().ok()).or_else(|| Some(utc()?.timestamp()));
    found.ok_or_else(|| "must be RFC 3339, YYYY-MM-DD HH:MM:SS as UTC, or Unix seconds".to_owned())
}

fn seconds_range(text: &str) -> Result<(u32, u32), String> {
    let (from, to) = text.split_once("..").ok_or("must be written FROM..TO")?;
    let second = |text: &str| match text.trim().parse::<f64>() {
        Ok(second) if (0.0..4e9).contains(&second) => Ok(second as u32),
        Ok(_) => Err("must be seconds from 0 on".to_owned()),
        Err(_) => duration(text.trim()).map(|time| time.as_secs() as u32),
    };
    let (from, to) = (second(from)?, second(to)?);
    if from < to { Ok((from, to)) } else { Err("must end after it begins".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_in_three_forms() {
        for text in ["1785542400", "2026-08-01T00:00:00Z", "2026-08-01 00:00:00", "2026-08-01T02:00:00+02:00"]
        {
            assert_eq!(moment(text).map(|at| at.as_second()), Ok(1_785_542_400), "{text}");
        }
        assert!(moment("yesterday").is_err());
    }

    #[test]
    fn spans_are_read_in_seconds_and_in_words() {
        assert_eq!(seconds_range("3600..4200"), Ok((3_600, 4_200)));
        assert_eq!(seconds_range("1h..70m"), Ok((3_600, 4_200)));
        for bad in ["5", "9..3", "-1..4", "a..b"] {
            assert!(seconds_range(bad).is_err(), "{bad}");
        }
    }
}
