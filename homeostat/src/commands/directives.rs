//! `directives`: review what was decided.

use super::person;
use crate::{
    cli::{DirectiveReviewArgs, Directives},
    endpoints::Clients,
    output::{self, Format, number, table},
};
use anyhow::Context as _;
use chassis::exit;
use proto::{
    client::Review,
    model::{DirectiveRecord, ExpectedCost, InputAsk, Outcome},
};
use serde::Serialize;
use std::io::Write;
use uuid::Uuid;

/// Runs one of the `directives` commands.
///
/// # Errors
/// When a service cannot be reached or refuses.
pub async fn run(clients: Clients, command: Directives) -> anyhow::Result<u8> {
    match command {
        Directives::List { resource, state, limit, output } => {
            let list = clients.knowledge()?.list_directives(resource, &state, limit).await?;
            output::print(output.output, &list.directives, |directives| {
                table(
                    ["ID", "MADE (UTC)", "STATE", "RESOURCE", "CHANGE", "GEN", "WHY"],
                    directives.iter().map(row),
                )
            })?;
        }
        Directives::Show { id, output } => show(&clients, &id, output.output).await?,
        Directives::Watch { output } => watch(&clients, output.output).await?,
        Directives::Approve(args) => review(&clients, args, true).await?,
        Directives::Reject(args) => review(&clients, args, false).await?,
        Directives::Undo(args) => {
            let record = clients.execute()?.undo(args.id, &person(), &args.reason).await?;
            output::print(args.output.output, &record, |record| {
                format!(
                    "{} takes {} back: {} ({})",
                    record.directive.id, args.id, record.directive.action, record.state
                )
            })?;
        }
    }
    Ok(exit::DONE)
}

fn row(record: &DirectiveRecord) -> [String; 7] {
    let directive = &record.directive;
    [
        directive.id.to_string(),
        directive.created_at.strftime("%m-%d %H:%M:%S").to_string(),
        record.state.to_string(),
        directive.resource.to_string(),
        directive.action.to_string(),
        directive.generation.to_string(),
        directive.rationale.text.clone(),
    ]
}

async fn review(clients: &Clients, args: DirectiveReviewArgs, approve: bool) -> anyhow::Result<()> {
    let review = Review { id: args.id, approve, reviewer: person(), reason: args.reason };
    let record = clients.knowledge()?.review_directive(review).await?;
    output::print(args.output.output, &record, |record| {
        format!("{} is {}", record.directive.id, record.state)
    })
}

/// A directive with everything that is known about it.
#[derive(Debug, Serialize)]
struct Whole {
    #[serde(flatten)]
    record: DirectiveRecord,
    outcomes: Vec<Outcome>,
}

/// Ids looked through for a short one.
const LOOKED_THROUGH: u32 = 10_000;

async fn find(clients: &Clients, text: &str) -> anyhow::Result<Uuid> {
    if let Ok(id) = Uuid::try_parse(text) {
        return Ok(id);
    }
    let list = clients.knowledge()?.list_directives(None, &[], LOOKED_THROUGH).await?;
    let mut matching = list
        .directives
        .iter()
        .map(|record| record.directive.id)
        .filter(|id| id.to_string().starts_with(text));
    match (matching.next(), matching.next()) {
        (Some(id), None) => Ok(id),
        (Some(_), Some(_)) => anyhow::bail!("several directives begin with {text:?}; give more of the id"),
        (None, _) => {
            anyhow::bail!("no directive begins with {text:?}; `homeostat directives list` shows them")
        }
    }
}

async fn show(clients: &Clients, id: &str, format: Format) -> anyhow::Result<()> {
    let id = find(clients, id).await?;
    let knowledge = clients.knowledge()?;
    let record = knowledge.get_directive(id).await.context("cannot show the directive")?;
    let outcomes = knowledge.list_outcomes(Some(id), 0).await?;
    output::print(format, &Whole { record, outcomes }, describe)
}

fn cost_text(cost: &ExpectedCost) -> String {
    let ExpectedCost { unserved_ratio, idle_replicas, changed, replicas_worth } = cost;
    let worth = replicas_worth.map_or_else(String::new, |worth| format!(", worth {worth:.1} replicas"));
    format!("{:.1} % unserved, {idle_replicas} idle, {changed} changed{worth}", 100.0 * unserved_ratio)
}

fn describe(whole: &Whole) -> String {
    let Whole { record: DirectiveRecord { directive, state, history, .. }, outcomes } = whole;
    let mut text = format!(
        "{}\n{}: {} (generation {}, {state}, policy {} at {})\nWhy: {}\n",
        directive.id,
        directive.resource,
        directive.action,
        directive.generation,
        directive.policy,
        directive.autonomy,
        directive.rationale.text
    );
    let mut line = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    for evidence in &directive.rationale.evidence {
        line(format!("  saw {} = {} {}", evidence.signal, number(evidence.value), evidence.text));
    }
    for InputAsk { input, asks, text } in &directive.rationale.asked {
        let asks = asks.map_or_else(|| "nothing in particular".to_owned(), |asks| number(Some(asks)));
        line(format!("  {input} asked for {asks}: {text}"));
    }
    if let Some(cost) = &directive.rationale.cost {
        line(format!("  expected cost: {}", cost_text(cost)));
    }
    for effect in &directive.expected {
        let harm = if effect.breach_is_harm { ", else it is harm" } else { "" };
        line(format!("  promises {} in [{}, {}]{harm}", effect.signal, effect.lower, effect.upper));
    }
    for path in &directive.counterfactual {
        if let Some(last) = path.points.last() {
            line(format!(
                "  otherwise {} would be {} ({} to {}) after {} s, by {}",
                path.signal,
                number(Some(last.q50)),
                number(Some(last.q10)),
                number(Some(last.q90)),
                last.after.as_secs(),
                path.method
            ));
        }
    }
    for alternative in &directive.rationale.rejected {
        let cost =
            alternative.cost.as_ref().map_or_else(String::new, |cost| format!(" ({})", cost_text(cost)));
        line(format!("  not {}{cost}: {}", alternative.action, alternative.reason));
    }
    for verdict in &directive.rationale.guardrails {
        let word = if verdict.vetoed { "VETO" } else { "ok" };
        line(format!("  guardrail {} {word}: {}", verdict.guardrail, verdict.reason));
    }
    for step in history {
        line(format!("  {} {} -> {} by {} {}", step.at, step.from, step.to, step.actor, step.detail));
    }
    for outcome in outcomes {
        line(format!("Outcome: {}: {}", outcome.result, outcome.text));
    }
    text
}

async fn watch(clients: &Clients, format: Format) -> anyhow::Result<()> {
    let mut stream = clients.knowledge()?.watch_directives(0, true).await?;
    let mut out = std::io::stdout();
    while let Some(record) = stream.next().await? {
        match format {
            Format::Table => {
                let directive = &record.directive;
                writeln!(
                    out,
                    "{} {} {:<17} {} {} {}",
                    record.changed_at,
                    directive.id,
                    record.state,
                    directive.resource,
                    directive.action,
                    record.detail
                )?;
            }
            Format::Json => writeln!(out, "{}", serde_json::to_string(&record)?)?,
            Format::Yaml => write!(out, "---\n{}", serde_yaml_ng::to_string(&record)?)?,
        }
        out.flush()?;
    }
    Ok(())
}
