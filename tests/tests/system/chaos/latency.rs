//! Scenario 5, latency spike: answers take ten times as long. That is told, with what was expected; nothing is kept from anybody,
//! since every call still works.

use super::kit::{Answer, Rig, count, paced};
use staging::{faults::Effect, topology::Role};
use std::time::Duration;

/// Enough workers for calls that take half a second.
const WIDE: &[&str] = &["--service-time-ms=50", "--workers=256"];
const PASSING: &[&str] = &["--service-time-ms=0", "--workers=256"];
const GAP: Duration = Duration::from_millis(6);
/// A p99 needs this many samples before slowness is judged.
const LEARNED: usize = 1_200;

#[tokio::test(flavor = "multi_thread")]
async fn latency_spike_is_told_with_its_cause_and_rejects_nothing() {
    let rig = Rig::start(1, 1, &[(Role::Catalog, PASSING), (Role::Inventory, WIDE)]).await;
    let usual = paced(rig.gateway(), LEARNED, GAP).await;
    assert_eq!(count(&usual, Answer::is_full), LEARNED);
    // A look at the breaker makes it look at the time.
    let before = rig.breakers(Role::Catalog).await.remove(0);
    let slow_from = before.field("slow_from_s").as_f64().expect("learned");
    assert!((0.08..0.4).contains(&slow_from), "{slow_from}");
    assert!(before.first("slow_calls").is_none(), "{:?}", before.causes());

    rig.fault(Role::Inventory, Some(Effect::Latency { added_ms: 450 })).await;
    let mut spike = paced(rig.gateway(), 50, GAP).await;
    spike.sort_by_key(|answer| answer.took);
    let p99 = spike[49].took;
    assert!(p99 > Duration::from_millis(200), "the scenario's alert condition holds: {p99:?}");
    let during = rig.breakers(Role::Catalog).await.remove(0);
    let told = during.first("slow_calls").expect("the slowness is told");
    assert!(told["evidence"]["calls"].as_f64() <= Some(30.0), "soon: {told}");
    assert_eq!((during.opened(), during.rejected(), during.state()), (0, 0, "CLOSED"));
    assert_eq!(during.field("verdict"), "degraded");

    rig.fault(Role::Inventory, None).await;
    let after = paced(rig.gateway(), 100, GAP).await;
    assert_eq!(count(&after, Answer::is_full), 100);
    let over = rig.breakers(Role::Catalog).await.remove(0);
    assert_eq!(over.field("verdict"), "nominal", "{:?}", over.causes());
    assert!(over.causes().contains(&"recovered"));
    rig.end().await;
}
