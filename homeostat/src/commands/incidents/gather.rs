//! Alerts and directives → incidents. An *incident* of a service is what its alerts and the directives that answered a symptom of
//! it have in common: everything that overlaps, or follows within a few minutes, is one. Pure.

use jiff::{SignedDuration, Timestamp};
use proto::model::{DirectiveRecord, DirectiveState, ResourceId};
use proto::wire;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What begins later than so long after all was over is another incident: alerts are counted as one within the same time.
const GAP: SignedDuration = SignedDuration::from_mins(5);

/// An alert of an objective.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alert {
    /// Of which objective.
    pub objective: String,
    /// How urgent, and by which rule.
    pub rule: String,
    /// When it opened.
    pub opened_at: Timestamp,
    /// When it closed; `None`: it stands.
    pub closed_at: Option<Timestamp>,
}

/// A directive that answered a symptom, or took back one that did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deed {
    /// The directive.
    pub id: String,
    /// What it changed.
    pub resource: ResourceId,
    /// The change.
    pub action: String,
    /// When it was decided.
    pub at: Timestamp,
    /// What became of it.
    pub state: DirectiveState,
    /// Since when.
    pub changed_at: Timestamp,
    /// Which one it took back.
    pub undo_of: Option<String>,
    /// Why it was given.
    pub why: String,
    /// What its state rests on.
    pub detail: String,
}

/// One incident.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Incident {
    /// That of its first alert or directive.
    pub id: String,
    /// Whose.
    pub service: ResourceId,
    /// When it was first noticed.
    pub began_at: Timestamp,
    /// When the last alert closed and the last directive was settled; `None`: it goes on.
    pub ended_at: Option<Timestamp>,
    /// Seconds between the two.
    pub lasted_s: Option<f64>,
    /// What it began with.
    pub what: String,
    /// Symptoms that were answered.
    pub symptoms: BTreeSet<String>,
    /// In the order in which they opened.
    pub alerts: Vec<Alert>,
    /// In the order in which they were decided.
    pub deeds: Vec<Deed>,
}

/// One alert or directive, as a span of time.
struct Piece {
    service: ResourceId,
    id: String,
    from: Timestamp,
    to: Option<Timestamp>,
    what: String,
    of: Of,
}

enum Of {
    Alert(Alert),
    Deed(Deed, Vec<String>),
}

/// Incidents, newest first. `resources` says which service an objective is about; those that are not in it are left out.
pub fn gather(
    records: &[DirectiveRecord],
    events: &[wire::ObjectiveEvent],
    resources: &BTreeMap<String, ResourceId>,
) -> Vec<Incident> {
    let mut pieces: Vec<Piece> = records.iter().filter_map(deed).collect();
    pieces.extend(alerts(events, resources));
    pieces.sort_by(|a, b| (a.from, &a.id).cmp(&(b.from, &b.id)));
    let mut found: Vec<Incident> = Vec::new();
    for piece in pieces {
        let same = found.iter_mut().rev().find(|incident| incident.takes(&piece));
        match same {
            Some(incident) => incident.add(piece),
            None => found.push(Incident::of(piece)),
        }
    }
    found.sort_by(|a, b| (b.began_at, &b.id).cmp(&(a.began_at, &a.id)));
    found
}

impl Incident {
    fn of(piece: Piece) -> Self {
        let mut incident = Self {
            id: piece.id.clone(),
            service: piece.service.clone(),
            began_at: piece.from,
            ended_at: Some(piece.from),
            lasted_s: None,
            what: piece.what.clone(),
            symptoms: BTreeSet::new(),
            alerts: Vec::new(),
            deeds: Vec::new(),
        };
        incident.add(piece);
        incident
    }

    /// Pieces come in the order of their beginnings.
    fn takes(&self, piece: &Piece) -> bool {
        let near = self.ended_at.is_none_or(|end| piece.from.duration_since(end) <= GAP);
        let shares = matches!(&piece.of, Of::Deed(_, symptoms) if symptoms.iter().any(|id| self.symptoms.contains(id)));
        self.service == piece.service && (near || shares)
    }

    fn add(&mut self, piece: Piece) {
        self.ended_at = self.ended_at.zip(piece.to).map(|(end, to)| end.max(to));
        self.lasted_s = self.ended_at.map(|end| end.duration_since(self.began_at).as_secs_f64());
        match piece.of {
            Of::Alert(alert) => self.alerts.push(alert),
            Of::Deed(deed, symptoms) => {
                self.symptoms.extend(symptoms);
                self.deeds.push(deed);
            }
        }
    }
}

/// What is done on an edge is done for its caller.
fn service_of(resource: &ResourceId) -> Option<ResourceId> {
    match resource.edge_ends() {
        Some((caller, _)) => ResourceId::service(resource.namespace(), caller).ok(),
        None => Some(resource.clone()),
    }
}

fn deed(record: &DirectiveRecord) -> Option<Piece> {
    let DirectiveRecord { directive, state, changed_at, detail, .. } = record;
    let symptoms = directive.rationale.symptom_ids.clone();
    if symptoms.is_empty() {
        return None;
    }
    let deed = Deed {
        id: directive.id.to_string(),
        resource: directive.resource.clone(),
        action: directive.action.to_string(),
        at: directive.created_at,
        state: *state,
        changed_at: *changed_at,
        undo_of: directive.undo_of.map(|id| id.to_string()),
        why: directive.rationale.text.clone(),
        detail: detail.clone(),
    };
    Some(Piece {
        service: service_of(&directive.resource)?,
        id: deed.id.clone(),
        from: directive.created_at,
        to: (!state.under_way()).then_some(*changed_at),
        what: deed.why.clone(),
        of: Of::Deed(deed, symptoms),
    })
}

/// Alerts by what opened and closed them; a closing whose opening is not known any more says nothing.
fn alerts(events: &[wire::ObjectiveEvent], resources: &BTreeMap<String, ResourceId>) -> Vec<Piece> {
    let mut ordered: Vec<&wire::ObjectiveEvent> = events.iter().collect();
    ordered.sort_by_key(|event| event.at_unix_ms);
    let mut found: Vec<Piece> = Vec::new();
    let mut open: BTreeMap<(String, String), usize> = BTreeMap::new();
    for event in ordered {
        let Ok(at) = Timestamp::from_millisecond(event.at_unix_ms) else { continue };
        let key = |word: &str| {
            let rule = event.text.split(word).next().unwrap_or_default().trim();
            (event.objective.clone(), rule.to_owned())
        };
        match event.kind.as_str() {
            "alert_opened" => {
                let known = resources.get(&event.objective).and_then(service_of);
                let Some(service) = known.or_else(|| service_of(&event.objective.parse().ok()?)) else {
                    continue;
                };
                let key = key(" opened");
                let alert = Alert {
                    objective: event.objective.clone(),
                    rule: key.1.clone(),
                    opened_at: at,
                    closed_at: None,
                };
                let what = format!("{}: {}", event.objective, event.text);
                let piece =
                    Piece { service, id: event.id.clone(), from: at, to: None, what, of: Of::Alert(alert) };
                open.insert(key, found.len());
                found.push(piece);
            }
            "alert_closed" => {
                let Some(piece) = open.remove(&key(" closed")).and_then(|index| found.get_mut(index)) else {
                    continue;
                };
                piece.to = Some(at);
                if let Of::Alert(alert) = &mut piece.of {
                    alert.closed_at = Some(at);
                }
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests;
