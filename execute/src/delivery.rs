//! One subscribed actuator's lane: what waits for it, in the order of the ledger; what it has been sent and not answered.
//! At most one unanswered directive per resource, at most `max_in_flight` in all, never an older generation after a newer.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use proto::model::{Directive, DirectiveKind, Generation, ResourceId};
use uuid::Uuid;

use crate::moment::later;

/// No actuator gets more unanswered directives at once, whatever it asks for: at 2 KiB each they stay below 2 MiB.
pub const IN_FLIGHT_MAX: usize = 1_024;

/// No more wait for one actuator: as many as a plant of 10,000 resources can have, six times over. What does not fit stays
/// in the ledger and is looked up again when the queue has room.
pub const QUEUE_MAX: usize = 65_536;

/// Something that was sent and not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot {
    id: Uuid,
    kind: DirectiveKind,
    generation: Generation,
    ends: Timestamp,
}

/// Place in the order of delivery: the ledger's revision, then the id.
pub type Place = (u64, Uuid);

/// One subscription.
#[derive(Debug)]
pub struct Lane {
    /// Which registration it belongs to.
    pub epoch: u64,
    /// Tells this subscription from the one that replaces it.
    pub subscription: u64,
    in_flight_max: usize,
    queue: BTreeMap<Place, Arc<Directive>>,
    slots: BTreeMap<ResourceId, Slot>,
    sent: BTreeMap<(ResourceId, DirectiveKind), Generation>,
    overflowed: bool,
}

impl Lane {
    /// An empty lane.
    pub fn new(epoch: u64, subscription: u64, max_in_flight: u32) -> Self {
        let asked = usize::try_from(max_in_flight).unwrap_or(IN_FLIGHT_MAX);
        Self {
            epoch,
            subscription,
            in_flight_max: asked.clamp(1, IN_FLIGHT_MAX),
            queue: BTreeMap::new(),
            slots: BTreeMap::new(),
            sent: BTreeMap::new(),
            overflowed: false,
        }
    }

    /// The same registration subscribed again: its slots are free, since everything unanswered is sent again; the
    /// generations that it saw stay.
    pub fn renewed(self, subscription: u64) -> Self {
        Self { subscription, queue: BTreeMap::new(), slots: BTreeMap::new(), overflowed: false, ..self }
    }

    /// Puts a directive in the queue; one that is there already stays once.
    pub fn offer(&mut self, revision: u64, directive: &Arc<Directive>) {
        if self.queue.len() >= QUEUE_MAX {
            self.overflowed = true;
            return;
        }
        self.queue.insert((revision, directive.id), directive.clone());
    }

    /// Whether something did not fit and there is room again. Asking forgets it.
    pub fn has_room_again(&mut self) -> bool {
        let again = self.overflowed && self.queue.len() < QUEUE_MAX / 2;
        self.overflowed &= !again;
        again
    }

    /// Takes the next directive that may be sent now out of the queue.
    pub fn take(&mut self, now: Timestamp) -> Option<(u64, Arc<Directive>)> {
        self.free(now);
        if self.slots.len() >= self.in_flight_max {
            return None;
        }
        let free = |directive: &Directive| match self.slots.get(&directive.resource) {
            None => true,
            // What a newer generation replaces need not be waited for.
            Some(slot) => slot.kind == directive.kind() && slot.generation < directive.generation,
        };
        let place = self.queue.iter().find(|(_, directive)| free(directive)).map(|(place, _)| *place)?;
        self.queue.remove(&place).map(|directive| (place.0, directive))
    }

    /// Whether a newer generation was sent on this lane before.
    pub fn is_behind(&self, directive: &Directive) -> bool {
        let sent = self.sent.get(&(directive.resource.clone(), directive.kind()));
        sent.is_some_and(|newest| *newest > directive.generation)
    }

    /// Remembers what is being sent. Its slot frees itself when the actuator's time is up.
    pub fn sent(&mut self, directive: &Directive, now: Timestamp) {
        let Directive { id, generation, .. } = *directive;
        let kind = directive.kind();
        self.sent.insert((directive.resource.clone(), kind), generation);
        let slot = Slot { id, kind, generation, ends: later(now, directive.apply_timeout) };
        self.slots.insert(directive.resource.clone(), slot);
    }

    /// The actuator has said its last word.
    pub fn answered(&mut self, directive: &Directive) {
        if self.slots.get(&directive.resource).is_some_and(|slot| slot.id == directive.id) {
            self.slots.remove(&directive.resource);
        }
    }

    /// Whether it was sent and not answered.
    pub fn holds(&self, directive: &Directive) -> bool {
        self.slots.get(&directive.resource).is_some_and(|slot| slot.id == directive.id)
    }

    /// When the next slot frees itself.
    pub fn next_wake(&self) -> Option<Timestamp> {
        self.slots.values().map(|slot| slot.ends).min()
    }

    /// How many were sent and not answered.
    pub fn in_flight(&self) -> usize {
        self.slots.len()
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    fn free(&mut self, now: Timestamp) {
        if self.next_wake().is_some_and(|wake| wake <= now) {
            self.slots.retain(|_, slot| slot.ends > now);
        }
    }
}

#[cfg(test)]
mod tests;
