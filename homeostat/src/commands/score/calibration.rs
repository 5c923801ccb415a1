//! `score calibration`: whether an alert's confidence is the share of such alerts that are true.

use std::time::Duration;

use analyze::detect::{
    generate::Family,
    reliability::{Bin, Chance, Reliability, Trial, chances, reliability},
};
use chassis::exit;
use serde::Serialize;

use crate::{
    cli::offline::CalibrationArgs,
    commands::offline::Usage,
    output::{self, table},
};

/// Samples need not come more often than this, nor may they be rarer: a day must be seen.
const INTERVALS: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(10)..=Duration::from_secs(6 * 3_600);

#[derive(Debug, Serialize)]
struct Report {
    seed: u64,
    series: u64,
    interval_s: f64,
    /// Events put in, and those with an alert.
    events: usize,
    found: usize,
    bins: Vec<Row>,
    /// Mean distance of share and stated confidence.
    error: f64,
    /// On series without events: alerts that were said to come at most so often by chance, in the time of the budget.
    chances: Vec<ChanceRow>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    families: Vec<FamilyRow>,
}

#[derive(Debug, Serialize)]
struct Row {
    from: f64,
    to: f64,
    alerts: usize,
    said: Option<f64>,
    real: Option<f64>,
}

#[derive(Debug, Serialize)]
struct ChanceRow {
    said: f64,
    counted: f64,
}

#[derive(Debug, Serialize)]
struct FamilyRow {
    family: String,
    events: usize,
    found: usize,
    bins: Vec<Row>,
    error: f64,
}

pub(super) fn run(args: &CalibrationArgs) -> anyhow::Result<u8> {
    if !INTERVALS.contains(&args.interval) {
        return Err(Usage("--interval must be between 10s and 6h".to_owned()).into());
    }
    let trial = Trial { interval: args.interval.as_secs_f64(), series: args.series, seed: args.seed };
    let report = report(&trial, args.details);
    output::print(args.output.output, &report, text)?;
    Ok(exit::DONE)
}

fn report(trial: &Trial, details: bool) -> Report {
    // On a flat line nothing comes by chance.
    let families: Vec<Family> = Family::ALL.into_iter().filter(|family| *family != Family::Flat).collect();
    let continuous: Vec<Family> = families.iter().copied().filter(|family| family.is_continuous()).collect();
    let (each, chances) = std::thread::scope(|scope| {
        let chances = scope.spawn(|| chances(&continuous, trial));
        let each: Vec<_> = families.iter().map(|family| (*family, reliability(*family, trial))).collect();
        (each, chances.join().unwrap_or_default())
    });
    let mut all = Reliability::default();
    each.iter().for_each(|(_, counted)| all.merge(counted));
    let of_family = |(family, counted): &(Family, Reliability)| FamilyRow {
        family: format!("{family:?}"),
        events: counted.events,
        found: counted.found,
        bins: rows(&counted.bins),
        error: counted.error(),
    };
    Report {
        seed: trial.seed,
        series: trial.series,
        interval_s: trial.interval,
        events: all.events,
        found: all.found,
        bins: rows(&all.bins),
        error: all.error(),
        chances: chances.into_iter().map(|Chance { said, counted }| ChanceRow { said, counted }).collect(),
        families: if details { each.iter().map(of_family).collect() } else { Vec::new() },
    }
}

fn rows(bins: &[Bin]) -> Vec<Row> {
    let row = |bin: &Bin| Row {
        from: bin.from,
        to: bin.to,
        alerts: bin.alerts,
        said: bin.said(),
        real: bin.share(),
    };
    bins.iter().map(row).collect()
}

fn text(report: &Report) -> String {
    let share = |share: Option<f64>| share.map_or_else(|| "-".to_owned(), |share| format!("{share:.2}"));
    let bin = |row: &Row| {
        let bounds = format!("{:.2} to {:.2}", row.from, row.to);
        [bounds, row.alerts.to_string(), share(row.said), share(row.real)]
    };
    let chance = |row: &ChanceRow| [format!("{:.2}", row.said), format!("{:.2}", row.counted)];
    let family = |row: &FamilyRow| {
        let alerts: usize = row.bins.iter().map(|bin| bin.alerts).sum();
        let found = format!("{} of {}", row.found, row.events);
        [row.family.clone(), found, alerts.to_string(), format!("{:.3}", row.error)]
    };
    let mut parts = vec![
        table(["CONFIDENCE", "ALERTS", "MEAN", "SHARE TRUE"], report.bins.iter().map(bin)),
        format!(
            "{} of {} events found; mean distance of the last two columns {:.3}",
            report.found, report.events, report.error
        ),
        table(
            ["BY CHANCE IN 4 WEEKS, AS SAID", "AS COUNTED WITHOUT EVENTS"],
            report.chances.iter().map(chance),
        ),
    ];
    if !report.families.is_empty() {
        parts.push(table(
            ["FAMILY", "EVENTS FOUND", "ALERTS", "DISTANCE"],
            report.families.iter().map(family),
        ));
    }
    parts.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_say_what_was_counted() {
        let report = report(&Trial { interval: 3_600.0, series: 2, seed: 3 }, true);
        assert_eq!((report.events, report.families.len()), (2 * 2 * 9, 9));
        let alerts: usize = report.bins.iter().map(|bin| bin.alerts).sum();
        let of_families: usize = report.families.iter().flat_map(|row| &row.bins).map(|bin| bin.alerts).sum();
        assert!(alerts == of_families && alerts >= report.found, "{report:?}");
        let text = text(&report);
        assert!(text.contains("SHARE TRUE") && text.contains("Trending"), "{text}");
    }
}
