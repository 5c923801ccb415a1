//! Breakers of several processes and one Execute, over real sockets: evidence pooled, probing in turns, what is normal handed on, a
//! person's word told to all; and each by itself when nobody advises.

#![expect(clippy::unwrap_used, reason = "in a test, an unwrap is an assertion")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actuators::Runner;
use actuators::breaker::BreakerActuator;
use breaker::{Breaker, Outcome, PhaseKind, Policy, Rejection, Setup, State, Verdict};
use chassis::testing::eventually;
use chassis::{Context, OnFailure};
use execute::testing::{Stage, edge};
use proto::model::{BreakerKey, BreakerMode, BreakerRecord};
use tonic::Code;

const SOON: Duration = Duration::from_secs(30);

/// One process with a breaker on the edge.
struct Instance {
    breaker: Arc<Breaker>,
    ctx: Context,
}

impl Instance {
    fn start(stage: &Stage, number: u64) -> Self {
        Self::with(stage, number, Arc::new(fresh(number)))
    }

    fn with(stage: &Stage, number: u64, breaker: Arc<Breaker>) -> Self {
        let ctx = stage.ctx.sub();
        let keys = BTreeMap::from([(edge(), breaker.clone())]);
        let actuator = BreakerActuator::new(&format!("pod-{number}"), keys, ctx.clock.clone()).unwrap();
        let runner = Runner::new(stage.channel(), Arc::new(actuator), ctx.clone());
        ctx.tasks.spawn("actuator", OnFailure::Log, async move { Ok(runner.run().await?) });
        Self { breaker, ctx }
    }

    fn now(&self) -> Duration {
        self.ctx.clock.monotonic()
    }

    /// One call; whether it was admitted.
    fn call(&self, outcome: Outcome) -> Result<(), Rejection> {
        self.breaker.try_acquire(self.now())?.record(self.now(), outcome, Duration::from_millis(5));
        Ok(())
    }

    /// Fails until it opens; how many calls that took.
    fn fail(&self) -> usize {
        (1..100).find(|_| self.call(Outcome::Failure).is_err() || self.phase() == PhaseKind::Open).unwrap()
    }

    fn phase(&self) -> PhaseKind {
        self.breaker.snapshot(self.now()).phase
    }

    fn state(&self) -> State {
        self.breaker.snapshot(self.now()).state
    }

    /// It goes, and gives its lease back.
    async fn end(self) {
        self.ctx.stopper.stop();
        self.ctx.tasks.join(SOON).await;
    }
}

fn fresh(seed: u64) -> Breaker {
    Breaker::with(Policy { probe_share: 1.0, ..Policy::default() }, Setup { seed, unix_at_zero: 0.0 })
        .unwrap()
}

/// A breaker that has seen so many of a thousand calls fail for 20 minutes; what it learned.
fn learned(failing: u64) -> Vec<f64> {
    let breaker = fresh(0);
    for call in 0..36_000u64 {
        let now = Duration::from_secs_f64(call as f64 / 30.0);
        // Spread evenly, by a number that has no part in a thousand.
        let outcome = if call * 619 % 1_000 < failing { Outcome::Failure } else { Outcome::Success };
        if let Ok(permit) = breaker.try_acquire(now) {
            permit.record(now, outcome, Duration::from_millis(5));
        }
    }
    breaker.export_baseline(Duration::from_secs(1_200))
}

async fn stage(seed: u64, dir: &Path) -> Stage {
    Stage::start(seed, dir).await
}

async fn records(stage: &Stage) -> Vec<BreakerRecord> {
    stage.client().list_breakers(Some(&edge())).await.unwrap()
}

/// Waits until so many instances tell, and what they tell pleases.
async fn listed(stage: &Stage, count: usize, pleases: impl Fn(&BreakerRecord) -> bool) -> Vec<BreakerRecord> {
    eventually(SOON, "breakers in the list", || async {
        let records = records(stage).await;
        (records.iter().filter(|record| pleases(record)).count() >= count).then_some(records)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_three_others_have_seen_opens_sooner_but_not_without_own_failures() {
    let dir = tempfile::tempdir().unwrap();
    let stage = stage(1, dir.path()).await;
    let all: Vec<_> = (1..=4).map(|number| Instance::start(&stage, number)).collect();
    listed(&stage, 4, |_| true).await;
    for one in &all[1..] {
        one.fail();
    }
    let heard = |record: &BreakerRecord| {
        record.instance == "breaker/pod-1"
            && record.advice.as_ref().is_some_and(|advice| advice.others_score > 0.0)
    };
    let told = listed(&stage, 1, heard).await;
    let first = told.iter().find(|record| heard(record)).unwrap();
    assert_eq!(first.advice.as_ref().unwrap().witnesses, 3);
    let by_itself = Instance { breaker: Arc::new(fresh(1)), ctx: all[0].ctx.sub() };
    for one in [&all[0], &by_itself] {
        (0..20).for_each(|_| one.call(Outcome::Success).unwrap());
    }
    assert_eq!(all[0].phase(), PhaseKind::Closed, "its own calls work");
    let (sooner, alone) = (all[0].fail(), by_itself.fail());
    assert!(sooner < alone, "{sooner} with the others, {alone} alone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_sick_client_moves_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let stage = stage(2, dir.path()).await;
    let all: Vec<_> = (1..=4).map(|number| Instance::start(&stage, number)).collect();
    listed(&stage, 4, |_| true).await;
    all[0].fail();
    let open = |record: &BreakerRecord| record.instance == "breaker/pod-1" && record.report.opened_total > 0;
    listed(&stage, 1, open).await;
    let others = |record: &BreakerRecord| {
        record.instance != "breaker/pod-1"
            && record.advice.as_ref().is_some_and(|one| one.others_score == 0.0)
    };
    listed(&stage, 3, others).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_breakers_are_held_in_turns_and_go_their_own_way_when_execute_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let stage = stage(3, dir.path()).await;
    let all: Vec<_> = (1..=12).map(|number| Instance::start(&stage, number)).collect();
    listed(&stage, 12, |_| true).await;
    for one in &all {
        one.fail();
    }
    let held = |record: &BreakerRecord| {
        record.advice.as_ref().is_some_and(|advice| advice.probing == proto::model::BreakerProbing::Hold)
    };
    let told = listed(&stage, 4, held).await;
    let name = told.iter().find(|record| held(record)).unwrap().instance.clone();
    let number: usize = name.rsplit('-').next().unwrap().parse().unwrap();
    assert!(all[number - 1].breaker.rejects(all[number - 1].now()).is_some(), "it waits for the others");
    stage.crash().await;
    // The first wait of half a second is long over: what still held it was the advice, and that runs out.
    eventually(SOON, "a probe of its own", || async { all[number - 1].call(Outcome::Success).ok() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_instance_after_a_restart_judges_by_what_was_learned_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut stage = stage(4, dir.path()).await;
    // One that knows when it first speaks.
    let breaker = Arc::new(fresh(1));
    breaker.import_baseline(&learned(300), Duration::ZERO).unwrap();
    let old = Instance::with(&stage, 1, breaker);
    eventually(SOON, "the baseline in Knowledge", || async {
        (stage.knowledge.calls("SaveSnapshots") > 0).then_some(())
    })
    .await;
    // Everybody goes: what is known lies in Knowledge only.
    old.end().await;
    stage.stop().await;
    stage.run().await;
    let new = Instance::start(&stage, 2);
    eventually(SOON, "a baseline that was handed on", || async {
        new.breaker.snapshot(new.now()).baseline_known.then_some(())
    })
    .await;
    let seen = new.breaker.snapshot(new.now());
    assert!((0.2..0.4).contains(&seen.baseline_ratio), "{seen:?}");
    let naive = Instance { breaker: Arc::new(fresh(9)), ctx: new.ctx.sub() };
    for call in 0..60u64 {
        let outcome = if call * 619 % 10 < 3 { Outcome::Failure } else { Outcome::Success };
        let _ = (new.call(outcome), naive.call(outcome));
    }
    assert_eq!(new.breaker.snapshot(new.now()).verdict, Verdict::Nominal, "three in ten is normal here");
    assert_eq!(
        naive.breaker.snapshot(naive.now()).verdict,
        Verdict::Degraded,
        "who does not know is alarmed"
    );
    assert!(new.fail() <= 40, "and an outage is one");
    assert_eq!(new.breaker.snapshot(new.now()).verdict, Verdict::Outage);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_persons_word_reaches_all_and_late_joiners_and_ends_without_execute() {
    let dir = tempfile::tempdir().unwrap();
    let stage = stage(5, dir.path()).await;
    let client = stage.client();
    let unknown = client.override_breaker(&edge(), None, "me", "drill").await.unwrap_err();
    assert_eq!(unknown.code(), Some(Code::FailedPrecondition), "nobody tells of it: {unknown}");
    let all: Vec<_> = (1..=2).map(|number| Instance::start(&stage, number)).collect();
    listed(&stage, 2, |_| true).await;
    let told = Some((BreakerMode::ForcedOpen, Duration::from_secs(6)));
    let record = client.override_breaker(&edge(), told, "me", "drill").await.unwrap();
    assert!(
        record.directive.rationale.text.contains("me: forced_open"),
        "{}",
        record.directive.rationale.text
    );
    let shut = |one: &Instance| (one.state() == State::ForcedOpen).then_some(());
    for one in &all {
        eventually(SOON, "a breaker that is held open", || async { shut(one) }).await;
    }
    let late = Instance::start(&stage, 3);
    eventually(SOON, "a late joiner held open", || async { shut(&late) }).await;
    let stands = |record: &BreakerRecord| record.report.policy.told.is_some();
    listed(&stage, 3, stands).await;
    stage.crash().await;
    for one in all.iter().chain([&late]) {
        eventually(SOON, "the word's end", || async { one.call(Outcome::Success).ok() }).await;
        assert_ne!(one.state(), State::ForcedOpen);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_persons_word_can_be_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let stage = stage(6, dir.path()).await;
    let client = stage.client();
    let one = Instance::start(&stage, 1);
    listed(&stage, 1, |_| true).await;
    let endless = Some((BreakerMode::Disabled, Duration::from_secs(31 * 24 * 3_600)));
    let refused = client.override_breaker(&edge(), endless, "me", "drill").await.unwrap_err();
    assert_eq!(refused.code(), Some(Code::InvalidArgument));
    for (told, state) in [
        (Some((BreakerMode::Disabled, Duration::from_secs(600))), State::Disabled),
        (Some((BreakerMode::MetricsOnly, Duration::from_secs(600))), State::MetricsOnly),
        (None, State::Closed),
    ] {
        // The one before may still be on its way through the ledger.
        eventually(SOON, "the ledger's acceptance", || async {
            client.override_breaker(&edge(), told, "me", "drill").await.ok()
        })
        .await;
        eventually(SOON, "the new state", || async { (one.state() == state).then_some(()) }).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_testifies_on_an_edge_that_is_not_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let stage = stage(7, dir.path()).await;
    let one = Instance::start(&stage, 1);
    let mut report = listed(&stage, 1, |_| true).await.remove(0).report;
    let client = stage.client();
    let spec = proto::model::ActuatorSpec {
        instance: "stranger".to_owned(),
        ..actuators::Actuator::spec(
            &BreakerActuator::new(
                "x",
                BTreeMap::from([(edge(), one.breaker.clone())]),
                one.ctx.clock.clone(),
            )
            .unwrap(),
        )
    };
    let lease = client.register(spec).await.unwrap().lease;
    let mut talk = client.observe(&lease).await.unwrap();
    assert!(talk.tell(vec![report.clone()]).await.unwrap().is_some());
    report.key = BreakerKey::of(proto::model::ResourceId::edge("shop", "cart", "pay").unwrap());
    let refused = talk.tell(vec![report]).await.unwrap_err();
    assert_eq!(refused.code(), Some(Code::PermissionDenied), "{refused}");
}
