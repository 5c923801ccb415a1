//! What people declare, and what an earlier life had learned.

use std::collections::BTreeMap;

use jiff::Timestamp;
use proto::model::{Objective, ResourceId};

use super::name::prefix;
use super::{BLOCK_SIGNALS, Resource, SIGNALS_MAX, Shard, Signal};

/// What is declared of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Promise {
    /// Of a service.
    pub objective: Option<Objective>,
    /// Share of events that may be bad: of a service its own, of an edge its caller's.
    pub allowed: Option<f64>,
}

impl Shard {
    /// A resource is declared, or declared anew.
    pub fn declare(&mut self, id: &ResourceId, promise: Promise, now: Timestamp) {
        let place = self.resource(id, now);
        if let Some(resource) = self.resources.get_mut(place) {
            resource.declared = true;
            resource.promise(promise.objective, promise.allowed);
        }
    }

    /// A resource is no longer declared: its signals are learned on, but it is not assessed any more.
    pub fn undeclare(&mut self, id: &ResourceId) -> bool {
        let resource = self.by_prefix.get(&prefix(id)).and_then(|place| self.resources.get_mut(*place));
        let Some(resource) = resource.filter(|resource| resource.declared) else { return false };
        resource.declared = false;
        resource.promise(None, None);
        true
    }

    /// Takes over the whole list of what is declared. Others that still send are left alone, because the list may be older than
    /// what the sender knows; silent ones are undeclared and given back.
    pub fn declare_all(
        &mut self,
        declared: &BTreeMap<ResourceId, Promise>,
        now: Timestamp,
    ) -> Vec<ResourceId> {
        let number = self.number;
        for (id, promise) in declared.iter().filter(|(id, _)| id.shard() == number) {
            self.declare(id, *promise, now);
        }
        let stale = self.resources.iter().map(|(_, resource)| resource).filter(|resource| {
            resource.declared
                && !declared.contains_key(&*resource.id)
                && (resource.is_silent(now) || !resource.has_spoken())
        });
        let stale: Vec<_> = stale.map(|resource| (*resource.id).clone()).collect();
        stale.iter().for_each(|id| _ = self.undeclare(id));
        stale
    }

    /// The signals and resources of one block.
    pub(crate) fn block(
        &self,
        block: usize,
    ) -> (impl Iterator<Item = &Signal>, impl Iterator<Item = &Resource>) {
        let range = block * BLOCK_SIGNALS..(block + 1) * BLOCK_SIGNALS;
        (self.signals.range(range.clone()), self.resources.range(range))
    }

    /// Blocks that changed since they were last asked for.
    pub(crate) fn take_changed(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.changed).into_iter().collect()
    }

    /// A block could not be saved: it is still changed.
    pub(crate) fn mark_changed(&mut self, block: usize) {
        self.changed.insert(block);
    }

    /// Takes over a resource of an earlier life.
    pub(crate) fn adopt_resource(&mut self, earlier: Resource, now: Timestamp) {
        let place = self.resource(&earlier.id.clone(), now);
        if let Some(resource) = self.resources.get_mut(place) {
            resource.inherit(earlier, now);
        }
        self.changed.insert(place as usize / BLOCK_SIGNALS);
    }

    /// Takes over a signal of an earlier life, unless this life has learned as much already. False: there is no room.
    pub(crate) fn adopt_signal(&mut self, mut earlier: Signal, now: Timestamp) -> bool {
        let resource = self.resource(&earlier.id.resource.clone(), now);
        if let Some(place) = self.find_of(resource, earlier.id.name()) {
            if let Some(signal) = self.signals.get_mut(place)
                && signal.engine.thresholds.samples() < earlier.engine.thresholds.samples()
            {
                earlier.resource = signal.resource;
                earlier.id = signal.id.clone();
                earlier.last_at = earlier.last_at.max(signal.last_at);
                *signal = earlier;
                self.changed.insert(place as usize / BLOCK_SIGNALS);
            }
            return true;
        }
        if self.signals.len() >= SIGNALS_MAX {
            return false;
        }
        earlier.resource = resource;
        self.insert(earlier);
        true
    }
}
