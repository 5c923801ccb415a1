//! What a document refers to by name: taking one of those away would leave it without meaning.

use std::collections::BTreeSet;

use super::{
    AlertPolicySpec, ConditionRef, Document, InlineSli, Kind, Metric, PolicyRef, SliSpec, SloSpec, Spec,
    TargetRef,
};

type Names<'a> = BTreeSet<(Kind, &'a str)>;

impl Document {
    /// Kind and name of every document that this one refers to, in order, each once.
    #[must_use]
    pub fn references(&self) -> BTreeSet<(Kind, &str)> {
        let mut names = Names::new();
        match &self.spec {
            Spec::Slo(slo) => {
                of_slo(slo, &mut names);
                let depends = self.metadata.extension("depends-on").unwrap_or_default();
                let depends = depends.split(',').map(str::trim).filter(|name| !name.is_empty());
                names.extend(depends.map(|id| (Kind::Slo, id.rsplit('/').next().unwrap_or(id))));
            }
            Spec::Sli(sli) => of_sli(sli, &mut names),
            Spec::AlertPolicy(policy) => of_policy(policy, &mut names),
            Spec::DataSource(_)
            | Spec::AlertCondition(_)
            | Spec::AlertNotificationTarget(_)
            | Spec::Service(_) => {}
        }
        names
    }
}

fn of_slo<'a>(slo: &'a SloSpec, names: &mut Names<'a>) {
    names.insert((Kind::Service, &slo.service));
    let mut indicator = |inline: Option<&'a InlineSli>, name: Option<&'a String>| {
        names.extend(name.map(|name| (Kind::Sli, name.as_str())));
        if let Some(inline) = inline {
            of_sli(&inline.spec, names);
        }
    };
    indicator(slo.indicator.as_ref(), slo.indicator_ref.as_ref());
    for part in slo.objectives.iter().flatten() {
        indicator(part.indicator.as_ref(), part.indicator_ref.as_ref());
    }
    for policy in slo.alert_policies.iter().flatten() {
        match policy {
            PolicyRef::Name(name) => _ = names.insert((Kind::AlertPolicy, name)),
            PolicyRef::Reference(named) => _ = names.insert((Kind::AlertPolicy, &named.alert_policy_ref)),
            PolicyRef::Inline(inline) => of_policy(&inline.spec, names),
        }
    }
}

fn of_sli<'a>(sli: &'a SliSpec, names: &mut Names<'a>) {
    let ratio = sli.ratio_metric.iter();
    let parts = ratio.flat_map(|ratio| [&ratio.good, &ratio.bad, &ratio.total, &ratio.raw]);
    let metrics = parts.filter_map(Option::as_ref).chain(&sli.threshold_metric);
    let source = |metric: &'a Metric| metric.metric_source.metric_source_ref.as_deref();
    names.extend(metrics.filter_map(source).map(|name| (Kind::DataSource, name)));
}

fn of_policy<'a>(policy: &'a AlertPolicySpec, names: &mut Names<'a>) {
    for condition in &policy.conditions {
        if let ConditionRef::Reference(named) = condition {
            names.insert((Kind::AlertCondition, &named.condition_ref));
        }
    }
    for target in &policy.notification_targets {
        if let TargetRef::Reference(named) = target {
            names.insert((Kind::AlertNotificationTarget, &named.target_ref));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;

    #[test]
    fn every_name_that_a_document_leans_on_is_told() {
        let text = r"
apiVersion: openslo/v1
kind: SLO
metadata: { name: a, annotations: { homeostat.io/depends-on: 'default/b, c' } }
spec:
  service: shop
  indicator:
    metadata: { name: inline }
    spec:
      thresholdMetric: { metricSource: { metricSourceRef: prometheus, spec: { query: up } } }
  timeWindow: [{ duration: 7d, isRolling: true }]
  budgetingMethod: Occurrences
  objectives: [{ op: gte, value: 1, target: 0.9 }]
  alertPolicies: [{ alertPolicyRef: fast }]
---
apiVersion: openslo/v1
kind: AlertPolicy
metadata: { name: fast }
spec:
  alertWhenBreaching: true
  conditions: [{ conditionRef: burn }]
  notificationTargets: [{ targetRef: on-call }]
";
        let documents = read(text).unwrap();
        let names = |at: usize| documents[at].references().into_iter().collect::<Vec<_>>();
        assert_eq!(
            names(0),
            [
                (Kind::DataSource, "prometheus"),
                (Kind::Slo, "b"),
                (Kind::Slo, "c"),
                (Kind::AlertPolicy, "fast"),
                (Kind::Service, "shop"),
            ]
        );
        assert_eq!(names(1), [(Kind::AlertCondition, "burn"), (Kind::AlertNotificationTarget, "on-call")]);
    }
}
