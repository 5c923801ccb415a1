//! The specification's forms, each in an example of our own: they are taken, come back the same, and slips are named.

use super::*;
use std::time::Duration;

/// Every kind, inline and by reference, with the forms that the specification shows.
const EVERYTHING: &str = r#"
apiVersion: openslo/v1
kind: DataSource
metadata:
  name: metrics
  displayName: Our metrics
  labels: { env: [prod, stage], team: shop }
  annotations: { homeostat.io/namespace: staging }
spec:
  description: Where it all is
  type: Prometheus
  connectionDetails: [ { url: "http://prometheus.example.com" } ]
---
apiVersion: openslo/v1
kind: Service
metadata: { name: shop, displayName: The shop }
spec: { description: Sells things }
---
apiVersion: openslo/v1
kind: SLI
metadata: { name: good-orders }
spec:
  ratioMetric:
    counter: true
    good: { metricSource: { metricSourceRef: metrics, type: Prometheus, spec: { query: 'orders{code="200"}', dimensions: [a, b] } } }
    total: { metricSource: { metricSourceRef: metrics, spec: { query: orders } } }
---
apiVersion: openslo/v1
kind: SLI
metadata: { name: slow-orders }
spec:
  ratioMetric:
    counter: false
    bad: { metricSource: { type: AppDynamics, spec: { metricPath: "a|b|c" } } }
    total: { metricSource: { type: AppDynamics, spec: { metricPath: "a|b" } } }
---
apiVersion: openslo/v1
kind: SLI
metadata: { name: satisfaction }
spec:
  ratioMetric: { rawType: success, raw: { metricSource: { type: Prometheus, spec: { query: "x[{{.window}}]" } } } }
---
apiVersion: openslo/v1
kind: SLI
metadata: { name: lag }
spec: { thresholdMetric: { metricSource: { metricSourceRef: metrics, spec: { query: lag } } } }
---
apiVersion: openslo/v1
kind: SLO
metadata: { name: orders-rolling }
spec:
  service: shop
  indicatorRef: good-orders
  timeWindow: [ { duration: 4w, isRolling: true } ]
  budgetingMethod: Occurrences
  objectives:
    - { displayName: Most, target: 0.98 }
    - { displayName: Nearly all, targetPercent: 99.9 }
  alertPolicies: [ fast-burn, { alertPolicyRef: slow-burn } ]
---
apiVersion: openslo/v1
kind: SLO
metadata: { name: orders-weekly }
spec:
  description: Whole weeks
  service: shop
  indicator:
    metadata: { name: inline, displayName: Inline }
    spec:
      ratioMetric:
        good: { metricSource: { type: Any, spec: { query: Any } } }
        total: { metricSource: { type: Any, spec: { query: Any } } }
  timeWindow: [ { duration: 1w, isRolling: false, calendar: { startTime: 2022-01-01 12:00:00, timeZone: America/New_York } } ]
  budgetingMethod: Timeslices
  objectives: [ { op: gt, target: 0.995, timeSliceTarget: 0.95, timeSliceWindow: 1m } ]
  alertPolicies:
    - kind: AlertPolicy
      metadata: { name: within }
      spec:
        alertWhenNoData: true
        alertWhenBreaching: true
        alertWhenResolved: false
        conditions: [ { conditionRef: breach } ]
        notificationTargets: [ { targetRef: on-call } ]
---
apiVersion: openslo/v1
kind: SLO
metadata: { name: lag-slices }
spec:
  service: shop
  indicatorRef: lag
  timeWindow: [ { duration: 1Q, calendar: { startTime: 2020-01-21 12:30:00, timeZone: UTC } } ]
  budgetingMethod: RatioTimeslices
  objectives: [ { op: lte, value: 5, target: 0.9, timeSliceWindow: 5 } ]
---
apiVersion: openslo/v1
kind: SLO
metadata: { name: journey }
spec:
  service: shop
  objectives:
    - { target: 0.99, compositeWeight: 2, indicatorRef: good-orders }
    - { target: 0.9, indicatorRef: satisfaction }
---
apiVersion: openslo/v1
kind: AlertCondition
metadata: { name: breach, displayName: CPU }
spec:
  description: Too hot
  severity: page
  condition: { kind: burnrate, op: gt, threshold: 2, lookbackWindow: 1h, alertAfter: 5m }
---
apiVersion: openslo/v1
kind: AlertPolicy
metadata: { name: fast-burn }
spec:
  alertWhenBreaching: true
  conditions:
    - kind: AlertCondition
      metadata: { name: memory }
      spec: { severity: page, condition: { threshold: 2.5, lookbackWindow: 1h } }
  notificationTargets:
    - kind: AlertNotificationTarget
      metadata: { name: chat }
      spec: { target: slack }
    - { targetRef: on-call }
---
apiVersion: openslo/v1
kind: AlertNotificationTarget
metadata: { name: on-call }
spec: { description: Mail, target: email }
"#;

#[test]
fn every_form_of_the_specification_is_taken_and_comes_back_the_same() {
    let documents = read(EVERYTHING).unwrap();
    assert_eq!(documents.len(), 13);
    for kind in Kind::ALL {
        assert!(documents.iter().any(|document| document.kind() == *kind), "{kind}");
    }
    let text = write(&documents).unwrap();
    assert_eq!(read(&text).unwrap(), documents);
    assert_eq!(write(&read(&text).unwrap()).unwrap(), text, "written twice it is the same text");
}

#[test]
fn nothing_that_was_written_is_lost() {
    // As values, so that a field that the types do not know would show.
    let before: Vec<Value> = serde_yaml_ng::Deserializer::from_str(EVERYTHING)
        .map(|one| Value::deserialize(one).unwrap())
        .collect();
    let text = write(&read(EVERYTHING).unwrap()).unwrap();
    let after: Vec<Value> =
        serde_yaml_ng::Deserializer::from_str(&text).map(|one| Value::deserialize(one).unwrap()).collect();
    let plain = |value: &Value| serde_json::to_string(&numbers(value.clone())).unwrap();
    let sorted = |values: &[Value]| values.iter().map(plain).collect::<Vec<_>>();
    assert_eq!(sorted(&before), sorted(&after));
}

/// Whole numbers as numbers with a fraction, keys in order: what YAML does not tell apart.
fn numbers(value: Value) -> serde_json::Value {
    match value {
        Value::Number(number) => number.as_f64().into(),
        Value::Sequence(list) => list.into_iter().map(numbers).collect(),
        Value::Mapping(fields) => fields
            .into_iter()
            .map(|(key, value)| (key.as_str().unwrap().to_owned(), numbers(value)))
            .collect::<std::collections::BTreeMap<_, _>>()
            .into_iter()
            .collect(),
        other => serde_json::to_value(other).unwrap(),
    }
}

#[test]
fn a_list_of_documents_is_a_file_too() {
    let text = "- apiVersion: openslo/v1\n  kind: Service\n  metadata: { name: a }\n- apiVersion: openslo/v1\n  kind: Service\n  metadata: { name: b }\n  spec: {}\n";
    assert_eq!(read(text).unwrap().len(), 2);
}

#[test]
fn v2alpha_is_read_as_v1() {
    let text = r#"
- apiVersion: openslo.com/v2alpha
  kind: SLO
  metadata: { name: orders, labels: { env: prod } }
  spec:
    service: shop
    sli:
      metadata: { name: good }
      spec:
        ratioMetric:
          counter: true
          good: { dataSourceRef: metrics, spec: { query: good } }
          total: { dataSourceRef: metrics, spec: { query: all } }
    objectives: [ { target: 0.98 } ]
- apiVersion: openslo.com/v2alpha
  kind: SLI
  metadata: { name: lag }
  spec:
    thresholdMetric:
      dataSourceSpec: { type: Prometheus, connectionDetails: { token: x } }
      spec: { query: lag }
- apiVersion: openslo.com/v2alpha
  kind: SLO
  metadata: { name: by-name }
  spec: { service: shop, sliRef: lag, objectives: [ { op: lt, value: 3, target: 0.9 } ] }
"#;
    let documents = read(text).unwrap();
    let names: Vec<_> = documents.iter().map(|document| document.metadata.name.as_str()).collect();
    assert_eq!(names, ["orders", "lag-source", "lag", "by-name"]);
    let Spec::Slo(slo) = &documents[0].spec else { panic!() };
    let ratio = slo.indicator.as_ref().unwrap().spec.ratio_metric.as_ref().unwrap();
    let good = &ratio.good.as_ref().unwrap().metric_source;
    assert_eq!((good.metric_source_ref.as_deref(), good.field("query")), (Some("metrics"), Some("good")));
    let Spec::Sli(lag) = &documents[2].spec else { panic!() };
    let source = &lag.threshold_metric.as_ref().unwrap().metric_source;
    assert_eq!(source.metric_source_ref.as_deref(), Some("lag-source"));
    assert_eq!(read(&write(&documents).unwrap()).unwrap(), documents, "and is written as v1");
}

#[track_caller]
fn refused(change: (&str, &str), expect: &str) {
    let text = EVERYTHING.replacen(change.0, change.1, 1);
    assert_ne!(text, EVERYTHING, "the change must apply");
    let error = read(&text).unwrap_err();
    let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    assert!(format!("{error}: {source}").contains(expect), "{error}: {source}");
}

#[test]
fn slips_are_named_with_document_key_and_rule() {
    refused(("target: 0.98", "target: 1.0"), "document 7 (SLO orders-rolling) is not valid");
    refused(("target: 0.98", "target: 1.0"), "spec.objectives[0].target \"1\": must be 0 to below 1");
    refused(("target: 0.98", "targetPercent: 100"), "must be 0 to below 100");
    refused(("target: 0.98", "goal: 0.98"), "unknown field `goal`");
    refused(("duration: 4w", "duration: 4 weeks"), "must be a whole number and one of m h d w M Q Y");
    refused(("duration: 4w", "duration: 0w"), "must be above 0");
    refused(("America/New_York", "America/Nowhere"), "spec.timeWindow.calendar.timeZone");
    refused(("2022-01-01 12:00:00", "yesterday"), "spec.timeWindow.calendar.startTime");
    refused(("timeSliceTarget: 0.95, ", ""), "timeSliceTarget");
    refused(("indicatorRef: good-orders\n", "\n"), "exactly one of indicator and indicatorRef");
    refused(("rawType: success, ", ""), "rawType");
    refused(("severity: page\n", "\n"), "missing field `severity`");
    refused(("name: shop, displayName", "name: 'the shop', displayName"), "must have 1 to 255");
    refused(("openslo/v1", "openslo/v9"), "must be openslo/v1 or openslo.com/v2alpha");
    refused(("[ { conditionRef: breach } ]", "[]"), "must have exactly one element");
}

#[test]
fn durations_are_whole_numbers_of_one_unit() {
    for (text, days) in
        [("12h", 0.5), ("4w", 28.0), ("1M", 30.0), ("1Q", 90.0), ("1Y", 365.0), ("365d", 365.0)]
    {
        let duration: Shorthand = text.parse().unwrap();
        assert_eq!(duration.about(), Duration::from_secs_f64(days * 86_400.0));
        assert_eq!(duration.to_string(), text);
    }
    for text in ["", "m", "1", "1s", "-1d", "1.5h", "1 d", "99999999d", "1ä"] {
        assert!(text.parse::<Shorthand>().is_err(), "{text}");
    }
}
