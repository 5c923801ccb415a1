//! Error-budget policies and imported objectives as they stand.

use super::{
    Error, all, back, millis, optional_finite, optional_timestamp, ratio, required, text, timestamp,
};
use crate::{model, wire};

impl TryFrom<wire::MeasureInForce> for model::MeasureInForce {
    type Error = Error;
    fn try_from(value: wire::MeasureInForce) -> Result<Self, Error> {
        Ok(Self {
            measure: value.measure.try_into()?,
            step: value.step,
            since: timestamp(value.since_unix_ms, "since_unix_ms")?,
            until: optional_timestamp(value.until_unix_ms, "until_unix_ms")?,
            reason: text(value.reason, "reason")?,
        })
    }
}

impl From<model::MeasureInForce> for wire::MeasureInForce {
    fn from(value: model::MeasureInForce) -> Self {
        let model::MeasureInForce { measure, step, since, until, reason } = value;
        Self {
            measure: measure.into(),
            step,
            since_unix_ms: since.as_millisecond(),
            until_unix_ms: millis(until),
            reason,
        }
    }
}

impl TryFrom<wire::BudgetPolicyState> for model::BudgetPolicyState {
    type Error = Error;
    fn try_from(value: wire::BudgetPolicyState) -> Result<Self, Error> {
        Ok(Self {
            objective: text(value.objective, "objective")?,
            consumed_ratio: optional_finite(value.consumed_ratio, "consumed_ratio")?,
            remaining_ratio: optional_finite(value.remaining_ratio, "remaining_ratio")?,
            refuse_risk_below: ratio(value.refuse_risk_below, "refuse_risk_below")?,
            measures: all(value.measures, "measures")?,
            known: value.known,
            waiting_for: value.waiting_for,
            autonomy: (value.autonomy != 0).then(|| value.autonomy.try_into()).transpose()?,
        })
    }
}

impl From<model::BudgetPolicyState> for wire::BudgetPolicyState {
    fn from(value: model::BudgetPolicyState) -> Self {
        let model::BudgetPolicyState {
            objective,
            consumed_ratio,
            remaining_ratio,
            refuse_risk_below,
            measures,
            known,
            waiting_for,
            autonomy,
        } = value;
        Self {
            objective,
            consumed_ratio,
            remaining_ratio,
            refuse_risk_below,
            measures: back(measures),
            known,
            waiting_for,
            autonomy: autonomy.map_or(0, Into::into),
        }
    }
}

impl TryFrom<wire::ExhaustionForecast> for model::ExhaustionForecast {
    type Error = Error;
    fn try_from(value: wire::ExhaustionForecast) -> Result<Self, Error> {
        Ok(Self {
            early: optional_timestamp(value.early_unix_ms, "early_unix_ms")?,
            likely: optional_timestamp(value.likely_unix_ms, "likely_unix_ms")?,
            late: optional_timestamp(value.late_unix_ms, "late_unix_ms")?,
        })
    }
}

impl From<model::ExhaustionForecast> for wire::ExhaustionForecast {
    fn from(value: model::ExhaustionForecast) -> Self {
        let model::ExhaustionForecast { early, likely, late } = value;
        Self { early_unix_ms: millis(early), likely_unix_ms: millis(likely), late_unix_ms: millis(late) }
    }
}

impl TryFrom<wire::TrackedObjective> for model::TrackedObjective {
    type Error = Error;
    fn try_from(value: wire::TrackedObjective) -> Result<Self, Error> {
        Ok(Self {
            objective: text(value.objective, "objective")?,
            title: text(value.title, "title")?,
            resource: required(value.resource, "resource")?,
            untracked: value.untracked,
            state: required(value.state, "state")?,
            from: timestamp(value.from_unix_ms, "from_unix_ms")?,
            to: timestamp(value.to_unix_ms, "to_unix_ms")?,
            incomplete: value.incomplete,
            exhaustion: value.exhaustion.map(model::ExhaustionForecast::try_from).transpose()?,
            policy: value.policy.map(model::BudgetPolicyState::try_from).transpose()?,
            alert: value.alert,
            readings: all(value.readings, "readings")?,
        })
    }
}

impl From<model::TrackedObjective> for wire::TrackedObjective {
    fn from(value: model::TrackedObjective) -> Self {
        let model::TrackedObjective {
            objective,
            title,
            resource,
            untracked,
            state,
            from,
            to,
            incomplete,
            exhaustion,
            policy,
            alert,
            readings,
        } = value;
        Self {
            objective,
            title,
            resource: Some(resource.into()),
            untracked,
            state: Some(state.into()),
            from_unix_ms: from.as_millisecond(),
            to_unix_ms: to.as_millisecond(),
            incomplete,
            exhaustion: exhaustion.map(Into::into),
            policy: policy.map(Into::into),
            alert,
            readings: back(readings),
        }
    }
}

impl TryFrom<wire::QueryReading> for model::QueryReading {
    type Error = Error;
    fn try_from(value: wire::QueryReading) -> Result<Self, Error> {
        Ok(Self { query: value.query, value: optional_finite(value.value, "value")?, problem: value.problem })
    }
}

impl From<model::QueryReading> for wire::QueryReading {
    fn from(value: model::QueryReading) -> Self {
        let model::QueryReading { query, value, problem } = value;
        Self { query, value, problem }
    }
}
