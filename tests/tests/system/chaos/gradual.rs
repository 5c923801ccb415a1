//! Scenario 1, gradual failure: 200 calls of which ever more fail, up to one in two. That is a degradation, and is told as one;
//! what still works goes on. Only when nothing works any more does the breaker open.

use super::kit::{Rig, count, paced};
use staging::{faults::Effect, topology::Role};
use std::time::Duration;

const GAP: Duration = Duration::from_millis(15);
const FAST: &[&str] = &["--service-time-ms=2"];

#[tokio::test(flavor = "multi_thread")]
async fn gradual_failure_is_told_and_opens_only_when_hardly_anything_works() {
    let rig = Rig::start(1, 1, &[(Role::Catalog, FAST), (Role::Inventory, FAST)]).await;
    let mut answers = Vec::new();
    // Ten calls at a time, each ten with the failure ratio of their middle one.
    for call in (5..205).step_by(10) {
        let ratio = (f64::from(call) / 100.0).min(0.5);
        rig.fault(Role::Inventory, Some(Effect::Errors { ratio })).await;
        answers.extend(paced(rig.gateway(), 10, GAP).await);
    }
    let breaker = rig.breakers(Role::Catalog).await.remove(0);
    assert_eq!((breaker.opened(), breaker.state()), (0, "CLOSED"), "{:?}", breaker.causes());
    assert_eq!(breaker.rejected(), 0, "what works is not kept from anybody");
    let told = breaker.first("failures").expect("the degradation is told");
    let evidence = &told["evidence"];
    assert!(evidence["failures"].as_f64() >= Some(3.0) && evidence["calls"].is_number(), "{told}");
    let failed = count(&answers, |answer| answer.status != 200) as u64;
    assert_eq!((answers.len(), failed), (200, breaker.results("failure")));

    rig.fault(Role::Inventory, Some(Effect::Errors { ratio: 1.0 })).await;
    let dead = paced(rig.gateway(), 60, GAP).await;
    let breaker = rig.breakers(Role::Catalog).await.remove(0);
    assert!(breaker.opened() >= 1, "{:?}", breaker.causes());
    // From a degradation it takes a few more than from health: what is normal for it fails often too.
    let failed = count(&dead, |answer| answer.status != 200);
    assert!(failed <= 40, "{failed} calls failed before it opened");
    rig.end().await;
}
