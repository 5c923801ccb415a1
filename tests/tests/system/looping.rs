//! The loop in one process: load rises, a directive scales the real service, the promise is verified, and all is explained.

use super::staging;
use chassis::testing::eventually;
use proto::model::{DirectiveKind, DirectiveState};
use std::time::Duration;
use system_tests::{Plane, data_dir, turn};

#[tokio::test(flavor = "multi_thread")]
async fn a_flash_crowd_is_met_by_real_replicas_and_verified() {
    let _turn = turn();
    let dir = data_dir();
    let plane = Plane::start(dir.path(), &[]).await;
    let cluster = staging::start(dir.path(), "flash-crowd", Duration::from_secs(40), "act", 11);
    let knowledge = plane.clients.knowledge().unwrap();
    let verified = eventually(Duration::from_secs(60), "a verified scale-out", || async {
        let list = knowledge.list_directives(None, &[DirectiveState::Verified], 100).await.ok()?;
        list.directives
            .into_iter()
            .find(|record| record.directive.kind() == DirectiveKind::Scale && !record.directive.reduces)
    })
    .await;
    let record = knowledge.get_directive(verified.directive.id).await.unwrap();
    assert!(!record.directive.rationale.text.is_empty(), "it says why");
    assert!(!record.directive.rationale.evidence.is_empty(), "it says what was seen");
    assert!(!record.directive.expected.is_empty(), "it promised something");
    assert!(!record.directive.counterfactual.is_empty(), "it says what would have happened otherwise");
    let states: Vec<_> = record.history.iter().map(|step| step.to).collect();
    assert!(states.contains(&DirectiveState::Applied), "{states:?}");
    let applied = record.history.iter().find(|step| step.to == DirectiveState::Applied).unwrap();
    assert!(!applied.after.is_empty(), "the actuator told what it saw afterwards");
    let outcomes = knowledge.list_outcomes(Some(record.directive.id), 10).await.unwrap();
    assert_eq!(outcomes.len(), 1, "one verdict");
    let feedback = knowledge.list_feedback(Some(record.directive.id), 100).await.unwrap();
    assert!(!feedback.is_empty(), "the outcome feeds back");
    drop(cluster);
}

#[tokio::test(flavor = "multi_thread")]
async fn thresholds_are_learned_and_move_with_the_load() {
    let _turn = turn();
    let dir = data_dir();
    let plane = Plane::start(dir.path(), &["analyze.warm_up_samples=20"]).await;
    let _cluster = staging::start(dir.path(), "flash-crowd", Duration::from_secs(75), "observe", 5);
    let band = || {
        let rows = plane.json(&["thresholds", "list", "service:staging/gateway#load"]);
        let row = rows.as_array().unwrap().first()?.clone();
        (row["state"] == "active" && row["upper"].is_number()).then_some(row)
    };
    let first = eventually(Duration::from_secs(60), "an active threshold", || async { band() }).await;
    for field in ["signal", "lower", "upper", "method", "samples", "coverage", "state", "generation"] {
        assert!(!first[field].is_null(), "{field} is missing in {first}");
    }
    assert!(first["lower"].as_f64() < first["upper"].as_f64(), "{first}");
    eventually(Duration::from_secs(60), "a band that moved", || async {
        band().filter(|row| row["upper"] != first["upper"])
    })
    .await;
}
