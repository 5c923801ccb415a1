//! What the stand-in for Knowledge remembers, by the rules that the ledger's contract states.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use proto::model::{
    ActuatorRecord, ActuatorSpec, AppliedGeneration, AutonomyLevel, Directive, DirectiveKind,
    DirectiveRecord, DirectiveState, FeedbackSignal, Generation, Lease, Outcome, PauseState, ResourceId,
    Transition,
};
use proto::wire::{self, ProposeVerdict};
use uuid::Uuid;

use crate::registry::ActuatorKey;

#[derive(Debug, Clone)]
pub(crate) struct Leased {
    pub spec: ActuatorSpec,
    pub lease: Lease,
    pub ends: Duration,
    pub at: Timestamp,
}

#[derive(Debug)]
pub(crate) struct Store {
    pub revision: u64,
    pub directives: BTreeMap<Uuid, DirectiveRecord>,
    /// Every change, oldest first: who changed.
    pub changes: Vec<(u64, Uuid)>,
    /// The ids of each (resource, kind), oldest first.
    pub by_place: BTreeMap<(ResourceId, DirectiveKind), Vec<Uuid>>,
    pub intents: BTreeMap<(ResourceId, DirectiveKind), Generation>,
    pub leases: BTreeMap<ActuatorKey, Leased>,
    pub outcomes: Vec<Outcome>,
    pub feedback: BTreeMap<Uuid, FeedbackSignal>,
    pub pause: PauseState,
    /// By key.
    pub snapshots: BTreeMap<String, wire::Snapshot>,
}

impl Store {
    pub fn new(now: Timestamp) -> Self {
        Self {
            revision: 0,
            directives: BTreeMap::new(),
            changes: Vec::new(),
            by_place: BTreeMap::new(),
            intents: BTreeMap::new(),
            leases: BTreeMap::new(),
            outcomes: Vec::new(),
            feedback: BTreeMap::new(),
            pause: PauseState::never(now),
            snapshots: BTreeMap::new(),
        }
    }

    pub fn propose(
        &mut self,
        mut directive: Directive,
        now: Timestamp,
    ) -> (ProposeVerdict, Option<DirectiveRecord>) {
        if let Some(stored) = self.directives.get(&directive.id) {
            return (ProposeVerdict::AlreadyStored, Some(stored.clone()));
        }
        let place = (directive.resource.clone(), directive.kind());
        let current = self.intents.get(&place).copied().unwrap_or_default();
        let state = match directive.autonomy {
            AutonomyLevel::Observe | AutonomyLevel::Recommend => DirectiveState::Proposed,
            AutonomyLevel::Approve => DirectiveState::AwaitingApproval,
            AutonomyLevel::Act => DirectiveState::Issued,
        };
        if state != DirectiveState::Proposed {
            if directive.parent_generation != current {
                return (ProposeVerdict::StaleGeneration, None);
            }
            let same_place =
                self.by_place.get(&place).into_iter().flatten().filter_map(|id| self.directives.get(id));
            let others = same_place
                .filter(|other| other.state.under_way() && directive.undo_of != Some(other.directive.id));
            if others.count() > 0 {
                return (ProposeVerdict::UnderWay, None);
            }
            directive.generation = current.next();
            self.intents.insert(place.clone(), directive.generation);
        }
        let id = directive.id;
        self.by_place.entry(place).or_default().push(id);
        let detail = String::new();
        let record =
            DirectiveRecord { directive, state, revision: 0, changed_at: now, detail, history: Vec::new() };
        self.directives.insert(id, record);
        self.changed(id);
        (ProposeVerdict::Accepted, self.directives.get(&id).cloned())
    }

    /// Whether it was recorded, and the state and revision now.
    pub fn step(&mut self, step: Transition) -> (bool, Option<DirectiveState>, u64) {
        let Some(record) = self.directives.get_mut(&step.directive_id) else {
            return (false, None, self.revision);
        };
        if record.state != step.from || record.state.step(step.to).is_err() {
            return (false, Some(record.state), record.revision);
        }
        record.state = step.to;
        record.changed_at = step.at;
        record.detail.clone_from(&step.detail);
        let id = step.directive_id;
        record.history.push(step);
        self.changed(id);
        let record = &self.directives[&id];
        (true, Some(record.state), record.revision)
    }

    fn changed(&mut self, id: Uuid) {
        self.revision += 1;
        self.changes.push((self.revision, id));
        if let Some(record) = self.directives.get_mut(&id) {
            record.revision = self.revision;
        }
    }

    /// The other actuator in the way is the error.
    pub fn grant(
        &mut self,
        spec: ActuatorSpec,
        ttl: Duration,
        now: (Timestamp, Duration),
    ) -> Result<Lease, ActuatorKey> {
        let key = ActuatorKey::of(&spec);
        let live = self.leases.iter().filter(|(_, one)| one.ends > now.1);
        let mut others =
            live.filter(|(other, one)| **other != key && one.spec.conflicts_with(&spec).is_some());
        if let Some((other, _)) = others.next() {
            return Err(other.clone());
        }
        let epoch = self.leases.get(&key).map_or(0, |one| one.lease.epoch) + 1;
        let lease = Lease { id: format!("{key}#{epoch}"), epoch };
        self.leases.insert(key, Leased { spec, lease: lease.clone(), ends: now.1 + ttl, at: now.0 });
        Ok(lease)
    }

    pub fn renew(&mut self, lease: &Lease, ttl: Duration, now: Duration) -> bool {
        let mut held = self.leases.values_mut().filter(|one| one.lease == *lease && one.ends > now);
        held.next().map(|one| one.ends = now + ttl).is_some()
    }

    pub fn release(&mut self, lease: &Lease) {
        self.leases.values_mut().filter(|one| one.lease == *lease).for_each(|one| one.ends = Duration::ZERO);
    }

    pub fn actuators(&self, now: Duration) -> Vec<ActuatorRecord> {
        let record = |one: &Leased| ActuatorRecord {
            actuator: one.spec.clone(),
            lease: one.lease.clone(),
            live: one.ends > now,
            registered_at: one.at,
            remaining: one.ends.saturating_sub(now),
        };
        self.leases.values().map(record).collect()
    }

    pub fn generations(&self, spec: &ActuatorSpec) -> Vec<AppliedGeneration> {
        let matching = self.intents.iter().filter(|((resource, kind), _)| spec.serves(resource, *kind));
        matching
            .map(|((resource, kind), generation)| AppliedGeneration {
                resource: resource.clone(),
                kind: *kind,
                generation: *generation,
            })
            .collect()
    }

    /// Not over, and the newest applied one of each (resource, kind).
    pub fn snapshot(&self) -> Vec<DirectiveRecord> {
        let mut newest: BTreeMap<(&ResourceId, DirectiveKind), &DirectiveRecord> = BTreeMap::new();
        for record in self.directives.values().filter(|record| record.state.in_effect()) {
            let place = (&record.directive.resource, record.directive.kind());
            let known = newest.entry(place).or_insert(record);
            if known.directive.generation < record.directive.generation {
                *known = record;
            }
        }
        let standing: Vec<Uuid> = newest.values().map(|record| record.directive.id).collect();
        let open = |record: &&DirectiveRecord| {
            record.state.under_way()
                || record.state == DirectiveState::Proposed
                || standing.contains(&record.directive.id)
        };
        self.directives.values().filter(open).cloned().map(without_history).collect()
    }
}

pub(crate) fn without_history(record: DirectiveRecord) -> DirectiveRecord {
    DirectiveRecord { history: Vec::new(), ..record }
}
