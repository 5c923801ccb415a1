//! What was done for an objective: the directives of its error-budget policy, and those that its budget refused, as one timeline
//! with its alerts, measures and approvals.

use crate::endpoints::Clients;
use jiff::Timestamp;
use proto::model::DirectiveRecord;
use proto::wire;
use serde::Serialize;

/// Directives looked through: more than two weeks of one a quarter of an hour.
const LOOKED_THROUGH: u32 = 2_000;

/// One step of a directive.
#[derive(Debug, Serialize)]
pub(super) struct Step {
    at: Timestamp,
    state: String,
    actor: String,
    detail: String,
}

/// A directive of the policy, or one that its budget refused.
#[derive(Debug, Serialize)]
pub(super) struct Done {
    id: String,
    resource: String,
    action: String,
    policy: String,
    state: String,
    undo_of: Option<String>,
    created_at: Timestamp,
    expires_at: Timestamp,
    rationale: String,
    steps: Vec<Step>,
}

/// One moment of the story.
#[derive(Debug, Serialize)]
pub(super) struct Moment {
    at: Timestamp,
    what: String,
    text: String,
    who: String,
}

/// The directives that belong to an objective, oldest first, at most so many.
pub(super) async fn directives(clients: &Clients, objective: &str, limit: u32) -> anyhow::Result<Vec<Done>> {
    let knowledge = clients.knowledge()?;
    let listed = knowledge.list_directives(None, &[], LOOKED_THROUGH).await?.directives;
    let ours =
        |record: &&DirectiveRecord| record.directive.policy == objective || record.detail.contains(objective);
    let mut found = Vec::new();
    for record in listed.iter().filter(ours).take(limit as usize) {
        found.push(done(knowledge.get_directive(record.directive.id).await?));
    }
    found.sort_by_key(|one| one.created_at);
    Ok(found)
}

fn done(record: DirectiveRecord) -> Done {
    let DirectiveRecord { directive, state, history, .. } = record;
    let step = |step: proto::model::Transition| Step {
        at: step.at,
        state: step.to.to_string(),
        actor: step.actor,
        detail: step.detail,
    };
    Done {
        id: directive.id.to_string(),
        resource: directive.resource.to_string(),
        action: directive.action.to_string(),
        policy: directive.policy,
        state: state.to_string(),
        undo_of: directive.undo_of.map(|id| id.to_string()),
        created_at: directive.created_at,
        expires_at: directive.expires_at,
        rationale: directive.rationale.text,
        steps: history.into_iter().map(step).collect(),
    }
}

/// Everything in the order in which it happened.
pub(super) fn timeline(events: &[wire::ObjectiveEvent], directives: &[Done]) -> Vec<Moment> {
    let mut all: Vec<Moment> = events.iter().filter_map(of_event).collect();
    for one in directives {
        all.push(Moment {
            at: one.created_at,
            what: "proposed".to_owned(),
            text: format!("{}: {}; {}", one.resource, one.action, one.rationale),
            who: "plan".to_owned(),
        });
        all.extend(one.steps.iter().map(|step| Moment {
            at: step.at,
            what: step.state.clone(),
            text: format!("{}: {}; {}", one.resource, one.action, step.detail),
            who: step.actor.clone(),
        }));
    }
    all.sort_by_key(|moment| moment.at);
    all
}

fn of_event(event: &wire::ObjectiveEvent) -> Option<Moment> {
    let until = match event.until_unix_ms {
        0 => String::new(),
        ms => format!(" (until {})", Timestamp::from_millisecond(ms).ok()?),
    };
    Some(Moment {
        at: Timestamp::from_millisecond(event.at_unix_ms).ok()?,
        what: event.kind.clone(),
        text: format!("{}{until}", event.text),
        who: event.actor.clone(),
    })
}

/// As rows of a table.
pub(super) fn rows(timeline: &[Moment]) -> impl Iterator<Item = [String; 4]> + '_ {
    timeline
        .iter()
        .map(|moment| [moment.at.to_string(), moment.what.clone(), moment.text.clone(), moment.who.clone()])
}
