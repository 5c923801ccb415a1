//! The SDK against the real Execute over real sockets, with a stand-in for Knowledge behind it.

#![expect(clippy::unwrap_used, reason = "in a test, an unwrap is an assertion")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actuators::{Actuator, ApplyOutcome, RunError, Runner};
use chassis::testing::eventually;
use chassis::{Context, OnFailure};
use execute::testing::{self, FakeKnowledge, Fault, Stage, When, actuator, id};
use proto::client::ProposeVerdict;
use proto::model::{
    Action, ActuatorSpec, Directive, DirectiveKind, DirectiveState, Generation, Observation, ResourceId,
};
use tokio::sync::Semaphore;

const SOON: Duration = Duration::from_secs(20);

/// Remembers what was done to it.
#[derive(Debug)]
struct Plant {
    spec: ActuatorSpec,
    effects: Mutex<Vec<(Generation, Action)>>,
    last: Mutex<BTreeMap<ResourceId, Generation>>,
    /// One permit lets one directive be applied.
    gate: Semaphore,
}

impl Plant {
    fn new(instance: &str) -> Arc<Self> {
        let gate = Semaphore::new(1_000);
        Arc::new(Self {
            spec: actuator("plant", instance),
            effects: Mutex::default(),
            last: Mutex::default(),
            gate,
        })
    }

    fn effects(&self) -> Vec<u64> {
        self.effects.lock().unwrap().iter().map(|(generation, _)| generation.0).collect()
    }
}

impl Actuator for Plant {
    fn spec(&self) -> ActuatorSpec {
        self.spec.clone()
    }
    async fn observe(&self, _: &ResourceId) -> Vec<Observation> {
        let count = self.effects.lock().unwrap().len();
        vec![Observation { name: "effects".to_owned(), value: count as f64 }]
    }
    async fn apply(&self, directive: &Directive, dry_run: bool) -> ApplyOutcome {
        self.gate.acquire().await.unwrap().forget();
        if !dry_run {
            self.last.lock().unwrap().insert(directive.resource.clone(), directive.generation);
            self.effects.lock().unwrap().push((directive.generation, directive.action));
        }
        ApplyOutcome::applied("done")
    }
    fn last_generation(&self, resource: &ResourceId, _: DirectiveKind) -> Generation {
        self.last.lock().unwrap().get(resource).copied().unwrap_or_default()
    }
}

fn run(stage: &Stage, plant: &Arc<Plant>, dry_run: bool) -> Context {
    let ctx = stage.ctx.sub();
    let runner = Runner::new(stage.channel(), plant.clone(), ctx.clone()).dry_run(dry_run);
    ctx.tasks.spawn("actuator", OnFailure::Log, async move { Ok(runner.run().await?) });
    ctx
}

/// A directive for `cart` as of now.
fn directive(stage: &Stage, number: u64, parent: u64) -> Directive {
    let now = stage.ctx.clock.now();
    Directive {
        id: id(number),
        created_at: now,
        expires_at: now + Duration::from_secs(60),
        parent_generation: Generation(parent),
        action: Action::Scale { replicas: u32::try_from(number).unwrap() },
        ..testing::scale(1, 2)
    }
}

async fn reaches(knowledge: &FakeKnowledge, number: u64, state: DirectiveState) {
    let what = format!("directive {number} becomes {state}");
    eventually(SOON, &what, || async { (knowledge.state(id(number)) == Some(state)).then_some(()) }).await;
}

/// Ends a directive, so that the next may follow.
fn verify(stage: &Stage, number: u64) {
    let step = proto::model::Transition {
        directive_id: id(number),
        from: DirectiveState::Verifying,
        to: DirectiveState::Verified,
        at: stage.ctx.clock.now(),
        actor: "test".to_owned(),
        detail: String::new(),
        attempt: 0,
        before: Vec::new(),
        after: Vec::new(),
    };
    assert!(stage.knowledge.step(step));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn directive_is_applied_once_and_reported_with_observations() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::start(1, dir.path()).await;
    let plant = Plant::new("1");
    run(&stage, &plant, false);
    assert_eq!(stage.knowledge.propose(directive(&stage, 3, 0)), ProposeVerdict::Accepted);
    reaches(&stage.knowledge, 3, DirectiveState::Verifying).await;
    assert_eq!(plant.effects(), [1]);
    let history = stage.knowledge.directive(id(3)).unwrap().history;
    let steps: Vec<_> = history.iter().map(|step| step.to.as_str()).collect();
    assert_eq!(steps, ["delivered", "applied", "verifying"]);
    let applied = &history[1];
    assert_eq!((applied.actor.as_str(), applied.attempt), ("plant/1", 1));
    assert_eq!((applied.before[0].value, applied.after[0].value), (0.0, 1.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_work_is_announced_and_outlives_a_restart_of_execute() {
    let dir = tempfile::tempdir().unwrap();
    let mut stage = Stage::start(2, dir.path()).await;
    let plant = Plant::new("1");
    plant.gate.forget_permits(1_000);
    run(&stage, &plant, false);
    stage.knowledge.propose(directive(&stage, 3, 0));
    reaches(&stage.knowledge, 3, DirectiveState::Accepted).await;
    stage.crash().await;
    stage.run().await;
    // It is delivered again, and waits behind the work that goes on.
    plant.gate.add_permits(1);
    reaches(&stage.knowledge, 3, DirectiveState::Verifying).await;
    assert_eq!(plant.effects(), [1], "the second delivery has no effect");
    assert_eq!(stage.knowledge.live(), [("plant/1".to_owned(), 1)], "nobody had to register again");
    verify(&stage, 3);
    plant.gate.add_permits(1);
    stage.knowledge.propose(directive(&stage, 4, 1));
    reaches(&stage.knowledge, 4, DirectiveState::Verifying).await;
    assert_eq!(plant.effects(), [1, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_lease_is_replaced_and_the_report_gets_through() {
    let dir = tempfile::tempdir().unwrap();
    let mut stage = Stage::start(3, dir.path()).await;
    stage.config.lease_ttl = Duration::from_millis(600);
    stage.stop().await;
    stage.run().await;
    let plant = Plant::new("1");
    plant.gate.forget_permits(1_000);
    run(&stage, &plant, false);
    stage.knowledge.propose(directive(&stage, 3, 0));
    reaches(&stage.knowledge, 3, DirectiveState::Accepted).await;
    stage.knowledge.end_leases();
    eventually(SOON, "registered again", || async {
        stage.knowledge.live().first().is_some_and(|(_, epoch)| *epoch > 1).then_some(())
    })
    .await;
    plant.gate.add_permits(1);
    reaches(&stage.knowledge, 3, DirectiveState::Verifying).await;
    assert_eq!(plant.effects(), [1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn process_without_memory_does_not_fall_behind_the_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::start(4, dir.path()).await;
    let (first, second) = (Plant::new("1"), Plant::new("1"));
    let ctx = run(&stage, &first, false);
    stage.knowledge.propose(directive(&stage, 3, 0));
    reaches(&stage.knowledge, 3, DirectiveState::Verifying).await;
    ctx.stopper.stop();
    assert!(ctx.tasks.join(SOON).await.is_empty());
    assert!(stage.knowledge.live().is_empty(), "a clean stop gives the lease back");
    verify(&stage, 3);
    run(&stage, &second, false);
    stage.knowledge.propose(directive(&stage, 4, 1));
    reaches(&stage.knowledge, 4, DirectiveState::Verifying).await;
    assert_eq!(second.effects(), [2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dry_run_changes_nothing_and_is_no_success() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::start(5, dir.path()).await;
    let plant = Plant::new("1");
    run(&stage, &plant, true);
    stage.knowledge.propose(directive(&stage, 3, 0));
    reaches(&stage.knowledge, 3, DirectiveState::Failed).await;
    assert!(plant.effects().is_empty());
    assert!(stage.knowledge.directive(id(3)).unwrap().detail.contains("only simulated"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_actuator_for_an_exclusive_kind_waits_for_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::start(6, dir.path()).await;
    let (first, second) = (Plant::new("1"), Plant::new("2"));
    let leader = run(&stage, &first, false);
    eventually(SOON, "the first is in", || async { (stage.knowledge.live().len() == 1).then_some(()) }).await;
    run(&stage, &second, false);
    eventually(SOON, "the second is refused", || async {
        (stage.knowledge.calls("GrantLease") > 2).then_some(())
    })
    .await;
    assert_eq!(stage.knowledge.live(), [("plant/1".to_owned(), 1)]);
    leader.stopper.stop();
    eventually(SOON, "the second takes over", || async {
        (stage.knowledge.live() == [("plant/2".to_owned(), 1)]).then_some(())
    })
    .await;
    stage.knowledge.propose(directive(&stage, 3, 0));
    reaches(&stage.knowledge, 3, DirectiveState::Verifying).await;
    assert_eq!((first.effects(), second.effects()), (vec![], vec![1]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_registration_is_an_error_and_not_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::start(7, dir.path()).await;
    let wrong = ActuatorSpec { kinds: Vec::new(), ..actuator("plant", "1") };
    let plant = Plant { spec: wrong, ..Arc::into_inner(Plant::new("1")).unwrap() };
    let ended = Runner::new(stage.channel(), Arc::new(plant), stage.ctx.sub()).run().await;
    let Err(RunError::Registration { actuator, .. }) = ended else { panic!("{ended:?}") };
    assert_eq!(actuator, "plant/1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_may_fail_once_before_or_after_and_the_effect_is_once() {
    let calls = ["GrantLease", "WatchDirectives", "RecordTransitions", "RenewLease"];
    for (round, call) in calls.into_iter().enumerate() {
        for when in [When::Before, When::After, When::Twice] {
            let dir = tempfile::tempdir().unwrap();
            let mut stage = Stage::start(100 + round as u64, dir.path()).await;
            stage.stop().await;
            stage.knowledge.fail_next(Fault { call, when, skip: 0 });
            stage.config.lease_ttl = Duration::from_secs(1);
            stage.run().await;
            let plant = Plant::new("1");
            run(&stage, &plant, false);
            stage.knowledge.propose(directive(&stage, 3, 0));
            reaches(&stage.knowledge, 3, DirectiveState::Verifying).await;
            let struck = || async { (!stage.knowledge.has_faults_left()).then_some(()) };
            eventually(SOON, &format!("{call} fails {when:?}"), struck).await;
            assert_eq!(plant.effects(), [1], "{call} fails {when:?}");
        }
    }
}
