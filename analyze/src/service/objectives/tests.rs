//! Objectives from text, fed with assessments of orders and of its calls.

use std::time::Duration;

use proto::model::{Capacity, DataQuality, Quality, SignalGlance, openslo};

use super::*;
use crate::slo::objective::{Promql, resolve};
use crate::slo::queried::{Answer, Sample};

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

fn settled() -> Book {
    let mut book = Book::default();
    book.settle();
    book
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
    let mut book = settled();
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
    let mut again = settled();
    again.remember(saved.into_iter().collect());
    again.replace(vec![spec(POLICY)], Vec::new());
    assert_eq!(again.waiting(), book.waiting(), "a restart forgets nothing");
    let mut other = seen("service:shop/other", 7, 1.0);
    assert!(book.observe(&mut other).is_empty() && other.budget_policies.is_empty());
}

#[test]
fn a_grouped_objective_has_a_budget_for_each_callee() {
    let mut book = settled();
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

#[test]
fn until_everything_is_known_what_may_do_harm_is_refused_and_nothing_taken_back() {
    let mut book = Book::default();
    let mut first = seen("service:shop/orders", 1, 0.0);
    book.observe(&mut first);
    let refusal = first.budget_policies[0].refusal().unwrap();
    assert!(refusal.contains("unknown") && !first.budget_policies[0].known, "{refusal}");
    book.replace(vec![spec(POLICY)], Vec::new());
    let mut second = seen("service:shop/orders", 2, 0.0);
    book.observe(&mut second);
    assert!(second.budget_policies[0].refusal().is_some(), "its earlier spans are not read yet");
    book.settle();
    let mut third = seen("service:shop/orders", 3, 0.0);
    book.observe(&mut third);
    assert_eq!(third.budget_policies[0].refusal(), None);
    let mut edge = seen("edge:shop/orders->stock", 4, 0.0);
    book.observe(&mut edge);
    assert!(edge.budget_policies.is_empty());
}

#[test]
fn each_twentieth_of_the_budget_is_saved_as_it_goes() {
    let mut book = settled();
    book.replace(vec![spec("")], Vec::new());
    let mut saved = 0;
    for second in 1..=60 {
        book.observe(&mut seen("service:shop/orders", second, 0.2));
        let now = book.take_saved(false).len();
        assert!(now <= 1, "each once");
        saved += now;
    }
    // Twice the budget is used up in the minute, a thirtieth a second: every second tick takes it on by a twentieth.
    assert!((25..=40).contains(&saved), "{saved}");
    (61..=70).for_each(|second| _ = book.observe(&mut seen("service:shop/orders", second, 0.2)));
    assert!(book.take_saved(false).len() <= 1 && book.take_saved(false).is_empty(), "nothing moves any more");
}

#[test]
fn a_deleted_objective_leaves_a_policy_that_is_known_to_want_nothing() {
    let mut book = settled();
    book.replace(vec![spec(POLICY)], Vec::new());
    (1..=6).for_each(|second| _ = book.observe(&mut seen("service:shop/orders", second, 1.0)));
    book.replace(Vec::new(), Vec::new());
    let mut after = seen("service:shop/orders", 7, 1.0);
    book.observe(&mut after);
    let policy = &after.budget_policies[0];
    assert_eq!((policy.objective.as_str(), policy.known), ("shop/orders", true));
    assert!(policy.measures.is_empty() && policy.refusal().is_none());
    book.replace(vec![spec(POLICY)], Vec::new());
    let mut back = seen("service:shop/orders", 8, 0.0);
    book.observe(&mut back);
    assert_eq!(back.budget_policies.len(), 1);
}

/// Requests by tenant, of a Prometheus.
fn asked(annotations: &str) -> ObjectiveSpec {
    let text = format!(
        "apiVersion: openslo/v1
kind: SLO
metadata: {{ name: asked, annotations: {{ homeostat.io/namespace: shop{annotations} }} }}
spec:
  service: orders
  indicator:
    metadata: {{ name: i }}
    spec:
      ratioMetric:
        counter: true
        bad: {{ metricSource: {{ type: Prometheus, spec: {{ query: bad }} }} }}
        total: {{ metricSource: {{ type: Prometheus, spec: {{ query: all }} }} }}
  timeWindow: [ {{ duration: 1m, isRolling: true }} ]
  budgetingMethod: Occurrences
  objectives: [ {{ target: 0.9 }} ]
"
    );
    resolve(&openslo::read(&text).unwrap()).unwrap().remove(0)
}

/// Counters of two tenants: so many requests, and bad ones of the first.
fn answers(requests: f64, bad: f64) -> BTreeMap<Promql, Answer> {
    let sample = |name: &str, tenant: &str, value| Sample {
        labels: [("__name__", name), ("instance", "a:1"), ("tenant", tenant)]
            .map(|(label, value)| (label.to_owned(), value.to_owned()))
            .into(),
        value,
    };
    let both = |name: &str, first, second| Ok(vec![sample(name, "x", first), sample(name, "y", second)]);
    let query = |text: &str| Promql::new(None, text.to_owned());
    [(query("bad"), both("bad", bad, 0.0)), (query("all"), both("all", requests, requests))].into()
}

#[test]
fn answers_tell_an_objective_made_of_queries_and_assessments_do_not() {
    let mut book = settled();
    book.replace(vec![asked("")], Vec::new());
    assert_eq!(book.questions().len(), 2);
    let none = |_: &ResourceId| None;
    let second = Duration::from_secs(1);
    book.answered(at(0), second, &answers(0.0, 0.0), &none);
    // 100 requests in 10 s, 4 of them bad, although three answers were lost; an assessment in between says nothing.
    book.observe(&mut seen("service:shop/orders", 5, 1.0));
    book.answered(at(10), second, &answers(50.0, 4.0), &none);
    let found = book.page("", 10, at(10)).remove(0);
    assert_eq!((found.untracked.as_str(), found.state.total_events), ("", 100.0));
    assert!((found.state.good_ratio.unwrap() - 0.96).abs() < 1e-9);
    assert_eq!(found.readings.len(), 2);
    book.answered(at(11), second, &BTreeMap::new(), &none);
    let silent = book.page("", 10, at(11)).remove(0);
    assert_eq!(silent.state.standing, ObjectiveStanding::Unknown, "silence is unknown");
    assert!(silent.readings.iter().all(|reading| !reading.problem.is_empty()));
}

#[test]
fn an_objective_whose_server_refuses_the_token_is_unknown_and_says_why() {
    let mut book = settled();
    book.replace(vec![asked("")], Vec::new());
    let none = |_: &ResourceId| None;
    let second = Duration::from_secs(1);
    book.answered(at(0), second, &answers(0.0, 0.0), &none);
    book.answered(at(1), second, &answers(50.0, 0.0), &none);
    assert_eq!(book.page("", 10, at(1)).remove(0).state.standing, ObjectiveStanding::Met);
    let refusal =
        "the server answered 401 Unauthorized: it does not take the token of prometheus.bearer_token_file";
    let refused = answers(0.0, 0.0).into_keys().map(|query| (query, Err(refusal.to_owned()))).collect();
    book.answered(at(2), second, &refused, &none);
    let found = book.page("", 10, at(2)).remove(0);
    assert_eq!(found.state.standing, ObjectiveStanding::Unknown);
    assert!(found.readings.iter().all(|reading| reading.problem.contains(refusal)), "{:?}", found.readings);
}

#[test]
fn queries_are_grouped_by_any_label_of_their_series() {
    let mut book = settled();
    book.replace(vec![asked(", homeostat.io/group-by: tenant")], Vec::new());
    assert!(book.without()[0].untracked.contains("no series with tenant"), "{:?}", book.without());
    let none = |_: &ResourceId| None;
    for (second, requests, bad) in [(0, 0.0, 0.0), (1, 10.0, 10.0)] {
        book.answered(at(second), Duration::from_secs(1), &answers(requests, bad), &none);
    }
    let found = book.page("", 10, at(1));
    let names: Vec<_> = found.iter().map(|one| (one.objective.as_str(), one.state.good_ratio)).collect();
    assert_eq!(names, [("shop/asked{tenant=x}", Some(0.0)), ("shop/asked{tenant=y}", Some(1.0))]);
    book.replace(vec![asked(", homeostat.io/group-by: tenant")], Vec::new());
    assert_eq!(book.page("", 10, at(1)).len(), 2, "an import of something else changes nothing");
}

#[test]
fn counters_go_on_over_a_restart_and_lose_no_event() {
    let none = |_: &ResourceId| None;
    let second = Duration::from_secs(1);
    let mut before = settled();
    before.replace(vec![asked("")], Vec::new());
    before.answered(at(0), second, &answers(0.0, 0.0), &none);
    before.answered(at(10), second, &answers(50.0, 4.0), &none);
    let saved = before.take_saved(true).into_iter().collect();
    let mut after = settled();
    after.remember(saved);
    after.replace(vec![asked("")], Vec::new());
    // Two tenants with 40 more requests each, 3 of them bad, while nobody looked.
    after.answered(at(30), second, &answers(90.0, 7.0), &none);
    let found = after.page("", 10, at(30)).remove(0);
    assert!((found.state.total_events - 180.0).abs() < 1e-6, "{:?}", found.state);
    let consumed = 1.0 - found.state.budget_remaining_ratio.unwrap();
    // 7 bad of 180 in half a minute: of the 36 that a minute of it may have.
    assert!((consumed - 7.0 / 36.0).abs() < 1e-6, "{consumed}");
}
