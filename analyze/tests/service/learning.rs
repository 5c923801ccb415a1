//! Thresholds and snapshots between Analyze and Knowledge.

use std::time::Duration;

use chassis::testing::eventually;
use proto::model::{ObjectiveStanding, Quality, SignalId, Threshold, ThresholdState};
use proto::wire;

use crate::setup::{Running, SOON, World, catalog};

const CATALOG: &str = "service:staging/catalog";

fn load() -> SignalId {
    format!("{CATALOG}#load").parse().unwrap()
}

async fn recorded(world: &World, versions: usize) -> Vec<Threshold> {
    eventually(SOON, "the version is recorded", || {
        let found = world.knowledge.versions(&load());
        std::future::ready((found.len() >= versions).then_some(found))
    })
    .await
}

async fn learned(running: &Running) -> proto::model::LearnedSignal {
    running.client.list_signals(&load().to_string(), "", 1).await.unwrap().signals.remove(0)
}

#[tokio::test]
async fn the_first_version_is_recorded_when_warm() {
    let world = World::new().await;
    let running = world.analyze().await;
    let mut sender = running.sender(CATALOG).await;
    sender.calm(59).await;
    assert_eq!(learned(&running).await.glance.threshold_state, ThresholdState::Learning);
    sender.calm(1).await;
    let version = recorded(&world, 1).await.remove(0);
    assert_eq!((version.generation, version.state, version.samples), (1, ThresholdState::Active, 60));
    assert!(
        version.residual_lower < -1.0 && version.residual_upper > 1.0 && version.scale > 0.0,
        "{version:?}"
    );
    assert_eq!(version.method, "quantile+exponential-tail");
    let signal = learned(&running).await;
    assert_eq!((signal.generation, signal.warm_up_remaining), (1, 0));
    running.stop().await;
}

#[tokio::test]
async fn pinned_limits_are_honoured_until_they_are_taken_off() {
    let world = World::new().await;
    let running = world.analyze().await;
    let mut watcher = running.watch().await;
    let mut sender = running.sender(CATALOG).await;
    sender.calm(60).await;
    let first = recorded(&world, 1).await.remove(0);
    let pin = Threshold {
        generation: 2,
        state: ThresholdState::Pinned,
        pinned_lower: Some(0.0),
        pinned_upper: Some(101.0),
        reviewed_by: "ada".to_owned(),
        ..first.clone()
    };
    world.knowledge.decide(pin.clone());
    running.counted(r#"homeostat_analyze_thresholds_total{event="reviewed"} 1"#).await;
    sender.tick(102.5).await;
    let assessment = watcher.until(|assessment| assessment.value("load") == Some(102.5)).await;
    let glance = assessment.signal("load").unwrap();
    assert!(glance.deviating, "{glance:?}");
    assert_eq!((glance.upper, glance.threshold_state), (Some(101.0), ThresholdState::Pinned));

    world.knowledge.decide(Threshold { state: ThresholdState::Superseded, ..pin });
    world.knowledge.decide(Threshold { reviewed_by: "ada".to_owned(), ..first });
    running.counted(r#"homeostat_analyze_thresholds_total{event="reviewed"} 3"#).await;
    sender.tick(103.5).await;
    let assessment = watcher.until(|assessment| assessment.value("load") == Some(103.5)).await;
    let glance = assessment.signal("load").unwrap();
    assert!(!glance.deviating && glance.threshold_state == ThresholdState::Active, "{glance:?}");
    running.stop().await;
}

#[tokio::test]
async fn a_version_that_needs_review_waits_for_it() {
    let world = World::new().await;
    let running = world.analyze_with(|config| config.threshold_interval = Duration::from_secs(100)).await;
    let mut sender = running.sender(CATALOG).await;
    sender.calm(60).await;
    recorded(&world, 1).await;
    world.knowledge.require_review();
    // Quieter than before: the limits come closer, and a second version runs in the shadow.
    for i in 0..400 {
        sender.tick(106.0 + f64::from(i % 3) * 0.1).await;
    }
    let second = recorded(&world, 2).await.remove(1);
    assert_eq!(second.state, ThresholdState::Proposed);
    eventually(SOON, "the first version is in force again", || async {
        (learned(&running).await.generation == 1).then_some(())
    })
    .await;
    let approved = Threshold { state: ThresholdState::Active, reviewed_by: "ada".to_owned(), ..second };
    world.knowledge.decide(approved);
    eventually(SOON, "the approved version is in force", || async {
        (learned(&running).await.generation == 2).then_some(())
    })
    .await;
    running.stop().await;
}

#[tokio::test]
async fn while_knowledge_is_away_samples_are_judged_and_versions_wait() {
    let world = World::without_knowledge().await;
    let running = world.analyze().await;
    let mut sender = running.sender(CATALOG).await;
    sender.calm(61).await;
    assert_eq!(learned(&running).await.glance.threshold_state, ThresholdState::Active);
    running.counted("homeostat_analyze_unrecorded_thresholds 4").await;
    world.knowledge.serve(world.knowledge_addr).await;
    assert_eq!(recorded(&world, 1).await.len(), 1);
    running.counted("homeostat_analyze_unrecorded_thresholds 0").await;
    running.stop().await;
}

#[tokio::test]
async fn what_was_learned_survives_a_restart() {
    let world = World::new().await;
    let running = world.analyze().await;
    let mut sender = running.sender(CATALOG).await;
    sender.calm(100).await;
    recorded(&world, 1).await;
    let before = learned(&running).await;
    drop(sender);
    running.stop().await;
    assert_eq!(world.knowledge.snapshots().len(), 1, "saved at the stop");

    let again = world.analyze().await;
    again.counted(r#"homeostat_analyze_snapshots_total{event="restored"} 1"#).await;
    let after = learned(&again).await;
    assert_eq!((after.samples, after.generation), (before.samples, before.generation));
    assert_eq!((after.glance.lower, after.glance.upper), (before.glance.lower, before.glance.upper));
    again.sender(CATALOG).await.calm(1).await;
    assert_eq!(learned(&again).await.samples, 101);
    again.stop().await;
}

#[tokio::test]
async fn changed_blocks_are_saved_at_each_interval() {
    let world = World::new().await;
    let running = world.analyze_with(|config| config.snapshot_interval = Duration::from_secs(1)).await;
    running.sender(CATALOG).await.calm(3).await;
    eventually(SOON, "a block is saved", || {
        std::future::ready((!world.knowledge.snapshots().is_empty()).then_some(()))
    })
    .await;
    running.stop().await;
}

#[tokio::test]
async fn a_block_of_another_format_is_ignored_and_counted() {
    let world = World::new().await;
    let key = "analyze/39/0".to_owned();
    world.knowledge.put_snapshot(wire::Snapshot { key, format: 999, body: vec![1, 2, 3], at_unix_ms: 1 });
    let running = world.analyze().await;
    running.counted(r#"homeostat_analyze_snapshots_total{event="unknown_format"} 1"#).await;
    running.sender(CATALOG).await.calm(1).await;
    assert_eq!(learned(&running).await.samples, 1);
    running.stop().await;
}

#[tokio::test]
async fn a_declared_objective_is_tracked_and_its_deletion_ends_the_assessments() {
    let world = World::new().await;
    let running = world.analyze().await;
    let mut watcher = running.watch().await;
    let mut sender = running.sender(CATALOG).await;
    sender.calm(1).await;
    assert_eq!(watcher.next().await.objective, None);
    world.knowledge.declare(catalog());
    let mut ticks = 0;
    let objective = loop {
        sender.calm(1).await;
        ticks += 1;
        assert!(ticks < 10_000, "the objective is tracked");
        if let Some(objective) = watcher.next().await.objective {
            break objective;
        }
    };
    assert_eq!((objective.standing, objective.target_ratio), (ObjectiveStanding::Met, 0.99));
    world.knowledge.delete(wire::DeletedDocument {
        kind: wire::DeclaredKind::Service.into(),
        namespace: "staging".to_owned(),
        name: "catalog".to_owned(),
    });
    eventually(SOON, "a new watcher finds nothing", || async {
        let mut late = running.watch().await;
        tokio::time::timeout(Duration::from_millis(50), late.next()).await.is_err().then_some(())
    })
    .await;
    sender.calm(1).await;
    assert_eq!(learned(&running).await.samples, 2 + ticks as u64, "its signals are learned on");
    running.stop().await;
}

#[tokio::test]
async fn a_declared_service_from_which_nothing_ever_came_is_unknown() {
    let world = World::new().await;
    world.knowledge.declare(catalog());
    let running = world.analyze().await;
    let assessment = eventually(SOON, "the declared service is unknown", || {
        // It counts from when the declaration was read, which may be yet to come.
        world.clock.advance(Duration::from_secs(31));
        async { tokio::time::timeout(Duration::from_millis(500), running.watch().await.next()).await.ok() }
    })
    .await;
    assert_eq!(assessment.data.quality, Quality::Unknown);
    assert!(assessment.data.reason.starts_with("no samples have arrived yet"), "{}", assessment.data.reason);
    running.stop().await;
}
