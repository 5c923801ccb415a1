//! The one trait that an actuator implements.

use std::future::Future;

use proto::model::{
    ActuatorSpec, BreakerAdvice, BreakerReport, Directive, DirectiveKind, Generation, Observation, ResourceId,
};

/// What came of applying a directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApplyOutcome {
    /// The change is made, and its generation is stored with it. In a dry run: it would have been.
    Applied {
        /// For people.
        detail: String,
    },
    /// Not done on purpose, and nothing has changed.
    Refused {
        /// Why.
        reason: String,
    },
    /// Tried, and it did not work; what was there before still stands.
    Failed {
        /// Why.
        reason: String,
    },
    /// It cannot be said whether the change was made.
    Unknown {
        /// Why.
        reason: String,
    },
}

impl ApplyOutcome {
    /// Applied, with a word on how.
    pub fn applied(detail: impl Into<String>) -> Self {
        Self::Applied { detail: detail.into() }
    }
    /// Refused, with a reason.
    pub fn refused(reason: impl Into<String>) -> Self {
        Self::Refused { reason: reason.into() }
    }
    /// Failed, with a reason.
    pub fn failed(reason: impl Into<String>) -> Self {
        Self::Failed { reason: reason.into() }
    }
    /// Unknown, with a reason.
    pub fn unknown(reason: impl Into<String>) -> Self {
        Self::Unknown { reason: reason.into() }
    }
}

/// Changes resources. The [`Runner`](crate::Runner) does all the rest: registration, order, repetition, reports.
pub trait Actuator: Send + Sync + 'static {
    /// What to register.
    fn spec(&self) -> ActuatorSpec;

    /// What there is to see of the resource now; reported before and after each change.
    fn observe(&self, resource: &ResourceId) -> impl Future<Output = Vec<Observation>> + Send;

    /// Makes the change and stores `directive.generation` together with it, so that neither survives a crash without the
    /// other. Called once at a time per resource, never with an older generation or the one applied last. In a dry run
    /// nothing may change.
    fn apply(&self, directive: &Directive, dry_run: bool) -> impl Future<Output = ApplyOutcome> + Send;

    /// The generation of the change that stands; 0 if there was none.
    fn last_generation(&self, resource: &ResourceId, kind: DirectiveKind) -> Generation;

    /// What its breakers see, all of them; told about once a second, and more often in trouble. Without breakers: nothing.
    fn evidence(&self) -> Vec<BreakerReport> {
        Vec::new()
    }

    /// What the fleet advises on that. It counts for a stated time only.
    fn advised(&self, _advice: Vec<BreakerAdvice>) {}
}
