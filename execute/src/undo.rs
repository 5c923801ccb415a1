//! The directive that takes another one back: when one is due, and what it says.

use jiff::Timestamp;
use proto::model::{
    Action, AutonomyLevel, BreakerMode, Directive, DirectiveKind, DirectiveState, Evidence, ExpectedEffect,
    Generation, MeasuredEffect, Preconditions, Rationale,
};
use uuid::{Builder, Uuid};

use crate::moment::{between, later};

/// Whether a directive that was judged so is taken back by itself.
pub fn is_due(directive: &Directive, state: DirectiveState) -> bool {
    // An undo is not undone: two directives that take each other back would never end.
    if directive.undo_of.is_some() {
        return false;
    }
    match (state, directive.kind()) {
        (DirectiveState::Harmful, _) => true,
        // Capacity that did not suffice would be missed even more if it were taken away; capacity that was given up without
        // harm is not missed. Plan decides anew from where things stand.
        (DirectiveState::Ineffective, DirectiveKind::Scale) => false,
        // A breaker setting that does not help still rejects calls.
        (DirectiveState::Ineffective, DirectiveKind::SetBreaker) => true,
        // The other kinds promise only themselves; whoever asked for them takes them back.
        _ => false,
    }
}

/// The id of the undo that Execute proposes by itself: the same after a crash, so that it is proposed once.
pub fn id_of(directive: Uuid) -> Uuid {
    derived(directive, "undo")
}

/// An id that follows from another and a word (FNV-1a, 128 bit), in the form of a version 8 UUID.
pub(crate) fn derived(from: Uuid, word: &str) -> Uuid {
    let mut hash: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    for byte in from.as_bytes().iter().chain(word.as_bytes()) {
        hash = (hash ^ u128::from(*byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
    }
    Builder::from_custom_bytes(hash.to_be_bytes()).into_uuid()
}

/// Why and by whom a directive is taken back.
#[derive(Debug, Clone, Copy)]
pub struct Reason<'a> {
    /// The new directive's id.
    pub id: Uuid,
    /// One sentence.
    pub text: &'a str,
    /// What was measured.
    pub effects: &'a [MeasuredEffect],
    /// Level under which it is made: that of the original, unless a person asks for it.
    pub autonomy: AutonomyLevel,
}

/// The directive that takes `original` back.
pub fn directive(original: &Directive, reason: &Reason<'_>, now: Timestamp) -> Directive {
    let Reason { id, text, effects, autonomy } = *reason;
    let reduces = reduces(&original.action, &original.undo);
    let evidence = effects.iter().map(|effect| Evidence {
        signal: effect.signal.clone(),
        value: effect.measured,
        lower: Some(effect.promised_lower).filter(|limit| limit.is_finite()),
        upper: Some(effect.promised_upper).filter(|limit| limit.is_finite()),
        text: if effect.kept { "as promised".to_owned() } else { "not as promised".to_owned() },
    });
    Directive {
        id,
        resource: original.resource.clone(),
        action: original.undo,
        undo: original.action,
        parent_generation: original.generation,
        generation: Generation(0),
        policy: original.policy.clone(),
        autonomy,
        created_at: now,
        expires_at: later(now, between(original.created_at, original.expires_at)),
        apply_timeout: original.apply_timeout,
        verify_window: original.verify_window,
        // Unknown data forbids every reduction, also one that takes something back.
        preconditions: Preconditions { requires_known_data: reduces, ..original.preconditions },
        expected: promises(&original.undo),
        counterfactual: Vec::new(),
        rationale: Rationale {
            text: format!("{}: {text}", original.undo),
            evidence: evidence.collect(),
            symptom_ids: original.rationale.symptom_ids.clone(),
            ..Rationale::default()
        },
        blast_radius_ratio: original.blast_radius_ratio,
        reduces,
        undo_of: Some(original.id),
        quorum_ratio: original.quorum_ratio,
    }
}

/// An undo promises only that things are as before; whether that is good was judged when the original was made.
fn promises(action: &Action) -> Vec<ExpectedEffect> {
    match *action {
        Action::Scale { replicas } => vec![ExpectedEffect {
            resource: None,
            signal: "ready_replicas".to_owned(),
            lower: f64::from(replicas),
            upper: f64::from(replicas),
            breach_is_harm: false,
        }],
        // No signal tells a breaker's setting; the instances' own reports do.
        _ => Vec::new(),
    }
}

/// Whether going from one action to the other leaves less capacity or protection.
fn reduces(from: &Action, to: &Action) -> bool {
    match (from, to) {
        (Action::Scale { replicas: from }, Action::Scale { replicas: to }) => to < from,
        (Action::SetBreaker(from), Action::SetBreaker(to)) => protection(to.mode) < protection(from.mode),
        (Action::Notify { .. }, _) => false,
        // Kinds are the same on both sides; the conversion from the wire has checked it.
        _ => true,
    }
}

fn protection(mode: BreakerMode) -> u8 {
    match mode {
        BreakerMode::Disabled => 0,
        BreakerMode::MetricsOnly => 1,
        BreakerMode::Enforce => 2,
        BreakerMode::ForcedOpen => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{breaker, scale};
    use proto::model::BreakerSetting;

    #[test]
    fn harm_is_always_taken_back_but_an_undo_never_is() {
        let original = scale(3, 5);
        assert!(is_due(&original, DirectiveState::Harmful));
        assert!(!is_due(&original, DirectiveState::Verified));
        let undo = Directive { undo_of: Some(original.id), ..original };
        assert!(!is_due(&undo, DirectiveState::Harmful));
    }

    #[test]
    fn capacity_that_did_not_suffice_stays_and_an_idle_breaker_goes() {
        assert!(!is_due(&scale(3, 5), DirectiveState::Ineffective));
        assert!(is_due(&breaker(BreakerMode::Enforce), DirectiveState::Ineffective));
    }

    #[test]
    fn undo_follows_its_original_and_needs_known_data_to_reduce() {
        let original = scale(3, 5);
        let reason = Reason {
            id: id_of(original.id),
            text: "bad_ratio rose",
            effects: &[],
            autonomy: original.autonomy,
        };
        let now = later(original.created_at, std::time::Duration::from_secs(60));
        let undo = directive(&original, &reason, now);
        assert_eq!((undo.action, undo.undo), (original.undo, original.action));
        assert_eq!((undo.parent_generation, undo.undo_of), (original.generation, Some(original.id)));
        assert_eq!((undo.policy.as_str(), undo.autonomy), (original.policy.as_str(), original.autonomy));
        assert!(undo.reduces && undo.preconditions.requires_known_data, "from 5 to 3 replicas");
        assert_eq!(undo.rationale.text, "scale to 3 replicas: bad_ratio rose");
        assert!(undo.expires_at > now);
        let back = scale(5, 3);
        assert!(!directive(&back, &Reason { id: id_of(back.id), ..reason }, now).reduces, "from 3 to 5");
    }

    #[test]
    fn loosening_a_breaker_reduces_protection() {
        let setting = |mode| match breaker(mode).action {
            Action::SetBreaker(setting) => BreakerSetting { mode, ..setting },
            _ => unreachable!("a breaker"),
        };
        let action = |mode| Action::SetBreaker(setting(mode));
        assert!(reduces(&action(BreakerMode::Enforce), &action(BreakerMode::MetricsOnly)));
        assert!(!reduces(&action(BreakerMode::MetricsOnly), &action(BreakerMode::Enforce)));
    }

    #[test]
    fn derived_ids_repeat_and_differ() {
        let id = scale(3, 5).id;
        assert_eq!(id_of(id), id_of(id));
        assert_ne!(id_of(id), derived(id, "outcome"));
        assert_ne!(id_of(id), id_of(id_of(id)));
        assert_eq!(id_of(id).get_version_num(), 8);
    }
}
