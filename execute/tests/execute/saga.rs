//! The whole story of a harmful directive that is taken back, with each call to Knowledge failing once before and after it was
//! done, or being done twice, and with a crash at each stage. It must always end the same: undone, each effect once.

use std::sync::Arc;
use std::time::Duration;

use chassis::testing::eventually;
use execute::testing::{Fault, Stage, When, assessment, at, cart, id, scale, start};
use execute::undo::id_of;
use proto::model::{Action, Directive, DirectiveState, OutcomeResult};

use super::puppet::Puppet;
use super::{SOON, dated, promise, reaches};

/// Says every 20 ms that things are bad, and that one replica is ready.
fn complain(stage: &Stage) {
    let (analyze, clock, stopper) =
        (stage.analyze.clone(), stage.ctx.clock.clone(), stage.ctx.stopper.clone());
    stage.ctx.tasks.spawn("complaints", chassis::OnFailure::Log, async move {
        while !stopper.is_stopped() {
            let millis = u64::try_from(clock.now().duration_since(start()).as_millis()).unwrap();
            assert!(at(millis) <= clock.now());
            analyze.say(assessment(
                &cart(),
                millis,
                &[("bad_ratio", Some(0.5)), ("ready_replicas", Some(1.0))],
            ));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    });
}

fn harmful(stage: &Stage) -> Directive {
    let directive = Directive { expected: vec![promise("bad_ratio", 0.01, true)], ..scale(1, 2) };
    dated(stage, 1, 0, directive)
}

/// The end that every story must have.
async fn ends_well(stage: &Stage, puppet: &Arc<Puppet>, what: &str) {
    let look = || async {
        let state = |directive| stage.knowledge.state(directive);
        let done = state(id(1)) == Some(DirectiveState::Undone)
            && state(id_of(id(1))) == Some(DirectiveState::Verified);
        done.then_some(())
    };
    eventually(SOON, what, look).await;
    let effects = puppet.effects();
    assert_eq!(effects, [(1, Action::Scale { replicas: 2 }), (2, Action::Scale { replicas: 1 })], "{what}");
    assert_eq!(stage.knowledge.directives().len(), 2, "{what}: one directive and one undo");
    let verdicts: Vec<_> =
        stage.knowledge.outcomes().iter().map(|one| (one.directive_id, one.result)).collect();
    assert!(verdicts.contains(&(id(1), OutcomeResult::Harmful)), "{what}: {verdicts:?}");
    assert!(verdicts.contains(&(id_of(id(1)), OutcomeResult::Verified)), "{what}: {verdicts:?}");
    let mut generations: Vec<_> = puppet.deliveries().iter().map(|one| one.directive.generation).collect();
    let sent = generations.clone();
    generations.sort();
    assert_eq!(generations, sent, "{what}: never an older generation after a newer one");
}

async fn story(fault: Fault) {
    let dir = tempfile::tempdir().unwrap();
    let mut stage = Stage::start(1, dir.path()).await;
    stage.stop().await;
    stage.knowledge.fail_next(fault);
    stage.run().await;
    let puppet = Puppet::new(&stage, "1");
    puppet.work(&stage.ctx);
    complain(&stage);
    stage.knowledge.propose(harmful(&stage));
    ends_well(&stage, &puppet, &format!("{fault:?}")).await;
    // How many calls a story takes depends on what is grouped; the first always comes.
    assert!(fault.skip > 0 || !stage.knowledge.has_faults_left(), "{fault:?} did not strike");
    stage.ctx.stopper.stop();
}

async fn stories(call: &'static str, times: u64) {
    for skip in 0..times {
        for when in [When::Before, When::After, When::Twice] {
            story(Fault { call, when, skip }).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recording_may_fail_at_every_step() {
    // Two directives of four steps each, in groups of one at the smallest.
    stories("RecordTransitions", 6).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verdicts_and_feedback_may_fail() {
    stories("RecordOutcomes", 2).await;
    stories("RecordFeedback", 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proposing_the_undo_may_fail() {
    stories("Propose", 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn following_and_leases_may_fail() {
    for call in ["WatchDirectives", "GrantLease", "ListActuators", "GetPause"] {
        stories(call, 1).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_at_every_stage_changes_nothing_about_the_end() {
    let stages = [
        (id(1), DirectiveState::Issued),
        (id(1), DirectiveState::Delivered),
        (id(1), DirectiveState::Accepted),
        (id(1), DirectiveState::Verifying),
        (id(1), DirectiveState::Harmful),
        (id_of(id(1)), DirectiveState::Issued),
        (id_of(id(1)), DirectiveState::Delivered),
        (id_of(id(1)), DirectiveState::Accepted),
        (id_of(id(1)), DirectiveState::Verifying),
        (id_of(id(1)), DirectiveState::Verified),
    ];
    for (directive, state) in stages {
        let dir = tempfile::tempdir().unwrap();
        let mut stage = Stage::start(2, dir.path()).await;
        let puppet = Puppet::new(&stage, "1");
        puppet.work(&stage.ctx);
        complain(&stage);
        // Slow enough that each stage can be seen, and that what is under way is lost.
        stage.knowledge.set_latency(Duration::from_millis(15));
        stage.knowledge.propose(harmful(&stage));
        let what = format!("a crash when {directive} is {state}");
        let reached = || async {
            let record = stage.knowledge.directive(directive)?;
            let passed = record.state == state || record.history.iter().any(|step| step.to == state);
            passed.then_some(())
        };
        eventually(SOON, &what, reached).await;
        stage.crash().await;
        stage.run().await;
        ends_well(&stage, &puppet, &what).await;
        stage.ctx.stopper.stop();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn feedback_follows_from_the_verdict_once() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::start(3, dir.path()).await;
    let puppet = Puppet::new(&stage, "1");
    puppet.work(&stage.ctx);
    complain(&stage);
    stage.knowledge.propose(harmful(&stage));
    ends_well(&stage, &puppet, "undone").await;
    let feedback = stage.knowledge.feedback();
    let value = |name: &str| {
        feedback.iter().find(|one| one.directive_id == Some(id(1)) && one.name == name).map(|one| one.value)
    };
    assert_eq!(value("promise_kept_ratio"), Some(0.0));
    assert_eq!(value("added_replicas"), Some(1.0));
    assert!(value("decision_to_applied_seconds").is_some_and(|seconds| (0.0..20.0).contains(&seconds)));
    reaches(&stage.knowledge, id(1), DirectiveState::Undone).await;
}
