//! Objectives from text, fed with assessments of orders and of its calls.

use std::time::Duration;

use proto::model::{Capacity, DataQuality, Quality, SignalGlance, openslo};

use super::*;
use crate::slo::objective::resolve;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn spec(annotations: &str) -> ObjectiveSpec {
    let text = format!(
        "apiVersion: openslo/v1
kind: SLO
metadata:
  name: orders
  annotations:
    homeostat.io/namespace: shop
{annotations}spec:
  service: orders
  indicator:
    metadata:
      name: bad
      annotations:
        homeostat.io/weight-signal: load
    spec:
      ratioMetric:
        rawType: failure
        raw:
          metricSource:
            type: Homeostat
            spec:
              signal: bad_ratio
  timeWindow:
    - duration: 1m
      isRolling: true
  budgetingMethod: Occurrences
  objectives:
    - target: 0.9
"
    );
    resolve(&openslo::read(&text).unwrap()).unwrap().remove(0)
}

const POLICY: &str = r#"    homeostat.io/error-budget-policy: '{"steps":[{"at":0.5,"measures":["notify"]}],"reset":{"stable_s":0,"approvals":1}}'
"#;

fn seen(resource: &str, second: i64, bad: f64) -> Assessment {
    let resource: ResourceId = resource.parse().unwrap();
    let glance = |name: &str, value| SignalGlance::plain(name, Some(value), at(second));
    let data = DataQuality {
        quality: Quality::Good,
        reason: String::new(),
        since: at(second),
        sources_expected: 1,
        sources_seen: 1,
        last_good: None,
    };
    Assessment {
        shard: resource.shard(),
        resource,
        at: at(second),
        sequence: 1,
        signals: vec![glance("load", 100.0), glance("bad_ratio", bad)],
        symptoms: Vec::new(),
        objective: None,
        capacity: Capacity::default(),
        outlook: None,
        data,
        interval: Duration::from_secs(1),
        budget_policies: Vec::new(),
    }
}

#[test]
fn an_assessment_of_its_service_says_what_the_policy_wants() {
    let mut book = Book::default();
    book.replace(vec![spec(POLICY)], Vec::new());
    let mut news = Vec::new();
    for second in 1..=6 {
        let mut seen = seen("service:shop/orders", second, 1.0);
        news.extend(book.observe(&mut seen));
        assert_eq!(seen.budget_policies.len(), 1);
    }
    assert_eq!(news.iter().filter(|news| !news.happened.effects.is_empty()).count(), 1, "begun once");
    assert_eq!(book.waiting().len(), 1);
    let saved = book.take_saved(false);
    assert_eq!(saved.len(), 1, "what is in force is saved at once");
    let mut again = Book::default();
    again.remember(saved.into_iter().collect());
    again.replace(vec![spec(POLICY)], Vec::new());
    assert_eq!(again.waiting(), book.waiting(), "a restart forgets nothing");
    let mut other = seen("service:shop/other", 7, 1.0);
    assert!(book.observe(&mut other).is_empty() && other.budget_policies.is_empty());
}

#[test]
fn a_grouped_objective_has_a_budget_for_each_callee() {
    let mut book = Book::default();
    book.replace(vec![spec("    homeostat.io/group-by: callee\n")], Vec::new());
    assert!(book.without()[0].untracked.contains("no callee"), "{:?}", book.without());
    book.observe(&mut seen("edge:shop/orders->stock", 1, 0.5));
    book.observe(&mut seen("edge:shop/orders->mail", 1, 0.0));
    book.observe(&mut seen("edge:shop/other->mail", 1, 0.9));
    let found = book.page("", 10, at(1));
    let names: Vec<_> = found.iter().map(|one| one.objective.as_str()).collect();
    assert_eq!(names, ["shop/orders{callee=mail}", "shop/orders{callee=stock}"]);
    assert!(found[0].state.budget_remaining_ratio > found[1].state.budget_remaining_ratio);
    assert!(book.without().is_empty());
}

#[test]
fn what_cannot_be_tracked_is_listed_and_is_never_met() {
    let mut book = Book::default();
    let wrong = vec![("shop/broken".to_owned(), "there is no SLI x".to_owned())];
    book.replace(vec![spec("    homeostat.io/group-by: tenant\n")], wrong);
    let listed = book.without();
    assert_eq!(listed.len(), 2);
    for one in listed {
        assert!(!one.untracked.is_empty());
        assert_eq!(one.state.standing, ObjectiveStanding::Unknown);
    }
}
