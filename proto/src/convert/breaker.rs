//! What breakers tell, and what they are told.

use super::{Error, duration_ms, finite, optional_timestamp, ratio, required, text};
use crate::{
    model::{self, Generation},
    wire,
};
use std::{collections::BTreeMap, time::Duration};

/// Numbers of a baseline: level, hours, days, hours of the week in pairs stay below half of it.
const NUMBERS_MAX: usize = 1_000;
/// Reasons or outcomes of one breaker; there are below ten.
const COUNTS_MAX: usize = 64;
/// Longest name of a method or a host.
const NAME_MAX: usize = 253;

impl TryFrom<wire::BreakerOverride> for model::BreakerOverride {
    type Error = Error;
    fn try_from(value: wire::BreakerOverride) -> Result<Self, Error> {
        let wire::BreakerOverride { mode, until_unix_ms } = value;
        if mode == 0 {
            return Ok(Self::Cleared);
        }
        let until = optional_timestamp(until_unix_ms, "until_unix_ms")?
            .ok_or_else(|| Error::new("until_unix_ms", 0, "must be given: an override ends"))?;
        Ok(Self::Set { mode: mode.try_into()?, until })
    }
}

impl From<model::BreakerOverride> for wire::BreakerOverride {
    fn from(value: model::BreakerOverride) -> Self {
        match value {
            model::BreakerOverride::Cleared => Self::default(),
            model::BreakerOverride::Set { mode, until } => {
                Self { mode: mode.into(), until_unix_ms: until.as_millisecond() }
            }
        }
    }
}

impl TryFrom<wire::BreakerBaseline> for model::BreakerBaseline {
    type Error = Error;
    fn try_from(value: wire::BreakerBaseline) -> Result<Self, Error> {
        let wire::BreakerBaseline { format, numbers, failure_ratio } = value;
        if numbers.len() > NUMBERS_MAX {
            return Err(Error::new("baseline.numbers", numbers.len(), "must be at most 1,000"));
        }
        for number in &numbers {
            finite(*number, "baseline.numbers")?;
        }
        Ok(Self { format, numbers, failure_ratio: ratio(failure_ratio, "baseline.failure_ratio")? })
    }
}

impl From<model::BreakerBaseline> for wire::BreakerBaseline {
    fn from(value: model::BreakerBaseline) -> Self {
        let model::BreakerBaseline { format, numbers, failure_ratio } = value;
        Self { format, numbers, failure_ratio }
    }
}

fn key(edge: Option<wire::ResourceId>, method: String, host: String) -> Result<model::BreakerKey, Error> {
    let edge: model::ResourceId = required(edge, "edge")?;
    if edge.edge_ends().is_none() {
        return Err(Error::new("edge", edge, "must be an edge, as caller->callee"));
    }
    for (field, name) in [("method", &method), ("host", &host)] {
        if name.len() > NAME_MAX || name.chars().any(char::is_control) {
            return Err(Error::new(field, name, "must be at most 253 printable characters"));
        }
    }
    Ok(model::BreakerKey { edge, method, host })
}

fn at_least_zero(value: f64, field: &str) -> Result<f64, Error> {
    if finite(value, field)? < 0.0 { Err(Error::new(field, value, "must not be below 0")) } else { Ok(value) }
}

fn counts(
    values: std::collections::HashMap<String, u64>,
    field: &str,
) -> Result<BTreeMap<String, u64>, Error> {
    if values.len() > COUNTS_MAX {
        return Err(Error::new(field, values.len(), "must have at most 64 elements"));
    }
    values.into_iter().map(|(name, count)| Ok((text(name, field)?, count))).collect()
}

impl TryFrom<wire::BreakerReport> for model::BreakerReport {
    type Error = Error;
    fn try_from(value: wire::BreakerReport) -> Result<Self, Error> {
        Ok(Self {
            key: key(value.edge, value.method, value.host)?,
            phase: value.phase.try_into()?,
            verdict: value.verdict.try_into()?,
            outage_score: at_least_zero(value.outage_score, "outage_score")?,
            outage_threshold: at_least_zero(value.outage_threshold, "outage_threshold")?,
            probes_answered: value.probes_answered,
            policy: required(value.policy, "policy")?,
            generation: Generation(value.generation),
            override_generation: Generation(value.override_generation),
            failure_baseline_ratio: ratio(value.failure_baseline_ratio, "failure_baseline_ratio")?,
            rate_per_second: at_least_zero(value.rate_per_second, "rate_per_second")?,
            admitted_ratio: ratio(value.admitted_ratio, "admitted_ratio")?,
            opened_total: value.opened_total,
            would_reject_total: value.would_reject_total,
            rejected_total: counts(value.rejected_total, "rejected_total")?,
            results_total: counts(value.results_total, "results_total")?,
            probes_in_flight: value.probes_in_flight,
            probe_permits: value.probe_permits,
            baseline_known: value.baseline_known,
            baseline: value.baseline.map(TryInto::try_into).transpose()?,
        })
    }
}

impl From<model::BreakerReport> for wire::BreakerReport {
    fn from(value: model::BreakerReport) -> Self {
        let model::BreakerKey { edge, method, host } = value.key;
        Self {
            edge: Some(edge.into()),
            method,
            host,
            phase: value.phase.into(),
            verdict: value.verdict.into(),
            outage_score: value.outage_score,
            outage_threshold: value.outage_threshold,
            probes_answered: value.probes_answered,
            policy: Some(value.policy.into()),
            generation: value.generation.0,
            override_generation: value.override_generation.0,
            failure_baseline_ratio: value.failure_baseline_ratio,
            rate_per_second: value.rate_per_second,
            admitted_ratio: value.admitted_ratio,
            opened_total: value.opened_total,
            would_reject_total: value.would_reject_total,
            rejected_total: value.rejected_total.into_iter().collect(),
            results_total: value.results_total.into_iter().collect(),
            probes_in_flight: value.probes_in_flight,
            probe_permits: value.probe_permits,
            baseline_known: value.baseline_known,
            baseline: value.baseline.map(Into::into),
        }
    }
}

impl TryFrom<wire::BreakerAdvice> for model::BreakerAdvice {
    type Error = Error;
    fn try_from(value: wire::BreakerAdvice) -> Result<Self, Error> {
        let told = value.r#override.map(model::BreakerOverride::try_from).transpose()?;
        Ok(Self {
            key: key(value.edge, value.method, value.host)?,
            valid: Duration::from_millis(value.valid_ms),
            others_score: at_least_zero(value.others_score, "others_score")?,
            witnesses: value.witnesses,
            probing: value.probing.try_into()?,
            may_eject: value.may_eject,
            baseline: value.baseline.map(TryInto::try_into).transpose()?,
            told: told.map(|told| (told, Generation(value.override_generation))),
        })
    }
}

impl From<model::BreakerAdvice> for wire::BreakerAdvice {
    fn from(value: model::BreakerAdvice) -> Self {
        let model::BreakerKey { edge, method, host } = value.key;
        Self {
            edge: Some(edge.into()),
            method,
            host,
            valid_ms: duration_ms(value.valid),
            others_score: value.others_score,
            witnesses: value.witnesses,
            probing: value.probing.into(),
            may_eject: value.may_eject,
            baseline: value.baseline.map(Into::into),
            override_generation: value.told.map_or(0, |(_, generation)| generation.0),
            r#override: value.told.map(|(told, _)| told.into()),
        }
    }
}

impl TryFrom<wire::BreakerRecord> for model::BreakerRecord {
    type Error = Error;
    fn try_from(value: wire::BreakerRecord) -> Result<Self, Error> {
        Ok(Self {
            instance: text(value.instance, "instance")?,
            report: required(value.report, "report")?,
            age: Duration::from_millis(value.age_ms),
            advice: value.advice.map(TryInto::try_into).transpose()?,
        })
    }
}

impl From<model::BreakerRecord> for wire::BreakerRecord {
    fn from(value: model::BreakerRecord) -> Self {
        Self {
            instance: value.instance,
            report: Some(value.report.into()),
            age_ms: duration_ms(value.age),
            advice: value.advice.map(Into::into),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge() -> wire::ResourceId {
        wire::ResourceId { kind: "edge".into(), namespace: "shop".into(), name: "cart->stock".into() }
    }

    #[test]
    fn override_without_an_end_is_refused_and_without_a_mode_is_none() {
        let endless = wire::BreakerOverride { mode: 3, until_unix_ms: 0 };
        assert!(model::BreakerOverride::try_from(endless).is_err());
        let none = wire::BreakerOverride { mode: 0, until_unix_ms: 0 };
        assert_eq!(model::BreakerOverride::try_from(none), Ok(model::BreakerOverride::Cleared));
    }

    #[test]
    fn advice_survives_the_wire_and_nonsense_does_not() {
        let advice = wire::BreakerAdvice {
            edge: Some(edge()),
            probing: 2,
            others_score: 3.5,
            valid_ms: 2_000,
            ..Default::default()
        };
        let read = model::BreakerAdvice::try_from(advice.clone()).unwrap();
        assert_eq!(wire::BreakerAdvice::from(read), advice);
        for broken in [
            wire::BreakerAdvice { others_score: f64::NAN, ..advice.clone() },
            wire::BreakerAdvice { others_score: -1.0, ..advice.clone() },
            wire::BreakerAdvice { probing: 9, ..advice.clone() },
            wire::BreakerAdvice { edge: None, ..advice.clone() },
            wire::BreakerAdvice { method: "x".repeat(300), ..advice },
        ] {
            assert!(model::BreakerAdvice::try_from(broken).is_err());
        }
    }
}
