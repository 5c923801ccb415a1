//! Several replicas of a caller under one control plane: what they see is pooled, they probe in turns, a person overrules them by
//! command, what one has learned another begins with; and without the control plane they go on by themselves.

use super::kit::{DEADLINE, Plan, Rig, paced};
use breaker::{Breaker, Outcome, Policy, Setup};
use chassis::testing::eventually;
use serde_json::Value;
use staging::{faults::Effect, topology::Role};
use std::time::{Duration, Instant};
use system_tests::{Plane, data_dir, turn};

const GAP: Duration = Duration::from_millis(25);
const FAST: &[&str] = &["--service-time-ms=2"];
const EDGE: &str = "edge:staging/catalog->inventory";

async fn rig(turn: system_tests::Turn, plane: &Plane, baseline: Option<Vec<f64>>) -> Rig {
    let arguments = [(Role::Catalog, FAST), (Role::Inventory, FAST)];
    let execute_url = Some(plane.clients.endpoints.execute.clone());
    Rig::planned(
        turn,
        Plan { replicas: [3, 1], arguments: &arguments, execute_url, baseline, ..Plan::default() },
    )
    .await
}

/// The edge's breakers as the command line lists them, once there are so many that please.
async fn listed(plane: &Plane, count: usize, pleases: impl Fn(&Value) -> bool) -> Vec<Value> {
    eventually(DEADLINE, "breakers in the list", || async {
        let rows = plane.json(&["breaker", "list"]).as_array().unwrap().clone();
        let ours: Vec<_> = rows.into_iter().filter(|row| row["edge"] == EDGE).collect();
        (ours.iter().filter(|row| pleases(row)).count() >= count).then_some(ours)
    })
    .await
}

async fn all_are(rig: &Rig, state: &str) -> Option<()> {
    rig.breakers(Role::Catalog).await.iter().all(|breaker| breaker.state() == state).then_some(())
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_probe_in_turns_and_obey_a_persons_word_until_it_ends_without_anybody() {
    let turn = turn();
    let dir = data_dir();
    let plane = Plane::start(dir.path(), &[]).await;
    let rig = rig(turn, &plane, None).await;
    listed(&plane, 3, |row| row["state"] == "CLOSED").await;

    rig.fault(Role::Inventory, Some(Effect::Down)).await;
    eventually(DEADLINE, "three open breakers", || async {
        paced(rig.gateway(), 12, GAP).await;
        all_are(&rig, "OPEN").await
    })
    .await;
    let advised = |row: &Value| row["advice"]["probing"] == "hold" || row["advice"]["probing"] == "now";
    listed(&plane, 3, advised).await;
    paced(rig.gateway(), 120, GAP).await;
    rig.fault(Role::Inventory, None).await;
    let healed = Instant::now();
    let after = eventually(DEADLINE, "three closed breakers", || async {
        paced(rig.gateway(), 12, GAP).await;
        all_are(&rig, "CLOSED").await.map(|()| healed.elapsed())
    })
    .await;
    println!("A9: three replicas, all closed {after:.1?} after the outage");
    assert!(after < Duration::from_secs(10), "{after:?}");

    const WORD: Duration = Duration::from_secs(10);
    let told = Instant::now();
    let said = plane.json(&["breaker", "override", EDGE, "force-open", "--for", "10s", "--reason", "drill"]);
    assert_eq!(said["reached"], true, "{said}");
    eventually(DEADLINE, "three breakers held open", || all_are(&rig, "FORCED_OPEN")).await;
    listed(&plane, 3, |row| row["state"] == "FORCED_OPEN" && !row["policy"]["override"].is_null()).await;
    let shown = plane.json(&["breaker", "show", EDGE]);
    let why = shown["history"][0]["directive"]["rationale"]["text"].as_str().unwrap().to_owned();
    assert!(why.contains("forced_open until") && why.ends_with("drill"), "{why}");
    let held = paced(rig.gateway(), 5, GAP).await;
    assert!(held.iter().all(|answer| answer.status == 200 && answer.degraded), "{held:?}");
    // Nobody is left to end it.
    drop(plane);
    eventually(DEADLINE, "the end of the word", || async {
        paced(rig.gateway(), 12, GAP).await;
        all_are(&rig, "CLOSED").await
    })
    .await;
    assert!(told.elapsed() >= WORD, "not before its end: {:?}", told.elapsed());
    rig.end().await;
}

/// Twenty minutes in which one call in five fails, learned by a breaker like those of the cluster.
fn learned() -> Vec<f64> {
    let unix = jiff::Timestamp::now().as_second() as f64 - 1_200.0;
    let breaker = Breaker::with(Policy::default(), Setup { seed: 1, unix_at_zero: unix }).unwrap();
    for call in 0..36_000_u64 {
        let now = Duration::from_secs_f64(call as f64 / 30.0);
        let outcome = if call * 619 % 1_000 < 200 { Outcome::Failure } else { Outcome::Success };
        if let Ok(permit) = breaker.try_acquire(now) {
            permit.record(now, outcome, Duration::from_millis(5));
        }
    }
    breaker.export_baseline(Duration::from_secs(1_200))
}

#[tokio::test(flavor = "multi_thread")]
async fn new_replicas_after_a_restart_begin_with_what_others_learned() {
    let dir = data_dir();
    let plane = Plane::start(dir.path(), &[]).await;
    let first = rig(turn(), &plane, Some(learned())).await;
    let knows = |row: &Value| row["baseline_known"] == true;
    listed(&plane, 3, knows).await;
    let knowledge = plane.clients.knowledge().unwrap();
    eventually(DEADLINE, "a baseline in Knowledge", || async {
        let kept = knowledge.load_snapshots("breaker/").await.unwrap();
        kept.iter().any(|one| one.key.contains("catalog->inventory")).then_some(())
    })
    .await;
    first.end().await;
    // Another folder: nothing of the first cluster's files is there.
    let second = rig(turn(), &plane, None).await;
    let rows = listed(&plane, 3, |row| knows(row) && row["age_ms"].as_u64() < Some(2_000)).await;
    for row in &rows {
        let ratio = row["failure_baseline_ratio"].as_f64().unwrap();
        assert!((0.1..0.3).contains(&ratio), "{row}");
    }
    // One in five is normal here; who does not know is alarmed by a third of these calls.
    second.fault(Role::Inventory, Some(Effect::Errors { ratio: 0.2 })).await;
    paced(second.gateway(), 200, GAP).await;
    for breaker in second.breakers(Role::Catalog).await {
        assert!(!breaker.causes().contains(&"failures"), "{:?}", breaker.causes());
    }
    second.end().await;
}
