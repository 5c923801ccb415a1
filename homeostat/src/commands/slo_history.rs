//! `slo status`, `slo history` and `slo report`: how objectives stand, what happened to them, whether they were kept.

use super::{
    slo,
    slo_story::{self, Done, Moment},
    status,
};
use crate::{
    endpoints::Clients,
    output::{self, Format, number, table},
};
use analyze::slo::compliance::{self, Report, Span};
use anyhow::Context as _;
use chassis::{Clock as _, exit};
use jiff::Timestamp;
use proto::{
    model::{
        BudgetPolicyState, ExhaustionForecast, ObjectiveStanding, ObjectiveState, QueryReading,
        TrackedObjective,
    },
    wire,
};
use serde::Serialize;
use std::time::Duration;

/// One objective now: of a declared service, or imported.
#[derive(Debug, Clone, Serialize)]
struct Now {
    objective: String,
    #[serde(flatten)]
    state: ObjectiveState,
    /// What is known of imported ones besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    imported: Option<Imported>,
}

#[derive(Debug, Clone, Serialize)]
struct Imported {
    title: String,
    resource: String,
    /// Why it is not tracked; empty: it is.
    untracked: String,
    incomplete: bool,
    from: Timestamp,
    to: Timestamp,
    exhaustion: Option<ExhaustionForecast>,
    policy: Option<BudgetPolicyState>,
    alert: String,
    readings: Vec<QueryReading>,
}

async fn states(clients: &Clients) -> anyhow::Result<Vec<Now>> {
    let assessments = status::assessments(clients).await?;
    let one = |(resource, assessment): (String, proto::model::Assessment)| {
        Some(Now { objective: resource, state: assessment.objective?, imported: None })
    };
    Ok(assessments.into_iter().filter_map(one).collect())
}

async fn imported(clients: &Clients) -> anyhow::Result<Vec<Now>> {
    let listed = clients.analyze()?.list_objective_states().await?;
    let one = |one: TrackedObjective| {
        let TrackedObjective {
            objective,
            title,
            resource,
            untracked,
            state,
            from,
            to,
            incomplete,
            exhaustion,
            policy,
            alert,
            readings,
        } = one;
        let resource = resource.to_string();
        let imported = Imported {
            title,
            resource,
            untracked,
            incomplete,
            from,
            to,
            exhaustion,
            policy,
            alert,
            readings,
        };
        Now { objective, state, imported: Some(imported) }
    };
    Ok(listed.into_iter().map(one).collect())
}

impl Imported {
    /// When the budget ends, as likely and in its interval, for people.
    fn ends(&self) -> String {
        let Some(ends) = &self.exhaustion else { return "unknown".to_owned() };
        let at = |at: Option<Timestamp>| at.map_or_else(|| "later".to_owned(), |at| format!("{at:.0}"));
        match (ends.early, ends.likely) {
            (None, _) => "not in this window".to_owned(),
            _ => format!("{} ({} to {})", at(ends.likely), at(ends.early), at(ends.late)),
        }
    }

    fn doing(&self) -> String {
        if !self.untracked.is_empty() {
            return format!("not tracked: {}", self.untracked);
        }
        let mut said = Vec::new();
        if self.incomplete {
            said.push("incomplete: some events were not counted".to_owned());
        }
        if !self.alert.is_empty() {
            said.push(format!("alert: {}", self.alert));
        }
        if let Some(policy) = self.policy.as_ref().filter(|policy| !policy.measures.is_empty()) {
            let measures: Vec<_> =
                policy.measures.iter().map(|measure| measure.measure.to_string()).collect();
            said.push(format!("in force: {}", measures.join(", ")));
        }
        if let Some(policy) = self.policy.as_ref().filter(|policy| !policy.waiting_for.is_empty()) {
            said.push(format!("the reset waits for {}", policy.waiting_for.join(", ")));
        }
        said.join("; ")
    }
}

/// `slo status`: exit code 2 when a budget is used up or burning.
pub(super) async fn status(clients: &Clients, format: Format) -> anyhow::Result<u8> {
    let mut now = states(clients).await?;
    now.extend(imported(clients).await?);
    output::print(format, &now, |now| {
        let lines = now.iter().map(|one| {
            let imported = one.imported.as_ref();
            let state = &one.state;
            [
                one.objective.clone(),
                state.standing.to_string(),
                percent(Some(state.target_ratio)),
                percent(state.budget_remaining_ratio),
                number(state.burn_rate_short),
                number(state.burn_rate_long),
                number(Some(state.total_events)),
                percent(Some(state.unknown_time_ratio)),
                imported.map_or_else(String::new, Imported::ends),
                imported.map_or_else(String::new, Imported::doing),
            ]
        });
        let head = ["OBJECTIVE", "STANDING", "TARGET", "BUDGET LEFT", "BURN", "LONG", "EVENTS"];
        let [objective, standing, target, left, burn, long, events] = head;
        let (unknown, ends) = ("UNKNOWN TIME", "BUDGET ENDS");
        table([objective, standing, target, left, burn, long, events, unknown, ends, ""], lines)
    })?;
    let is_bad =
        |one: &Now| matches!(one.state.standing, ObjectiveStanding::Burning | ObjectiveStanding::Exhausted);
    Ok(if now.iter().any(is_bad) { exit::NEGATIVE } else { exit::DONE })
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "unknown".to_owned(), |share| format!("{} %", number(Some(share * 100.0))))
}

/// Everything that happened to one objective.
#[derive(Debug, Serialize)]
struct Story {
    objective: String,
    spans: Vec<SpanRow>,
    events: Vec<EventRow>,
    directives: Vec<Done>,
    timeline: Vec<Moment>,
    versions: Vec<VersionRow>,
}

#[derive(Debug, Serialize)]
struct SpanRow {
    from: String,
    width_s: f64,
    total: f64,
    bad: f64,
    good_ratio: Option<f64>,
    known_ratio: f64,
    incomplete: bool,
}

#[derive(Debug, Serialize)]
struct EventRow {
    at: String,
    kind: String,
    text: String,
    actor: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
}

#[derive(Debug, Serialize)]
struct VersionRow {
    version: u64,
    at: String,
    /// It took the document out of force.
    deleted: bool,
}

fn time(unix_ms: i64) -> String {
    Timestamp::from_millisecond(unix_ms).map_or_else(|_| unix_ms.to_string(), |at| at.to_string())
}

async fn spans(
    clients: &Clients,
    objective: &str,
    from_unix_ms: i64,
) -> anyhow::Result<Vec<wire::BudgetSpan>> {
    let request = wire::BudgetHistoryRequest {
        objective: objective.to_owned(),
        from_unix_ms,
        to_unix_ms: now().as_millisecond(),
        limit: 0,
        replaced: false,
    };
    Ok(slo::client(clients)?.budget_history(request).await?.into_inner().spans)
}

fn now() -> Timestamp {
    chassis::SystemClock.now()
}

/// `slo history OBJECTIVE`.
pub(super) async fn history(
    clients: &Clients,
    objective: &str,
    limit: u32,
    format: Format,
) -> anyhow::Result<u8> {
    let mut spans = spans(clients, objective, 0).await?;
    spans.drain(..spans.len().saturating_sub(limit as usize));
    let mut client = slo::client(clients)?;
    let request = wire::ListObjectiveEventsRequest { objective: objective.to_owned(), limit };
    let events = client.list_objective_events(request).await?.into_inner().events;
    let name =
        objective.rsplit('/').next().unwrap_or(objective).split('#').next().unwrap_or_default().to_owned();
    let request =
        wire::ListObjectivesRequest { kind: "SLO".to_owned(), name, versions: true, known_revision: 0 };
    let versions = client.list_objectives(request).await?.into_inner().documents;
    let span = |span: wire::BudgetSpan| SpanRow {
        from: time(span.from_unix_ms),
        width_s: span.width_ms as f64 / 1_000.0,
        total: span.total,
        bad: span.bad,
        good_ratio: (span.total > 0.0).then(|| 1.0 - span.bad / span.total),
        known_ratio: span.known_ms as f64 / span.width_ms.max(1) as f64,
        incomplete: span.incomplete,
    };
    let event = |event: wire::ObjectiveEvent| EventRow {
        at: time(event.at_unix_ms),
        kind: event.kind,
        text: event.text,
        actor: event.actor,
        until: (event.until_unix_ms != 0).then(|| time(event.until_unix_ms)),
    };
    let directives = slo_story::directives(clients, objective, limit).await?;
    let timeline = slo_story::timeline(&events, &directives);
    let version = |document: wire::ObjectiveDocument| VersionRow {
        version: document.version,
        at: time(document.applied_at_unix_ms),
        deleted: document.deleted,
    };
    let story = Story {
        objective: objective.to_owned(),
        spans: spans.into_iter().map(span).collect(),
        events: events.into_iter().map(event).collect(),
        directives,
        timeline,
        versions: versions.into_iter().map(version).collect(),
    };
    let nothing = story.spans.is_empty() && story.events.is_empty() && story.versions.is_empty();
    anyhow::ensure!(
        !nothing,
        "nothing is known of {objective:?}; `homeostat slo status` names the objectives"
    );
    output::print(format, &story, show_story)?;
    Ok(exit::DONE)
}

fn show_story(story: &Story) -> String {
    let spans = story.spans.iter().map(|span| {
        [
            span.from.clone(),
            format!("{:.0} s", span.width_s),
            number(Some(span.total)),
            number(Some(span.bad)),
            percent(span.good_ratio),
            percent(Some(span.known_ratio)),
        ]
    });
    let versions = story.versions.iter().map(|version| {
        let what = if version.deleted { "deleted" } else { "imported" };
        [version.version.to_string(), what.to_owned(), version.at.clone()]
    });
    [
        table(["FROM", "WIDTH", "EVENTS", "BAD", "GOOD", "KNOWN"], spans),
        table(["AT", "EVENT", "WHAT", "WHO"], slo_story::rows(&story.timeline)),
        table(["VERSION", "", "AT"], versions),
    ]
    .join("\n")
}

/// One objective's report.
#[derive(Debug, Serialize)]
struct Compliance {
    objective: String,
    from: Timestamp,
    to: Timestamp,
    #[serde(flatten)]
    report: Report,
}

/// `slo report [OBJECTIVE]`: exit code 2 when an objective was not kept, also when that is unknown.
pub(super) async fn report(
    clients: &Clients,
    objective: Option<&str>,
    window: Duration,
    format: Format,
) -> anyhow::Result<u8> {
    let to = now();
    let from = to.checked_sub(window).context("the window is too long")?;
    let mut reports = Vec::new();
    let tracked = imported(clients).await?;
    let tracked = tracked
        .into_iter()
        .filter(|one| one.imported.as_ref().is_some_and(|imported| imported.untracked.is_empty()));
    for one in states(clients).await?.into_iter().chain(tracked) {
        if objective.is_some_and(|wanted| wanted != one.objective) {
            continue;
        }
        let spans = spans(clients, &one.objective, from.as_millisecond()).await?;
        let spans: Vec<Span> = spans.iter().filter_map(span).collect();
        let report = compliance::report(&spans, from, to, one.state.target_ratio);
        reports.push(Compliance { objective: one.objective, from, to, report });
    }
    output::print(format, &reports, |reports| show_reports(reports))?;
    let kept = !reports.is_empty() && reports.iter().all(|one| one.report.kept == Some(true));
    Ok(if kept { exit::DONE } else { exit::NEGATIVE })
}

fn span(span: &wire::BudgetSpan) -> Option<Span> {
    Some(Span {
        from: Timestamp::from_millisecond(span.from_unix_ms).ok()?,
        width: Duration::from_millis(span.width_ms),
        total: span.total,
        bad: span.bad,
        known: Duration::from_millis(span.known_ms),
        incomplete: span.incomplete,
    })
}

fn show_reports(reports: &[Compliance]) -> String {
    let lines = reports.iter().map(|one| {
        let report = &one.report;
        let kept = match report.kept {
            Some(true) => "kept",
            Some(false) => "missed",
            None => "unknown",
        };
        [
            one.objective.clone(),
            kept.to_owned(),
            percent(report.good_ratio),
            percent(Some(report.target_ratio)),
            number(Some(report.total)),
            number(Some(report.bad)),
            percent(Some(report.known_ratio)),
            report.violations.len().to_string(),
        ]
    });
    let violations = reports.iter().flat_map(|one| {
        one.report.violations.iter().map(|violation| {
            let closed = violation.closed_at.map_or_else(|| "open".to_owned(), |at| at.to_string());
            [one.objective.clone(), violation.opened_at.to_string(), closed, number(Some(violation.bad))]
        })
    });
    [
        table(["OBJECTIVE", "", "GOOD", "TARGET", "EVENTS", "BAD", "KNOWN", "VIOLATIONS"], lines),
        table(["OBJECTIVE", "VIOLATION FROM", "TO", "BAD"], violations),
    ]
    .join("\n")
}
