//! What lies on an actuator's desk: deliveries in order per resource, and what to do with each by its generation. Pure.

use std::collections::{BTreeMap, VecDeque};

use proto::client::Delivery;
use proto::model::{AppliedGeneration, Directive, DirectiveKind, Generation, ResourceId};

/// What to do with a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Todo {
    /// Make the change.
    Apply,
    /// It was made before: say so again.
    SayAgain,
    /// A newer intent stands, or this is none.
    Refuse(String),
}

/// Deliveries per resource, and the newest intents that the ledger knew at registration.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    /// The first of each queue is being worked on.
    queues: BTreeMap<ResourceId, VecDeque<Delivery>>,
    accepted: BTreeMap<(ResourceId, DirectiveKind), Generation>,
}

impl Desk {
    /// What the ledger had accepted when we registered.
    pub fn registered(&mut self, generations: Vec<AppliedGeneration>) {
        for AppliedGeneration { resource, kind, generation } in generations {
            let known = self.accepted.entry((resource, kind)).or_default();
            *known = generation.max(*known);
        }
    }

    /// A delivery came in; it is returned if work on it can begin.
    pub fn add(&mut self, delivery: Delivery) -> Option<Delivery> {
        let queue = self.queues.entry(delivery.directive.resource.clone()).or_default();
        queue.push_back(delivery.clone());
        (queue.len() == 1).then_some(delivery)
    }

    /// Work on a resource's delivery is over; the next one, if there is one.
    pub fn done(&mut self, resource: &ResourceId) -> Option<Delivery> {
        let queue = self.queues.get_mut(resource)?;
        queue.pop_front();
        let next = queue.front().cloned();
        if next.is_none() {
            self.queues.remove(resource);
        }
        next
    }

    /// What to do with a directive, given the generation that stands.
    pub fn todo(&self, directive: &Directive, last: Generation) -> Todo {
        let (generation, kind) = (directive.generation, directive.kind());
        if generation == Generation(0) {
            return Todo::Refuse("advice is not applied".to_owned());
        }
        if generation == last {
            return Todo::SayAgain;
        }
        if generation < last {
            return Todo::Refuse(format!("older than generation {last}, which is applied"));
        }
        // Our own memory may be lost; the ledger's is not. A replicated kind may come back to the last one in effect.
        let place = (directive.resource.clone(), kind);
        match self.accepted.get(&place) {
            Some(newest) if kind.exclusive() && generation < *newest => {
                Todo::Refuse(format!("older than generation {newest}, which was accepted"))
            }
            _ => Todo::Apply,
        }
    }
}

#[cfg(test)]
mod tests;
