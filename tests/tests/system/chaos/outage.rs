//! Scenario 2, transient outage and recovery: 20 calls work, then the callee is gone, then it is back.

use super::kit::{DEADLINE, Rig, count, get, paced};
use chassis::testing::eventually;
use staging::{faults::Effect, topology::Role};
use std::time::{Duration, Instant};

const GAP: Duration = Duration::from_millis(25);
const FAST: &[&str] = &["--service-time-ms=2"];

#[tokio::test(flavor = "multi_thread")]
async fn transient_outage_costs_a_handful_of_calls_and_all_are_admitted_soon_after_it() {
    let rig = Rig::start(2, 2, &[(Role::Catalog, FAST), (Role::Inventory, FAST)]).await;
    let before = paced(rig.gateway(), 20, GAP).await;
    assert_eq!(count(&before, super::kit::Answer::is_full), 20);

    rig.fault(Role::Inventory, Some(Effect::Down)).await;
    let down = paced(rig.gateway(), 120, GAP).await;
    let failed = count(&down, |answer| answer.status != 200);
    // Two replicas of catalog learn it each by itself, from six calls at most, and from what was on its way by then.
    assert!(failed <= 16, "{failed} of 120 failed");
    assert_eq!(count(&down, |answer| answer.degraded), 120 - failed, "the others are answered without stock");
    for breaker in rig.breakers(Role::Catalog).await {
        let evidence = &breaker.first("outage").expect("it opened by evidence")["evidence"];
        assert!(evidence["calls"].as_f64() <= Some(6.0), "{evidence}");
        assert!(evidence["score"].as_f64() >= evidence["threshold"].as_f64(), "{evidence}");
        // While it is down hardly anything reaches it: probes only.
        assert!(breaker.all_results() < 40, "{:?}", breaker.field("results"));
    }

    rig.fault(Role::Inventory, None).await;
    let healed = Instant::now();
    let after = eventually(DEADLINE, "both breakers closed", || async {
        paced(rig.gateway(), 4, GAP).await;
        let closed = rig.breakers(Role::Catalog).await.iter().all(|breaker| breaker.state() == "CLOSED");
        closed.then(|| healed.elapsed())
    })
    .await;
    println!("all admitted again {after:.1?} after the outage");
    assert!(after < Duration::from_secs(10), "{after:?}");
    let full = paced(rig.gateway(), 20, GAP).await;
    assert_eq!(count(&full, super::kit::Answer::is_full), 20);
    for breaker in rig.breakers(Role::Catalog).await {
        let path = breaker.path();
        assert_eq!(path.last(), Some(&"CLOSED"), "{path:?}");
        assert!(path.windows(2).all(|two| two != ["OPEN", "CLOSED"]), "never without probes: {path:?}");
        assert_eq!(breaker.causes().last(), Some(&"probes_passed"));
    }
    assert!(get(rig.gateway(), "/").await.is_full());
    rig.end().await;
}
