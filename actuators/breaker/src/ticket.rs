//! What an admitted call carries until it ends: by what right it was admitted, and what is done with its result.

use crate::machine::Grant;
use crate::outcome::Priority;
use crate::shed::Arm;

/// What an admitted call needs to be settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) grant: Grant,
    pub(crate) arm: Arm,
    pub(crate) priority: Priority,
    pub(crate) fate: Fate,
    pub(crate) limited: bool,
}

/// What happens with an admitted call's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Counted,
    /// It would have been rejected: for the report only.
    Shadow,
    /// It would have been shed because the callee says that it has too much to do: for the report only.
    Relief,
    /// Nobody counts.
    Unseen,
}

impl Ticket {
    pub(crate) fn plain(epoch: u64, priority: Priority) -> Self {
        let grant = Grant { epoch, lease: 0 };
        Self { grant, arm: Arm::Unmarked, priority, fate: Fate::Counted, limited: false }
    }

    pub(crate) fn fated(fate: Fate, priority: Priority) -> Self {
        Self { fate, ..Self::plain(0, priority) }
    }

    /// Whether dropping it has to be told.
    pub(crate) fn holds_something(&self) -> bool {
        self.grant.lease != 0 || self.limited
    }
}
