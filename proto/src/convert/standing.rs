//! What policies have earned, and the evidence for it.

use super::{Error, required, text, timestamp};
use crate::{
    model::{AutonomyLevel, Standing, StandingEvidence},
    wire,
};

/// Longest name of a policy, as for every declared document.
const NAME_LENGTH_MAX: usize = 253;

fn policy(name: String) -> Result<String, Error> {
    if name.is_empty() || name.len() > NAME_LENGTH_MAX {
        return Err(Error::new("policy", name, "must be 1 to 253 bytes"));
    }
    Ok(name)
}

/// 0 means absent.
fn optional_level(value: i32) -> Result<Option<AutonomyLevel>, Error> {
    if value == 0 { Ok(None) } else { value.try_into().map(Some) }
}

impl TryFrom<wire::Standing> for Standing {
    type Error = Error;
    fn try_from(value: wire::Standing) -> Result<Self, Error> {
        if value.generation == 0 {
            return Err(Error::new("generation", 0, "must count from 1"));
        }
        Ok(Self {
            policy: policy(value.policy)?,
            resource: required(value.resource, "resource")?,
            generation: value.generation,
            earned: value.earned.try_into()?,
            cap: optional_level(value.cap)?,
            cause: value.cause.try_into()?,
            reason: text(value.reason, "reason")?,
            actor: text(value.actor, "actor")?,
            at: timestamp(value.at_unix_ms, "at_unix_ms")?,
        })
    }
}

impl From<Standing> for wire::Standing {
    fn from(value: Standing) -> Self {
        let Standing { policy, resource, generation, earned, cap, cause, reason, actor, at } = value;
        Self {
            policy,
            resource: Some(resource.into()),
            generation,
            earned: earned.into(),
            cap: cap.map_or(0, i32::from),
            cause: cause.into(),
            reason,
            actor,
            at_unix_ms: at.as_millisecond(),
        }
    }
}

impl TryFrom<wire::StandingEvidence> for StandingEvidence {
    type Error = Error;
    fn try_from(value: wire::StandingEvidence) -> Result<Self, Error> {
        if value.subject.is_empty() || value.subject.len() > Self::SUBJECT_MOST {
            return Err(Error::new("subject", value.subject, "must be 1 to 200 bytes"));
        }
        Ok(Self {
            policy: policy(value.policy)?,
            resource: required(value.resource, "resource")?,
            source: value.source.try_into()?,
            subject: value.subject,
            verdict: value.verdict.try_into()?,
            text: text(value.text, "text")?,
            at: timestamp(value.at_unix_ms, "at_unix_ms")?,
        })
    }
}

impl From<StandingEvidence> for wire::StandingEvidence {
    fn from(value: StandingEvidence) -> Self {
        let StandingEvidence { policy, resource, source, subject, verdict, text, at } = value;
        Self {
            policy,
            resource: Some(resource.into()),
            source: source.into(),
            subject,
            verdict: verdict.into(),
            text,
            at_unix_ms: at.as_millisecond(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EvidenceSource, EvidenceVerdict, StandingCause};

    fn standing() -> Standing {
        Standing {
            policy: "catalog".to_owned(),
            resource: "service:staging/catalog".parse().unwrap(),
            generation: 2,
            earned: AutonomyLevel::Act,
            cap: Some(AutonomyLevel::Approve),
            cause: StandingCause::Set,
            reason: "a fair is coming".to_owned(),
            actor: "ann".to_owned(),
            at: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_standing_and_evidence_go_over_the_wire_and_back_unchanged() {
        assert_eq!(Standing::try_from(wire::Standing::from(standing())).unwrap(), standing());
        let evidence = StandingEvidence {
            policy: "catalog".to_owned(),
            resource: standing().resource,
            source: EvidenceSource::Shadow,
            subject: "x".to_owned(),
            verdict: EvidenceVerdict::Unknown,
            text: String::new(),
            at: jiff::Timestamp::UNIX_EPOCH,
        };
        assert_eq!(
            StandingEvidence::try_from(wire::StandingEvidence::from(evidence.clone())).unwrap(),
            evidence
        );
        let nameless = wire::StandingEvidence { subject: String::new(), ..evidence.into() };
        assert!(StandingEvidence::try_from(nameless).unwrap_err().to_string().contains("subject"));
    }

    #[test]
    fn the_lowest_of_declared_earned_and_allowed_holds() {
        assert_eq!(standing().level(AutonomyLevel::Act), AutonomyLevel::Approve);
        assert_eq!(standing().level(AutonomyLevel::Observe), AutonomyLevel::Observe);
        let free = Standing { cap: None, ..standing() };
        assert_eq!(free.level(AutonomyLevel::Act), AutonomyLevel::Act);
        let fallen = Standing { earned: AutonomyLevel::Recommend, ..standing() };
        assert_eq!(fallen.level(AutonomyLevel::Act), AutonomyLevel::Recommend);
    }

    #[test]
    fn generations_count_from_one_and_words_must_be_known() {
        let wire = || wire::Standing::from(standing());
        assert!(Standing::try_from(wire::Standing { generation: 0, ..wire() }).is_err());
        assert!(Standing::try_from(wire::Standing { earned: 0, ..wire() }).is_err());
        assert!(Standing::try_from(wire::Standing { cap: 9, ..wire() }).is_err());
        assert_eq!(Standing::try_from(wire::Standing { cap: 0, ..wire() }).unwrap().cap, None);
    }
}
