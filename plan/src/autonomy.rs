//! Which level a policy has earned at each resource. A policy begins at the level that it declares: who wrote `act` has vouched
//! for it. Harm takes a level at once; evidence gives it back, rule by rule (`rules`); a person's word caps it.

pub mod rules;
pub mod shadow;

use jiff::{SignedDuration, Timestamp};
use proto::model::{
    AutonomyLevel, DirectiveRecord, DirectiveState, EvidenceSource, EvidenceVerdict, OutcomeResult,
    ResourceId, Standing, StandingCause, StandingEvidence,
};
use std::collections::BTreeMap;

/// Pieces of evidence that are remembered of a policy at a resource: the rules ask for tens.
const EVIDENCE_MAX: usize = 300;

/// What is known of one policy at one resource.
#[derive(Debug, Clone, Default, PartialEq)]
struct Record {
    standing: Option<Standing>,
    /// In the order in which it was told.
    evidence: Vec<StandingEvidence>,
    /// Told since it was last weighed.
    fresh: bool,
}

/// Every policy's standing at every resource.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Standings {
    by_resource: BTreeMap<ResourceId, BTreeMap<String, Record>>,
    unsent: Vec<StandingEvidence>,
    /// Something was told since anything was last weighed.
    fresh: bool,
}

impl Standings {
    /// The level in force where this much is declared. Allocates nothing.
    pub fn level(&self, policy: &str, resource: &ResourceId, declared: AutonomyLevel) -> AutonomyLevel {
        let record = self.by_resource.get(resource).and_then(|policies| policies.get(policy));
        record
            .and_then(|record| record.standing.as_ref())
            .map_or(declared, |standing| standing.level(declared))
    }

    fn record_mut(&mut self, policy: &str, resource: &ResourceId) -> &mut Record {
        self.by_resource.entry(resource.clone()).or_default().entry(policy.to_owned()).or_default()
    }

    /// Takes in what Knowledge holds; older than what is known changes nothing. Whether anything changed.
    pub fn put(&mut self, standing: Standing) -> bool {
        let record = self.record_mut(&standing.policy, &standing.resource);
        let is_news = record.standing.as_ref().is_none_or(|known| known.generation < standing.generation);
        if is_news {
            record.standing = Some(standing);
        }
        is_news
    }

    /// Takes in what Knowledge holds instead of what was assumed.
    pub fn adopt(&mut self, standing: Standing) {
        let record = self.record_mut(&standing.policy, &standing.resource);
        record.standing = Some(standing);
    }

    /// Takes in evidence that Knowledge holds already.
    pub fn remember(&mut self, evidence: StandingEvidence) {
        self.add(evidence);
    }

    /// Takes in evidence that was just found; what was told before changes nothing.
    pub fn note(&mut self, evidence: StandingEvidence) {
        if self.add(evidence.clone()) {
            self.unsent.push(evidence);
        }
    }

    fn add(&mut self, evidence: StandingEvidence) -> bool {
        let record = self.record_mut(&evidence.policy, &evidence.resource);
        let known = |known: &StandingEvidence| {
            (known.source, known.subject.as_str()) == (evidence.source, evidence.subject.as_str())
        };
        if record.evidence.iter().any(known) {
            return false;
        }
        if record.evidence.len() == EVIDENCE_MAX {
            record.evidence.remove(0);
        }
        record.evidence.push(evidence);
        record.fresh = true;
        self.fresh = true;
        true
    }

    /// Evidence that Knowledge has not been told yet.
    pub fn take_unsent(&mut self) -> Vec<StandingEvidence> {
        std::mem::take(&mut self.unsent)
    }

    /// Weighs the evidence: that of standings about which something new was told, or of all, because waits end without news.
    /// Changes hold at once, and are to be recorded.
    pub fn reconsider(
        &mut self,
        declared: impl Fn(&str, &ResourceId) -> Option<AutonomyLevel>,
        all: bool,
        now: Timestamp,
    ) -> Vec<Standing> {
        let mut changes = Vec::new();
        if !all && !self.fresh {
            return changes;
        }
        self.fresh = false;
        for (resource, policies) in &mut self.by_resource {
            for (policy, record) in policies.iter_mut().filter(|(_, record)| all || record.fresh) {
                record.fresh = false;
                let Some(declared) = declared(policy, resource) else { continue };
                let held = record.standing.as_ref();
                let Some(change) = rules::reconsider(declared, held, &record.evidence, now) else { continue };
                // What was counted once is not counted again, whosoever's clock is ahead.
                let newest = record.evidence.iter().map(|found| found.at).max();
                let standing = Standing {
                    policy: policy.clone(),
                    resource: resource.clone(),
                    generation: held.map_or(1, |held| held.generation + 1),
                    earned: change.earned,
                    cap: held.and_then(|held| held.cap),
                    cause: change.cause,
                    reason: change.reason,
                    actor: "plan".to_owned(),
                    at: newest.map_or(now, |newest| newest.max(now)),
                };
                record.standing = Some(standing.clone());
                changes.push(standing);
            }
        }
        changes
    }
}

/// A change that came second, made again on top of the one that came first. A demotion holds whatever came between; a promotion
/// that somebody was faster than is void.
pub fn rebase(ours: Standing, newest: &Standing) -> Option<Standing> {
    (ours.cause == StandingCause::Demoted).then(|| Standing {
        generation: newest.generation + 1,
        earned: ours.earned.min(newest.earned),
        cap: newest.cap,
        at: ours.at.max(newest.at + SignedDuration::from_millis(1)),
        ..ours
    })
}

/// What a directive's end says of its policy; `None` while it has none, or when it says nothing. What takes another one back is
/// nobody's policy.
pub fn evidence_of(record: &DirectiveRecord, outcome: Option<OutcomeResult>) -> Option<StandingEvidence> {
    let directive = &record.directive;
    let verdict = match (record.state, outcome) {
        (DirectiveState::Verified, _) => EvidenceVerdict::For,
        (DirectiveState::Ineffective, _) => EvidenceVerdict::Against,
        (DirectiveState::Harmful, _) => EvidenceVerdict::Harm,
        // Taken back: by the verdict that it had.
        (DirectiveState::Undone, Some(OutcomeResult::Harmful)) => EvidenceVerdict::Harm,
        (DirectiveState::Undone, Some(OutcomeResult::Ineffective)) => EvidenceVerdict::Against,
        (DirectiveState::Unknown, Some(OutcomeResult::Unknown)) => EvidenceVerdict::Unknown,
        _ => return None,
    };
    directive.undo_of.is_none().then(|| StandingEvidence {
        policy: directive.policy.clone(),
        resource: directive.resource.clone(),
        source: EvidenceSource::Outcome,
        subject: directive.id.to_string(),
        verdict,
        text: format!("{}: {}", directive.action, record.detail),
        at: record.changed_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{at, scale_record, service};
    use AutonomyLevel::{Act, Approve, Recommend};

    fn harm(generation: u32, second: i64) -> StandingEvidence {
        evidence_of(&scale_record(generation, 2, 3, DirectiveState::Harmful, second), None).unwrap()
    }

    fn weigh(standings: &mut Standings, second: i64) -> Vec<Standing> {
        standings.reconsider(|_, _| Some(Act), true, at(second))
    }

    fn level(standings: &Standings, evidence: &StandingEvidence) -> AutonomyLevel {
        standings.level(&evidence.policy, &service("catalog"), Act)
    }

    #[test]
    fn harm_takes_a_level_at_once_and_once_only() {
        let mut standings = Standings::default();
        let harm = harm(1, 100);
        assert_eq!(level(&standings, &harm), Act);
        standings.note(harm.clone());
        // Plan's clock is behind the one by which the harm was found.
        let changes = weigh(&mut standings, 90);
        assert_eq!(
            changes.iter().map(|change| (change.earned, change.generation)).collect::<Vec<_>>(),
            [(Approve, 1)]
        );
        assert_eq!(level(&standings, &harm), Approve);
        standings.note(harm.clone());
        assert!(weigh(&mut standings, 200).is_empty(), "told twice, counted once");
        assert_eq!(standings.take_unsent(), [harm]);
        standings.note(super::tests::harm(2, 300));
        assert_eq!(weigh(&mut standings, 300)[0].earned, Recommend);
    }

    #[test]
    fn older_standings_change_nothing_and_a_persons_word_is_obeyed() {
        let mut standings = Standings::default();
        let evidence = harm(1, 100);
        standings.note(evidence.clone());
        let demoted = weigh(&mut standings, 100).remove(0);
        let set = Standing {
            generation: 2,
            earned: Act,
            cap: Some(Recommend),
            cause: StandingCause::Set,
            ..demoted.clone()
        };
        assert!(standings.put(set.clone()));
        assert!(!standings.put(demoted));
        assert_eq!(level(&standings, &evidence), Recommend);
        assert!(standings.put(Standing { generation: 3, cap: None, ..set }));
        assert_eq!(level(&standings, &evidence), Act);
    }

    #[test]
    fn demotion_that_came_second_still_holds_and_a_promotion_does_not() {
        let mut standings = Standings::default();
        standings.note(harm(1, 100));
        let ours = weigh(&mut standings, 100).remove(0);
        let newest = Standing { generation: 7, earned: Act, cap: Some(Act), at: at(500), ..ours.clone() };
        let again = rebase(ours.clone(), &newest).unwrap();
        assert_eq!((again.generation, again.earned, again.cap), (8, Approve, Some(Act)));
        assert!(again.at > newest.at);
        assert_eq!(rebase(Standing { cause: StandingCause::Promoted, ..ours }, &newest), None);
    }

    #[test]
    fn what_was_taken_back_by_a_person_says_nothing() {
        let undone = scale_record(1, 2, 3, DirectiveState::Undone, 10);
        assert_eq!(evidence_of(&undone, None), None);
        let verdict = |outcome| evidence_of(&undone, Some(outcome)).map(|evidence| evidence.verdict);
        assert_eq!(verdict(OutcomeResult::Harmful), Some(EvidenceVerdict::Harm));
        assert_eq!(verdict(OutcomeResult::Verified), None);
        let failed = scale_record(1, 2, 3, DirectiveState::Failed, 10);
        assert_eq!(evidence_of(&failed, None), None, "an actuator's failure is not the policy's");
    }
}
