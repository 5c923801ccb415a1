//! Assessments and what they are made of.

use super::{
    Error, all, back, duration_ms, finite, millis, optional_finite, optional_timestamp, ratio, required,
    text, timestamp,
};
use crate::{
    model::{self, Shard},
    wire,
};
use std::time::Duration;

impl TryFrom<wire::SignalGlance> for model::SignalGlance {
    type Error = Error;
    fn try_from(value: wire::SignalGlance) -> Result<Self, Error> {
        Ok(Self {
            name: text(value.name, "name")?,
            value: optional_finite(value.value, "value")?,
            quality: value.quality.try_into()?,
            expected: optional_finite(value.expected, "expected")?,
            lower: optional_finite(value.lower, "lower")?,
            upper: optional_finite(value.upper, "upper")?,
            scale: optional_finite(value.scale, "scale")?,
            threshold_state: value.threshold_state.try_into()?,
            deviating: value.deviating,
            at: timestamp(value.at_unix_ms, "at_unix_ms")?,
            deviation: value.deviation.map(model::SignalDeviation::try_from).transpose()?,
        })
    }
}

impl TryFrom<wire::SignalDeviation> for model::SignalDeviation {
    type Error = Error;
    fn try_from(value: wire::SignalDeviation) -> Result<Self, Error> {
        let wire::SignalDeviation { opened_at_unix_ms, view, severity, confidence } = value;
        Ok(Self {
            opened_at: timestamp(opened_at_unix_ms, "opened_at_unix_ms")?,
            view: view.parse().map_err(Error::from)?,
            severity: ratio(severity, "severity")?,
            confidence: ratio(confidence, "confidence")?,
        })
    }
}

impl From<model::SignalDeviation> for wire::SignalDeviation {
    fn from(value: model::SignalDeviation) -> Self {
        let model::SignalDeviation { opened_at, view, severity, confidence } = value;
        let view = view.as_str().to_owned();
        Self { opened_at_unix_ms: opened_at.as_millisecond(), view, severity, confidence }
    }
}

impl From<model::SignalGlance> for wire::SignalGlance {
    fn from(value: model::SignalGlance) -> Self {
        let model::SignalGlance {
            name,
            value,
            quality,
            expected,
            lower,
            upper,
            scale,
            threshold_state,
            deviating,
            at,
            deviation,
        } = value;
        Self {
            name,
            value,
            quality: quality.into(),
            expected,
            lower,
            upper,
            scale,
            threshold_state: threshold_state.into(),
            deviating,
            at_unix_ms: at.as_millisecond(),
            deviation: deviation.map(Into::into),
        }
    }
}

impl TryFrom<wire::SymptomEvidence> for model::SymptomEvidence {
    type Error = Error;
    fn try_from(value: wire::SymptomEvidence) -> Result<Self, Error> {
        let wire::SymptomEvidence { signal, value, lower, upper } = value;
        Ok(Self { signal: text(signal, "signal")?, value: optional_finite(value, "value")?, lower, upper })
    }
}

impl From<model::SymptomEvidence> for wire::SymptomEvidence {
    fn from(value: model::SymptomEvidence) -> Self {
        let model::SymptomEvidence { signal, value, lower, upper } = value;
        Self { signal, value, lower, upper }
    }
}

impl TryFrom<wire::Symptom> for model::Symptom {
    type Error = Error;
    fn try_from(value: wire::Symptom) -> Result<Self, Error> {
        Ok(Self {
            id: text(value.id, "id")?,
            kind: value.kind.try_into()?,
            state: value.state.try_into()?,
            severity: value.severity.try_into()?,
            confidence: ratio(value.confidence, "confidence")?,
            suspected_at: timestamp(value.suspected_at_unix_ms, "suspected_at_unix_ms")?,
            opened_at: optional_timestamp(value.opened_at_unix_ms, "opened_at_unix_ms")?,
            ended_at: optional_timestamp(value.ended_at_unix_ms, "ended_at_unix_ms")?,
            text: text(value.text, "text")?,
            evidence: all(value.evidence, "evidence")?,
            explained_by: Some(value.explained_by).filter(|id| !id.is_empty()),
            blast_radius_ratio: ratio(value.blast_radius_ratio, "blast_radius_ratio")?,
        })
    }
}

impl From<model::Symptom> for wire::Symptom {
    fn from(value: model::Symptom) -> Self {
        let model::Symptom {
            id,
            kind,
            state,
            severity,
            confidence,
            suspected_at,
            opened_at,
            ended_at,
            text,
            evidence,
            explained_by,
            blast_radius_ratio,
        } = value;
        Self {
            id,
            kind: kind.into(),
            state: state.into(),
            severity: severity.into(),
            confidence,
            suspected_at_unix_ms: suspected_at.as_millisecond(),
            opened_at_unix_ms: millis(opened_at),
            ended_at_unix_ms: millis(ended_at),
            text,
            evidence: back(evidence),
            explained_by: explained_by.unwrap_or_default(),
            blast_radius_ratio,
        }
    }
}

impl TryFrom<wire::ObjectiveState> for model::ObjectiveState {
    type Error = Error;
    fn try_from(value: wire::ObjectiveState) -> Result<Self, Error> {
        Ok(Self {
            standing: value.standing.try_into()?,
            target_ratio: ratio(value.target_ratio, "target_ratio")?,
            good_ratio: optional_finite(value.good_ratio, "good_ratio")?,
            burn_rate_short: optional_finite(value.burn_rate_short, "burn_rate_short")?,
            burn_rate_long: optional_finite(value.burn_rate_long, "burn_rate_long")?,
            budget_remaining_ratio: optional_finite(value.budget_remaining_ratio, "budget_remaining_ratio")?,
            total_events: finite(value.total_events, "total_events")?,
            unknown_time_ratio: ratio(value.unknown_time_ratio, "unknown_time_ratio")?,
        })
    }
}

impl From<model::ObjectiveState> for wire::ObjectiveState {
    fn from(value: model::ObjectiveState) -> Self {
        let model::ObjectiveState {
            standing,
            target_ratio,
            good_ratio,
            burn_rate_short,
            burn_rate_long,
            budget_remaining_ratio,
            total_events,
            unknown_time_ratio,
        } = value;
        Self {
            standing: standing.into(),
            target_ratio,
            good_ratio,
            burn_rate_short,
            burn_rate_long,
            budget_remaining_ratio,
            total_events,
            unknown_time_ratio,
        }
    }
}

impl TryFrom<wire::Capacity> for model::Capacity {
    type Error = Error;
    fn try_from(value: wire::Capacity) -> Result<Self, Error> {
        Ok(Self {
            per_replica: optional_finite(value.per_replica, "per_replica")?,
            lower: optional_finite(value.lower, "lower")?,
            upper: optional_finite(value.upper, "upper")?,
            samples: value.samples,
        })
    }
}

impl From<model::Capacity> for wire::Capacity {
    fn from(value: model::Capacity) -> Self {
        let model::Capacity { per_replica, lower, upper, samples } = value;
        Self { per_replica, lower, upper, samples }
    }
}

impl TryFrom<wire::DataQuality> for model::DataQuality {
    type Error = Error;
    fn try_from(value: wire::DataQuality) -> Result<Self, Error> {
        Ok(Self {
            quality: value.quality.try_into()?,
            reason: text(value.reason, "reason")?,
            since: timestamp(value.since_unix_ms, "since_unix_ms")?,
            sources_expected: value.sources_expected,
            sources_seen: value.sources_seen,
            last_good: optional_timestamp(value.last_good_unix_ms, "last_good_unix_ms")?,
        })
    }
}

impl From<model::DataQuality> for wire::DataQuality {
    fn from(value: model::DataQuality) -> Self {
        let model::DataQuality { quality, reason, since, sources_expected, sources_seen, last_good } = value;
        Self {
            quality: quality.into(),
            reason,
            since_unix_ms: since.as_millisecond(),
            sources_expected,
            sources_seen,
            last_good_unix_ms: millis(last_good),
        }
    }
}

impl TryFrom<wire::OutlookPoint> for model::OutlookPoint {
    type Error = Error;
    fn try_from(value: wire::OutlookPoint) -> Result<Self, Error> {
        let wire::OutlookPoint { after_ms, values } = value;
        let rates = values.iter().all(|value| value.is_finite() && *value >= 0.0);
        if !rates || values.windows(2).any(|pair| pair[1] < pair[0]) {
            return Err(Error::new("values", format!("{values:?}"), "must be rates that never fall"));
        }
        Ok(Self { after: Duration::from_millis(after_ms), values })
    }
}

impl From<model::OutlookPoint> for wire::OutlookPoint {
    fn from(value: model::OutlookPoint) -> Self {
        let model::OutlookPoint { after, values } = value;
        Self { after_ms: duration_ms(after), values }
    }
}

impl TryFrom<wire::LatePoint> for model::LatePoint {
    type Error = Error;
    fn try_from(value: wire::LatePoint) -> Result<Self, Error> {
        Ok(Self {
            utilisation_ratio: finite(value.utilisation_ratio, "utilisation_ratio")?,
            requests: finite(value.requests, "requests")?,
            late: finite(value.late, "late")?,
        })
    }
}

impl From<model::LatePoint> for wire::LatePoint {
    fn from(value: model::LatePoint) -> Self {
        let model::LatePoint { utilisation_ratio, requests, late } = value;
        Self { utilisation_ratio, requests, late }
    }
}

impl TryFrom<wire::Outlook> for model::Outlook {
    type Error = Error;
    fn try_from(value: wire::Outlook) -> Result<Self, Error> {
        let wire::Outlook { at_unix_ms, levels, points, late, coverage_ratio } = value;
        let shares = levels.iter().all(|level| *level > 0.0 && *level < 1.0);
        if !shares || levels.windows(2).any(|pair| pair[1] <= pair[0]) {
            return Err(Error::new("levels", format!("{levels:?}"), "must be probabilities that rise"));
        }
        let points: Vec<model::OutlookPoint> = all(points, "points")?;
        if let Some(point) = points.iter().find(|point| point.values.len() != levels.len()) {
            return Err(Error::new("points", point.values.len(), "must have one value for each level"));
        }
        let coverage_ratio = coverage_ratio.map(|share| ratio(share, "coverage_ratio")).transpose()?;
        let (at, late) = (timestamp(at_unix_ms, "at_unix_ms")?, all(late, "late")?);
        Ok(Self { at, levels, points, late, coverage_ratio })
    }
}

impl From<model::Outlook> for wire::Outlook {
    fn from(value: model::Outlook) -> Self {
        let model::Outlook { at, levels, points, late, coverage_ratio } = value;
        Self {
            at_unix_ms: at.as_millisecond(),
            levels,
            points: back(points),
            late: back(late),
            coverage_ratio,
        }
    }
}

impl TryFrom<wire::Assessment> for model::Assessment {
    type Error = Error;
    fn try_from(value: wire::Assessment) -> Result<Self, Error> {
        Ok(Self {
            resource: required(value.resource, "resource")?,
            shard: Shard::new(value.shard)
                .ok_or_else(|| Error::new("shard", value.shard, "must be 0 to 63"))?,
            at: timestamp(value.at_unix_ms, "at_unix_ms")?,
            sequence: value.sequence,
            signals: all(value.signals, "signals")?,
            symptoms: all(value.symptoms, "symptoms")?,
            objective: value.objective.map(model::ObjectiveState::try_from).transpose()?,
            capacity: required(value.capacity, "capacity")?,
            outlook: value.outlook.map(model::Outlook::try_from).transpose()?.map(Box::new),
            data: required(value.data, "data")?,
            interval: Duration::from_millis(value.interval_ms),
            budget_policies: all(value.budget_policies, "budget_policies")?,
        })
    }
}

impl From<model::Assessment> for wire::Assessment {
    fn from(value: model::Assessment) -> Self {
        let model::Assessment {
            resource,
            shard,
            at,
            sequence,
            signals,
            symptoms,
            objective,
            capacity,
            outlook,
            data,
            interval,
            budget_policies,
        } = value;
        Self {
            resource: Some(resource.into()),
            shard: shard.number(),
            at_unix_ms: at.as_millisecond(),
            sequence,
            signals: back(signals),
            symptoms: back(symptoms),
            objective: objective.map(Into::into),
            capacity: Some(capacity.into()),
            outlook: outlook.map(|outlook| (*outlook).into()),
            data: Some(data.into()),
            interval_ms: duration_ms(interval),
            budget_policies: back(budget_policies),
        }
    }
}

impl TryFrom<wire::LearnedSignal> for model::LearnedSignal {
    type Error = Error;
    fn try_from(value: wire::LearnedSignal) -> Result<Self, Error> {
        Ok(Self {
            signal: required(value.signal, "signal")?,
            unit: text(value.unit, "unit")?,
            declared: value.declared,
            glance: required(value.glance, "glance")?,
            samples: value.samples,
            warm_up_remaining: value.warm_up_remaining,
            coverage_ratio: ratio(value.coverage_ratio, "coverage_ratio")?,
            generation: value.generation,
            method: text(value.method, "method")?,
        })
    }
}

impl From<model::LearnedSignal> for wire::LearnedSignal {
    fn from(value: model::LearnedSignal) -> Self {
        let model::LearnedSignal {
            signal,
            unit,
            declared,
            glance,
            samples,
            warm_up_remaining,
            coverage_ratio,
            generation,
            method,
        } = value;
        Self {
            signal: Some(signal.into()),
            unit,
            declared,
            glance: Some(glance.into()),
            samples,
            warm_up_remaining,
            coverage_ratio,
            generation,
            method,
        }
    }
}
