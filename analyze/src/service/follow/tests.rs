//! Declared documents become promises.

use std::time::Duration;

use proto::model::{EdgeSpec, Selector, ServiceSpec, SloSpec};

use super::*;

fn selector() -> Selector {
    "requests_total".parse().unwrap()
}

fn service(objective: Option<Objective>) -> Declared {
    let edge =
        EdgeSpec { callee: "inventory".to_owned(), total: selector(), good: selector(), latency: None };
    let spec = ServiceSpec {
        instances: BTreeMap::new(),
        total: selector(),
        good: Some(selector()),
        latency: None,
        busy_seconds: None,
        workers: None,
        ready: None,
        edges: vec![edge],
        objective,
    };
    declared("catalog", DeclaredSpec::Service(Box::new(spec)))
}

fn declared(name: &str, spec: DeclaredSpec) -> Declared {
    Declared { namespace: "staging".to_owned(), name: name.to_owned(), spec, version: 1, applied_at: None }
}

fn objective(target_ratio: f64) -> Objective {
    Objective { target_ratio, latency_bound: None, window: Duration::from_secs(3_600) }
}

#[test]
fn service_and_its_edges_are_promised_together() {
    let promises = Declarations::new(vec![service(Some(objective(0.75)))]).promises();
    let texts: Vec<_> = promises.keys().map(ToString::to_string).collect();
    assert_eq!(texts, ["service:staging/catalog", "edge:staging/catalog->inventory"]);
    assert!(promises.values().all(|promise| promise.allowed == Some(0.25)));
    assert_eq!(promises.values().filter(|promise| promise.objective.is_some()).count(), 1);
}

#[test]
fn objective_declared_apart_goes_first_and_its_end_brings_the_own_one_back() {
    let slo = SloSpec { service: "catalog".to_owned(), objective: objective(0.5) };
    let mut declarations =
        Declarations::new(vec![declared("apart", DeclaredSpec::Slo(slo)), service(Some(objective(0.75)))]);
    assert_eq!(declarations.promises().values().next().unwrap().allowed, Some(0.5));
    declarations.delete(DeclaredKind::Slo, "staging".to_owned(), "apart".to_owned());
    assert_eq!(declarations.promises().values().next().unwrap().allowed, Some(0.25));
}
