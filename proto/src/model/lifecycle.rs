//! The directive's life as a state machine: which state may follow which.

use super::text::words;

words! {
    /// Where a directive stands.
    DirectiveState {
        /// Recorded; at `observe` and `recommend` it stays here until it expires.
        Proposed = "proposed",
        /// Waits for a person.
        AwaitingApproval = "awaiting_approval",
        /// May be delivered.
        Issued = "issued",
        /// Sent to an actuator.
        Delivered = "delivered",
        /// The actuator has begun.
        Accepted = "accepted",
        /// The change is made.
        Applied = "applied",
        /// Its promise is being watched.
        Verifying = "verifying",
        /// The promise was kept.
        Verified = "verified",
        /// A person said no.
        Rejected = "rejected",
        /// Its time ran out before it was delivered.
        Expired = "expired",
        /// The actuator, or Execute's own check, would not do it.
        Refused = "refused",
        /// It was tried and did not work, or was only simulated.
        Failed = "failed",
        /// Nobody can tell whether the change was made, or whether it helped.
        Unknown = "unknown",
        /// Applied, but the promise was not kept.
        Ineffective = "ineffective",
        /// Applied, and things got worse.
        Harmful = "harmful",
        /// Applied and taken back.
        Undone = "undone",
    }
}

/// A step that the life does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a directive cannot go from {from} to {to}")]
pub struct InvalidTransition {
    /// Where it stands.
    pub from: DirectiveState,
    /// Where it was to go.
    pub to: DirectiveState,
}

use DirectiveState::{
    Accepted, Applied, AwaitingApproval, Delivered, Expired, Failed, Harmful, Ineffective, Issued, Proposed,
    Refused, Rejected, Undone, Unknown, Verified, Verifying,
};

impl DirectiveState {
    /// The states that may follow.
    pub fn successors(self) -> &'static [DirectiveState] {
        match self {
            Proposed => &[AwaitingApproval, Issued, Expired, Rejected],
            AwaitingApproval => &[Issued, Rejected, Expired],
            // An actuator may report before the delivery itself is recorded, so that the steps between may be skipped.
            Issued => &[Delivered, Accepted, Applied, Refused, Failed, Unknown, Expired],
            Delivered => &[Accepted, Applied, Refused, Failed, Unknown],
            Accepted => &[Applied, Refused, Failed, Unknown],
            Applied => &[Verifying, Verified, Ineffective, Harmful, Unknown, Undone],
            Verifying => &[Verified, Ineffective, Harmful, Unknown, Undone],
            // What was applied can be taken back, by verdict or by a person. A late report resolves an unknown.
            Verified | Ineffective | Harmful => &[Undone],
            Unknown => &[Applied, Undone],
            Rejected | Expired | Refused | Failed | Undone => &[],
        }
    }

    /// Checks one step.
    ///
    /// # Errors
    /// When `to` may not follow.
    pub fn step(self, to: Self) -> Result<Self, InvalidTransition> {
        if self.successors().contains(&to) { Ok(to) } else { Err(InvalidTransition { from: self, to }) }
    }

    /// Between acceptance and verdict: another directive for the same resource and kind must wait, unless this one is only
    /// settling and the other reduces nothing.
    pub fn under_way(self) -> bool {
        matches!(self, AwaitingApproval | Issued | Delivered | Accepted | Applied | Verifying)
    }

    /// Made, and its promise is still being watched. A change that takes nothing away need not wait for the verdict: load that
    /// goes on rising is not made to wait until the last scale-out is judged.
    pub fn settling(self) -> bool {
        matches!(self, Applied | Verifying)
    }

    /// Sent or to be sent, and the actuator has not given its last word.
    pub fn deliverable(self) -> bool {
        matches!(self, Issued | Delivered | Accepted)
    }

    /// The change was made and stands.
    pub fn in_effect(self) -> bool {
        matches!(self, Applied | Verifying | Verified | Ineffective | Harmful)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_is_reached_and_none_loops() {
        for state in DirectiveState::ALL {
            let reached = *state == Proposed
                || DirectiveState::ALL.iter().any(|from| from.successors().contains(state));
            assert!(reached, "{state} is reached from nowhere");
            assert!(!state.successors().contains(state), "{state} follows itself");
        }
    }

    #[test]
    fn failure_is_never_turned_into_success() {
        for from in [Rejected, Expired, Refused, Failed, Undone] {
            assert!(from.successors().is_empty(), "{from} must be final");
        }
        assert!(Failed.step(Applied).is_err());
        assert!(Issued.step(Verified).is_err(), "nothing is verified before it is applied");
    }

    #[test]
    fn a_directive_under_way_always_has_a_way_out() {
        for state in DirectiveState::ALL.iter().filter(|state| state.under_way()) {
            let mut reached = vec![*state];
            let mut next = 0;
            while next < reached.len() {
                for follower in reached[next].successors() {
                    if !reached.contains(follower) {
                        reached.push(*follower);
                    }
                }
                next += 1;
            }
            assert!(reached.iter().any(|state| !state.under_way()), "{state} has no way out");
        }
    }
}
