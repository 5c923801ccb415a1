//! What came of it: the figures of every policy, as a table and as JSON.

use super::{
    args::BacktestArgs,
    bounds::LowerBound,
    load::Load,
    replay::{Record, Score},
    trace::Trace,
};
use crate::output::table;
use plan::report::PlanReport;
use serde::Serialize;

/// Points of a drawn line: as many as a wide page has columns.
const DRAWN: usize = 1_000;

/// All that was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The file.
    pub trace: String,
    /// A later answer is late.
    pub objective_s: f64,
    /// Percentage that must be in time.
    pub slo: f64,
    /// What was repaired in the trace, and what the figures do not show.
    pub notes: Vec<String>,
    /// Scored from this second on; what comes before is for learning.
    pub evaluated_from_s: u32,
    /// By what the trace was multiplied.
    pub load_scale: f64,
    /// Ours first.
    #[serde(rename = "policies")]
    pub rows: Vec<Row>,
    /// Load over the scored time, for drawing.
    #[serde(skip)]
    pub load: Vec<f64>,
    /// Seconds between two drawn points.
    #[serde(skip)]
    pub drawn_s: f64,
}

/// One policy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// As given.
    pub name: String,
    /// Share of requests late or dropped.
    pub violation_ratio: f64,
    /// Share of minutes with more than 1 % late.
    pub bad_minutes_ratio: f64,
    /// Ready and starting replicas.
    pub replica_hours: f64,
    /// Changes of their number.
    pub scale_events: u32,
    /// Violations over what the objective allows; 1 is just met.
    pub budget_burn: f64,
    /// Replica-hours over those that no policy could undercut at the same violations.
    pub lower_bound_ratio: f64,
    /// No other policy has both fewer violations and lower cost.
    pub pareto: bool,
    /// Every decision and why; only ours, and only when asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub decisions: Vec<Decided>,
    /// Replicas over the scored time.
    #[serde(skip)]
    pub replicas: Vec<f64>,
    /// Late share over the scored time.
    #[serde(skip)]
    pub late: Vec<f64>,
    /// When the number of replicas changed, in seconds, with before and after.
    #[serde(skip)]
    pub changes: Vec<(u32, u32, u32)>,
}

/// One decision.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decided {
    /// When, in seconds of the trace.
    pub at_s: u32,
    /// One sentence.
    pub text: String,
    /// Whether a directive came of it.
    pub acted: bool,
    /// What was weighed: action, what became of it, why, and which guardrails forbade it.
    pub considered: Vec<Weighed>,
}

/// One alternative.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Weighed {
    /// The change.
    pub action: String,
    /// Chosen, rejected, blocked or waiting.
    pub choice: &'static str,
    /// Why.
    pub reason: String,
    /// What guardrails said that forbade it.
    pub vetoes: Vec<String>,
}

impl From<&(u32, PlanReport)> for Decided {
    fn from((at_s, report): &(u32, PlanReport)) -> Self {
        let considered = report.considered.iter().map(|considered| Weighed {
            action: considered.action.clone(),
            choice: considered.choice.as_str(),
            reason: considered.reason.clone(),
            vetoes: considered
                .guardrails
                .iter()
                .filter(|verdict| verdict.vetoed)
                .map(|verdict| format!("{}: {}", verdict.guardrail, verdict.reason))
                .collect(),
        });
        let considered: Vec<_> = considered.collect();
        let acted = considered.iter().any(|weighed| weighed.choice == "chosen");
        Self { at_s: *at_s, text: report.text.clone(), acted, considered }
    }
}

impl Report {
    /// Without policies yet.
    #[must_use]
    pub fn new(args: &BacktestArgs, trace: &Trace, load: &Load) -> Self {
        let mut notes = trace.notes.clone();
        notes.push(
            "not modelled: node provisioning, cold caches, differences between replicas, retries, dependencies, bursts \
             within a bin"
                .to_owned(),
        );
        if !args.no_shed {
            notes.push(
                "homeostat has a limiter here, as the +shed policies do; --no-shed replays it without"
                    .to_owned(),
            );
        }
        if !load.dark.is_empty() {
            let seconds: u32 = load.dark.iter().map(|(from, to)| to - from).sum();
            notes.push(format!(
                "no policy sees a metric of the {seconds} s that the source did not know; the interpolated load meets its replicas all the same"
            ));
        }
        let scored = &load.rates[load.step_at(load.evaluated_from_s).min(load.rates.len())..];
        Self {
            trace: args.source(),
            objective_s: args.objective.as_secs_f64(),
            slo: args.slo,
            notes,
            evaluated_from_s: load.evaluated_from_s,
            load_scale: load.scale,
            rows: Vec::new(),
            load: drawn(scored.iter().copied()),
            drawn_s: f64::from(load.step_s) * (scored.len() as f64 / DRAWN as f64).max(1.0),
        }
    }

    /// Marks what nothing beats in both.
    pub fn mark(&mut self) {
        // The oracle knows the load: it is a bound, and beats nobody.
        let policies = self.rows.iter().filter(|row| row.name != "oracle");
        let points: Vec<_> = policies.map(|row| (row.violation_ratio, row.replica_hours)).collect();
        for row in &mut self.rows {
            let beats = |(late, cost): &(f64, f64)| {
                *late <= row.violation_ratio
                    && *cost <= row.replica_hours
                    && (*late < row.violation_ratio || *cost < row.replica_hours)
            };
            row.pareto = !points.iter().any(beats);
        }
    }

    /// For people.
    #[must_use]
    pub fn table(&self) -> String {
        let rows = self.rows.iter().map(|row| {
            let met = if row.budget_burn <= 1.0 { "met" } else { "missed" };
            [
                format!("{}{}", row.name, if row.pareto { " *" } else { "" }),
                format!("{:.3} %", 100.0 * row.violation_ratio),
                met.to_owned(),
                format!("{:.2} %", 100.0 * row.bad_minutes_ratio),
                format!("{:.0}", row.replica_hours),
                row.scale_events.to_string(),
                format!("{:.2}", row.budget_burn),
                format!("{:.3}", row.lower_bound_ratio),
            ]
        });
        let header = [
            "POLICY",
            "LATE",
            "OBJECTIVE",
            "BAD MINUTES",
            "REPLICA-HOURS",
            "CHANGES",
            "BURN",
            "OVER THE BOUND",
        ];
        let mut text = format!(
            "{}: {} % within {} s, scored from second {}\n{}\n* no other policy has both fewer violations and lower cost",
            self.trace,
            self.slo,
            self.objective_s,
            self.evaluated_from_s,
            table(header, rows)
        );
        for note in &self.notes {
            text.push_str(&format!("\nnote: {note}"));
        }
        text
    }
}

impl Row {
    /// Scores a record.
    #[must_use]
    pub fn new(name: &str, record: &Record, load: &Load, bound: &LowerBound, slo: f64) -> Self {
        let Score { violation_ratio, bad_minutes_ratio, replica_hours, scale_events } = record.score(load);
        let from = load.step_at(load.evaluated_from_s).min(record.ready.len());
        let least = bound.replica_hours(violation_ratio);
        let changed =
            record.decisions.iter().filter(|d| d.at_s >= load.evaluated_from_s && d.wanted != d.total);
        Self {
            name: name.to_owned(),
            violation_ratio,
            bad_minutes_ratio,
            replica_hours,
            scale_events,
            budget_burn: violation_ratio / (1.0 - slo / 100.0),
            lower_bound_ratio: if least > 0.0 { replica_hours / least } else { 1.0 },
            pareto: false,
            decisions: Vec::new(),
            replicas: drawn(record.total[from..].iter().map(|replicas| f64::from(*replicas))),
            late: drawn(record.late_ratio[from..].iter().copied()),
            changes: changed.map(|d| (d.at_s, d.total, d.wanted)).collect(),
        }
    }
}

/// The largest of each of so many parts: what is drawn must not hide a peak.
fn drawn(values: impl ExactSizeIterator<Item = f64>) -> Vec<f64> {
    let count = values.len();
    let mut parts = vec![0.0f64; count.min(DRAWN)];
    let length = parts.len();
    for (index, value) in values.enumerate() {
        let part = &mut parts[index * length / count];
        *part = part.max(value);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawing_keeps_every_peak() {
        let mut values = vec![1.0; 12_345];
        values[7_777] = 9.0;
        let drawn = drawn(values.into_iter());
        assert_eq!((drawn.len(), drawn.iter().copied().fold(0.0, f64::max)), (DRAWN, 9.0));
    }
}
