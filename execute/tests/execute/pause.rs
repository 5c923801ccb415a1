//! The kill switch: at once, across restarts, and with Knowledge gone.

use std::time::Duration;

use chassis::testing::eventually;
use execute::testing::{Stage, id, scale};
use proto::model::{DirectiveState, PauseState};

use super::puppet::Puppet;
use super::{SOON, dated, reaches};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_delivered_while_paused_and_everything_after() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::start(1, dir.path()).await;
    let puppet = Puppet::new(&stage, "1");
    puppet.work(&stage.ctx);
    let (state, stored) = stage.client().pause("drill", "me").await.unwrap();
    assert!(state.paused && stored && state.counter == 1, "{state:?}");
    stage.knowledge.propose(dated(&stage, 1, 0, scale(1, 2)));
    // The breaker's resource is another one; what comes later in the ledger does not slip through either.
    stage.knowledge.propose(dated(
        &stage,
        2,
        0,
        execute::testing::breaker(proto::model::BreakerMode::Enforce),
    ));
    let watched = || async { (stage.knowledge.calls("WatchDirectives") > 0).then_some(()) };
    eventually(SOON, "Execute follows the ledger", watched).await;
    // Until Knowledge has been asked for the pause twice more, deliveries would have had seconds to come.
    let asked = stage.knowledge.calls("GetPause");
    let twice = || async { (stage.knowledge.calls("GetPause") > asked + 1).then_some(()) };
    eventually(SOON, "the pause is compared again", twice).await;
    assert_eq!(puppet.deliveries().len(), 0);
    assert_eq!(stage.knowledge.state(id(1)), Some(DirectiveState::Issued));
    let (state, _) = stage.client().resume("over", "me").await.unwrap();
    assert!(!state.paused && state.counter == 2);
    reaches(&stage.knowledge, id(1), DirectiveState::Verifying).await;
    reaches(&stage.knowledge, id(2), DirectiveState::Verifying).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pause_holds_with_knowledge_gone_and_across_a_restart_and_is_told_later() {
    let dir = tempfile::tempdir().unwrap();
    let mut stage = Stage::start(2, dir.path()).await;
    stage.knowledge.set_down(true);
    let (state, stored) = stage.client().pause("fire", "me").await.unwrap();
    assert!(state.paused && !stored);
    stage.crash().await;
    stage.run().await;
    let (state, stored) = stage.client().pause_status().await.unwrap();
    assert!(state.paused && !stored && state.reason == "fire", "{state:?}");
    stage.knowledge.set_down(false);
    let told = || async { stage.client().pause_status().await.unwrap().1.then_some(()) };
    eventually(SOON, "Knowledge holds it too", told).await;
    assert!(stage.knowledge.pause().paused);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn higher_counter_in_knowledge_wins_and_is_written_down() {
    let dir = tempfile::tempdir().unwrap();
    let mut stage = Stage::start(3, dir.path()).await;
    let elsewhere = PauseState { paused: true, counter: 7, ..stage.knowledge.pause() };
    stage.knowledge.set_pause(elsewhere);
    let paused = |stage: &Stage| {
        let client = stage.client();
        async move {
            client.pause_status().await.ok().filter(|(state, _)| state.paused).map(|(state, _)| state.counter)
        }
    };
    assert_eq!(eventually(Duration::from_secs(10), "paused within 10 s", || paused(&stage)).await, 7);
    stage.knowledge.set_down(true);
    stage.crash().await;
    stage.run().await;
    assert_eq!(eventually(SOON, "still paused", || paused(&stage)).await, 7);
}
