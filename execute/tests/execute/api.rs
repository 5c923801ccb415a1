//! What people ask of Execute: to take something back, and to watch.

use chassis::testing::eventually;
use execute::testing::{Stage, breaker, cart, edge, id, scale};
use proto::model::{AutonomyLevel, BreakerMode, Directive, DirectiveState, ResourceKind, ResourcePattern};
use proto::wire;
use proto::wire::execute_client::ExecuteClient;
use tonic::Code;

use super::puppet::Puppet;
use super::{SOON, dated, promise, reaches};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn person_takes_back_what_is_in_effect_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::start(1, dir.path()).await;
    let client = stage.client();
    assert_eq!(client.undo(id(1), "me", "why").await.unwrap_err().code(), Some(Code::NotFound));
    let careful = Directive { autonomy: AutonomyLevel::Approve, ..scale(2, 1) };
    stage.knowledge.propose(dated(&stage, 1, 0, careful));
    let early = client.undo(id(1), "me", "why").await.unwrap_err();
    assert_eq!(early.code(), Some(Code::FailedPrecondition), "{early}");
    stage.knowledge.propose(dated(&stage, 2, 0, breaker(BreakerMode::Enforce)));
    let puppet = Puppet::new(&stage, "1");
    puppet.work(&stage.ctx);
    reaches(&stage.knowledge, id(2), DirectiveState::Verifying).await;
    stage.analyze.say(stage.known(&edge()));
    let undo = client.undo(id(2), "me", "it rejects good calls").await.unwrap();
    assert_eq!((undo.directive.undo_of, undo.directive.autonomy), (Some(id(2)), AutonomyLevel::Act));
    assert!(undo.directive.rationale.text.contains("me asked for it: it rejects good calls"));
    reaches(&stage.knowledge, undo.directive.id, DirectiveState::Verified).await;
    reaches(&stage.knowledge, id(2), DirectiveState::Undone).await;
    let again = client.undo(id(2), "me", "why").await.unwrap_err();
    assert_eq!(again.code(), Some(Code::FailedPrecondition), "{again}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers_see_the_life_of_what_they_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::start(2, dir.path()).await;
    let pattern = ResourcePattern::new(ResourceKind::Service, "shop", "*").unwrap();
    let request = wire::WatchRequest { from_revision: 0, resources: vec![pattern.into()] };
    let mut stream = ExecuteClient::new(stage.channel()).watch(request).await.unwrap().into_inner();
    let puppet = Puppet::new(&stage, "1");
    puppet.work(&stage.ctx);
    stage.knowledge.propose(dated(&stage, 1, 0, breaker(BreakerMode::Enforce)));
    reaches(&stage.knowledge, id(1), DirectiveState::Verifying).await;
    stage.knowledge.propose(dated(&stage, 2, 0, scale(1, 2)));
    loop {
        let record = tokio::time::timeout(SOON, stream.message()).await.unwrap().unwrap().unwrap();
        let directive = record.directive.clone().unwrap();
        assert_eq!(directive.id, id(2).to_string(), "only services were asked for");
        if record.state() == wire::DirectiveState::Verifying {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn advice_and_what_nobody_takes_expires_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::start(3, dir.path()).await;
    let soon = |directive: Directive| Directive {
        expires_at: directive.created_at + std::time::Duration::from_millis(400),
        ..directive
    };
    let advice = Directive { autonomy: AutonomyLevel::Recommend, ..breaker(BreakerMode::Enforce) };
    stage.knowledge.propose(soon(dated(&stage, 1, 0, advice)));
    stage.knowledge.propose(soon(dated(&stage, 2, 0, scale(1, 2))));
    reaches(&stage.knowledge, id(1), DirectiveState::Expired).await;
    reaches(&stage.knowledge, id(2), DirectiveState::Expired).await;
    let detail = stage.knowledge.directive(id(2)).unwrap().detail;
    assert_eq!(detail, "not delivered in time: no actuator took it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kept_promise_is_verified_from_assessments() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::start(4, dir.path()).await;
    let puppet = Puppet::new(&stage, "1");
    puppet.work(&stage.ctx);
    let directive = Directive { expected: vec![promise("bad_ratio", 0.01, false)], ..scale(1, 2) };
    stage.knowledge.propose(dated(&stage, 1, 0, directive));
    let look = || async {
        stage.analyze.say(stage.good(&cart()));
        (stage.knowledge.state(id(1)) == Some(DirectiveState::Verified)).then_some(())
    };
    eventually(SOON, "verified", look).await;
    assert!(stage.knowledge.outcomes()[0].effects[0].kept);
}
