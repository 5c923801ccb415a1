//! Breakers as they stand, and a person's word over them.

use std::time::Duration;

use anyhow::Context as _;
use chassis::exit;
use proto::model::{
    Action, BreakerMode, BreakerOverride, BreakerPhase, BreakerRecord, BreakerSetting, DirectiveRecord,
    ResourceId,
};
use serde::Serialize;

use super::Word;
use crate::commands::person;
use crate::endpoints::Clients;
use crate::output::{self, Format, number, table};

/// How long a word may take to reach the instances, on a busy machine.
const REACH_WAIT: Duration = Duration::from_secs(10);
/// How often it is looked whether it has.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// A breaker for listings.
#[derive(Debug, Serialize)]
struct Row {
    /// As the breaker's callers see it.
    state: &'static str,
    #[serde(flatten)]
    record: BreakerRecord,
}

/// The state as callers see it: the mode where it decides, the phase otherwise.
fn state(record: &BreakerRecord) -> &'static str {
    let policy = &record.report.policy;
    let mode = match policy.told {
        Some(BreakerOverride::Set { mode, .. }) => mode,
        Some(BreakerOverride::Cleared) | None => policy.mode,
    };
    match (mode, record.report.phase) {
        (BreakerMode::MetricsOnly, _) => "METRICS_ONLY",
        (BreakerMode::Disabled, _) => "DISABLED",
        (BreakerMode::ForcedOpen, _) => "FORCED_OPEN",
        (BreakerMode::Enforce, BreakerPhase::Closed) => "CLOSED",
        (BreakerMode::Enforce, BreakerPhase::Open) => "OPEN",
        (BreakerMode::Enforce, BreakerPhase::HalfOpen) => "HALF_OPEN",
    }
}

fn rows(records: Vec<BreakerRecord>) -> Vec<Row> {
    let row = |record: BreakerRecord| Row { state: state(&record), record };
    records.into_iter().map(row).collect()
}

fn listing(rows: &[Row]) -> String {
    let lines = rows.iter().map(|row| {
        let report = &row.record.report;
        let rejected: u64 = report.rejected_total.values().sum();
        [
            report.key.to_string(),
            row.record.instance.clone(),
            row.state.to_owned(),
            report.verdict.to_string(),
            format!("{:.1} of {:.1}", report.outage_score, report.outage_threshold),
            format!("{:.2} %", 100.0 * report.failure_baseline_ratio),
            number(Some(report.rate_per_second)),
            format!("{} / {rejected}", report.opened_total),
            word(&report.policy),
        ]
    });
    let header = [
        "EDGE",
        "INSTANCE",
        "STATE",
        "VERDICT",
        "EVIDENCE",
        "NORMAL",
        "CALLS/S",
        "OPENED/REJECTED",
        "OVERRIDE",
    ];
    table(header, lines)
}

fn word(policy: &BreakerSetting) -> String {
    match policy.told {
        Some(BreakerOverride::Set { mode, until }) => {
            format!("{mode} until {}", until.strftime("%Y-%m-%d %H:%M:%SZ"))
        }
        Some(BreakerOverride::Cleared) | None => "-".to_owned(),
    }
}

pub(super) async fn list(clients: &Clients, format: Format) -> anyhow::Result<u8> {
    let records = clients.execute()?.list_breakers(None).await?;
    output::print(format, &rows(records), |rows| listing(rows))?;
    Ok(exit::DONE)
}

/// An edge's breakers with their past.
#[derive(Debug, Serialize)]
struct Whole {
    edge: ResourceId,
    breakers: Vec<Row>,
    history: Vec<DirectiveRecord>,
}

pub(super) async fn show(
    clients: &Clients,
    edge: &ResourceId,
    limit: u32,
    format: Format,
) -> anyhow::Result<u8> {
    let breakers = rows(clients.execute()?.list_breakers(Some(edge)).await?);
    let list = clients.knowledge()?.list_directives(Some(edge.clone()), &[], limit).await;
    let history = list.context("cannot read what was set before")?.directives;
    let found = !breakers.is_empty() || !history.is_empty();
    output::print(format, &Whole { edge: edge.clone(), breakers, history }, describe)?;
    // Nothing is known of such an edge.
    Ok(if found { exit::DONE } else { exit::NEGATIVE })
}

fn describe(whole: &Whole) -> String {
    let mut text = format!("{}\n{}\n", whole.edge, listing(&whole.breakers));
    let mut line = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    for row in &whole.breakers {
        let report = &row.record.report;
        let BreakerSetting { mode, failure_ratio_to_open, slow_call, open_wait, half_open_permits, .. } =
            report.policy;
        let slow = slow_call.map_or("as learned".to_owned(), |limit| format!("from {limit:?}"));
        line(format!(
            "{}: policy of generation {}: {mode}, opens from {} % failing, slow {slow}, waits {open_wait:?}, {half_open_permits} probes",
            row.record.instance,
            report.generation,
            100.0 * failure_ratio_to_open
        ));
        let counts = |counts: &std::collections::BTreeMap<String, u64>| {
            let some = counts.iter().filter(|(_, count)| **count > 0);
            some.map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
        };
        line(format!(
            "  results: {}; rejected: {}; would reject: {}; {} of {} probes in flight; admits {:.0} %",
            counts(&report.results_total),
            counts(&report.rejected_total),
            report.would_reject_total,
            report.probes_in_flight,
            report.probe_permits,
            100.0 * report.admitted_ratio
        ));
        if let Some(advice) = &row.record.advice {
            line(format!(
                "  the fleet: {} others, their evidence {:.1}, probing {}",
                advice.witnesses, advice.others_score, advice.probing
            ));
        }
    }
    for record in &whole.history {
        let directive = &record.directive;
        line(format!(
            "{} generation {} {}: {} ({})",
            directive.created_at.strftime("%Y-%m-%d %H:%M:%SZ"),
            directive.generation,
            record.state,
            directive.action,
            directive.rationale.text
        ));
    }
    text
}

/// What came of a word.
#[derive(Debug, Serialize)]
struct Said {
    #[serde(flatten)]
    record: DirectiveRecord,
    reached: bool,
}

/// Has a word stand, or end, and waits until instances have it. Exit code 2 when none had it in time.
pub(super) async fn say(
    clients: &Clients,
    edge: &ResourceId,
    told: Option<(Word, Duration)>,
    reason: &str,
    format: Format,
) -> anyhow::Result<u8> {
    let told = told.map(|(word, span)| (mode(word), span));
    let record = clients.execute()?.override_breaker(edge, told, &person(), reason).await?;
    let record = reached(clients, record).await?;
    let said = Said { reached: has_reached(&record), record };
    output::print(format, &said, |said| {
        let DirectiveRecord { directive, state, detail, .. } = &said.record;
        let action = match directive.action {
            Action::SetBreaker(setting) => word(&setting),
            _ => String::new(),
        };
        let word = match action.as_str() {
            "-" => "no override stands any longer",
            word => word,
        };
        match said.reached {
            true => format!("{edge}: {word} (generation {}, {state})", directive.generation),
            false => format!(
                "{edge}: {word} is on its way and has reached no instance yet ({state} {detail}); `homeostat directives show {}` tells more",
                directive.id
            ),
        }
    })?;
    Ok(if said.reached { exit::DONE } else { exit::NEGATIVE })
}

fn mode(word: Word) -> BreakerMode {
    match word {
        Word::ForceOpen => BreakerMode::ForcedOpen,
        Word::Disable => BreakerMode::Disabled,
        Word::MetricsOnly => BreakerMode::MetricsOnly,
        Word::Enforce => BreakerMode::Enforce,
    }
}

/// A word promises nothing that a signal tells: its verification ends as unknown, after it has taken effect.
fn has_reached(record: &DirectiveRecord) -> bool {
    record.state.in_effect() || record.state == proto::model::DirectiveState::Unknown
}

async fn reached(clients: &Clients, mut record: DirectiveRecord) -> anyhow::Result<DirectiveRecord> {
    let knowledge = clients.knowledge()?;
    let look = async {
        while !has_reached(&record) && record.state.under_way() {
            tokio::time::sleep(LOOK_INTERVAL).await;
            record = knowledge.get_directive(record.directive.id).await?;
        }
        anyhow::Ok(())
    };
    match tokio::time::timeout(REACH_WAIT, look).await {
        Ok(looked) => looked?,
        Err(_) => tracing::info!("no instance has said so yet"),
    }
    Ok(record)
}
