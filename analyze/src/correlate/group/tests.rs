//! One cause a group, and nothing lost.

use proptest::prelude::*;

use super::*;

fn service(name: &str) -> ResourceId {
    format!("service:shop/{name}").parse().unwrap()
}

fn found(name: &str, second: i64, severity: Severity) -> Found {
    Found {
        resource: service(name),
        since: Timestamp::from_second(second).unwrap(),
        severity,
        confidence: 1.0,
        signals: vec!["error_ratio".to_owned()],
    }
}

fn graph(calls: &[(&str, &str)]) -> Graph {
    let mut graph = Graph::default();
    calls.iter().for_each(|(caller, callee)| graph.add(service(caller), service(callee)));
    graph
}

#[test]
fn callers_are_explained_by_the_callee_at_the_end_of_the_trouble() {
    let graph = graph(&[("web", "cart"), ("cart", "store"), ("web", "search")]);
    let all = [
        found("web", 103, Severity::Critical),
        found("cart", 101, Severity::High),
        found("store", 100, Severity::Medium),
    ];
    let groups = group(&all, &graph);
    assert_eq!(groups.len(), 1);
    assert_eq!((groups[0].cause, groups[0].inhibited.as_slice()), (2, [1, 0].as_slice()));
    assert_eq!(groups[0].text, "store is in trouble: error_ratio; that explains cart and web");
    assert!((groups[0].blast_radius - 0.75).abs() < 1e-9, "all but search");
}

#[test]
fn siblings_and_callees_of_the_sick_are_not_explained() {
    let graph = graph(&[("web", "cart"), ("web", "search"), ("cart", "store")]);
    let groups = group(&[found("cart", 100, Severity::High), found("search", 100, Severity::High)], &graph);
    assert_eq!(groups.iter().map(|group| group.inhibited.len()).sum::<usize>(), 0);
    // A healthy resource between two sick ones: one does not explain the other.
    let groups = group(&[found("web", 100, Severity::High), found("store", 100, Severity::High)], &graph);
    assert_eq!(groups.len(), 2);
}

#[test]
fn what_began_long_after_is_no_cause() {
    let graph = graph(&[("web", "cart")]);
    let late = [found("web", 100, Severity::High), found("cart", 400, Severity::High)];
    assert_eq!(group(&late, &graph).len(), 2);
    let a_little_late = [found("web", 100, Severity::High), found("cart", 150, Severity::High)];
    assert_eq!(group(&a_little_late, &graph)[0].cause, 1, "detectors differ by some ticks");
}

#[test]
fn findings_of_one_resource_are_one_group() {
    let all = [found("web", 100, Severity::Low), found("web", 100, Severity::High)];
    let groups = group(&all, &Graph::default());
    assert_eq!((groups.len(), groups[0].cause, groups[0].inhibited.as_slice()), (1, 1, [0].as_slice()));
    assert_eq!(groups[0].text, "web is in trouble: error_ratio", "it does not explain itself to people");
}

#[test]
fn a_circle_of_calls_has_one_cause() {
    let graph = graph(&[("a", "b"), ("b", "c"), ("c", "a")]);
    let all = ["a", "b", "c"].map(|name| found(name, 100, Severity::High));
    assert_eq!(group(&all, &graph).len(), 1);
}

#[test]
fn an_unknown_resource_has_the_blast_radius_of_itself() {
    let graph = graph(&[("a", "b"), ("b", "c")]);
    assert!((graph.blast_radius(&service("z")) - 0.25).abs() < 1e-9);
    assert!((graph.blast_radius(&service("c")) - 1.0).abs() < 1e-9);
    assert!((graph.blast_radius(&service("a")) - 1.0 / 3.0).abs() < 1e-9);
}

proptest! {
    #[test]
    fn every_finding_is_in_exactly_one_group(
        calls in prop::collection::vec((0..8_u8, 0..8_u8), 0..20),
        sick in prop::collection::vec((0..8_u8, 0..200_i64), 0..12),
    ) {
        let name = |number: u8| format!("s{number}");
        let mut graph = Graph::default();
        calls.iter().for_each(|(caller, callee)| graph.add(service(&name(*caller)), service(&name(*callee))));
        let all: Vec<Found> = sick.iter().map(|(one, at)| found(&name(*one), 1_000 + at, Severity::High)).collect();
        let groups = group(&all, &graph);
        let mut places: Vec<usize> =
            groups.iter().flat_map(|group| group.inhibited.iter().copied().chain([group.cause])).collect();
        places.sort_unstable();
        prop_assert_eq!(places, (0..all.len()).collect::<Vec<_>>());
    }
}
