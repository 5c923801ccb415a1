//! Directives, their transitions and records.

use super::{
    Error, all, back, duration_ms, finite, not_nan, optional_finite, optional_timestamp, optional_uuid,
    ratio, required, text, timestamp, uuid,
};
use crate::{
    model::{self, Generation},
    wire::{self, action::Kind},
};
use std::time::Duration;

impl TryFrom<wire::Action> for model::Action {
    type Error = Error;
    fn try_from(value: wire::Action) -> Result<Self, Error> {
        match value.kind.ok_or_else(|| Error::missing("action"))? {
            Kind::Scale(wire::Scale { replicas: 0 }) => {
                Err(Error::new("scale.replicas", 0, "must be at least 1"))
            }
            Kind::Scale(scale) => Ok(Self::Scale { replicas: scale.replicas }),
            Kind::SetBreaker(setting) => setting.try_into().map(Self::SetBreaker),
            Kind::Rollback(rollback) => Ok(Self::Rollback { to: rollback.to.try_into()? }),
            Kind::Freeze(freeze) => {
                let until = (freeze.until_unix_ms != 0)
                    .then(|| timestamp(freeze.until_unix_ms, "freeze.until_unix_ms"))
                    .transpose()?;
                Ok(Self::Freeze { scope: freeze.scope.try_into()?, until })
            }
            Kind::SetMode(mode) => Ok(Self::SetMode { mode: mode.mode.try_into()? }),
            Kind::SetCadence(cadence) => {
                let interval = (cadence.interval_ms > 0).then(|| Duration::from_millis(cadence.interval_ms));
                let until = optional_timestamp(cadence.until_unix_ms, "set_cadence.until_unix_ms")?;
                Ok(Self::SetCadence { interval, until })
            }
            Kind::Notify(notify) => {
                Ok(Self::Notify { urgency: notify.urgency.try_into()?, resolved: notify.resolved })
            }
        }
    }
}

impl TryFrom<wire::SetBreaker> for model::BreakerSetting {
    type Error = Error;
    fn try_from(value: wire::SetBreaker) -> Result<Self, Error> {
        if value.half_open_permits == 0 {
            return Err(Error::new("half_open_permits", 0, "must be at least 1"));
        }
        if value.open_wait_ms == 0 {
            return Err(Error::new("open_wait_ms", 0, "must be at least 1"));
        }
        let failure_ratio_to_open = ratio(value.failure_ratio_to_open, "failure_ratio_to_open")?;
        if failure_ratio_to_open == 0.0 {
            return Err(Error::new("failure_ratio_to_open", 0, "must be above 0 and at most 1"));
        }
        Ok(Self {
            mode: value.mode.try_into()?,
            failure_ratio_to_open,
            slow_call: (value.slow_call_ms > 0).then(|| Duration::from_millis(value.slow_call_ms)),
            open_wait: Duration::from_millis(value.open_wait_ms),
            half_open_permits: value.half_open_permits,
            told: value.r#override.map(TryInto::try_into).transpose()?,
        })
    }
}

impl From<model::BreakerSetting> for wire::SetBreaker {
    fn from(value: model::BreakerSetting) -> Self {
        let model::BreakerSetting {
            mode,
            failure_ratio_to_open,
            slow_call,
            open_wait,
            half_open_permits,
            told,
        } = value;
        Self {
            mode: mode.into(),
            failure_ratio_to_open,
            slow_call_ms: slow_call.map_or(0, duration_ms),
            open_wait_ms: duration_ms(open_wait),
            half_open_permits,
            r#override: told.map(Into::into),
        }
    }
}

impl From<model::Action> for wire::Action {
    fn from(value: model::Action) -> Self {
        let kind = match value {
            model::Action::Scale { replicas } => Kind::Scale(wire::Scale { replicas }),
            model::Action::SetBreaker(setting) => Kind::SetBreaker(setting.into()),
            model::Action::Rollback { to } => Kind::Rollback(wire::Rollback { to: to.into() }),
            model::Action::Freeze { scope, until } => Kind::Freeze(wire::Freeze {
                scope: scope.into(),
                until_unix_ms: until.map_or(0, |until| until.as_millisecond()),
            }),
            model::Action::SetMode { mode } => Kind::SetMode(wire::SetMode { mode: mode.into() }),
            model::Action::SetCadence { interval, until } => Kind::SetCadence(wire::SetCadence {
                interval_ms: interval.map_or(0, duration_ms),
                until_unix_ms: until.map_or(0, |until| until.as_millisecond()),
            }),
            model::Action::Notify { urgency, resolved } => {
                Kind::Notify(wire::Notify { urgency: urgency.into(), resolved })
            }
        };
        Self { kind: Some(kind) }
    }
}

fn optional_resource(value: Option<wire::ResourceId>) -> Result<Option<model::ResourceId>, Error> {
    value.map(model::ResourceId::try_from).transpose()
}

impl TryFrom<wire::ExpectedEffect> for model::ExpectedEffect {
    type Error = Error;
    fn try_from(value: wire::ExpectedEffect) -> Result<Self, Error> {
        Ok(Self {
            resource: optional_resource(value.resource)?,
            signal: text(value.signal, "signal")?,
            lower: not_nan(value.lower, "lower")?,
            upper: not_nan(value.upper, "upper")?,
            breach_is_harm: value.breach_is_harm,
        })
    }
}

impl From<model::ExpectedEffect> for wire::ExpectedEffect {
    fn from(value: model::ExpectedEffect) -> Self {
        let model::ExpectedEffect { resource, signal, lower, upper, breach_is_harm } = value;
        Self { signal, lower, upper, breach_is_harm, resource: resource.map(Into::into) }
    }
}

impl TryFrom<wire::Counterfactual> for model::Counterfactual {
    type Error = Error;
    fn try_from(value: wire::Counterfactual) -> Result<Self, Error> {
        let points = value.points.into_iter().map(|point| {
            Ok(model::CounterfactualPoint {
                after: Duration::from_millis(point.after_ms),
                q10: finite(point.q10, "q10")?,
                q50: finite(point.q50, "q50")?,
                q90: finite(point.q90, "q90")?,
            })
        });
        Ok(Self {
            resource: optional_resource(value.resource)?,
            signal: text(value.signal, "signal")?,
            method: text(value.method, "method")?,
            points: points.collect::<Result<_, Error>>()?,
        })
    }
}

impl From<model::Counterfactual> for wire::Counterfactual {
    fn from(value: model::Counterfactual) -> Self {
        let points = value.points.into_iter().map(|point| wire::counterfactual::Point {
            after_ms: duration_ms(point.after),
            q10: point.q10,
            q50: point.q50,
            q90: point.q90,
        });
        Self {
            signal: value.signal,
            method: value.method,
            points: points.collect(),
            resource: value.resource.map(Into::into),
        }
    }
}

impl TryFrom<wire::Evidence> for model::Evidence {
    type Error = Error;
    fn try_from(value: wire::Evidence) -> Result<Self, Error> {
        Ok(Self {
            signal: text(value.signal, "signal")?,
            value: optional_finite(value.value, "value")?,
            lower: value.lower,
            upper: value.upper,
            text: text(value.text, "text")?,
        })
    }
}

impl From<model::Evidence> for wire::Evidence {
    fn from(value: model::Evidence) -> Self {
        let model::Evidence { signal, value, lower, upper, text } = value;
        Self { signal, value, lower, upper, text }
    }
}

impl From<wire::GuardrailVerdict> for model::GuardrailVerdict {
    fn from(value: wire::GuardrailVerdict) -> Self {
        Self { guardrail: value.guardrail, vetoed: value.vetoed, reason: value.reason }
    }
}

impl From<model::GuardrailVerdict> for wire::GuardrailVerdict {
    fn from(value: model::GuardrailVerdict) -> Self {
        Self { guardrail: value.guardrail, vetoed: value.vetoed, reason: value.reason }
    }
}

impl TryFrom<wire::ExpectedCost> for model::ExpectedCost {
    type Error = Error;
    fn try_from(value: wire::ExpectedCost) -> Result<Self, Error> {
        Ok(Self {
            unserved_ratio: ratio(value.unserved_ratio, "unserved_ratio")?,
            idle_replicas: value.idle_replicas,
            changed: value.changed,
            replicas_worth: optional_finite(value.replicas_worth, "replicas_worth")?,
        })
    }
}

impl From<model::ExpectedCost> for wire::ExpectedCost {
    fn from(value: model::ExpectedCost) -> Self {
        let model::ExpectedCost { unserved_ratio, idle_replicas, changed, replicas_worth } = value;
        Self { unserved_ratio, idle_replicas, changed, replicas_worth }
    }
}

impl TryFrom<wire::Alternative> for model::Alternative {
    type Error = Error;
    fn try_from(value: wire::Alternative) -> Result<Self, Error> {
        Ok(Self {
            action: value.action,
            reason: value.reason,
            cost: value.cost.map(TryInto::try_into).transpose()?,
        })
    }
}

impl From<model::Alternative> for wire::Alternative {
    fn from(value: model::Alternative) -> Self {
        let model::Alternative { action, reason, cost } = value;
        Self { action, reason, cost: cost.map(Into::into) }
    }
}

impl TryFrom<wire::InputAsk> for model::InputAsk {
    type Error = Error;
    fn try_from(value: wire::InputAsk) -> Result<Self, Error> {
        Ok(Self {
            input: text(value.input, "input")?,
            asks: optional_finite(value.asks, "asks")?,
            text: text(value.text, "text")?,
        })
    }
}

impl From<model::InputAsk> for wire::InputAsk {
    fn from(value: model::InputAsk) -> Self {
        let model::InputAsk { input, asks, text } = value;
        Self { input, asks, text }
    }
}

impl TryFrom<wire::Rationale> for model::Rationale {
    type Error = Error;
    fn try_from(value: wire::Rationale) -> Result<Self, Error> {
        Ok(Self {
            text: text(value.text, "text")?,
            evidence: all(value.evidence, "evidence")?,
            rejected: all(value.rejected, "rejected")?,
            guardrails: value.guardrails.into_iter().map(Into::into).collect(),
            symptom_ids: value.symptom_ids,
            asked: all(value.asked, "asked")?,
            cost: value.cost.map(TryInto::try_into).transpose()?,
        })
    }
}

impl From<model::Rationale> for wire::Rationale {
    fn from(value: model::Rationale) -> Self {
        let model::Rationale { text, evidence, rejected, guardrails, symptom_ids, asked, cost } = value;
        Self {
            text,
            evidence: back(evidence),
            rejected: back(rejected),
            guardrails: back(guardrails),
            symptom_ids,
            asked: back(asked),
            cost: cost.map(Into::into),
        }
    }
}

impl TryFrom<wire::Directive> for model::Directive {
    type Error = Error;
    fn try_from(value: wire::Directive) -> Result<Self, Error> {
        let action: model::Action = required(value.action, "action")?;
        let undo: model::Action = required(value.undo, "undo")?;
        if undo.kind() != action.kind() {
            return Err(Error::new("undo", undo, "must be of the action's kind"));
        }
        let resource: model::ResourceId = required(value.resource, "resource")?;
        if resource.kind() != action.kind().resource_kind() {
            return Err(Error::new("resource", resource, "must be of the kind that the action changes"));
        }
        let preconditions = value.preconditions.ok_or_else(|| Error::missing("preconditions"))?;
        if value.expires_at_unix_ms <= value.created_at_unix_ms {
            return Err(Error::new(
                "expires_at_unix_ms",
                value.expires_at_unix_ms,
                "must be after created_at_unix_ms",
            ));
        }
        let quorum_ratio = ratio(value.quorum_ratio, "quorum_ratio")?;
        if quorum_ratio == 0.0 {
            return Err(Error::new("quorum_ratio", 0, "must be above 0 and at most 1"));
        }
        Ok(Self {
            id: uuid(&value.id, "id")?,
            resource,
            action,
            undo,
            parent_generation: Generation(value.parent_generation),
            generation: Generation(value.generation),
            policy: text(value.policy, "policy")?,
            autonomy: value.autonomy.try_into()?,
            created_at: timestamp(value.created_at_unix_ms, "created_at_unix_ms")?,
            expires_at: timestamp(value.expires_at_unix_ms, "expires_at_unix_ms")?,
            apply_timeout: Duration::from_millis(value.apply_timeout_ms),
            verify_window: Duration::from_millis(value.verify_window_ms),
            preconditions: model::Preconditions {
                max_evidence_age: Duration::from_millis(preconditions.max_evidence_age_ms),
                requires_known_data: preconditions.requires_known_data,
            },
            expected: all(value.expected, "expected")?,
            counterfactual: all(value.counterfactual, "counterfactual")?,
            rationale: required(value.rationale, "rationale")?,
            blast_radius_ratio: ratio(value.blast_radius_ratio, "blast_radius_ratio")?,
            reduces: value.reduces,
            undo_of: optional_uuid(&value.undo_of, "undo_of")?,
            quorum_ratio,
        })
    }
}

impl From<model::Directive> for wire::Directive {
    fn from(value: model::Directive) -> Self {
        Self {
            id: value.id.to_string(),
            resource: Some(value.resource.into()),
            action: Some(value.action.into()),
            undo: Some(value.undo.into()),
            parent_generation: value.parent_generation.0,
            generation: value.generation.0,
            policy: value.policy,
            autonomy: value.autonomy.into(),
            created_at_unix_ms: value.created_at.as_millisecond(),
            expires_at_unix_ms: value.expires_at.as_millisecond(),
            apply_timeout_ms: duration_ms(value.apply_timeout),
            verify_window_ms: duration_ms(value.verify_window),
            preconditions: Some(wire::Preconditions {
                max_evidence_age_ms: duration_ms(value.preconditions.max_evidence_age),
                requires_known_data: value.preconditions.requires_known_data,
            }),
            expected: back(value.expected),
            counterfactual: back(value.counterfactual),
            rationale: Some(value.rationale.into()),
            blast_radius_ratio: value.blast_radius_ratio,
            reduces: value.reduces,
            undo_of: value.undo_of.map(|id| id.to_string()).unwrap_or_default(),
            quorum_ratio: value.quorum_ratio,
        }
    }
}

impl TryFrom<wire::Observation> for model::Observation {
    type Error = Error;
    fn try_from(value: wire::Observation) -> Result<Self, Error> {
        Ok(Self { value: finite(value.value, "value")?, name: text(value.name, "name")? })
    }
}

impl From<model::Observation> for wire::Observation {
    fn from(value: model::Observation) -> Self {
        Self { name: value.name, value: value.value }
    }
}

impl TryFrom<wire::Transition> for model::Transition {
    type Error = Error;
    fn try_from(value: wire::Transition) -> Result<Self, Error> {
        Ok(Self {
            directive_id: uuid(&value.directive_id, "directive_id")?,
            from: value.from.try_into()?,
            to: value.to.try_into()?,
            at: timestamp(value.at_unix_ms, "at_unix_ms")?,
            actor: text(value.actor, "actor")?,
            detail: text(value.detail, "detail")?,
            attempt: value.attempt,
            before: all(value.before, "before")?,
            after: all(value.after, "after")?,
        })
    }
}

impl From<model::Transition> for wire::Transition {
    fn from(value: model::Transition) -> Self {
        let model::Transition { directive_id, from, to, at, actor, detail, attempt, before, after } = value;
        Self {
            directive_id: directive_id.to_string(),
            from: from.into(),
            to: to.into(),
            at_unix_ms: at.as_millisecond(),
            actor,
            detail,
            attempt,
            before: back(before),
            after: back(after),
        }
    }
}

impl TryFrom<wire::DirectiveRecord> for model::DirectiveRecord {
    type Error = Error;
    fn try_from(value: wire::DirectiveRecord) -> Result<Self, Error> {
        Ok(Self {
            directive: required(value.directive, "directive")?,
            state: value.state.try_into()?,
            revision: value.revision,
            changed_at: timestamp(value.changed_at_unix_ms, "changed_at_unix_ms")?,
            detail: text(value.detail, "detail")?,
            history: all(value.history, "history")?,
        })
    }
}

impl From<model::DirectiveRecord> for wire::DirectiveRecord {
    fn from(value: model::DirectiveRecord) -> Self {
        let model::DirectiveRecord { directive, state, revision, changed_at, detail, history } = value;
        Self {
            directive: Some(directive.into()),
            state: state.into(),
            revision,
            changed_at_unix_ms: changed_at.as_millisecond(),
            history: back(history),
            detail,
        }
    }
}
