//! References, annotations, several targets, composites.

use super::*;
use proto::model::openslo::read;

const TEXT: &str = r#"
apiVersion: openslo/v1
kind: DataSource
metadata: { name: prom }
spec: { type: Prometheus, connectionDetails: { url: 'http://prom:9090/' } }
---
apiVersion: openslo/v1
kind: SLI
metadata: { name: orders }
spec:
  ratioMetric:
    counter: true
    good: { metricSource: { metricSourceRef: prom, spec: { query: 'orders_total{code!~"5.."}' } } }
    total: { metricSource: { metricSourceRef: prom, spec: { query: orders_total } } }
---
apiVersion: openslo/v1
kind: SLI
metadata:
  name: p99
  annotations: { homeostat.io/statistic: p99, homeostat.io/metric-type: histogram, homeostat.io/events-signal: load, homeostat.io/minimum-events: "1" }
spec: { thresholdMetric: { metricSource: { type: Homeostat, spec: { signal: latency_p99_seconds } } } }
---
apiVersion: openslo/v1
kind: SLO
metadata:
  name: orders
  annotations:
    homeostat.io/namespace: shop
    homeostat.io/error-budget-policy: '{"steps":[{"at":0.8,"measures":["freeze-deployments","notify"]}],"reset":{"approvals":1}}'
    homeostat.io/group-by: tenant, region
spec:
  service: orders
  indicatorRef: orders
  timeWindow: [ { duration: 30d, isRolling: true } ]
  budgetingMethod: Occurrences
  objectives: [ { displayName: Most, target: 0.99 }, { target: 0.999 } ]
  alertPolicies: [ fast ]
---
apiVersion: openslo/v1
kind: SLO
metadata: { name: slow, annotations: { homeostat.io/empty-slices: good } }
spec:
  service: orders
  indicatorRef: p99
  timeWindow: [ { duration: 1M, calendar: { startTime: 2026-01-01 00:00:00, timeZone: Europe/Berlin } } ]
  budgetingMethod: Timeslices
  objectives: [ { op: lte, value: 0.5, target: 0.95, timeSliceTarget: 1, timeSliceWindow: 5 } ]
---
apiVersion: openslo/v1
kind: SLO
metadata: { name: journey, annotations: { homeostat.io/composite: path } }
spec:
  service: shop
  budgetingMethod: Occurrences
  objectives: [ { target: 0.99, indicatorRef: orders }, { target: 0.9, indicatorRef: p99, op: lt, value: 2, compositeWeight: 3 } ]
---
apiVersion: openslo/v1
kind: AlertPolicy
metadata: { name: fast }
spec:
  alertWhenBreaching: true
  alertWhenNoData: true
  conditions:
    - kind: AlertCondition
      metadata: { name: fast-burn, annotations: { homeostat.io/short-window: 5m } }
      spec: { severity: page, condition: { kind: burnrate, op: gt, threshold: 14.4, lookbackWindow: 1h, alertAfter: 2m } }
  notificationTargets: [ { targetRef: chat }, { targetRef: on-call } ]
"#;

fn objectives() -> Vec<ObjectiveSpec> {
    resolve(&read(TEXT).unwrap()).unwrap()
}

#[test]
fn every_target_is_an_objective_of_its_own() {
    let ids: Vec<_> = objectives().into_iter().map(|objective| objective.id).collect();
    assert_eq!(ids, ["default/journey", "default/slow", "shop/orders", "shop/orders#2"]);
}

#[test]
fn references_and_annotations_are_followed() {
    let all = objectives();
    let orders = &all[2];
    assert_eq!(
        (orders.title.as_str(), orders.target, orders.period.span().as_secs()),
        ("Most", 0.99, 2_592_000)
    );
    let Indicator::Events { part, part_is_bad, total, counter } = &orders.indicator else { panic!() };
    let promql =
        |text: &str| Query::Prometheus(Promql::new(Some("http://prom:9090".to_owned()), text.to_owned()));
    assert_eq!(part, &promql(r#"orders_total{code!~"5.."}"#));
    assert_eq!((part_is_bad, total, counter), (&false, &promql("orders_total"), &true));
    let rule = &orders.rules[0];
    let minutes = |duration: Duration| duration.as_secs() / 60;
    assert_eq!(
        (rule.urgency, rule.factor, minutes(rule.long), minutes(rule.after)),
        (Urgency::Page, 14.4, 60, 2)
    );
    assert_eq!(rule.short.map(minutes), Some(5), "the second window is our annotation");
    assert_eq!((orders.notify.join(" "), orders.alert_without_data), ("chat on-call".to_owned(), true));
    assert_eq!(orders.group_by, ["tenant", "region"]);
    assert_eq!(orders.policy.as_ref().unwrap().reset.approvals, 1);
}

#[test]
fn slices_and_calendars_are_read() {
    let all = objectives();
    let slow = &all[1];
    let width = Duration::from_secs(300);
    assert_eq!(
        slow.budgeting,
        Budgeting::Slices { width, rule: SliceRule::Target(1.0), empty: EmptySlice::Good }
    );
    assert!(matches!(&slow.period, Period::Calendar(calendar) if calendar.unit == CalendarUnit::Month));
    assert_eq!(slow.rules.len(), 4, "without alert policies the Workbook's");
    let Indicator::Number { statistic, comparison, low, .. } = &slow.indicator else { panic!() };
    assert_eq!(
        (*statistic, *comparison, low.minimum_events),
        (Statistic::Quantile(0.99), Comparison::AtMost, 1.0)
    );
}

#[test]
fn a_path_promises_what_its_parts_together_do() {
    let journey = &objectives()[0];
    assert!((journey.target - 0.99 * 0.9).abs() < 1e-12);
    assert!(matches!(&journey.indicator, Indicator::Parts(Join::Path, parts) if parts[1].0 == 3.0));
}

#[test]
fn what_is_not_there_is_named_for_every_document() {
    let text = TEXT.replace("kind: SLI\nmetadata: { name: orders }", "kind: SLI\nmetadata: { name: others }");
    let wrong = resolve(&read(&text).unwrap()).unwrap_err();
    let said: Vec<_> = wrong.iter().map(ToString::to_string).collect();
    assert_eq!(said, ["SLO orders: there is no SLI orders", "SLO journey: there is no SLI orders"]);
}

#[test]
fn slips_in_annotations_are_refused() {
    for (from, to, expect) in [
        ("statistic: p99", "statistic: typical", "is no statistic"),
        ("metric-type: histogram", "metric-type: counter", "take its rate"),
        ("composite: path", "composite: best", "weighted, any-bad, path or missing"),
        ("empty-slices: good", "empty-slices: fine", "neither, good or bad"),
        ("short-window: 5m", "short-window: soon", "whole number"),
        ("\"at\":0.8", "\"at\":-1", "above 0"),
        ("freeze-deployments", "freeze-everything", "must be one of freeze-deployments"),
        ("duration: 1M, calendar", "duration: 1m, calendar", "did 1m mean 1M?"),
    ] {
        let text = TEXT.replace(from, to);
        assert_ne!(text, TEXT);
        let wrong = resolve(&read(&text).unwrap()).unwrap_err();
        assert!(wrong[0].rule.contains(expect), "{}", wrong[0]);
    }
}
