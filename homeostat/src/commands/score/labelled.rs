//! `score vus-pr` and `score events`: one series, a label per row.

use crate::{
    cli::offline::{EventsArgs, Labelled, VusArgs},
    commands::offline::Usage,
    offline::{files, results::Results},
    output::{self, number, table},
    score::{
        events::{self, Blame, Case, Found, Rules},
        vus::{self, Event},
    },
};
use anyhow::Context as _;
use chassis::exit;
use serde::Serialize;

#[derive(Debug, Serialize)]
struct VusReport {
    rows: usize,
    events: usize,
    buffer: usize,
    /// Of the column `score`.
    score: Option<f64>,
    /// Of the column `severity`.
    severity: Option<f64>,
    /// The share of labelled rows: what chance reaches, near enough.
    chance: f64,
}

pub(super) fn vus_pr(args: &VusArgs) -> anyhow::Result<u8> {
    let Read { results, labels, from, .. } = read(&args.labelled)?;
    let labels = &labels[from..];
    let of = |column: &[f64]| column.get(from..).and_then(|scores| vus::vus_pr(scores, labels, args.buffer));
    let report = VusReport {
        rows: labels.len(),
        events: vus::events(labels).len(),
        buffer: args.buffer,
        score: of(&results.scores),
        severity: of(&results.severities),
        chance: labels.iter().filter(|label| **label).count() as f64 / labels.len().max(1) as f64,
    };
    output::print(args.output.output, &report, |report| {
        let row = [
            report.rows.to_string(),
            report.events.to_string(),
            number(report.score),
            number(report.severity),
            number(Some(report.chance)),
        ];
        table(["ROWS", "EVENTS", "VUS-PR OF SCORE", "OF SEVERITY", "SHARE LABELLED"], [row])
    })?;
    Ok(exit::DONE)
}

#[derive(Debug, Serialize)]
struct EventsReport {
    events: usize,
    days: f64,
    /// Exactly the rows with `deviation` 1.
    fixed: Alarms,
    /// The best threshold on `score` for each rate of false alarms.
    at_rates: Vec<AtRate>,
    /// For each event what it was, whether the detector's own alerts hit it, and how soon.
    details: Vec<EventDetail>,
    /// Mean share of the guilty among as many (`100`) and half more (`150`) that were blamed at the alert, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    blame: Option<HitRates>,
}

#[derive(Debug, Serialize)]
struct Alarms {
    found: usize,
    recall: Option<f64>,
    false_alarms: usize,
    false_alarms_per_day: f64,
}

#[derive(Debug, Serialize)]
struct AtRate {
    rate: f64,
    threshold: Option<f64>,
    #[serde(flatten)]
    alarms: Option<Alarms>,
}

#[derive(Debug, Serialize)]
struct EventDetail {
    first_row: usize,
    last_row: usize,
    hit: bool,
    delay_s: Option<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    blamed: Vec<String>,
}

#[derive(Debug, Serialize)]
struct HitRates {
    events: usize,
    hit_rate_100: f64,
    hit_rate_150: f64,
}

pub(super) fn events(args: &EventsArgs) -> anyhow::Result<u8> {
    let Read { results, labels, from, unlabelled } = read(&args.labelled)?;
    let times: Vec<f64> = seconds(&results)?;
    let labelled = vus::events(&labels);
    let rules = Rules { grace: args.grace.as_secs_f64(), merge: args.merge.as_secs_f64() };
    let case = Case { times: &times, events: &labelled, from, rules };
    let alerts: Vec<usize> = (0..times.len()).filter(|row| results.alerts[*row]).collect();
    let fixed = case.found(alerts.iter().copied());
    let details = details(&case, &fixed, &results, &alerts);
    let report = EventsReport {
        events: fixed.hits.len(),
        days: case.days(),
        at_rates: args.rates.iter().map(|rate| at_rate(&case, &results, *rate)).collect(),
        blame: args.blame.as_deref().map(|path| blame(path, &details, unlabelled)).transpose()?.flatten(),
        fixed: alarms(&fixed),
        details,
    };
    output::print(args.output.output, &report, show)?;
    Ok(exit::DONE)
}

/// Results and labels, row by row.
struct Read {
    results: Results,
    labels: Vec<bool>,
    /// The first row that is scored.
    from: usize,
    /// Rows at the start without a label: what a detector learned from before the labelled part.
    unlabelled: usize,
}

/// Fewer labels than rows belong to the last rows.
fn read(args: &Labelled) -> anyhow::Result<Read> {
    let results = Results::read(&args.results)?;
    let stated = events::read_labels(&files::text(&args.labels)?)
        .map_err(|line| anyhow::anyhow!("{} line {line} must be 0 or 1", args.labels.display()))?;
    let rows = results.scores.len();
    let unlabelled = rows
        .checked_sub(stated.len())
        .with_context(|| format!("{} has {} labels for {rows} rows", args.labels.display(), stated.len()))?;
    let from = unlabelled.max((rows as f64 * args.skip).floor() as usize);
    let labels = std::iter::repeat_n(false, unlabelled).chain(stated).collect();
    Ok(Read { results, labels, from, unlabelled })
}

/// A row without a time has the time of the row before it.
fn seconds(results: &Results) -> anyhow::Result<Vec<f64>> {
    let mut last = results.times.iter().flatten().next().context("no row of the results has a time")?;
    let times = results.times.iter().map(|at| {
        last = at.as_ref().filter(|at| *at >= last).unwrap_or(last);
        last.as_microsecond() as f64 / 1e6
    });
    Ok(times.collect())
}

fn alarms(found: &Found) -> Alarms {
    let events = found.hits.len();
    Alarms {
        found: found.count(),
        recall: (events > 0).then(|| found.count() as f64 / events as f64),
        false_alarms: found.false_alarms,
        false_alarms_per_day: found.per_day,
    }
}

fn at_rate(case: &Case, results: &Results, rate: f64) -> AtRate {
    let best = case.best(&results.scores, rate);
    AtRate {
        rate,
        threshold: best.as_ref().map(|(threshold, _)| *threshold),
        alarms: best.map(|(_, found)| alarms(&found)),
    }
}

fn details(case: &Case, found: &Found, results: &Results, alerts: &[usize]) -> Vec<EventDetail> {
    let blamed = |event: &Event| {
        let end = case.times[event.last] + case.rules.grace;
        let row = alerts.iter().find(|row| **row >= event.first && case.times[**row] <= end);
        row.and_then(|row| results.blamed.get(*row)).cloned().unwrap_or_default()
    };
    let each = case.events().zip(&found.hits).zip(&found.delays);
    each.map(|((event, hit), delay)| EventDetail {
        first_row: event.first,
        last_row: event.last,
        hit: *hit,
        delay_s: *delay,
        blamed: blamed(event),
    })
    .collect()
}

/// Blame at the alerts that hit, of events whose guilty columns are known.
fn blame(
    path: &std::path::Path,
    details: &[EventDetail],
    unlabelled: usize,
) -> anyhow::Result<Option<HitRates>> {
    let known = events::read_blame(&files::text(path)?)
        .map_err(|line| Usage(format!("{} line {line} must read `first-last:1,4,7`", path.display())))?;
    let overlapping = |detail: &EventDetail| {
        known.iter().find(|(event, _)| {
            event.first + unlabelled <= detail.last_row && detail.first_row <= event.last + unlabelled
        })
    };
    let cases = details.iter().filter(|detail| !detail.blamed.is_empty()).filter_map(|detail| {
        let guilty = overlapping(detail)?.1.iter().map(ToString::to_string).collect();
        Some(Blame { guilty, ranked: detail.blamed.clone() })
    });
    let rates: Vec<(f64, f64)> = cases
        .filter_map(|blame| Some((events::hit_rate(&blame, 1.0)?, events::hit_rate(&blame, 1.5)?)))
        .collect();
    let mean = |of: fn(&(f64, f64)) -> f64| 100.0 * rates.iter().map(of).sum::<f64>() / rates.len() as f64;
    Ok((!rates.is_empty()).then(|| HitRates {
        events: rates.len(),
        hit_rate_100: mean(|rate| rate.0),
        hit_rate_150: mean(|rate| rate.1),
    }))
}

fn show(report: &EventsReport) -> String {
    let line = |name: String, alarms: Option<&Alarms>| match alarms {
        None => [name, "none".to_owned(), String::new(), String::new()],
        Some(alarms) => [
            name,
            format!("{}/{}", alarms.found, report.events),
            alarms.false_alarms.to_string(),
            format!("{:.2}", alarms.false_alarms_per_day),
        ],
    };
    let fixed = line("own alerts".to_owned(), Some(&report.fixed));
    let rates = report
        .at_rates
        .iter()
        .map(|at| line(format!("best threshold, at most {} false a day", at.rate), at.alarms.as_ref()));
    let mut text = format!("{} events in {:.1} days\n", report.events, report.days);
    text += &table(["ALERTS", "FOUND", "FALSE ALARMS", "A DAY"], std::iter::once(fixed).chain(rates));
    let details = report.details.iter().map(|detail| {
        [
            format!("{}–{}", detail.first_row, detail.last_row),
            if detail.hit { "found".to_owned() } else { "missed".to_owned() },
            detail.delay_s.map_or_else(String::new, |delay| format!("{delay:.0} s")),
            detail.blamed.join(" "),
        ]
    });
    text += "\n\n";
    text += &table(["EVENT (ROWS)", "OWN ALERTS", "AFTER", "BLAMED"], details);
    if let Some(blame) = &report.blame {
        text += &format!(
            "\nblamed rightly at {} alerts: {:.0} % of the guilty among as many blamed, {:.0} % among half more",
            blame.events, blame.hit_rate_100, blame.hit_rate_150
        );
    }
    text
}
