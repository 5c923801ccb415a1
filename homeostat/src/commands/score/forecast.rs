//! `score forecast`: many series with what came after them, forecast by the engine or by others.

use crate::{
    cli::offline::ScoreForecastArgs,
    offline::{files, progress, rows},
    output::{self, number, table},
    score::accuracy::{self, Accuracy, Case},
};
use analyze::forecast::{ForecastSettings, Forecaster};
use anyhow::Context as _;
use chassis::{Clock as _, SystemClock, exit};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use std::{collections::BTreeMap, path::Path, time::Duration};

/// A Monday midnight. Series without times begin there; where a day truly begins is for the engine to find.
const EPOCH: i64 = 946_857_600;
const QUANTILES: [f64; 3] = [0.05, 0.5, 0.95];

#[derive(Debug, Serialize)]
struct Report {
    series: usize,
    smape: f64,
    mase_mean: Option<f64>,
    mase_median: Option<f64>,
    /// Mean losses of the quantiles 0.05, 0.5 and 0.95 over each series' seasonal scale.
    pinball: Option<[f64; 3]>,
    coverage_90: Option<f64>,
    msis: Option<f64>,
    /// Learning one history and forecasting once, on one thread: the median over the series, which a busy machine bends least.
    ms_per_series: Option<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<Detail>,
}

#[derive(Debug, Serialize)]
struct Detail {
    series: String,
    smape: f64,
    mase: Option<f64>,
    coverage_90: Option<f64>,
}

/// Series by name, in the order of the file.
type Series = Vec<(String, Vec<f64>)>;

/// Medians and, where known, both ends of the 90 % interval.
struct Forecast {
    median: Vec<f64>,
    interval: Option<(Vec<f64>, Vec<f64>)>,
}

pub(super) fn run(args: &ScoreForecastArgs) -> anyhow::Result<u8> {
    let (train, test) = (read(&args.train)?, read(&args.test)?);
    let test: BTreeMap<String, Vec<f64>> = test.into_iter().collect();
    let (forecasts, ms_per_series) = match &args.results {
        Some(path) => (given(args, path)?, None),
        None => {
            let (forecasts, took) = ours(args, &train, &test)?;
            let each = took.iter().map(|took| took.as_secs_f64() * 1e3);
            (forecasts, accuracy::summary(each).map(|(_, median)| median))
        }
    };
    let mut scored = Vec::new();
    for (name, history) in &train {
        let actual =
            test.get(name).with_context(|| format!("{} has no series {name}", args.test.display()))?;
        let forecast = forecasts.get(name).with_context(|| format!("there is no forecast of {name}"))?;
        let interval = forecast.interval.as_ref().map(|(low, high)| (low.as_slice(), high.as_slice()));
        let case = Case { history, actual, median: &forecast.median, interval, season: args.season };
        let accuracy = accuracy::accuracy(&case)
            .with_context(|| format!("the forecast of {name} does not have {} values", actual.len()))?;
        scored.push((name.clone(), accuracy));
    }
    let report = report(&scored, ms_per_series, args.details);
    output::print(args.output.output, &report, show)?;
    Ok(exit::DONE)
}

/// The engine on every series, one after the other, so that each time is that of one thread.
fn ours(
    args: &ScoreForecastArgs,
    train: &Series,
    test: &BTreeMap<String, Vec<f64>>,
) -> anyhow::Result<(BTreeMap<String, Forecast>, Vec<Duration>)> {
    let bar = progress::bar(train.len(), "forecast");
    let clock = SystemClock;
    let mut took = Vec::with_capacity(train.len());
    let mut forecasts = BTreeMap::new();
    for (name, history) in train {
        let steps = test.get(name).map_or(0, Vec::len);
        let start = clock.monotonic();
        let quantiles = forecast(history, args.step, steps)?;
        took.push(clock.monotonic().saturating_sub(start));
        let column = |k: usize| quantiles.iter().map(|row| row[k]).collect::<Vec<f64>>();
        let forecast = Forecast { median: column(1), interval: Some((column(0), column(2))) };
        forecasts.insert(name.clone(), forecast);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok((forecasts, took))
}

fn forecast(history: &[f64], step: Duration, steps: usize) -> anyhow::Result<Vec<Vec<f64>>> {
    let mut forecaster =
        Forecaster::new(ForecastSettings { step, horizon: steps, ..ForecastSettings::default() });
    let start = Timestamp::from_second(EPOCH)?;
    let step = SignedDuration::try_from(step)?;
    for (k, value) in (0i32..).zip(history) {
        let after = step.checked_mul(k).context("the series is too long for its step")?;
        forecaster.observe(start.checked_add(after)?, *value);
    }
    Ok(forecaster.quantiles(steps, &QUANTILES))
}

fn given(args: &ScoreForecastArgs, path: &Path) -> anyhow::Result<BTreeMap<String, Forecast>> {
    let ends = args.lower.as_deref().zip(args.upper.as_deref());
    let mut ends = ends
        .map(|(low, high)| -> anyhow::Result<_> {
            let by_name = |path| anyhow::Ok(read(path)?.into_iter().collect::<BTreeMap<_, _>>());
            Ok((by_name(low)?, by_name(high)?))
        })
        .transpose()?;
    let forecasts = read(path)?.into_iter().map(|(name, median)| {
        let interval = ends.as_mut().and_then(|(low, high)| Some((low.remove(&name)?, high.remove(&name)?)));
        (name, Forecast { median, interval })
    });
    Ok(forecasts.collect())
}

/// A line per series: its name, then its values until the first empty cell. A line whose first value is no number is a header.
fn read(path: &Path) -> anyhow::Result<Series> {
    let mut reader = rows::csv_reader(files::open(path)?);
    let mut series = Series::new();
    for record in reader.records() {
        let record = record.with_context(|| format!("{} is no CSV", path.display()))?;
        let line = record.position().map_or(0, csv::Position::line);
        let cells = record.iter().skip(1).map(str::trim);
        let values = cells.take_while(|cell| !cell.is_empty() && *cell != "NA").map(rows::number);
        match values.collect::<Option<Vec<f64>>>() {
            Some(values) => series.push((record.get(0).unwrap_or_default().to_owned(), values)),
            None if series.is_empty() && line == 1 => {}
            None => anyhow::bail!("{} line {line}: every value must be a finite number", path.display()),
        }
    }
    anyhow::ensure!(!series.is_empty(), "{} holds no series", path.display());
    Ok(series)
}

fn report(scored: &[(String, Accuracy)], ms_per_series: Option<f64>, details: bool) -> Report {
    let each = |of: fn(&Accuracy) -> Option<f64>| accuracy::summary(scored.iter().filter_map(|(_, a)| of(a)));
    let mase = each(|accuracy| accuracy.mase);
    let loss = |k: usize| accuracy::summary(scored.iter().filter_map(|(_, a)| Some(a.pinball?[k])));
    let pinball = loss(0).zip(loss(1)).zip(loss(2)).map(|((low, middle), high)| [low.0, middle.0, high.0]);
    let detail = |(series, accuracy): &(String, Accuracy)| Detail {
        series: series.clone(),
        smape: accuracy.smape,
        mase: accuracy.mase,
        coverage_90: accuracy.coverage,
    };
    Report {
        series: scored.len(),
        smape: each(|accuracy| Some(accuracy.smape)).map_or(f64::NAN, |(mean, _)| mean),
        mase_mean: mase.map(|(mean, _)| mean),
        mase_median: mase.map(|(_, median)| median),
        pinball,
        coverage_90: each(|accuracy| accuracy.coverage).map(|(mean, _)| mean),
        msis: each(|accuracy| accuracy.msis).map(|(mean, _)| mean),
        ms_per_series,
        details: if details { scored.iter().map(detail).collect() } else { Vec::new() },
    }
}

fn show(report: &Report) -> String {
    let pinball = report.pinball.map_or_else(
        || "unknown".to_owned(),
        |[low, middle, high]| format!("{low:.4} {middle:.4} {high:.4}"),
    );
    let row = [
        report.series.to_string(),
        format!("{:.3}", report.smape),
        report.mase_mean.map_or_else(|| "unknown".to_owned(), |mase| format!("{mase:.3}")),
        report.mase_median.map_or_else(|| "unknown".to_owned(), |mase| format!("{mase:.3}")),
        pinball,
        report.coverage_90.map_or_else(|| "unknown".to_owned(), |share| format!("{:.1} %", 100.0 * share)),
        number(report.msis),
        number(report.ms_per_series),
    ];
    let header = [
        "SERIES",
        "sMAPE",
        "MASE",
        "MEDIAN MASE",
        "PINBALL .05 .5 .95",
        "90 % COVERS",
        "MSIS",
        "ms PER SERIES",
    ];
    let mut text = table(header, [row]);
    if !report.details.is_empty() {
        let rows = report.details.iter().map(|detail| {
            [
                detail.series.clone(),
                format!("{:.3}", detail.smape),
                number(detail.mase),
                number(detail.coverage_90),
            ]
        });
        text += "\n\n";
        text += &table(["SERIES", "sMAPE", "MASE", "90 % COVERS"], rows);
    }
    text
}
