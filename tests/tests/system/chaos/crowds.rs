//! Scenarios 3 and 7: many callers at once while one call in ten fails. Nothing is lost, nothing is counted twice, and a tenth is
//! no outage.

use super::kit::{Answer, Rig, count, crowd};
use staging::{faults::Effect, topology::Role};

/// Room for all callers at once.
const WIDE: &[&str] = &["--service-time-ms=1", "--workers=256", "--queue=1024"];
/// Far beyond what chance makes of one in ten, and far below an outage: five deviations of 1,000 calls.
const ABOUT_A_TENTH: std::ops::Range<f64> = 0.05..0.15;

#[tokio::test(flavor = "multi_thread")]
async fn fifty_callers_of_twenty_calls_each_are_all_answered_and_counted() {
    let rig = Rig::start(2, 2, &[(Role::Catalog, WIDE), (Role::Inventory, WIDE)]).await;
    let [gateway] = rig.breakers(Role::Gateway).await.try_into().unwrap();
    let began = gateway.all_results();
    rig.fault(Role::Inventory, Some(Effect::Errors { ratio: 0.1 })).await;
    let answers = crowd(rig.gateway(), 50, 20).await;
    assert_eq!(answers.len(), 1_000);
    assert_eq!(count(&answers, |answer| answer.status == 0), 0, "every caller is answered");
    let failed = count(&answers, |answer| answer.status == 502);
    assert_eq!(count(&answers, Answer::is_full) + failed, 1_000, "and with what the callee said");
    assert!(ABOUT_A_TENTH.contains(&(failed as f64 / 1_000.0)), "{failed}");
    let [gateway] = rig.breakers(Role::Gateway).await.try_into().unwrap();
    assert_eq!(gateway.all_results() - began, 1_000);
    let catalogs = rig.breakers(Role::Catalog).await;
    let counted = |outcome| catalogs.iter().map(|breaker| breaker.results(outcome)).sum::<u64>();
    assert_eq!(counted("failure"), failed as u64);
    assert_eq!(counted("success"), began + 1_000 - failed as u64);
    for breaker in catalogs.iter().chain([&gateway]) {
        assert_eq!((breaker.opened(), breaker.rejected()), (0, 0), "{:?}", breaker.causes());
    }
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn results_recorded_at_once_by_twenty_callers_per_service_are_counted_exactly_once() {
    let rig = Rig::start(2, 1, &[(Role::Catalog, WIDE), (Role::Inventory, WIDE)]).await;
    let replicas = rig.replicas(Role::Catalog);
    let before = rig.breakers(Role::Catalog).await;
    rig.fault(Role::Inventory, Some(Effect::Errors { ratio: 0.1 })).await;
    // Each replica has ten callers of its own; all of them record beside one another, and somebody reads meanwhile.
    let reading = async {
        for _ in 0..20 {
            rig.metric(replicas[0], "breaker_results_total", &[]).await;
            rig.breakers(Role::Catalog).await;
        }
    };
    let (first, second, ()) = tokio::join!(crowd(replicas[0], 10, 100), crowd(replicas[1], 10, 100), reading);
    let after = rig.breakers(Role::Catalog).await;
    for (index, answers) in [first, second].iter().enumerate() {
        let recorded = after[index].all_results() - before[index].all_results();
        assert_eq!((answers.len(), recorded), (1_000, 1_000));
        let failed = count(answers, |answer| answer.status == 502) as u64;
        assert_eq!(after[index].results("failure") - before[index].results("failure"), failed);
        assert!(ABOUT_A_TENTH.contains(&(failed as f64 / 1_000.0)), "{failed}");
        let exported = rig.metric(replicas[index], "breaker_results_total", &["failure"]).await;
        assert_eq!(exported, failed as f64, "the metric says what the breaker counted");
        let calls = rig.metric(replicas[index], "upstream_requests_total", &[]).await;
        assert_eq!(calls, after[index].all_results() as f64, "and what the service counted");
    }
    rig.end().await;
}
