//! `slo approve` and `slo review`: what people say about an objective, kept in Knowledge with their name, their reason and its end.

use super::{person, slo};
use crate::{cli_slo::Word, endpoints::Clients, output};
use anyhow::Context as _;
use chassis::{Clock as _, exit};
use jiff::Timestamp;
use proto::wire;
use serde::Serialize;

#[derive(Debug, Serialize)]
struct Said {
    objective: String,
    kind: &'static str,
    actor: String,
    reason: String,
    at: Timestamp,
    until: Option<Timestamp>,
}

/// Records it. Whether it is enough for the reset, `slo status` shows a moment later.
pub(super) async fn record(clients: &Clients, kind: &'static str, word: Word) -> anyhow::Result<u8> {
    let Word { objective, reason, holds, output } = word;
    let known = clients.analyze()?.list_objective_states().await?;
    if !known.iter().any(|one| one.objective == objective) {
        eprintln!("homeostat: there is no objective {objective}; `homeostat slo list` shows them");
        return Ok(exit::FAILED);
    }
    let at = chassis::SystemClock.now();
    let until = holds.map(|holds| at.checked_add(holds)).transpose().context("it would hold too long")?;
    let event = wire::ObjectiveEvent {
        id: uuid::Uuid::new_v4().to_string(),
        objective: objective.clone(),
        at_unix_ms: at.as_millisecond(),
        kind: kind.to_owned(),
        text: reason.clone(),
        actor: person(),
        until_unix_ms: until.map_or(0, Timestamp::as_millisecond),
    };
    let actor = event.actor.clone();
    let request = wire::RecordObjectiveEventsRequest { events: vec![event] };
    slo::client(clients)?.record_objective_events(request).await?;
    output::print(output.output, &Said { objective, kind, actor, reason, at, until }, |said| {
        let until = said.until.map_or_else(String::new, |until| format!(" until {until}"));
        format!("{} {} by {}{until}", said.objective, said.kind, said.actor)
    })?;
    Ok(exit::DONE)
}
