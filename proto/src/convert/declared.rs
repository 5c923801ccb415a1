//! Declared documents.

use super::{Error, all, back, duration_ms, millis, optional_timestamp, required};
use crate::{model, model::DeclaredSpec, wire, wire::declared::Spec};
use std::time::Duration;

impl TryFrom<wire::Selector> for model::Selector {
    type Error = Error;
    fn try_from(value: wire::Selector) -> Result<Self, Error> {
        Ok(value.expression.parse::<Self>()?)
    }
}

impl From<model::Selector> for wire::Selector {
    fn from(value: model::Selector) -> Self {
        Self { expression: value.to_string() }
    }
}

fn optional_selector(value: Option<wire::Selector>, field: &str) -> Result<Option<model::Selector>, Error> {
    value.map(|value| model::Selector::try_from(value).map_err(|error| error.under(field))).transpose()
}

impl TryFrom<wire::EdgeSpec> for model::EdgeSpec {
    type Error = Error;
    fn try_from(value: wire::EdgeSpec) -> Result<Self, Error> {
        Ok(Self {
            callee: value.callee,
            total: required(value.total, "total")?,
            good: required(value.good, "good")?,
            latency: optional_selector(value.latency, "latency")?,
        })
    }
}

impl From<model::EdgeSpec> for wire::EdgeSpec {
    fn from(value: model::EdgeSpec) -> Self {
        let model::EdgeSpec { callee, total, good, latency } = value;
        Self { callee, total: Some(total.into()), good: Some(good.into()), latency: latency.map(Into::into) }
    }
}

impl TryFrom<wire::Objective> for model::Objective {
    type Error = Error;
    fn try_from(value: wire::Objective) -> Result<Self, Error> {
        let latency_bound =
            (value.latency_bound_ms > 0).then(|| Duration::from_millis(value.latency_bound_ms));
        let objective = Self {
            target_ratio: value.target_ratio,
            latency_bound,
            window: Duration::from_millis(value.window_ms),
        };
        objective.validate()?;
        Ok(objective)
    }
}

impl From<model::Objective> for wire::Objective {
    fn from(value: model::Objective) -> Self {
        Self {
            target_ratio: value.target_ratio,
            latency_bound_ms: value.latency_bound.map_or(0, duration_ms),
            window_ms: duration_ms(value.window),
        }
    }
}

impl TryFrom<wire::ServiceSpec> for model::ServiceSpec {
    type Error = Error;
    fn try_from(value: wire::ServiceSpec) -> Result<Self, Error> {
        Ok(Self {
            instances: value.instances.into_iter().collect(),
            total: required(value.total, "total")?,
            good: optional_selector(value.good, "good")?,
            latency: optional_selector(value.latency, "latency")?,
            busy_seconds: optional_selector(value.busy_seconds, "busy_seconds")?,
            workers: optional_selector(value.workers, "workers")?,
            ready: optional_selector(value.ready, "ready")?,
            edges: all(value.edges, "edges")?,
            objective: value.objective.map(model::Objective::try_from).transpose()?,
        })
    }
}

impl From<model::ServiceSpec> for wire::ServiceSpec {
    fn from(value: model::ServiceSpec) -> Self {
        Self {
            instances: value.instances.into_iter().collect(),
            total: Some(value.total.into()),
            good: value.good.map(Into::into),
            latency: value.latency.map(Into::into),
            busy_seconds: value.busy_seconds.map(Into::into),
            workers: value.workers.map(Into::into),
            ready: value.ready.map(Into::into),
            edges: back(value.edges),
            objective: value.objective.map(Into::into),
        }
    }
}

impl From<wire::ScalePolicy> for model::ScalePolicy {
    fn from(value: wire::ScalePolicy) -> Self {
        Self {
            minimum_replicas: value.minimum_replicas,
            maximum_replicas: value.maximum_replicas,
            step_up_replicas: value.step_up_replicas,
            step_down_replicas: value.step_down_replicas,
            cooldown_up: Duration::from_millis(value.cooldown_up_ms),
            cooldown_down: Duration::from_millis(value.cooldown_down_ms),
            target_utilisation_ratio: value.target_utilisation_ratio,
        }
    }
}

impl From<model::ScalePolicy> for wire::ScalePolicy {
    fn from(value: model::ScalePolicy) -> Self {
        Self {
            minimum_replicas: value.minimum_replicas,
            maximum_replicas: value.maximum_replicas,
            step_up_replicas: value.step_up_replicas,
            step_down_replicas: value.step_down_replicas,
            cooldown_up_ms: duration_ms(value.cooldown_up),
            cooldown_down_ms: duration_ms(value.cooldown_down),
            target_utilisation_ratio: value.target_utilisation_ratio,
        }
    }
}

impl TryFrom<wire::PolicySpec> for model::PolicySpec {
    type Error = Error;
    fn try_from(value: wire::PolicySpec) -> Result<Self, Error> {
        Ok(Self {
            service: value.service,
            autonomy: value.autonomy.try_into()?,
            scale: value.scale.map(Into::into),
            breaker: value.breaker.map(|rule| model::BreakerRule {
                callees: rule.callees,
                failure_ratio_to_open: rule.failure_ratio_to_open,
                cooldown: Duration::from_millis(rule.cooldown_ms),
            }),
            blast_radius_ratio: value.blast_radius_ratio,
            review: value.review.try_into()?,
        })
    }
}

impl From<model::PolicySpec> for wire::PolicySpec {
    fn from(value: model::PolicySpec) -> Self {
        Self {
            service: value.service,
            autonomy: value.autonomy.into(),
            scale: value.scale.map(Into::into),
            breaker: value.breaker.map(|rule| wire::BreakerPolicyRule {
                callees: rule.callees,
                failure_ratio_to_open: rule.failure_ratio_to_open,
                cooldown_ms: duration_ms(rule.cooldown),
            }),
            blast_radius_ratio: value.blast_radius_ratio,
            review: value.review.into(),
        }
    }
}

impl TryFrom<wire::Declared> for model::Declared {
    type Error = Error;
    fn try_from(value: wire::Declared) -> Result<Self, Error> {
        let spec = match value.spec.ok_or_else(|| Error::missing("spec"))? {
            Spec::Service(service) => DeclaredSpec::Service(Box::new(
                service.try_into().map_err(|error: Error| error.under("service"))?,
            )),
            Spec::Policy(policy) => DeclaredSpec::Policy(Box::new(
                policy.try_into().map_err(|error: Error| error.under("policy"))?,
            )),
            Spec::Slo(slo) => DeclaredSpec::Slo(model::SloSpec {
                service: slo.service,
                objective: required(slo.objective, "slo.objective")?,
            }),
        };
        let declared = Self {
            namespace: value.namespace,
            name: value.name,
            spec,
            version: value.version,
            applied_at: optional_timestamp(value.applied_at_unix_ms, "applied_at_unix_ms")?,
        };
        declared.validate()?;
        Ok(declared)
    }
}

impl From<model::Declared> for wire::Declared {
    fn from(value: model::Declared) -> Self {
        let spec = match value.spec {
            DeclaredSpec::Service(service) => Spec::Service((*service).into()),
            DeclaredSpec::Policy(policy) => Spec::Policy((*policy).into()),
            DeclaredSpec::Slo(slo) => {
                Spec::Slo(wire::SloSpec { service: slo.service, objective: Some(slo.objective.into()) })
            }
        };
        Self {
            namespace: value.namespace,
            name: value.name,
            spec: Some(spec),
            version: value.version,
            applied_at_unix_ms: millis(value.applied_at),
        }
    }
}
