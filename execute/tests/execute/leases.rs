//! Registration and leases, as an actuator sees them.

use std::time::Duration;

use chassis::testing::eventually;
use execute::testing::{Stage, actuator, breaker, id, scale};
use proto::client::ReportResult;
use proto::model::{ActuatorSpec, BreakerMode, DirectiveKind, DirectiveState, Generation};
use tonic::Code;

use super::puppet::Puppet;
use super::{SOON, dated, reaches};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_actuator_for_an_exclusive_kind_is_refused_and_a_replicated_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::start(1, dir.path()).await;
    let client = stage.client();
    let first = client.register(actuator("a", "1")).await.unwrap();
    let refused = client.register(actuator("b", "1")).await.unwrap_err();
    assert_eq!(refused.code(), Some(Code::AlreadyExists));
    let replicated = ActuatorSpec { kinds: vec![DirectiveKind::SetBreaker], ..actuator("b", "1") };
    client.register(replicated).await.unwrap();
    client.deregister(&first.lease).await.unwrap();
    client.register(actuator("b", "2")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn newer_registration_fences_the_older_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::start(2, dir.path()).await;
    let client = stage.client();
    let old = client.register(actuator("a", "1")).await.unwrap().lease;
    let mut stream = client.subscribe(&old, 0).await.unwrap();
    let new = client.register(actuator("a", "1")).await.unwrap().lease;
    assert!(new.epoch > old.epoch);
    let ended = tokio::time::timeout(SOON, stream.next()).await.unwrap().unwrap_err();
    assert_eq!(ended.code(), Some(Code::NotFound), "{ended}");
    assert_eq!(client.keep_alive(&old).await.unwrap_err().code(), Some(Code::NotFound));
    assert_eq!(client.subscribe(&old, 0).await.unwrap_err().code(), Some(Code::NotFound));
    client.keep_alive(&new).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lease_that_is_not_held_up_ends_and_its_stream_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut stage = Stage::start(3, dir.path()).await;
    stage.config.lease_ttl = Duration::from_millis(500);
    stage.stop().await;
    stage.run().await;
    let client = stage.client();
    let registration = client.register(actuator("a", "1")).await.unwrap();
    assert_eq!(registration.ttl, Duration::from_millis(500));
    let mut stream = client.subscribe(&registration.lease, 0).await.unwrap();
    let ended = tokio::time::timeout(SOON, stream.next()).await.unwrap().unwrap_err();
    assert_eq!(ended.code(), Some(Code::NotFound));
    assert_eq!(client.keep_alive(&registration.lease).await.unwrap_err().code(), Some(Code::NotFound));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lease_outlives_a_restart_of_execute() {
    let dir = tempfile::tempdir().unwrap();
    let mut stage = Stage::start(4, dir.path()).await;
    let lease = stage.client().register(actuator("a", "1")).await.unwrap().lease;
    stage.crash().await;
    stage.run().await;
    let client = stage.client();
    client.keep_alive(&lease).await.unwrap();
    let mut stream = client.subscribe(&lease, 0).await.unwrap();
    stage.knowledge.propose(dated(&stage, 1, 0, scale(1, 2)));
    let delivery = tokio::time::timeout(SOON, stream.next()).await.unwrap().unwrap().unwrap();
    assert_eq!((delivery.directive.id, delivery.directive.generation), (id(1), Generation(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribing_again_replaces_the_stream_and_delivers_again() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::start(5, dir.path()).await;
    let client = stage.client();
    let lease = client.register(actuator("a", "1")).await.unwrap().lease;
    let mut first = client.subscribe(&lease, 0).await.unwrap();
    stage.knowledge.propose(dated(&stage, 1, 0, scale(1, 2)));
    let delivery = tokio::time::timeout(SOON, first.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(delivery.attempt, 1);
    let mut second = client.subscribe(&lease, delivery.revision).await.unwrap();
    let again = tokio::time::timeout(SOON, second.next()).await.unwrap().unwrap().unwrap();
    assert_eq!((again.directive.id, again.attempt), (id(1), 2), "it was not answered");
    let ended = tokio::time::timeout(SOON, first.next()).await.unwrap().unwrap_err();
    assert_eq!(ended.code(), Some(Code::Aborted));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_joiner_gets_the_current_breaker_setting() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::start(6, dir.path()).await;
    let (first, second) = (Puppet::new(&stage, "1"), Puppet::new(&stage, "2"));
    let kinds = vec![DirectiveKind::SetBreaker];
    let only_breakers = |puppet: std::sync::Arc<Puppet>| {
        let mut puppet = std::sync::Arc::into_inner(puppet).unwrap();
        puppet.spec.kinds = kinds.clone();
        std::sync::Arc::new(puppet)
    };
    let (first, second) = (only_breakers(first), only_breakers(second));
    first.work(&stage.ctx);
    stage.knowledge.propose(dated(&stage, 1, 0, breaker(BreakerMode::Enforce)));
    reaches(&stage.knowledge, id(1), DirectiveState::Verifying).await;
    second.work(&stage.ctx);
    let joined = || async { (second.effects().len() == 1).then_some(()) };
    eventually(SOON, "the late joiner has it", joined).await;
    assert_eq!(first.effects(), second.effects());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn report_without_a_right_to_it_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::start(7, dir.path()).await;
    let (worker, stranger) = (Puppet::new(&stage, "1"), Puppet::new(&stage, "2"));
    worker.work(&stage.ctx);
    stage.knowledge.propose(dated(&stage, 1, 0, scale(1, 2)));
    reaches(&stage.knowledge, id(1), DirectiveState::Verifying).await;
    let delivery = worker.deliveries()[0].clone();
    let mut stranger = std::sync::Arc::into_inner(stranger).unwrap();
    stranger.spec.kinds = vec![DirectiveKind::SetBreaker];
    let refused = stranger.report(&delivery, ReportResult::Failed).await.unwrap_err();
    assert_eq!(refused.code(), Some(Code::PermissionDenied));
    assert_eq!(stage.knowledge.state(id(1)), Some(DirectiveState::Verifying));
}
