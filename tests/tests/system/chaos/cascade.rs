//! Scenario 4, cascade A→B→C: whoever fails, only the edge before it opens.

use super::kit::{Answer, Breaker, Rig, count, paced};
use staging::{faults::Effect, topology::Role};
use std::time::Duration;

const GAP: Duration = Duration::from_millis(25);
const FAST: &[&str] = &["--service-time-ms=2"];
/// A call that hangs is given up soon, so that the test is.
const IMPATIENT: &[&str] = &["--service-time-ms=2", "--upstream-timeout-ms=300"];

async fn edges(rig: &Rig) -> (Vec<Breaker>, Vec<Breaker>) {
    (rig.breakers(Role::Gateway).await, rig.breakers(Role::Catalog).await)
}

fn stayed_shut(breakers: &[Breaker]) -> bool {
    breakers
        .iter()
        .all(|breaker| breaker.opened() == 0 && breaker.rejected() == 0 && breaker.state() == "CLOSED")
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_cascade_only_the_edge_before_the_dead_service_opens() {
    let rig = Rig::start(2, 1, &[(Role::Catalog, FAST), (Role::Inventory, FAST)]).await;
    let before = paced(rig.gateway(), 30, GAP).await;
    assert_eq!(count(&before, Answer::is_full), 30);
    rig.fault(Role::Inventory, Some(Effect::Down)).await;
    let during = paced(rig.gateway(), 60, GAP).await;
    let (first, second) = edges(&rig).await;
    assert!(second.iter().all(|breaker| breaker.opened() >= 1), "C is dead, so B's breaker opens");
    assert!(stayed_shut(&first), "B does its part, so A's stays shut: {first:?}");
    assert!(first[0].results("caller_fault") > 0, "A heard of C's failures, and whose they were");
    assert_eq!(count(&during[30..], |answer| answer.status == 200), 30, "users get what B can say alone");
    rig.fault(Role::Inventory, None).await;
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hanging_cascade_only_the_edge_before_the_hung_service_opens() {
    let rig = Rig::start(1, 1, &[(Role::Catalog, IMPATIENT), (Role::Inventory, FAST)]).await;
    let before = paced(rig.gateway(), 30, GAP).await;
    assert_eq!(count(&before, Answer::is_full), 30);
    rig.fault(Role::Inventory, Some(Effect::Hang)).await;
    let during = paced(rig.gateway(), 80, GAP).await;
    let (first, second) = edges(&rig).await;
    assert!(second[0].opened() >= 1, "{:?}", second[0].causes());
    assert!(stayed_shut(&first), "{first:?}");
    assert_eq!(count(&during[50..], |answer| answer.status == 200), 30);
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_middle_fails_the_edge_before_it_opens_and_not_the_one_behind() {
    let rig = Rig::start(2, 1, &[(Role::Catalog, FAST), (Role::Inventory, FAST)]).await;
    let before = paced(rig.gateway(), 30, GAP).await;
    assert_eq!(count(&before, Answer::is_full), 30);
    rig.fault(Role::Catalog, Some(Effect::Down)).await;
    paced(rig.gateway(), 30, GAP).await;
    let (first, second) = edges(&rig).await;
    assert!(first[0].opened() >= 1, "{:?}", first[0].causes());
    assert!(stayed_shut(&second), "nobody asked C, so nothing is held against it: {second:?}");
    rig.end().await;
}
