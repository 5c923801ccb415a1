//! Objectives → Prometheus rules, for those who alert there: error ratios over the windows of the alerts, the budget weighted by
//! events, burn alerts with a floor of failures, and an alert for missing data.
//!
//! The ratio over the whole period is a quotient of sums, not a mean of ratios: events of the night weigh as few as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

use super::alert::{BurnRule, Urgency};
use super::composite::Join;
use super::measure::Comparison;
use super::objective::{Budgeting, Indicator, ObjectiveSpec, Promql, Query};
use super::period::Period;
use super::slices::SliceRule;

/// Failures in the long window below which a page is chance: with 5 the standard rules page falsely no more than 0.05 times in 30
/// days at 10 and 100 requests an hour.
const FAILURES_MIN: u32 = 5;
/// Share of the budget at which its end is announced.
const NEARLY_GONE: f64 = 0.8;
/// Width of the rates that the period's budget is summed from.
const BASE: Duration = Duration::from_secs(300);

/// A file of rules.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RuleFile {
    /// Two per objective: what alerts on burning, and the budget of the whole period, which is dear to compute.
    pub groups: Vec<Group>,
}

/// Rules that are evaluated together, in order.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// How often.
    pub interval: String,
    /// The rules.
    pub rules: Vec<Rule>,
}

/// A recording or an alerting rule.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
pub struct Rule {
    /// Name of the recorded series.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
    /// Name of the alert.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert: Option<String>,
    /// What is computed.
    pub expr: String,
    /// How long it must hold.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub wait: Option<String>,
    /// Labels added.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// For people.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Why an objective has no rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{objective}: {reason}")]
pub struct NoRules {
    /// Which.
    pub objective: String,
    /// Why.
    pub reason: String,
}

/// Rules for all objectives that Prometheus can evaluate, and why the others have none.
#[must_use]
pub fn rules(objectives: &[ObjectiveSpec]) -> (RuleFile, Vec<NoRules>) {
    let (mut groups, mut without) = (Vec::new(), Vec::new());
    for objective in objectives {
        match both(objective) {
            Ok(both) => groups.extend(both),
            Err(reason) => without.push(NoRules { objective: objective.id.clone(), reason }),
        }
    }
    (RuleFile { groups }, without)
}

/// Bad and all events per second over a window, as PromQL with `$w` for the window.
struct Rates {
    bad: String,
    total: String,
}

fn both(objective: &ObjectiveSpec) -> Result<[Group; 2], String> {
    let by = if objective.group_by.is_empty() {
        String::new()
    } else {
        format!(" by ({})", objective.group_by.join(", "))
    };
    let rates = match objective.budgeting {
        Budgeting::Events => rates(&objective.indicator, &by, &[])?,
        Budgeting::Slices { width, rule, .. } => {
            let target = |rule: &SliceRule| match rule {
                SliceRule::Target(target) => *target,
                SliceRule::Ratio => 1.0,
            };
            let parts: Vec<f64> = objective.part_rules.iter().map(target).collect();
            slices(rates(&objective.indicator, &by, &parts)?, width, rule)
        }
    };
    let labels = BTreeMap::from([
        ("slo".to_owned(), objective.id.clone()),
        ("slo_service".to_owned(), objective.service.clone()),
        ("slo_namespace".to_owned(), objective.namespace.clone()),
    ]);
    let select = format!("{{slo=\"{}\"}}", escaped(&objective.id));
    let windows: BTreeSet<Duration> = objective
        .rules
        .iter()
        .flat_map(|rule| [Some(rule.long), rule.short])
        .flatten()
        .chain([BASE])
        .collect();
    let record = |name: String, expr: String| Rule {
        record: Some(name),
        expr,
        labels: labels.clone(),
        ..Rule::default()
    };
    let mut rules = Vec::new();
    for window in windows {
        let w = promql_duration(window);
        rules.push(record(format!("slo:events_bad:rate{w}"), rates.bad.replace("$w", &w)));
        rules.push(record(format!("slo:events_total:rate{w}"), rates.total.replace("$w", &w)));
        rules.push(record(
            format!("slo:sli_error:ratio_rate{w}"),
            // Without events there is no ratio; it is absent, neither 0 nor 1.
            format!("slo:events_bad:rate{w}{select} / (slo:events_total:rate{w}{select} > 0)"),
        ));
    }
    let base = promql_duration(BASE);
    rules.extend(objective.rules.iter().map(|rule| burn_alert(objective, rule, &select, &labels)));
    rules.push(Rule {
        alert: Some("SLODataMissing".to_owned()),
        expr: format!("absent(slo:events_total:rate{base}{select})"),
        wait: Some("10m".to_owned()),
        labels: with(&labels, "severity", Urgency::Ticket.as_str()),
        annotations: summary(objective, "no data: whether the objective is kept is unknown"),
        ..Rule::default()
    });
    let name = objective.id.replace(['/', '#'], "-");
    let interval = match objective.period {
        Period::Rolling(span) if span < Duration::from_secs(86_400) => "15s",
        _ => "1m",
    };
    let burn = Group { name: format!("slo-{name}"), interval: interval.to_owned(), rules };
    let rules = budget(objective, &labels, &select);
    Ok([burn, Group { name: format!("slo-{name}-budget"), interval: "5m".to_owned(), rules }])
}

/// The budget of the whole period: rates of five minutes, summed.
fn budget(objective: &ObjectiveSpec, labels: &BTreeMap<String, String>, select: &str) -> Vec<Rule> {
    let base = promql_duration(BASE);
    let record = |name: &str, expr: String| Rule {
        record: Some(name.to_owned()),
        expr,
        labels: labels.clone(),
        ..Rule::default()
    };
    let period = promql_duration(objective.period.span());
    let sum = |name: &str| format!("sum_over_time(slo:events_{name}:rate{base}{select}[{period}])");
    let allowed = decimal(objective.allowed());
    vec![
        record("slo:sli_error:ratio_period", format!("{} / ({} > 0)", sum("bad"), sum("total"))),
        record("slo:error_budget:allowed_ratio", format!("vector({allowed})")),
        record(
            "slo:error_budget:remaining_ratio",
            format!("1 - slo:sli_error:ratio_period{select} * {} / {allowed}", known(objective, select)),
        ),
        Rule {
            alert: Some("SLOBudgetNearlyGone".to_owned()),
            expr: format!("slo:error_budget:remaining_ratio{select} < {}", decimal(1.0 - NEARLY_GONE)),
            labels: with(labels, "severity", Urgency::Ticket.as_str()),
            annotations: summary(objective, "{{ $value | humanizePercentage }} of the error budget is left"),
            ..Rule::default()
        },
    ]
}

/// Share of the period that is known: the budget is that of the whole period at the traffic seen in it.
fn known(objective: &ObjectiveSpec, select: &str) -> String {
    let (base, period) = (promql_duration(BASE), objective.period.span());
    let count =
        format!("count_over_time(slo:events_total:rate{base}{select}[{}:{base}])", promql_duration(period));
    format!("clamp_max({count} * {} / {}, 1)", BASE.as_secs(), period.as_secs())
}

fn burn_alert(
    objective: &ObjectiveSpec,
    rule: &BurnRule,
    select: &str,
    labels: &BTreeMap<String, String>,
) -> Rule {
    let limit = decimal(rule.factor * objective.allowed());
    let over =
        |window: Duration| format!("slo:sli_error:ratio_rate{}{select} > {limit}", promql_duration(window));
    let mut expr = over(rule.long);
    if let Some(short) = rule.short {
        expr = format!("{expr} and {}", over(short));
    }
    let w = promql_duration(rule.long);
    let seconds = rule.long.as_secs();
    if rule.urgency == Urgency::Page && objective.budgeting == Budgeting::Events {
        expr = format!("{expr} and slo:events_bad:rate{w}{select} * {seconds} >= {FAILURES_MIN}");
    }
    let mut labels = with(labels, "severity", rule.urgency.as_str());
    labels.insert("rule".to_owned(), rule.name.clone());
    if !objective.notify.is_empty() {
        labels.insert("notify".to_owned(), objective.notify.join(","));
    }
    let text =
        format!("the error budget burns more than {:.1} times as fast as it lasts (over {w})", rule.factor);
    Rule {
        alert: Some("SLOBurn".to_owned()),
        expr,
        wait: (!rule.after.is_zero()).then(|| promql_duration(rule.after)),
        labels,
        annotations: summary(objective, &text),
        ..Rule::default()
    }
}

fn with(labels: &BTreeMap<String, String>, key: &str, value: &str) -> BTreeMap<String, String> {
    let mut labels = labels.clone();
    labels.insert(key.to_owned(), value.to_owned());
    labels
}

fn summary(objective: &ObjectiveSpec, text: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("summary".to_owned(), format!("{}: {text}", objective.title))])
}

/// Slices judged in PromQL: each evaluation of the sub-query is a slice.
fn slices(rates: Rates, width: Duration, rule: SliceRule) -> Rates {
    let step = promql_duration(width);
    let (bad, total) = (rates.bad.replace("$w", &step), rates.total.replace("$w", &step));
    let ratio = format!("(({bad}) / (({total}) > 0))");
    let judged = match rule {
        SliceRule::Target(target) => format!("({ratio} > bool {})", decimal(1.0 - target)),
        SliceRule::Ratio => ratio.clone(),
    };
    Rates {
        bad: format!("sum_over_time({judged}[$w:{step}])"),
        total: format!("count_over_time({ratio}[$w:{step}])"),
    }
}

/// `targets`: of the slices of each part, where any bad part makes them bad; 1 where none is given.
fn rates(indicator: &Indicator, by: &str, targets: &[f64]) -> Result<Rates, String> {
    match indicator {
        Indicator::Events { part, part_is_bad, total, counter } => {
            let (part, total) = (ranged(part, *counter, by)?, ranged(total, *counter, by)?);
            // Good events may be counted a scrape ahead of all events; that is no negative failure.
            let bad = if *part_is_bad { part } else { format!("clamp_min(({total}) - ({part}), 0)") };
            Ok(Rates { bad, total })
        }
        Indicator::Ratio { query, of_bad, .. } => {
            let Query::Prometheus(Promql { text, .. }) = query else { return Err(foreign(query)) };
            let ratio = if let Some(ready) = templated(text) {
                ready
            } else {
                format!("avg_over_time(({text})[$w:1m])")
            };
            let bad = if *of_bad { ratio.clone() } else { format!("1 - ({ratio})") };
            Ok(Rates { bad, total: format!("(({ratio}) * 0 + 1)") })
        }
        Indicator::Number { query, comparison, value, .. } => {
            let Query::Prometheus(Promql { text, .. }) = query else { return Err(foreign(query)) };
            let text = templated(text).unwrap_or_else(|| text.clone()).replace("$w", &promql_duration(BASE));
            let value = decimal(*value);
            let good = match comparison {
                Comparison::Within(tolerance) => {
                    format!("(abs(({text}) - {value}) <= bool {})", decimal(*tolerance))
                }
                other => format!("(({text}) {} bool {value})", other.symbol()),
            };
            Ok(Rates {
                bad: format!("sum_over_time((1 - {good})[$w:1m])"),
                total: format!("count_over_time({good}[$w:1m])"),
            })
        }
        Indicator::Parts(join, parts) => {
            let joined = joined(*join, parts, by, targets)?;
            // The parts have no events in common, so every moment weighs alike.
            Ok(Rates { total: format!("(({joined}) * 0 + 1)"), bad: joined })
        }
    }
}

/// Share of bad of several parts over `$w`. A part without data leaves the whole without: nothing is added to nothing.
fn joined(join: Join, parts: &[(f64, Indicator)], by: &str, targets: &[f64]) -> Result<String, String> {
    let mut shares = Vec::new();
    for (index, (weight, part)) in parts.iter().enumerate() {
        let target = targets.get(index).copied().unwrap_or(1.0);
        let Rates { bad, total } = rates(part, by, &[])?;
        let share = format!("(({bad}) / (({total}) > 0))");
        shares.push(match join {
            Join::Weighted => format!("{} * {share}", decimal(*weight)),
            Join::AnyBad => format!("({share} > bool {})", decimal(1.0 - target)),
            Join::Path => format!("(1 - {share})"),
            Join::Missing => share,
        });
    }
    Ok(match join {
        Join::Weighted => {
            let weights: f64 = parts.iter().map(|(weight, _)| weight).sum();
            format!("({}) / {}", shares.join(" + "), decimal(weights))
        }
        Join::AnyBad | Join::Missing => format!("clamp_max({}, 1)", shares.join(" + ")),
        Join::Path => format!("1 - {}", shares.join(" * ")),
    })
}

fn foreign(query: &Query) -> String {
    match query {
        Query::Signal(_) => "its signals are Homeostat's own, which Prometheus does not hold".to_owned(),
        Query::Other(kind) => format!("a source of type {kind} cannot be asked by Prometheus"),
        Query::Prometheus(_) => "its query cannot be given a window".to_owned(),
    }
}

/// The query as it is asked at one moment: over the base window, when it says itself where the window goes.
#[must_use]
pub fn instant(promql: &Promql) -> String {
    let Promql { text, .. } = promql;
    templated(text).map_or_else(|| text.clone(), |ready| ready.replace("$w", &promql_duration(BASE)))
}

/// The expression for a window, when the query says itself where the window goes.
fn templated(text: &str) -> Option<String> {
    let ready = text.replace("{{.window}}", "$w").replace("{{ .window }}", "$w");
    (ready != *text).then(|| ready.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Events per second over `$w`.
fn ranged(query: &Query, counter: bool, by: &str) -> Result<String, String> {
    let Query::Prometheus(Promql { text, .. }) = query else { return Err(foreign(query)) };
    if let Some(ready) = templated(text) {
        return Ok(ready);
    }
    let inner = text.strip_prefix("sum(").and_then(|rest| rest.strip_suffix(')')).unwrap_or(text).trim();
    let selector: proto::model::Selector = inner.parse().map_err(|_| {
        format!("{text:?}: give a selector, sum(selector), or mark the window with {{{{.window}}}}")
    })?;
    let function = if counter { "rate" } else { "avg_over_time" };
    Ok(format!("sum{by}({function}({selector}[$w]))"))
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// As few digits as say it.
fn decimal(value: f64) -> String {
    let text = format!("{value:.12}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The longest unit that divides it.
fn promql_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{}ms", duration.as_millis()),
        _ if seconds.is_multiple_of(86_400) => format!("{}d", seconds / 86_400),
        _ if seconds.is_multiple_of(3_600) => format!("{}h", seconds / 3_600),
        _ if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slo::objective::resolve;
    use proto::model::openslo::read;

    fn slo(metric: &str, spec: &str) -> ObjectiveSpec {
        let text = format!(
            "apiVersion: openslo/v1\nkind: SLO\nmetadata: {{ name: s, annotations: {{ homeostat.io/group-by: tenant }} }}\nspec:\n  service: shop\n  indicator: {{ metadata: {{ name: i }}, spec: {{ {metric} }} }}\n{spec}"
        );
        resolve(&read(&text).unwrap()).unwrap().remove(0)
    }

    const EVENTS: &str = "  budgetingMethod: Occurrences\n  timeWindow: [ { duration: 30d, isRolling: true } ]\n  objectives: [ { target: 0.999 } ]";

    fn ratio(good: &str, total: &str) -> String {
        let source =
            |query: &str| format!("{{ metricSource: {{ type: Prometheus, spec: {{ query: '{query}' }} }} }}");
        format!("ratioMetric: {{ counter: true, good: {}, total: {} }}", source(good), source(total))
    }

    fn expr<'a>(group: &'a Group, name: &str) -> &'a str {
        &group.rules.iter().find(|rule| rule.record.as_deref() == Some(name)).unwrap().expr
    }

    #[test]
    fn the_budget_is_a_quotient_of_sums() {
        let [group, period] = both(&slo(&ratio("sum(good{a=\"b\"})", "all"), EVENTS)).unwrap();
        assert_eq!(expr(&group, "slo:events_total:rate5m"), "sum by (tenant)(rate(all[5m]))");
        assert!(expr(&group, "slo:events_bad:rate1h").contains("rate(good{a=\"b\"}[1h])"));
        let budget = expr(&period, "slo:sli_error:ratio_period");
        assert_eq!(budget.matches("sum_over_time").count(), 2, "{budget}");
        assert!(!budget.contains("count_over_time") && !budget.contains("avg_over_time"));
        let left = expr(&period, "slo:error_budget:remaining_ratio");
        assert!(left.contains("[30d:5m]) * 300 / 2592000, 1)"), "of the whole period: {left}");
    }

    #[test]
    fn queries_that_take_no_window_are_named() {
        let reason = |metric: String| both(&slo(&metric, EVENTS)).unwrap_err();
        assert!(reason(ratio("a / b", "c")).contains("mark the window"));
        let other = ratio("a", "b").replace("Prometheus", "Datadog");
        assert!(reason(other).contains("Datadog"));
    }

    #[test]
    fn pages_need_a_floor_of_failures_and_missing_data_is_an_alert() {
        let [group, _] = both(&slo(&ratio("a{}", "b"), EVENTS)).unwrap();
        let alerts: Vec<_> = group.rules.iter().filter(|rule| rule.alert.is_some()).collect();
        assert_eq!(alerts.len(), 5);
        assert!(alerts[0].expr.ends_with("* 3600 >= 5"), "{}", alerts[0].expr);
        assert!(!alerts[3].expr.contains(">= 5"), "a ticket for the trend waits for no floor");
        assert!(alerts.iter().any(|rule| rule.expr.starts_with("absent(")));
    }
}
