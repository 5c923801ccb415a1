//! What is wrong with objectives before anybody relies on them: alerts that cannot fire, targets that the service's own
//! dependencies do not allow, windows that hold no data, sources that nobody asks.

use std::time::Duration;

use serde::Serialize;

use super::objective::{Budgeting, Indicator, ObjectiveSpec, Query};
use super::period::Period;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// Worth knowing.
    Note,
    /// Probably not what was meant.
    Warning,
    /// Cannot work.
    Error,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// The objective.
    pub objective: String,
    /// How bad.
    pub weight: Weight,
    /// A word for the rule.
    pub rule: &'static str,
    /// For people: what, and what to do.
    pub text: String,
}

/// Slices of a window below which one bad slice is more than a tenth of all.
const SLICES_MIN: f64 = 10.0;

/// Everything found, worst first. `scrape` is how often the sources are asked.
#[must_use]
pub fn lint(objectives: &[ObjectiveSpec], scrape: Duration) -> Vec<Finding> {
    let mut found: Vec<Finding> = objectives.iter().flat_map(|one| of(one, objectives, scrape)).collect();
    found.sort_by(|a, b| b.weight.cmp(&a.weight).then_with(|| a.objective.cmp(&b.objective)));
    found
}

fn of(objective: &ObjectiveSpec, all: &[ObjectiveSpec], scrape: Duration) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut say = |weight, rule, text: String| {
        found.push(Finding { objective: objective.id.clone(), weight, rule, text });
    };
    let allowed = objective.allowed();
    for rule in &objective.rules {
        let share = rule.factor * allowed;
        if share >= 1.0 {
            say(
                Weight::Error,
                "impossible-alert",
                format!(
                    "alert {} needs {:.0} % bad events ({} × {:.2} %), so it can never fire; lower its burn rate below {:.1}",
                    rule.name,
                    share * 100.0,
                    rule.factor,
                    allowed * 100.0,
                    1.0 / allowed
                ),
            );
        }
        if rule.factor <= 0.0 {
            let text = format!("alert {} fires at any burn rate", rule.name);
            say(Weight::Error, "permanent-alert", text);
        }
        let shortest = rule.short.unwrap_or(rule.long);
        if shortest < scrape * 2 {
            let text = format!(
                "alert {}: a window of {} s holds fewer than two scrapes of {} s",
                rule.name,
                shortest.as_secs(),
                scrape.as_secs()
            );
            say(Weight::Error, "window-without-data", text);
        }
        if rule.short.is_none() {
            let text = format!(
                "alert {} has one window: it goes on for {} s after the trouble; give it homeostat.io/short-window",
                rule.name,
                rule.long.as_secs()
            );
            say(Weight::Note, "single-window", text);
        }
        if rule.long > objective.period.span() {
            let text = format!("alert {} looks further back than the objective", rule.name);
            say(Weight::Warning, "window-too-long", text);
        }
    }
    unreachable_target(objective, all, &mut say);
    if let Budgeting::Slices { width, .. } = objective.budgeting {
        let slices = objective.period.span().as_secs_f64() / width.as_secs_f64().max(1.0);
        if slices * allowed < 1.0 {
            let text = format!(
                "of {slices:.0} slices not even one may be bad; widen the window or narrow the slices"
            );
            say(Weight::Error, "no-budget", text);
        } else if slices < SLICES_MIN {
            say(Weight::Warning, "few-slices", format!("the window has only {slices:.0} slices"));
        }
        if width < scrape {
            say(
                Weight::Error,
                "window-without-data",
                "slices are shorter than the time between scrapes".to_owned(),
            );
        }
    }
    if objective.target == 0.0 {
        say(Weight::Warning, "no-promise", "a target of 0 promises nothing".to_owned());
    }
    if objective.policy.is_none() {
        say(Weight::Note, "no-policy", "nothing is done when the budget is used up".to_owned());
    }
    if matches!(&objective.period, Period::Calendar(_))
        && objective.period.span() < Duration::from_secs(86_400 * 7)
    {
        say(Weight::Note, "short-calendar", "the budget starts anew within a week".to_owned());
    }
    sources(&objective.indicator, objective.budgeting == Budgeting::Events, &mut say);
    found
}

/// A service is at best as good as all that it cannot do without.
fn unreachable_target(
    objective: &ObjectiveSpec,
    all: &[ObjectiveSpec],
    say: &mut impl FnMut(Weight, &'static str, String),
) {
    let mut best = 1.0;
    for name in &objective.depends_on {
        match all
            .iter()
            .find(|other| other.id == *name || other.id == format!("{}/{name}", objective.namespace))
        {
            Some(other) => best *= other.target,
            None => say(Weight::Warning, "unknown-dependency", format!("there is no objective {name}")),
        }
    }
    if best < objective.target {
        let text = format!(
            "the target {} cannot be reached: what it depends on promises {best:.5} together",
            objective.target
        );
        say(Weight::Error, "unreachable-target", text);
    }
}

/// Whether a counter is computed: only a bare selector gives counters as they are.
fn is_summed(query: &Query) -> bool {
    matches!(query, Query::Prometheus(promql) if promql.text.parse::<proto::model::Selector>().is_err())
}

fn sources(indicator: &Indicator, by_events: bool, say: &mut impl FnMut(Weight, &'static str, String)) {
    let mut query = |query: &Query| {
        if let Query::Other(kind) = query {
            let text =
                format!("a source of type {kind} is not asked by Homeostat: the objective stays unknown");
            say(Weight::Warning, "foreign-source", text);
        }
    };
    match indicator {
        Indicator::Events { part, total, counter, .. } => {
            query(part);
            query(total);
            let summed = [part, total].into_iter().filter(|query| *counter && is_summed(query));
            for query in summed.filter_map(|query| match query {
                Query::Prometheus(promql) => Some(promql),
                Query::Signal(_) | Query::Other(_) => None,
            }) {
                let text = format!(
                    "{query}: a sum of counters does not tell which of them restarted; select them without a function, \
                     Homeostat sums what each of them grew"
                );
                say(Weight::Warning, "summed-counter", text);
            }
        }
        Indicator::Ratio { query: ratio, weight, .. } => {
            query(ratio);
            if weight.is_none() && by_events {
                let text = "a ready-made ratio without homeostat.io/weight-signal weighs every moment alike, not every event";
                say(Weight::Warning, "unweighted-ratio", text.to_owned());
            }
        }
        Indicator::Number { query: number, .. } => query(number),
        Indicator::Parts(_, parts) => {
            // Each part is judged alike; weights change nothing.
            for (_, part) in parts {
                sources(part, by_events, say);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slo::objective::resolve;
    use proto::model::openslo::read;

    const MINUTE: Duration = Duration::from_secs(60);

    fn slo(name: &str, target: f64, extra: &str, spec: &str) -> String {
        format!(
            "apiVersion: openslo/v1\nkind: SLO\nmetadata: {{ name: {name}, annotations: {{ a: b{extra} }} }}\nspec:\n  service: shop\n  budgetingMethod: Occurrences\n  objectives: [ {{ target: {target} }} ]\n  indicator:\n    metadata: {{ name: i }}\n    spec: {{ ratioMetric: {{ counter: true, good: {{ metricSource: {{ type: Prometheus, spec: {{ query: a }} }} }}, total: {{ metricSource: {{ type: Prometheus, spec: {{ query: b }} }} }} }} }}\n{spec}\n---\n"
        )
    }

    fn rules(text: &str) -> Vec<(Weight, &'static str)> {
        let objectives = resolve(&read(text).unwrap()).unwrap();
        lint(&objectives, MINUTE).into_iter().map(|finding| (finding.weight, finding.rule)).collect()
    }

    #[test]
    fn an_alert_that_needs_more_than_every_event_is_found() {
        let found = rules(&slo("low", 0.9, "", ""));
        assert!(found.contains(&(Weight::Error, "impossible-alert")), "14.4 × 10 %: {found:?}");
        assert!(!rules(&slo("high", 0.999, "", "")).iter().any(|(weight, _)| *weight == Weight::Error));
    }

    #[test]
    fn a_target_above_its_dependencies_is_found() {
        let text = slo("base", 0.99, "", "") + &slo("top", 0.999, ", homeostat.io/depends-on: base", "");
        assert_eq!(rules(&text)[0], (Weight::Error, "unreachable-target"));
        let text = slo("base", 0.9995, "", "") + &slo("top", 0.999, ", homeostat.io/depends-on: base", "");
        assert!(!rules(&text).iter().any(|(_, rule)| *rule == "unreachable-target"));
        let text = slo("top", 0.999, ", homeostat.io/depends-on: nobody", "");
        assert!(rules(&text).contains(&(Weight::Warning, "unknown-dependency")));
    }

    #[test]
    fn windows_that_hold_no_data_are_found() {
        let alert = "  alertPolicies:\n    - kind: AlertPolicy\n      metadata: { name: p }\n      spec:\n        alertWhenBreaching: true\n        conditions:\n          - kind: AlertCondition\n            metadata: { name: c }\n            spec: { severity: page, condition: { threshold: 2, lookbackWindow: 1m } }\n        notificationTargets: [ { targetRef: t } ]";
        let found = rules(&slo("a", 0.99, "", alert));
        assert!(found.contains(&(Weight::Error, "window-without-data")), "{found:?}");
        assert!(found.contains(&(Weight::Note, "single-window")));
    }
}
