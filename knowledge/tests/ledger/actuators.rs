//! Leases, and the kill switch's memory.

use super::support::{Lab, lab, on};
use chassis::testing::eventually;
use proto::model::{
    ActuatorSpec, DirectiveKind, DirectiveState, Generation, Lease, PauseState, ResourceKind, ResourcePattern,
};
use std::time::Duration;

const TTL: Duration = Duration::from_secs(60);

fn process(instance: &str, name: &str) -> ActuatorSpec {
    ActuatorSpec {
        name: "process".to_owned(),
        instance: instance.to_owned(),
        kinds: vec![DirectiveKind::Scale],
        resources: vec![ResourcePattern::new(ResourceKind::Service, "staging", name).unwrap()],
        max_in_flight: 1,
        supports_dry_run: false,
        supports_undo: true,
    }
}

#[tokio::test]
async fn lease_is_held_until_its_time_by_the_databases_clock() {
    let lab = lab().await;
    let (lease, generations) =
        lab.knowledge.grant_lease(process("a", "*"), Duration::from_millis(300)).await.unwrap();
    assert_eq!((lease.epoch, generations), (1, vec![]));
    assert!(lab.knowledge.renew_lease(&lease, Duration::from_millis(300)).await.unwrap());
    eventually(Duration::from_secs(10), "the lease runs out", || async {
        lab.knowledge.list_actuators(true).await.unwrap().is_empty().then_some(())
    })
    .await;
    assert!(!lab.knowledge.renew_lease(&lease, TTL).await.unwrap(), "a lease that ran out is not revived");
    let all = lab.knowledge.list_actuators(false).await.unwrap();
    assert_eq!((all.len(), all[0].live, all[0].remaining), (1, false, Duration::ZERO));
}

#[tokio::test]
async fn registering_again_raises_the_epoch_and_ends_the_older_lease() {
    let lab = lab().await;
    let (first, _) = lab.knowledge.grant_lease(process("a", "*"), TTL).await.unwrap();
    let (second, _) = lab.knowledge.grant_lease(process("a", "*"), TTL).await.unwrap();
    assert_eq!((first.epoch, second.epoch), (1, 2));
    assert!(!lab.knowledge.renew_lease(&first, TTL).await.unwrap());
    let forged = Lease { epoch: 1, ..second.clone() };
    assert!(!lab.knowledge.renew_lease(&forged, TTL).await.unwrap());
    assert!(lab.knowledge.renew_lease(&second, TTL).await.unwrap());
}

#[tokio::test]
async fn exclusive_kind_has_one_live_actuator_per_resource_across_instances() {
    let lab = lab().await;
    let other = on(lab.database.clone()).await;
    let grants = (0..10).map(|n| {
        let knowledge = if n % 2 == 0 { &lab.knowledge } else { &other.knowledge };
        knowledge.grant_lease(process(&format!("i{n}"), "catalog"), TTL)
    });
    let answers = futures::future::join_all(grants).await;
    let held: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().ok()).collect();
    assert_eq!(held.len(), 1, "{answers:?}");
    let refused = answers.iter().filter_map(|answer| answer.as_ref().err());
    assert!(refused.clone().all(|error| error.code() == Some(tonic::Code::AlreadyExists)));
    lab.knowledge.grant_lease(process("elsewhere", "inventory"), TTL).await.unwrap();
    lab.knowledge.release_lease(&held[0].0).await.unwrap();
    lab.knowledge.grant_lease(process("next", "catalog"), TTL).await.unwrap();
}

#[tokio::test]
async fn registration_is_told_the_last_generation_of_what_it_serves() {
    let lab = lab().await;
    for name in ["service:staging/catalog", "service:other/catalog"] {
        let directive = lab.directive(name, 0);
        lab.knowledge.propose(directive.clone()).await.unwrap();
        lab.walk(directive.id, &[DirectiveState::Issued, DirectiveState::Refused]).await;
    }
    lab.knowledge.propose(lab.directive("service:staging/catalog", 1)).await.unwrap();
    let (_, generations) = lab.knowledge.grant_lease(process("a", "*"), TTL).await.unwrap();
    let seen: Vec<_> = generations.iter().map(|a| (a.resource.to_string(), a.generation)).collect();
    assert_eq!(seen, [("service:staging/catalog".to_owned(), Generation(2))]);
}

#[tokio::test]
async fn lease_that_is_too_long_is_refused() {
    let lab = lab().await;
    for ttl in [Duration::ZERO, Duration::from_secs(601)] {
        let refused = lab.knowledge.grant_lease(process("a", "*"), ttl).await.unwrap_err();
        assert_eq!(refused.code(), Some(tonic::Code::InvalidArgument));
    }
}

#[tokio::test]
async fn higher_counter_holds_and_a_tie_means_paused() {
    let lab = lab().await;
    let set = async |lab: &Lab, paused, counter| {
        let state = PauseState { paused, counter, ..PauseState::never(lab.ctx.clock.now()) };
        let held = lab.knowledge.set_pause(&state).await.unwrap();
        assert_eq!(lab.knowledge.get_pause().await.unwrap().paused, held.paused);
        (held.paused, held.counter)
    };
    assert!(!lab.knowledge.get_pause().await.unwrap().paused);
    assert_eq!(set(&lab, true, 1).await, (true, 1));
    assert_eq!(set(&lab, false, 1).await, (true, 1));
    assert_eq!(set(&lab, false, 2).await, (false, 2));
    assert_eq!(set(&lab, true, 1).await, (false, 2));
    assert_eq!(set(&lab, true, 2).await, (true, 2));
    assert_eq!(set(&lab, true, 2).await, (true, 2));
    assert_eq!(lab.number("select value from revision").await, 3, "only what changed is in the feed");
}
