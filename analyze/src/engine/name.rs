//! What a signal is called, its resource shared with all others of it: a million copies of their names would take 140 MB.

use std::sync::Arc;

use proto::model::{ResourceId, SignalId};

/// The name of one signal.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Name {
    /// Whose it is.
    pub(crate) resource: Arc<ResourceId>,
    name: Box<str>,
}

impl Name {
    /// Its name within the resource.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// As others know it.
    pub(crate) fn id(&self) -> SignalId {
        SignalId::new((*self.resource).clone(), &*self.name).expect("it was made from one")
    }
}

impl From<SignalId> for Name {
    fn from(id: SignalId) -> Self {
        let name = id.name().into();
        Self { resource: Arc::new(id.resource), name }
    }
}

/// What the texts of all signals of a resource begin with, and no others: in the order of these, and then of names, signals are in
/// the order of their texts.
pub(super) fn prefix(resource: &ResourceId) -> Box<str> {
    format!("{resource}#").into_boxed_str()
}
