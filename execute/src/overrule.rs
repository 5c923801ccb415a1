//! A person's word over a breaker's mode, as a directive like any other: recorded, fenced, replicated, and over by itself.

use std::time::Duration;

use jiff::Timestamp;
use proto::model::{
    Action, AutonomyLevel, BreakerOverride, BreakerSetting, Directive, DirectiveRecord, DirectiveState,
    Generation, Preconditions, Rationale, ResourceId,
};
use uuid::Uuid;

use crate::moment::later;

/// The name that stands where a policy's would: a person asked.
pub const POLICY: &str = "override";
/// A word that stands longer is a policy, and should be written as one.
pub const LONGEST: Duration = Duration::from_secs(30 * 24 * 3_600);
/// An instance that cannot be reached for so long is not told; it hears of it when it is back.
const EXPIRES_AFTER: Duration = Duration::from_secs(120);
/// Setting a breaker takes microseconds; the rest is the way there.
const APPLY_TIMEOUT: Duration = Duration::from_secs(10);
/// It promises nothing that a signal could tell.
const VERIFY_WINDOW: Duration = Duration::from_secs(1);

/// What a person wants.
#[derive(Debug, Clone, PartialEq)]
pub struct Wish {
    /// The new directive's id.
    pub id: Uuid,
    /// Which edge.
    pub edge: ResourceId,
    /// What is said.
    pub told: BreakerOverride,
    /// By whom.
    pub actor: String,
    /// Why.
    pub reason: String,
}

/// The directive that says so, over what is set now.
pub fn directive(wish: &Wish, current: &BreakerSetting, parent: Generation, now: Timestamp) -> Directive {
    let Wish { id, edge, told, actor, reason } = wish;
    let set = |told| Action::SetBreaker(BreakerSetting { told: Some(told), ..*current });
    let what = match told {
        BreakerOverride::Set { mode, until } => format!("{mode} until {until}"),
        BreakerOverride::Cleared => "no override any longer".to_owned(),
    };
    Directive {
        id: *id,
        resource: edge.clone(),
        action: set(*told),
        undo: set(current.told.filter(|before| before.stands(now)).unwrap_or(BreakerOverride::Cleared)),
        parent_generation: parent,
        generation: Generation(0),
        policy: POLICY.to_owned(),
        // Whoever asks for it has approved it.
        autonomy: AutonomyLevel::Act,
        created_at: now,
        expires_at: later(now, EXPIRES_AFTER),
        apply_timeout: APPLY_TIMEOUT,
        verify_window: VERIFY_WINDOW,
        preconditions: Preconditions { max_evidence_age: EXPIRES_AFTER, requires_known_data: false },
        expected: Vec::new(),
        counterfactual: Vec::new(),
        rationale: Rationale { text: format!("{actor}: {what}: {reason}"), ..Rationale::default() },
        blast_radius_ratio: 1.0,
        // A person looks at more than the data that is known.
        reduces: false,
        undo_of: None,
        quorum_ratio: 1.0,
    }
}

/// The setting that stands by the ledger, and the newest generation it gave out. `records` are those of the edge.
pub fn current(records: &[DirectiveRecord]) -> (Option<BreakerSetting>, Generation) {
    let newest = records.iter().map(|record| record.directive.generation).max().unwrap_or_default();
    let stand = records.iter().filter(|record| record.state.under_way() || stands(record.state));
    let setting = stand.max_by_key(|record| record.directive.generation).and_then(setting);
    (setting, newest)
}

/// The last word of a person that took effect, and its generation.
pub fn last_word(records: &[DirectiveRecord]) -> Option<(BreakerOverride, Generation)> {
    let words = records.iter().filter(|record| stands(record.state)).filter_map(|record| {
        let word = setting(record)?.told?;
        Some((word, record.directive.generation))
    });
    words.max_by_key(|(_, generation)| *generation)
}

/// A directive without a promise ends as unknown, and stands nevertheless.
fn stands(state: DirectiveState) -> bool {
    state.in_effect() || state == DirectiveState::Unknown
}

fn setting(record: &DirectiveRecord) -> Option<BreakerSetting> {
    match record.directive.action {
        Action::SetBreaker(setting) => Some(setting),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, breaker, edge, id, record, start};
    use proto::model::BreakerMode;

    fn wish(told: BreakerOverride) -> Wish {
        Wish { id: id(9), edge: edge(), told, actor: "me".into(), reason: "drill".into() }
    }

    fn set(until: Timestamp) -> BreakerOverride {
        BreakerOverride::Set { mode: BreakerMode::ForcedOpen, until }
    }

    fn said(number: u64, told: BreakerOverride) -> DirectiveRecord {
        let Action::SetBreaker(setting) = breaker(BreakerMode::Enforce).action else { panic!("a setting") };
        let directive = super::directive(&wish(told), &setting, Generation(number - 1), start());
        let directive = Directive { generation: Generation(number), ..directive };
        record(&directive, DirectiveState::Unknown, number)
    }

    #[test]
    fn a_word_keeps_the_rest_of_the_setting_and_its_undo_takes_only_the_word_back() {
        let before = record(&breaker(BreakerMode::Enforce), DirectiveState::Verified, 1);
        let (setting, newest) = current(std::slice::from_ref(&before));
        let setting = setting.unwrap();
        let directive = directive(&wish(set(at(60_000))), &setting, newest, start());
        let Action::SetBreaker(now) = directive.action else { panic!("a setting") };
        assert_eq!(BreakerSetting { told: None, ..now }, setting);
        assert_eq!(
            directive.undo,
            Action::SetBreaker(BreakerSetting { told: Some(BreakerOverride::Cleared), ..setting })
        );
        assert_eq!(directive.parent_generation, Generation(1));
        assert!(directive.rationale.text.contains("me: forced_open until"), "{}", directive.rationale.text);
    }

    #[test]
    fn the_last_word_is_the_newest_that_took_effect_and_a_later_setting_without_one_leaves_it() {
        let planned = record(
            &Directive { generation: Generation(4), ..breaker(BreakerMode::Enforce) },
            DirectiveState::Verified,
            4,
        );
        let mut lost = said(5, BreakerOverride::Cleared);
        lost.state = DirectiveState::Expired;
        let records = [lost, planned, said(3, set(at(1))), said(2, BreakerOverride::Cleared)];
        assert_eq!(last_word(&records), Some((set(at(1)), Generation(3))));
        assert_eq!(current(&records).1, Generation(5), "the generation is used up nevertheless");
        assert_eq!(current(&records).0.unwrap().told, None);
    }
}
