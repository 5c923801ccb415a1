//! People overrule: approve, reject, undo, pause, pin and unpin, on the command line.

use super::staging;
use chassis::testing::eventually;
use serde_json::Value;
use std::time::Duration;
use system_tests::{Plane, data_dir, run_command, turn};

fn listed(plane: &Plane, state: &str) -> Vec<Value> {
    plane.json(&["directives", "list", "--state", state]).as_array().unwrap().clone()
}

async fn waiting(plane: &Plane) -> String {
    let found = eventually(Duration::from_secs(60), "a directive that awaits approval", || async {
        listed(plane, "awaiting_approval").into_iter().next()
    })
    .await;
    found["directive"]["id"].as_str().unwrap().to_owned()
}

fn state_of(plane: &Plane, id: &str) -> String {
    plane.json(&["directives", "show", id])["state"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_directive_is_rejected_one_approved_and_undone() {
    let _turn = turn();
    let dir = data_dir();
    let plane = Plane::start(dir.path(), &[]).await;
    let _cluster = staging::start(dir.path(), "flash-crowd", Duration::from_secs(90), "approve", 4);

    let first = waiting(&plane).await;
    plane.json(&["directives", "reject", &first, "--reason", "not now"]);
    assert_eq!(state_of(&plane, &first), "rejected");

    let second = waiting(&plane).await;
    assert_ne!(first, second);
    plane.json(&["directives", "approve", &second, "--reason", "go"]);
    eventually(Duration::from_secs(40), "the approved directive's application", || async {
        let state = state_of(&plane, &second);
        ["applied", "verifying", "verified", "ineffective"].contains(&state.as_str()).then_some(())
    })
    .await;

    plane.json(&["directives", "undo", &second, "--reason", "drill"]);
    eventually(Duration::from_secs(40), "the undo", || async {
        (state_of(&plane, &second) == "undone").then_some(())
    })
    .await;

    let dir = dir.path().to_string_lossy().into_owned();
    let again = run_command(&["directives", "approve", &first, "--data-dir", &dir]);
    assert_eq!(again.status.code(), Some(1), "a rejected directive stays rejected");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_plane_delivers_nothing_until_it_is_resumed() {
    let _turn = turn();
    let dir = data_dir();
    let plane = Plane::start(dir.path(), &[]).await;
    let paused = plane.json(&["pause", "--reason", "drill"]);
    assert_eq!(paused["paused"], true);
    let _cluster = staging::start(dir.path(), "flash-crowd", Duration::from_secs(60), "act", 6);
    let blocked = eventually(Duration::from_secs(60), "a report that names the pause", || async {
        let status = plane.json(&["status"]);
        let resources = status["resources"].as_array().unwrap().clone();
        resources.into_iter().find(|resource| resource["plan"].as_str().unwrap_or_default().contains("pause"))
    })
    .await;
    assert_eq!(blocked["resource"].as_str().unwrap().split('/').next(), Some("service:staging"));
    for state in ["delivered", "accepted", "applied", "verifying", "verified"] {
        assert!(listed(&plane, state).is_empty(), "something is {state} while paused");
    }
    assert_eq!(plane.json(&["resume"])["paused"], false);
    eventually(Duration::from_secs(60), "action after the resume", || async {
        (!listed(&plane, "verified").is_empty() || !listed(&plane, "verifying").is_empty()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_threshold_is_judged_by_until_it_is_unpinned() {
    let _turn = turn();
    let dir = data_dir();
    let plane = Plane::start(dir.path(), &["analyze.warm_up_samples=20"]).await;
    let _cluster = staging::start(dir.path(), "steady", Duration::from_secs(90), "observe", 8);
    let signal = "service:staging/gateway#load";
    let row = || {
        let rows = plane.json(&["thresholds", "list", signal]);
        rows.as_array().unwrap().iter().find(|row| row["signal"] == signal).cloned()
    };
    eventually(Duration::from_secs(60), "an active threshold", || async {
        row().filter(|row| row["state"] == "active")
    })
    .await;

    plane.json(&["thresholds", "pin", signal, "--lower", "0", "--upper", "1", "--reason", "drill"]);
    let judged = eventually(Duration::from_secs(15), "a judgement by the pinned limits", || async {
        row().filter(|row| row["state"] == "pinned" && row["deviating"] == true)
    })
    .await;
    assert_eq!((judged["lower"].as_f64(), judged["upper"].as_f64()), (Some(0.0), Some(1.0)), "{judged}");

    plane.json(&["thresholds", "unpin", signal]);
    let learned = eventually(Duration::from_secs(15), "a judgement by what was learned", || async {
        row().filter(|row| row["state"] == "active" && row["deviating"] == false)
    })
    .await;
    assert!(learned["upper"].as_f64() > Some(1.0), "{learned}");
    let history = plane.json(&["thresholds", "history", signal]);
    let versions = history.as_array().unwrap();
    let pinned = versions.iter().find(|version| version["pinned_upper"].as_f64() == Some(1.0));
    assert_eq!(pinned.expect("the pinned version stays in the history")["state"], "superseded", "{history}");
    assert!(
        versions.iter().any(|version| version["state"] == "active" && version["pinned_upper"].is_null()),
        "{history}"
    );
}
