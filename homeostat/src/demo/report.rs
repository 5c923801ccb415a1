//! The demo's report: figures from the load generator's own record, the timeline, and whether the loop closed.

use super::Run;
use crate::{commands::staging::documents, output::table};
use jiff::Timestamp;
use proto::model::{
    AutonomyLevel, DeclaredSpec, Directive, DirectiveKind, DirectiveRecord, DirectiveState, ResourceId,
    Severity, Symptom, SymptomKind,
};
use serde::Serialize;
use staging::{
    load::Record,
    report::{Report, violating},
    scenario::Trouble,
    supervisor::TimelineEntry,
};
use std::time::Duration;

/// Acting may use at most this share of the replica-seconds of always holding the maximum.
const REPLICA_SECONDS_SHARE_MAX: f64 = 0.6;
/// Something that happened in the acting run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Moment {
    /// Seconds after the load began.
    pub at_s: f64,
    /// `fault`, `load`, `replicas`, `symptom`, `directive` or `outcome`.
    pub kind: String,
    /// Which resource.
    pub resource: String,
    /// What happened.
    pub text: String,
    /// The directive, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directive_id: Option<String>,
}

/// One trouble of the scenario, and how long each step of the loop took. All times are counted from the first violating
/// second after the trouble began, as the load generator recorded it; absent: it did not happen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Episode {
    /// What was done to the cluster.
    pub cause: String,
    /// When, in seconds after the load began.
    pub at_s: f64,
    /// First violating second by the load generator's record.
    pub first_violation_s: Option<f64>,
    /// To the first symptom; negative when it was seen before users felt it.
    pub detect_s: Option<f64>,
    /// To the first directive.
    pub decide_s: Option<f64>,
    /// To its application.
    pub apply_s: Option<f64>,
    /// To the end of the last violating second.
    pub recover_s: Option<f64>,
    /// Violating seconds, acting.
    pub violating_seconds: u64,
    /// Violating seconds in the same span, only watching.
    pub violating_seconds_observed: u64,
}

/// One condition for exit code 0.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    /// What must hold.
    pub name: String,
    /// Whether it does.
    pub passed: bool,
    /// The figures.
    pub detail: String,
}

/// The report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DemoReport {
    /// As given.
    pub seed: u64,
    /// Symptom, directive, application and verified outcome, all real, in that order.
    pub loop_closed: bool,
    /// Without acting.
    pub observe: Report,
    /// Acting.
    pub act: Report,
    /// Share of the violating seconds that acting avoided; absent when there were none.
    pub violating_seconds_avoided_ratio: Option<f64>,
    /// Replica-seconds of always holding the maximum.
    pub maximum_replica_seconds: u64,
    /// Why it passed or not.
    pub checks: Vec<Check>,
    /// Trouble by trouble.
    pub episodes: Vec<Episode>,
    /// The acting run.
    pub timeline: Vec<Moment>,
}

impl DemoReport {
    /// Whether every check passed.
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.passed)
    }
}

/// Puts the report together.
pub(super) fn build(seed: u64, duration: Duration, observe: Run, act: Run) -> anyhow::Result<DemoReport> {
    let timeline = timeline(&act);
    let maximum_replica_seconds = maximum_replicas()? * duration.as_secs();
    let closed = loop_closed(&act);
    let (before, after) = (observe.played.report.clone(), act.played.report.clone());
    let checks = vec![
        Check {
            name: "the loop closed".to_owned(),
            passed: closed.is_ok(),
            detail: closed.clone().unwrap_or_else(|why| why),
        },
        Check {
            name: "acting had fewer violating seconds".to_owned(),
            passed: after.violating_seconds < before.violating_seconds,
            detail: format!("{} against {}", after.violating_seconds, before.violating_seconds),
        },
        Check {
            name: "acting used at most 60 % of the maximum's replica-seconds".to_owned(),
            passed: after.replica_seconds as f64
                <= REPLICA_SECONDS_SHARE_MAX * maximum_replica_seconds as f64,
            detail: format!("{} of {maximum_replica_seconds}", after.replica_seconds),
        },
    ];
    let avoided = (before.violating_seconds > 0)
        .then(|| 1.0 - after.violating_seconds as f64 / before.violating_seconds as f64);
    Ok(DemoReport {
        seed,
        loop_closed: closed.is_ok(),
        violating_seconds_avoided_ratio: avoided,
        maximum_replica_seconds,
        checks,
        episodes: episodes(&observe, &act, duration),
        timeline,
        observe: before,
        act: after,
    })
}

/// Replicas of all services together, if each were held at its policy's maximum.
fn maximum_replicas() -> anyhow::Result<u64> {
    let policies = documents(AutonomyLevel::Act)?.into_iter().filter_map(|document| match document.spec {
        DeclaredSpec::Policy(policy) => policy.scale,
        DeclaredSpec::Service(_) | DeclaredSpec::Slo(_) => None,
    });
    Ok(policies.map(|scale| u64::from(scale.maximum_replicas)).sum())
}

fn seconds(run: &Run, at: Timestamp) -> f64 {
    (at.as_millisecond() - run.played.start_unix_ms) as f64 / 1_000.0
}

fn newest(records: &[DirectiveRecord]) -> Option<&DirectiveRecord> {
    records.last()
}

/// When the directive got that state, by its history.
fn reached(record: &DirectiveRecord, state: DirectiveState) -> Option<Timestamp> {
    record.history.iter().find(|step| step.to == state).map(|step| step.at)
}

/// The kinds of change that the run's troubles call for: one of each must have been verified.
fn wanted(run: &Run) -> Vec<DirectiveKind> {
    let troubles = run.played.timeline.iter().filter_map(|entry| entry.trouble);
    let mut wanted: Vec<_> = troubles
        .filter_map(|trouble| match trouble {
            Trouble::Crowd => Some(DirectiveKind::Scale),
            Trouble::Dependency => Some(DirectiveKind::SetBreaker),
            Trouble::Other => None,
        })
        .collect();
    wanted.sort();
    wanted.dedup();
    wanted
}

/// Ok: which directives closed it; Err: what is missing.
fn loop_closed(run: &Run) -> Result<String, String> {
    let verified: Vec<&Directive> = run
        .recorded
        .directives
        .values()
        .filter_map(|records| newest(records))
        .filter(|record| {
            record.state == DirectiveState::Verified && reached(record, DirectiveState::Applied).is_some()
        })
        .map(|record| &record.directive)
        .collect();
    if run.recorded.symptoms.is_empty() {
        return Err("no symptom was seen".to_owned());
    }
    for kind in wanted(run) {
        if !verified.iter().any(|directive| directive.kind() == kind && !directive.reduces) {
            return Err(format!("no {kind} directive was applied and verified"));
        }
    }
    if verified.is_empty() {
        return Err("no directive was applied and verified".to_owned());
    }
    let names: Vec<_> =
        verified.iter().map(|directive| format!("{} on {}", directive.action, directive.resource)).collect();
    Ok(format!("verified: {}", names.join("; ")))
}

fn timeline(run: &Run) -> Vec<Moment> {
    let mut moments: Vec<Moment> = run.played.timeline.iter().map(from_staging).collect();
    for (resource, symptom) in run.recorded.symptoms.values() {
        moments.extend(from_symptom(run, resource, symptom));
    }
    for record in run.recorded.directives.values().filter_map(|records| newest(records)) {
        moments.extend(from_directive(run, record));
    }
    for outcome in &run.recorded.outcomes {
        let resource = run.recorded.directives.get(&outcome.directive_id).and_then(|records| newest(records));
        moments.push(Moment {
            at_s: seconds(run, outcome.at),
            kind: "outcome".to_owned(),
            resource: resource.map(|record| record.directive.resource.to_string()).unwrap_or_default(),
            text: format!("{}: {}", outcome.result, outcome.text),
            directive_id: Some(outcome.directive_id.to_string()),
        });
    }
    moments.retain(|moment| moment.at_s >= 0.0);
    moments.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
    moments
}

fn from_staging(entry: &TimelineEntry) -> Moment {
    let TimelineEntry { at_s, kind, resource, text, trouble: _ } = entry.clone();
    Moment { at_s, kind, resource, text, directive_id: None }
}

fn from_symptom(run: &Run, resource: &ResourceId, symptom: &Symptom) -> Vec<Moment> {
    let moment = |at: Timestamp, text: String| Moment {
        at_s: seconds(run, at),
        kind: "symptom".to_owned(),
        resource: resource.to_string(),
        text,
        directive_id: None,
    };
    // What nobody would act on stays out of a report that people read.
    if symptom.kind == SymptomKind::Deviation && symptom.severity < Severity::High {
        return Vec::new();
    }
    let Some(opened) = symptom.opened_at else { return Vec::new() };
    let mut moments =
        vec![moment(opened, format!("{} {} opened: {}", symptom.severity, symptom.kind, symptom.text))];
    moments
        .extend(symptom.ended_at.map(|ended| moment(ended, format!("{} {}", symptom.kind, symptom.state))));
    moments
}

fn from_directive(run: &Run, record: &DirectiveRecord) -> Vec<Moment> {
    let directive = &record.directive;
    let moment = |at: Timestamp, text: String| Moment {
        at_s: seconds(run, at),
        kind: "directive".to_owned(),
        resource: directive.resource.to_string(),
        text,
        directive_id: Some(directive.id.to_string()),
    };
    let mut moments = vec![moment(
        directive.created_at,
        format!("decided: {}: {}", directive.action, directive.rationale.text),
    )];
    let told =
        [DirectiveState::Applied, DirectiveState::Refused, DirectiveState::Failed, DirectiveState::Expired];
    for step in record.history.iter().filter(|step| told.contains(&step.to)) {
        moments.push(moment(
            step.at,
            format!("{}: {} {}", step.to, directive.action, step.detail).trim().to_owned(),
        ));
    }
    moments
}

/// Each trouble lasts until the next one begins; the second in which that happens is the next one's.
fn episodes(observe: &Run, act: &Run, duration: Duration) -> Vec<Episode> {
    let causes: Vec<_> = act.played.timeline.iter().filter(|entry| entry.trouble.is_some()).collect();
    let ends = causes.iter().skip(1).map(|entry| entry.at_s).chain([duration.as_secs_f64().ceil()]);
    causes.iter().zip(ends).map(|(cause, end)| episode(observe, act, cause, end)).collect()
}

fn episode(observe: &Run, act: &Run, cause: &TimelineEntry, end: f64) -> Episode {
    let span = |records: &[Record]| -> Vec<u64> {
        violating(records)
            .into_iter()
            .filter(|second| (*second as f64) >= cause.at_s.floor() && (*second as f64) < end.floor())
            .collect()
    };
    let (acted, observed) = (span(&act.played.records), span(&observe.played.records));
    let first = acted.first().or(observed.first()).map(|second| *second as f64);
    let within = |at_s: &f64| *at_s >= cause.at_s && *at_s < end;
    let opened = act.recorded.symptoms.values().filter_map(|(_, symptom)| symptom.opened_at);
    let detect = opened.map(|at| seconds(act, at)).filter(within).min_by(f64::total_cmp);
    let decided = act
        .recorded
        .directives
        .values()
        .filter_map(|records| newest(records))
        .filter(|record| !record.directive.reduces);
    let decided: Vec<_> =
        decided.filter(|record| within(&seconds(act, record.directive.created_at))).collect();
    let decide =
        decided.iter().map(|record| seconds(act, record.directive.created_at)).min_by(f64::total_cmp);
    let applied = decided.iter().filter_map(|record| reached(record, DirectiveState::Applied));
    let apply = applied.map(|at| seconds(act, at)).min_by(f64::total_cmp);
    let since = |at: Option<f64>| at.zip(first).map(|(at, first)| at - first);
    Episode {
        cause: cause.text.clone(),
        at_s: cause.at_s,
        first_violation_s: acted.first().map(|second| *second as f64),
        detect_s: since(detect),
        decide_s: since(decide),
        apply_s: since(apply),
        recover_s: since(acted.last().map(|second| *second as f64 + 1.0)),
        violating_seconds: acted.len() as u64,
        violating_seconds_observed: observed.len() as u64,
    }
}

/// For people.
pub(super) fn text(report: &DemoReport) -> String {
    let moments = report.timeline.iter().map(|moment| {
        [format!("{:.1}", moment.at_s), moment.kind.clone(), moment.resource.clone(), moment.text.clone()]
    });
    let time = |value: Option<f64>| match value {
        Some(early) if early < 0.0 => format!("{:.1} s before", -early),
        Some(late) => format!("{late:.1} s"),
        None => "-".to_owned(),
    };
    let episodes = report.episodes.iter().map(|episode| {
        [
            episode.cause.clone(),
            time(episode.detect_s),
            time(episode.decide_s),
            time(episode.apply_s),
            time(episode.recover_s),
            format!("{} (without: {})", episode.violating_seconds, episode.violating_seconds_observed),
        ]
    });
    let run = |name: &str, report: &Report| {
        let Report { offered, within_objective, degraded, failed, violating_seconds, replica_seconds } =
            *report;
        let numbers = [offered, within_objective, degraded, failed, violating_seconds, replica_seconds];
        let [a, b, c, d, e, f] = numbers.map(|number| number.to_string());
        [name.to_owned(), a, b, c, d, e, f]
    };
    let checks: Vec<_> = report
        .checks
        .iter()
        .map(|check| {
            format!("{} {}: {}", if check.passed { "passed" } else { "FAILED" }, check.name, check.detail)
        })
        .collect();
    format!(
        "What happened while acting (seconds after the load began):\n{}\n\nThe loop, from the first violating second on:\n{}\n\n{}\n\n{}",
        table(["SECOND", "KIND", "RESOURCE", "WHAT"], moments),
        table(["TROUBLE", "DETECT", "DECIDE", "APPLY", "RECOVER", "VIOLATING SECONDS"], episodes),
        table(
            [
                "RUN",
                "OFFERED",
                "WITHIN OBJECTIVE",
                "DEGRADED",
                "FAILED",
                "VIOLATING SECONDS",
                "REPLICA SECONDS"
            ],
            [run("observe (only watching)", &report.observe), run("act", &report.act)]
        ),
        checks.join("\n")
    )
}
