//! What belongs together is one incident, and nothing else is.

use super::*;
use proto::model::{Action, AutonomyLevel, Directive, Generation, Preconditions, Rationale};
use std::time::Duration;
use uuid::Uuid;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

fn service(name: &str) -> ResourceId {
    ResourceId::service("shop", name).unwrap()
}

/// A directive that answers a symptom, decided and settled at these seconds.
fn record(number: u128, resource: &ResourceId, symptom: &str, (from, to): (i64, i64)) -> DirectiveRecord {
    let (action, undo) = (Action::Scale { replicas: 3 }, Action::Scale { replicas: 2 });
    let symptom_ids = if symptom.is_empty() { Vec::new() } else { vec![symptom.to_owned()] };
    let directive = Directive {
        id: Uuid::from_u128(number),
        resource: resource.clone(),
        action,
        undo,
        parent_generation: Generation(0),
        generation: Generation(1),
        policy: "catalog".to_owned(),
        autonomy: AutonomyLevel::Act,
        created_at: at(from),
        expires_at: at(to),
        apply_timeout: Duration::from_secs(10),
        verify_window: Duration::from_secs(60),
        preconditions: Preconditions {
            max_evidence_age: Duration::from_secs(60),
            requires_known_data: false,
        },
        expected: Vec::new(),
        counterfactual: Vec::new(),
        rationale: Rationale { text: format!("because of {symptom}"), symptom_ids, ..Rationale::default() },
        blast_radius_ratio: 0.5,
        reduces: false,
        undo_of: None,
        quorum_ratio: 1.0,
    };
    let state = DirectiveState::Verified;
    DirectiveRecord {
        directive,
        state,
        revision: 1,
        changed_at: at(to),
        detail: "kept".to_owned(),
        history: Vec::new(),
    }
}

fn event(objective: &str, second: i64, opened: bool) -> wire::ObjectiveEvent {
    let (kind, word) = if opened { ("alert_opened", "opened") } else { ("alert_closed", "closed") };
    wire::ObjectiveEvent {
        id: format!("{objective} {kind} {second}"),
        objective: objective.to_owned(),
        at_unix_ms: at(second).as_millisecond(),
        kind: kind.to_owned(),
        text: format!("page fast {word}, burn rate 20.0"),
        actor: String::new(),
        until_unix_ms: 0,
    }
}

/// Service, beginning, end, alerts and directives of each.
fn told(
    records: &[DirectiveRecord],
    events: &[wire::ObjectiveEvent],
) -> Vec<(String, i64, Option<i64>, usize, usize)> {
    let second = |at: Timestamp| at.as_second() - 1_700_000_000;
    let resources = BTreeMap::from([("shop/orders-slo".to_owned(), service("orders"))]);
    let row = |one: Incident| {
        let Incident { service, began_at, ended_at, alerts, deeds, .. } = one;
        (service.name().to_owned(), second(began_at), ended_at.map(second), alerts.len(), deeds.len())
    };
    gather(records, events, &resources).into_iter().map(row).collect()
}

#[test]
fn what_overlaps_or_follows_soon_at_one_service_is_one_incident() {
    let orders = service("orders");
    let edge = ResourceId::edge("shop", "orders", "payment").unwrap();
    let records = [record(2, &edge, "b", (70, 200)), record(1, &orders, "a", (30, 60))];
    let events = [event("shop/orders-slo", 400, false), event("shop/orders-slo", 10, true)];
    assert_eq!(told(&records, &events), [("orders".to_owned(), 10, Some(400), 1, 2)]);
}

#[test]
fn other_services_and_what_begins_later_are_other_incidents() {
    let records = [
        record(1, &service("orders"), "a", (0, 60)),
        record(2, &service("cart"), "c", (10, 60)),
        record(3, &service("orders"), "b", (361, 400)),
        record(4, &service("orders"), "", (20, 40)),
    ];
    let incidents = told(&records, &[]);
    let expected = [("orders", 361, 400), ("cart", 10, 60), ("orders", 0, 60)];
    assert_eq!(incidents, expected.map(|(name, from, to)| (name.to_owned(), from, Some(to), 0, 1)));
}

#[test]
fn taking_back_belongs_to_what_is_taken_back_however_late() {
    let orders = service("orders");
    let records = [record(1, &orders, "a", (0, 60)), record(2, &orders, "a", (3_600, 3_700))];
    assert_eq!(told(&records, &[]), [("orders".to_owned(), 0, Some(3_700), 0, 2)]);
}

#[test]
fn what_stands_has_no_end() {
    let mut busy = record(1, &service("orders"), "a", (0, 60));
    busy.state = DirectiveState::Delivered;
    assert_eq!(told(&[busy], &[]), [("orders".to_owned(), 0, None, 0, 1)]);
    let open = [event("shop/orders-slo", 5, true)];
    assert_eq!(told(&[], &open), [("orders".to_owned(), 5, None, 1, 0)]);
    // A closing alone, and an objective of which nobody knows whose it is, say nothing.
    assert_eq!(told(&[], &[event("shop/orders-slo", 5, false), event("shop/other", 6, true)]), []);
}

#[test]
fn objectives_of_declared_services_are_theirs() {
    let events = [event("service:shop/cart", 5, true), event("service:shop/cart", 65, false)];
    assert_eq!(told(&[], &events), [("cart".to_owned(), 5, Some(65), 1, 0)]);
}
