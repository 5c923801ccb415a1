//! The one way to end things: a stop that is asked for once and seen everywhere, with the reason if it was a failure.

use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

/// A handle to ask for an end, or to wait for one. Clones share the same end.
#[derive(Debug, Clone, Default)]
pub struct Stopper {
    token: CancellationToken,
    failure: Arc<Mutex<Option<String>>>,
    parent: Option<Arc<Stopper>>,
}

impl Stopper {
    /// A stopper that nothing has stopped yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for an orderly end of this stopper and its children. Repeating it changes nothing.
    pub fn stop(&self) {
        self.token.cancel();
    }

    /// Asks for an end because something broke. The first reason stays. A failure also reaches every ancestor:
    /// a process in which one part gave up must not look healthy.
    pub fn fail(&self, reason: impl Into<String>) {
        let reason = reason.into();
        if let Some(parent) = &self.parent {
            parent.fail(reason.clone());
        }
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
        self.token.cancel();
    }

    /// Resolves when an end has been asked for.
    pub async fn stopped(&self) {
        self.token.cancelled().await;
    }

    /// Whether an end has been asked for.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Why this stopper or an ancestor failed, if one did.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        let own = self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone();
        own.or_else(|| self.parent.as_ref().and_then(|parent| parent.failure()))
    }

    /// A stopper that ends with this one, and can be stopped alone.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            token: self.token.child_token(),
            failure: Arc::default(),
            parent: Some(Arc::new(self.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stopping_a_parent_stops_its_children_but_not_the_reverse() {
        let parent = Stopper::new();
        let (first, second) = (parent.child(), parent.child());
        first.stop();
        assert!(first.is_stopped() && !parent.is_stopped() && !second.is_stopped());
        parent.stop();
        assert!(second.is_stopped());
        assert_eq!(second.failure(), None);
    }

    #[test]
    fn first_failure_is_kept_and_reaches_every_ancestor() {
        let root = Stopper::new();
        let middle = root.child();
        let leaf = middle.child();
        leaf.fail("disk full");
        leaf.fail("and then some");
        for stopper in [&root, &middle, &leaf] {
            assert!(stopper.is_stopped());
            assert_eq!(stopper.failure().as_deref(), Some("disk full"));
        }
    }

    #[test]
    fn failure_of_the_parent_is_the_reason_of_the_child() {
        let root = Stopper::new();
        let child = root.child();
        root.fail("power cut");
        assert_eq!(child.failure().as_deref(), Some("power cut"));
    }

    #[tokio::test]
    async fn waiting_ends_for_clones_on_other_tasks() {
        let stopper = Stopper::new();
        let waiting = stopper.clone();
        let (_, ()) = tokio::join!(async { stopper.stop() }, waiting.stopped());
    }
}
