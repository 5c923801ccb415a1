//! `thresholds`: review what was learned. The band now comes from Analyze, versions and reviews from Knowledge.

use super::person;
use crate::{
    cli::{ThresholdReviewArgs, Thresholds},
    endpoints::Clients,
    output::{self, number, table},
};
use chassis::exit;
use proto::{
    client::ThresholdDecision,
    model::{LearnedSignal, SignalDeviation, SignalId, Threshold, ThresholdReview, ThresholdState},
};
use serde::Serialize;
use std::collections::BTreeMap;

/// One signal as `thresholds list` shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Which signal.
    pub signal: SignalId,
    /// Lower end of the band now; absent while learning.
    pub lower: Option<f64>,
    /// Upper end.
    pub upper: Option<f64>,
    /// How it was learned.
    pub method: String,
    /// Samples learned from.
    pub samples: u64,
    /// Share of judged samples inside the band.
    pub coverage: f64,
    /// Where it stands.
    pub state: ThresholdState,
    /// Version in force; 0: none.
    pub generation: u64,
    /// The newest value.
    pub value: Option<f64>,
    /// Expected value now.
    pub expected: Option<f64>,
    /// Unit of all of them.
    pub unit: String,
    /// Whether the value is outside.
    pub deviating: bool,
    /// The last alert of the detectors, until its severity has faded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deviation: Option<SignalDeviation>,
    /// Samples still wanted before the first version.
    pub warm_up_remaining: u64,
    /// Whether a declared Service names it.
    pub declared: bool,
    /// A version that waits for review.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proposed_generation: Option<u64>,
}

/// Runs one of the `thresholds` commands.
///
/// # Errors
/// When a service cannot be reached or refuses.
pub async fn run(clients: Clients, command: Thresholds) -> anyhow::Result<u8> {
    match command {
        Thresholds::List { prefix, output } => {
            let rows = list(&clients, &prefix).await?;
            output::print(output.output, &rows, |rows| show_rows(rows))?;
        }
        Thresholds::Show { signal, output } => {
            let rows = list(&clients, &signal.to_string()).await?;
            let Some(row) = rows.into_iter().find(|row| row.signal == signal) else {
                anyhow::bail!(
                    "nothing is known about {signal}; `homeostat thresholds list` shows every signal"
                );
            };
            output::print(output.output, &row, |row| show_rows(std::slice::from_ref(row)))?;
        }
        Thresholds::History { signal, output } => {
            let versions = clients.knowledge()?.threshold_history(signal, 0).await?;
            output::print(output.output, &versions, |versions| show_versions(versions))?;
        }
        Thresholds::Approve(args) => review(&clients, args, ThresholdReview::Approve, (None, None)).await?,
        Thresholds::Reject(args) => review(&clients, args, ThresholdReview::Reject, (None, None)).await?,
        Thresholds::Pin { review: args, lower, upper } => {
            review(&clients, args, ThresholdReview::Pin, (lower, upper)).await?;
        }
        Thresholds::Unpin(args) => review(&clients, args, ThresholdReview::Unpin, (None, None)).await?,
    }
    Ok(exit::DONE)
}

/// Everything that is learned, joined with what Knowledge holds.
///
/// # Errors
/// When neither Analyze nor Knowledge can be reached.
pub async fn list(clients: &Clients, prefix: &str) -> anyhow::Result<Vec<Row>> {
    let mut rows = BTreeMap::new();
    for threshold in stored(clients, prefix).await? {
        let waiting = threshold.state == ThresholdState::Proposed;
        let row = rows.entry(threshold.signal.clone()).or_insert_with(|| from_stored(&threshold));
        if waiting {
            row.proposed_generation = Some(threshold.generation);
        } else {
            *row = Row { proposed_generation: row.proposed_generation, ..from_stored(&threshold) };
        }
    }
    for learned in live(clients, prefix).await? {
        let proposed = rows.get(&learned.signal).and_then(|row| row.proposed_generation);
        rows.insert(learned.signal.clone(), Row { proposed_generation: proposed, ..from_live(learned) });
    }
    Ok(rows.into_values().collect())
}

async fn stored(clients: &Clients, prefix: &str) -> anyhow::Result<Vec<Threshold>> {
    let (knowledge, mut after, mut all) = (clients.knowledge()?, String::new(), Vec::new());
    loop {
        let page = knowledge.list_thresholds(prefix, true, &after).await?;
        if let Some(last) = page.thresholds.last() {
            after = last.signal.to_string();
        }
        let more = page.more && !page.thresholds.is_empty();
        all.extend(page.thresholds);
        if !more {
            return Ok(all);
        }
    }
}

/// Without Analyze the stored versions are shown as they were made.
async fn live(clients: &Clients, prefix: &str) -> anyhow::Result<Vec<LearnedSignal>> {
    let (analyze, mut after, mut all) = (clients.analyze()?, String::new(), Vec::new());
    loop {
        match analyze.list_signals(prefix, &after, 0).await {
            Ok(page) => {
                if let Some(last) = page.signals.last() {
                    after = last.signal.to_string();
                }
                let more = page.more && !page.signals.is_empty();
                all.extend(page.signals);
                if !more {
                    return Ok(all);
                }
            }
            Err(error) if error.is_transient() => {
                eprintln!(
                    "homeostat: Analyze cannot be reached; showing bands as they were when each version was made"
                );
                return Ok(Vec::new());
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn from_stored(threshold: &Threshold) -> Row {
    let (lower, upper) = threshold.band(threshold.level);
    Row {
        signal: threshold.signal.clone(),
        lower: Some(lower),
        upper: Some(upper),
        method: threshold.method.clone(),
        samples: threshold.samples,
        coverage: threshold.coverage_ratio,
        state: threshold.state,
        generation: threshold.generation,
        value: None,
        expected: Some(threshold.level),
        unit: String::new(),
        deviating: false,
        deviation: None,
        warm_up_remaining: 0,
        declared: true,
        proposed_generation: None,
    }
}

fn from_live(learned: LearnedSignal) -> Row {
    let LearnedSignal {
        signal,
        unit,
        declared,
        glance,
        samples,
        warm_up_remaining,
        coverage_ratio,
        generation,
        method,
    } = learned;
    Row {
        signal,
        lower: glance.lower,
        upper: glance.upper,
        method,
        samples,
        coverage: coverage_ratio,
        state: glance.threshold_state,
        generation,
        value: glance.value,
        expected: glance.expected,
        unit,
        deviating: glance.deviating,
        deviation: glance.deviation,
        warm_up_remaining,
        declared,
        proposed_generation: None,
    }
}

fn show_rows(rows: &[Row]) -> String {
    let lines = rows.iter().map(|row| {
        let band = match row.state {
            ThresholdState::Learning => format!("learning, {} more samples", row.warm_up_remaining),
            _ => format!("{} .. {}", number(row.lower), number(row.upper)),
        };
        let mark = if row.deviating { " !" } else { "" };
        [
            row.signal.to_string(),
            format!("{}{mark}", number(row.value)),
            band,
            row.state.to_string(),
            row.generation.to_string(),
            row.samples.to_string(),
            format!("{:.4}", row.coverage),
            row.unit.clone(),
            row.deviation.as_ref().map_or_else(String::new, alert),
        ]
    });
    table(["SIGNAL", "VALUE", "BAND", "STATE", "GEN", "SAMPLES", "COVERAGE", "UNIT", "ALERT"], lines)
}

/// An alert in a few words: where it was seen, since when, how sure it is.
fn alert(deviation: &SignalDeviation) -> String {
    let SignalDeviation { opened_at, view, severity: _, confidence } = deviation;
    format!("{view} since {opened_at:.0} ({:.0} % sure)", 100.0 * confidence)
}

fn show_versions(versions: &[Threshold]) -> String {
    let lines = versions.iter().map(|version| {
        let (lower, upper) = version.band(version.level);
        let by = if version.reviewed_by.is_empty() {
            String::new()
        } else {
            format!("{} {}", version.reviewed_by, version.reason)
        };
        [
            version.generation.to_string(),
            version.state.to_string(),
            format!("{} .. {}", number(Some(lower)), number(Some(upper))),
            version.samples.to_string(),
            version.method.clone(),
            version.created_at.to_string(),
            by,
        ]
    });
    table(["GEN", "STATE", "BAND THEN", "SAMPLES", "METHOD", "MADE", "REVIEWED BY"], lines)
}

async fn review(
    clients: &Clients,
    args: ThresholdReviewArgs,
    review: ThresholdReview,
    (lower, upper): (Option<f64>, Option<f64>),
) -> anyhow::Result<()> {
    let ThresholdReviewArgs { signal, generation, reason, output } = args;
    let decision = ThresholdDecision { signal, review, generation, lower, upper, reviewer: person(), reason };
    let threshold = clients.knowledge()?.review_threshold(decision).await?;
    output::print(output.output, &threshold, |threshold| show_versions(std::slice::from_ref(threshold)))
}
