//! Telemetry of a service goes away: nothing that reduces is issued for it any more, and `status` says why.

use super::staging;
use chassis::testing::eventually;
use std::time::Duration;
use system_tests::{Plane, data_dir, turn};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_reduced_while_metrics_are_gone_and_status_says_why() {
    let _turn = turn();
    let dir = data_dir();
    let plane = Plane::start(dir.path(), &[]).await;
    // Catalog's metrics are gone from 30 % to 70 % of the time.
    let _cluster = staging::start(dir.path(), "metrics-gone", Duration::from_secs(60), "act", 2);
    let catalog = || {
        let status = plane.json(&["status"]);
        let resources = status["resources"].as_array().unwrap().clone();
        resources.into_iter().find(|resource| resource["resource"] == "service:staging/catalog")
    };
    eventually(Duration::from_secs(40), "good data", || async {
        catalog().filter(|resource| resource["data"] == "good")
    })
    .await;
    let gone = eventually(Duration::from_secs(40), "unknown data that forbids reductions", || async {
        catalog().filter(|resource| resource["data"] == "unknown" && resource["reductions_forbidden"] == true)
    })
    .await;
    assert!(!gone["reductions_reason"].as_str().unwrap().is_empty(), "{gone}");
    assert!(gone["load"].is_null(), "missing data is no number: {gone}");
    let directives = plane.json(&["directives", "list", "--resource", "service:staging/catalog"]);
    let since = directives.as_array().unwrap().len();
    eventually(Duration::from_secs(60), "data that is back", || async {
        catalog().filter(|resource| resource["data"] == "good")
    })
    .await;
    let directives = plane.json(&["directives", "list", "--resource", "service:staging/catalog"]);
    let during = directives.as_array().unwrap().len() - since;
    let reducing = directives
        .as_array()
        .unwrap()
        .iter()
        .take(during)
        .filter(|record| record["directive"]["reduces"] == true);
    assert_eq!(reducing.count(), 0, "{directives}");
}
