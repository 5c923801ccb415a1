//! Scenario 6, the full cycle of states, steered by directives of a real control plane: watched, enforced, opened, probed, closed,
//! held open, let through, watched again. Each directive comes with a newer generation; the breaker tells why it moved.

use super::kit::{DEADLINE, Plan, Rig, paced};
use chassis::testing::eventually;
use jiff::Timestamp;
use proto::{
    client::ProposeVerdict,
    model::{
        Action, AutonomyLevel, BreakerMode, BreakerSetting, Directive, DirectiveState, Generation,
        Preconditions, Rationale, ResourceId,
    },
};
use staging::{faults::Effect, topology::Role};
use std::time::Duration;
use system_tests::{Plane, data_dir, turn};
use uuid::Uuid;

const GAP: Duration = Duration::from_millis(25);
const FAST: &[&str] = &["--service-time-ms=2"];

fn setting(mode: BreakerMode) -> Action {
    Action::SetBreaker(BreakerSetting {
        mode,
        failure_ratio_to_open: 0.9,
        slow_call: None,
        open_wait: Duration::from_millis(500),
        half_open_permits: 4,
        told: None,
    })
}

/// Has the mode set by a directive, and waits until the ledger and the breaker agree that it is.
async fn set(plane: &Plane, rig: &Rig, generation: u64, mode: BreakerMode, state: &str) {
    let knowledge = plane.clients.knowledge().unwrap();
    let now = Timestamp::now();
    let directive = Directive {
        id: Uuid::now_v7(),
        resource: ResourceId::edge("staging", "catalog", "inventory").unwrap(),
        action: setting(mode),
        undo: setting(BreakerMode::MetricsOnly),
        parent_generation: Generation(generation - 1),
        generation: Generation(0),
        policy: "chaos".to_owned(),
        autonomy: AutonomyLevel::Act,
        created_at: now,
        expires_at: now + jiff::SignedDuration::from_secs(60),
        apply_timeout: Duration::from_secs(10),
        verify_window: Duration::from_millis(100),
        preconditions: Preconditions {
            max_evidence_age: Duration::from_secs(60),
            requires_known_data: false,
        },
        expected: Vec::new(),
        counterfactual: Vec::new(),
        rationale: Rationale::default(),
        blast_radius_ratio: 1.0,
        reduces: false,
        undo_of: None,
        quorum_ratio: 1.0,
    };
    let id = directive.id;
    // The one before may still be in verification.
    eventually(DEADLINE, "the ledger's acceptance", || async {
        let answer = knowledge.propose(directive.clone()).await.unwrap();
        match answer.verdict {
            ProposeVerdict::Accepted | ProposeVerdict::AlreadyStored => Some(()),
            ProposeVerdict::UnderWay => None,
            other => panic!("{other:?}: {}", answer.detail),
        }
    })
    .await;
    eventually(DEADLINE, "the breaker's new state", || async {
        let breaker = rig.breakers(Role::Catalog).await.remove(0);
        (breaker.state() == state && breaker.field("generation") == generation).then_some(())
    })
    .await;
    eventually(DEADLINE, "a directive in effect", || async {
        let state = knowledge.get_directive(id).await.unwrap().state;
        assert!(!matches!(state, DirectiveState::Refused | DirectiveState::Failed), "{state}");
        state.in_effect().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn directives_and_evidence_take_the_breaker_through_all_six_states() {
    let turn = turn();
    let dir = data_dir();
    let plane = Plane::start(dir.path(), &[]).await;
    let rig = Rig::planned(
        turn,
        Plan {
            arguments: &[(Role::Catalog, FAST), (Role::Inventory, FAST)],
            first: "metrics-only",
            execute_url: Some(plane.clients.endpoints.execute.clone()),
            ..Plan::default()
        },
    )
    .await;
    assert_eq!(rig.breakers(Role::Catalog).await[0].state(), "METRICS_ONLY");
    set(&plane, &rig, 1, BreakerMode::Enforce, "CLOSED").await;

    rig.fault(Role::Inventory, Some(Effect::Down)).await;
    paced(rig.gateway(), 10, GAP).await;
    let open = rig.breakers(Role::Catalog).await.remove(0);
    assert_eq!(open.opened(), 1, "ten failures: {:?}", open.causes());
    rig.fault(Role::Inventory, None).await;
    eventually(DEADLINE, "a closed breaker", || async {
        paced(rig.gateway(), 4, GAP).await;
        (rig.breakers(Role::Catalog).await[0].state() == "CLOSED").then_some(())
    })
    .await;

    set(&plane, &rig, 2, BreakerMode::ForcedOpen, "FORCED_OPEN").await;
    let held = paced(rig.gateway(), 5, GAP).await;
    assert!(held.iter().all(|answer| answer.status == 200 && answer.degraded), "{held:?}");
    set(&plane, &rig, 3, BreakerMode::Disabled, "DISABLED").await;
    let through = paced(rig.gateway(), 5, GAP).await;
    assert!(through.iter().all(super::kit::Answer::is_full), "{through:?}");
    set(&plane, &rig, 4, BreakerMode::MetricsOnly, "METRICS_ONLY").await;

    let told = rig.breakers(Role::Catalog).await.remove(0);
    let path = told.path();
    assert_eq!(path[..3], ["CLOSED", "OPEN", "HALF_OPEN"], "{path:?}");
    assert_eq!(path[path.len() - 4..], ["CLOSED", "FORCED_OPEN", "DISABLED", "METRICS_ONLY"], "{path:?}");
    let trip = told.first("outage").unwrap();
    assert!(trip["evidence"]["score"].as_f64() >= trip["evidence"]["threshold"].as_f64(), "{trip}");
    let replica = rig.replicas(Role::Catalog)[0];
    let opened = rig.metric(replica, "breaker_transitions_total", &["cause=\"outage\"", "to=\"OPEN\""]).await;
    assert_eq!(opened, 1.0);
    rig.end().await;
}
