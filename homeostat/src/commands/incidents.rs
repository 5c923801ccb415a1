//! `incidents`: what went wrong, what was done about it and what of that helped, from the alerts and directives that Knowledge
//! keeps.

mod gather;

use super::{slo, status};
use crate::{
    cli_incidents::Incidents,
    endpoints::Clients,
    output::{self, Format, table},
};
use chassis::exit;
use gather::{Deed, Incident};
use jiff::Timestamp;
use proto::model::{DirectiveState, ResourceId};
use proto::wire;
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};

/// Directives and events looked through: weeks of a service in trouble every quarter of an hour.
const LOOKED_THROUGH: u32 = 2_000;

/// All that is known.
#[derive(Debug, Serialize)]
struct Told {
    incidents: Vec<Incident>,
    /// What could not be asked, so that something may be missing.
    unknown: Vec<String>,
}

/// Runs one of the `incidents` commands.
///
/// # Errors
/// When a service cannot be reached or refuses, or no incident has the id.
pub async fn run(clients: Clients, command: Incidents) -> anyhow::Result<u8> {
    let mut told = told(&clients).await?;
    match command {
        Incidents::List { service, limit, output } => {
            told.incidents
                .retain(|incident| service.as_ref().is_none_or(|service| incident.service == *service));
            told.incidents.truncate(limit);
            output::print(output.output, &told, list)?;
        }
        Incidents::Show { id, output } => show(&told.incidents, &id, output.output)?,
    }
    Ok(exit::DONE)
}

async fn told(clients: &Clients) -> anyhow::Result<Told> {
    let records = clients.knowledge()?.list_directives(None, &[], LOOKED_THROUGH).await?.directives;
    let request = wire::ListObjectiveEventsRequest { objective: String::new(), limit: LOOKED_THROUGH };
    let events = slo::client(clients)?.list_objective_events(request).await?.into_inner().events;
    // Analyze knows which service an imported objective is about.
    let (mut unknown, analyze) = (Vec::new(), clients.analyze()?);
    let tracked = status::known(&mut unknown, "alerts of imported objectives", async {
        Ok(analyze.list_objective_states().await?)
    });
    let tracked = tracked.await.unwrap_or_default().into_iter();
    let resources: BTreeMap<String, ResourceId> =
        tracked.map(|tracked| (tracked.objective, tracked.resource)).collect();
    Ok(Told { incidents: gather::gather(&records, &events, &resources), unknown })
}

fn list(told: &Told) -> String {
    let head = ["ID", "BEGAN (UTC)", "LASTED", "SERVICE", "ALERTS", "DONE", "WHAT"];
    let mut text = table(head, told.incidents.iter().map(row));
    for unknown in &told.unknown {
        text.push_str(&format!("\nunknown: {unknown}"));
    }
    text
}

fn lasted(incident: &Incident) -> String {
    let whole = |seconds: f64| Duration::from_secs(seconds.round() as u64);
    incident
        .lasted_s
        .map_or_else(|| "goes on".to_owned(), |s| humantime::format_duration(whole(s)).to_string())
}

fn clock(at: Timestamp) -> String {
    at.strftime("%m-%d %H:%M:%S").to_string()
}

/// How many directives were given, and what became of them.
fn done(deeds: &[Deed]) -> String {
    let mut by_state: BTreeMap<&str, usize> = BTreeMap::new();
    for deed in deeds {
        *by_state.entry(deed.state.as_str()).or_default() += 1;
    }
    let states: Vec<_> = by_state.into_iter().map(|(state, count)| format!("{count} {state}")).collect();
    if states.is_empty() { "nothing".to_owned() } else { states.join(", ") }
}

fn row(incident: &Incident) -> [String; 7] {
    [
        incident.id.clone(),
        clock(incident.began_at),
        lasted(incident),
        incident.service.to_string(),
        incident.alerts.len().to_string(),
        done(&incident.deeds),
        incident.what.clone(),
    ]
}

fn show(all: &[Incident], id: &str, format: Format) -> anyhow::Result<()> {
    let mut matching = all.iter().filter(|incident| incident.id.starts_with(id));
    match (matching.next(), matching.next()) {
        (Some(incident), None) => output::print(format, incident, describe),
        (Some(_), Some(_)) => anyhow::bail!("several incidents begin with {id:?}; give more of the id"),
        (None, _) => anyhow::bail!("no incident begins with {id:?}; `homeostat incidents list` shows them"),
    }
}

fn describe(incident: &Incident) -> String {
    let Incident { id, service, began_at, ended_at, what, symptoms, alerts, deeds, .. } = incident;
    let ended = ended_at.map_or_else(|| "goes on".to_owned(), |at| format!("ended {at:.0}"));
    let mut lines = vec![
        format!("{id}"),
        format!("{service}: {what}"),
        format!("began {began_at:.0}, {ended} ({}); done: {}", lasted(incident), done(deeds)),
    ];
    if !symptoms.is_empty() {
        lines.push(format!("symptoms answered: {}", symptoms.iter().cloned().collect::<Vec<_>>().join(", ")));
    }
    let mut moments: Vec<[String; 3]> = Vec::new();
    let mut say =
        |at: Timestamp, what: &str, text: String| moments.push([at.to_string(), what.to_owned(), text]);
    for alert in alerts {
        say(alert.opened_at, "alert opened", format!("{} of {}", alert.rule, alert.objective));
        if let Some(at) = alert.closed_at {
            say(at, "alert closed", format!("{} of {}", alert.rule, alert.objective));
        }
    }
    for deed in deeds {
        say(deed.at, "decided", format!("{}: {}; {}", deed.resource, deed.action, deed.why));
        if deed.state != DirectiveState::Proposed {
            say(
                deed.changed_at,
                deed.state.as_str(),
                format!("{}: {}; {}", deed.resource, deed.action, deed.detail),
            );
        }
    }
    moments.sort();
    lines.push(table(["AT", "WHAT", ""], moments));
    lines.push("`homeostat directives show ID` tells all of a directive.".to_owned());
    lines.join("\n")
}
