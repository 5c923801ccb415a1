//! Thresholds, actuators, outcomes, feedback signals and the pause.

use super::{
    Error, all, back, duration_ms, finite, millis, optional_finite, optional_timestamp, optional_uuid, ratio,
    required, text, timestamp, uuid,
};
use crate::{
    model::{self, Generation},
    wire,
};
use std::time::Duration;

impl TryFrom<wire::Threshold> for model::Threshold {
    type Error = Error;
    fn try_from(value: wire::Threshold) -> Result<Self, Error> {
        let (lower, upper) = (
            finite(value.residual_lower, "residual_lower")?,
            finite(value.residual_upper, "residual_upper")?,
        );
        if lower > upper {
            return Err(Error::new("residual_lower", lower, "must be at most residual_upper"));
        }
        Ok(Self {
            signal: required(value.signal, "signal")?,
            generation: value.generation,
            state: value.state.try_into()?,
            method: text(value.method, "method")?,
            residual_lower: lower,
            residual_upper: upper,
            level: finite(value.level, "level")?,
            scale: finite(value.scale, "scale")?,
            samples: value.samples,
            coverage_ratio: ratio(value.coverage_ratio, "coverage_ratio")?,
            false_alarm_probability: ratio(value.false_alarm_probability, "false_alarm_probability")?,
            evidence_from: optional_timestamp(value.evidence_from_unix_ms, "evidence_from_unix_ms")?,
            evidence_to: optional_timestamp(value.evidence_to_unix_ms, "evidence_to_unix_ms")?,
            created_at: timestamp(value.created_at_unix_ms, "created_at_unix_ms")?,
            pinned_lower: optional_finite(value.pinned_lower, "pinned_lower")?,
            pinned_upper: optional_finite(value.pinned_upper, "pinned_upper")?,
            reviewed_by: text(value.reviewed_by, "reviewed_by")?,
            reason: text(value.reason, "reason")?,
        })
    }
}

impl From<model::Threshold> for wire::Threshold {
    fn from(value: model::Threshold) -> Self {
        Self {
            signal: Some(value.signal.into()),
            generation: value.generation,
            state: value.state.into(),
            method: value.method,
            residual_lower: value.residual_lower,
            residual_upper: value.residual_upper,
            level: value.level,
            scale: value.scale,
            samples: value.samples,
            coverage_ratio: value.coverage_ratio,
            false_alarm_probability: value.false_alarm_probability,
            evidence_from_unix_ms: millis(value.evidence_from),
            evidence_to_unix_ms: millis(value.evidence_to),
            created_at_unix_ms: value.created_at.as_millisecond(),
            pinned_lower: value.pinned_lower,
            pinned_upper: value.pinned_upper,
            reviewed_by: value.reviewed_by,
            reason: value.reason,
        }
    }
}

impl TryFrom<wire::ResourcePattern> for model::ResourcePattern {
    type Error = Error;
    fn try_from(value: wire::ResourcePattern) -> Result<Self, Error> {
        Ok(Self::new(value.kind.parse()?, &value.namespace, &value.name)?)
    }
}

impl From<model::ResourcePattern> for wire::ResourcePattern {
    fn from(value: model::ResourcePattern) -> Self {
        Self {
            kind: value.kind().to_string(),
            namespace: value.namespace().to_owned(),
            name: value.name().to_owned(),
        }
    }
}

impl TryFrom<wire::ActuatorSpec> for model::ActuatorSpec {
    type Error = Error;
    fn try_from(value: wire::ActuatorSpec) -> Result<Self, Error> {
        let kinds = value.kinds.into_iter().map(model::DirectiveKind::try_from).collect::<Result<_, _>>()?;
        let spec = Self {
            name: value.name,
            instance: value.instance,
            kinds,
            resources: all(value.resources, "resources")?,
            max_in_flight: value.max_in_flight,
            supports_dry_run: value.supports_dry_run,
            supports_undo: value.supports_undo,
        };
        spec.validate()?;
        Ok(spec)
    }
}

impl From<model::ActuatorSpec> for wire::ActuatorSpec {
    fn from(value: model::ActuatorSpec) -> Self {
        Self {
            name: value.name,
            instance: value.instance,
            kinds: value.kinds.into_iter().map(i32::from).collect(),
            resources: back(value.resources),
            max_in_flight: value.max_in_flight,
            supports_dry_run: value.supports_dry_run,
            supports_undo: value.supports_undo,
        }
    }
}

impl TryFrom<wire::AppliedGeneration> for model::AppliedGeneration {
    type Error = Error;
    fn try_from(value: wire::AppliedGeneration) -> Result<Self, Error> {
        Ok(Self {
            resource: required(value.resource, "resource")?,
            kind: value.kind.try_into()?,
            generation: Generation(value.generation),
        })
    }
}

impl From<model::AppliedGeneration> for wire::AppliedGeneration {
    fn from(value: model::AppliedGeneration) -> Self {
        Self {
            resource: Some(value.resource.into()),
            kind: value.kind.into(),
            generation: value.generation.0,
        }
    }
}

impl TryFrom<wire::ActuatorRecord> for model::ActuatorRecord {
    type Error = Error;
    fn try_from(value: wire::ActuatorRecord) -> Result<Self, Error> {
        Ok(Self {
            actuator: required(value.actuator, "actuator")?,
            lease: model::Lease { id: value.lease_id, epoch: value.epoch },
            live: value.live,
            registered_at: timestamp(value.registered_at_unix_ms, "registered_at_unix_ms")?,
            remaining: Duration::from_millis(value.lease_remaining_ms),
        })
    }
}

impl From<model::ActuatorRecord> for wire::ActuatorRecord {
    fn from(value: model::ActuatorRecord) -> Self {
        Self {
            actuator: Some(value.actuator.into()),
            lease_id: value.lease.id,
            epoch: value.lease.epoch,
            live: value.live,
            registered_at_unix_ms: value.registered_at.as_millisecond(),
            lease_remaining_ms: duration_ms(value.remaining),
        }
    }
}

impl TryFrom<wire::MeasuredEffect> for model::MeasuredEffect {
    type Error = Error;
    fn try_from(value: wire::MeasuredEffect) -> Result<Self, Error> {
        Ok(Self {
            signal: text(value.signal, "signal")?,
            promised_lower: value.promised_lower,
            promised_upper: value.promised_upper,
            measured: optional_finite(value.measured, "measured")?,
            otherwise_lower: value.otherwise_lower,
            otherwise_upper: value.otherwise_upper,
            kept: value.kept,
        })
    }
}

impl From<model::MeasuredEffect> for wire::MeasuredEffect {
    fn from(value: model::MeasuredEffect) -> Self {
        let model::MeasuredEffect {
            signal,
            promised_lower,
            promised_upper,
            measured,
            otherwise_lower,
            otherwise_upper,
            kept,
        } = value;
        Self { signal, promised_lower, promised_upper, measured, otherwise_lower, otherwise_upper, kept }
    }
}

impl TryFrom<wire::Outcome> for model::Outcome {
    type Error = Error;
    fn try_from(value: wire::Outcome) -> Result<Self, Error> {
        Ok(Self {
            directive_id: uuid(&value.directive_id, "directive_id")?,
            result: value.result.try_into()?,
            text: text(value.text, "text")?,
            effects: all(value.effects, "effects")?,
            at: timestamp(value.at_unix_ms, "at_unix_ms")?,
            decided_to_applied: Duration::from_millis(value.decided_to_applied_ms),
            applied_to_verdict: Duration::from_millis(value.applied_to_verdict_ms),
        })
    }
}

impl From<model::Outcome> for wire::Outcome {
    fn from(value: model::Outcome) -> Self {
        Self {
            directive_id: value.directive_id.to_string(),
            result: value.result.into(),
            text: value.text,
            effects: back(value.effects),
            at_unix_ms: value.at.as_millisecond(),
            decided_to_applied_ms: duration_ms(value.decided_to_applied),
            applied_to_verdict_ms: duration_ms(value.applied_to_verdict),
        }
    }
}

impl TryFrom<wire::FeedbackSignal> for model::FeedbackSignal {
    type Error = Error;
    fn try_from(value: wire::FeedbackSignal) -> Result<Self, Error> {
        Ok(Self {
            id: uuid(&value.id, "id")?,
            feedback_loop: value.r#loop.try_into()?,
            resource: required(value.resource, "resource")?,
            directive_id: optional_uuid(&value.directive_id, "directive_id")?,
            name: text(value.name, "name")?,
            value: finite(value.value, "value")?,
            at: timestamp(value.at_unix_ms, "at_unix_ms")?,
        })
    }
}

impl From<model::FeedbackSignal> for wire::FeedbackSignal {
    fn from(value: model::FeedbackSignal) -> Self {
        Self {
            id: value.id.to_string(),
            r#loop: value.feedback_loop.into(),
            resource: Some(value.resource.into()),
            directive_id: value.directive_id.map(|id| id.to_string()).unwrap_or_default(),
            name: value.name,
            value: value.value,
            at_unix_ms: value.at.as_millisecond(),
        }
    }
}

impl TryFrom<wire::PauseState> for model::PauseState {
    type Error = Error;
    fn try_from(value: wire::PauseState) -> Result<Self, Error> {
        Ok(Self {
            paused: value.paused,
            counter: value.counter,
            reason: text(value.reason, "reason")?,
            actor: text(value.actor, "actor")?,
            at: timestamp(value.at_unix_ms, "at_unix_ms")?,
        })
    }
}

impl From<model::PauseState> for wire::PauseState {
    fn from(value: model::PauseState) -> Self {
        let model::PauseState { paused, counter, reason, actor, at } = value;
        Self { paused, counter, reason, actor, at_unix_ms: at.as_millisecond() }
    }
}
