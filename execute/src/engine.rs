//! All that Execute knows, as one value: directives, actuators, lanes, assessments, the pause. Inputs change it and leave
//! outputs for the shell. It is level-triggered: a wake-up says only that there may be something to do.

mod deliver;
mod judge;
mod report;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use proto::model::{
    Assessment, Directive, DirectiveKind, DirectiveRecord, DirectiveState, FeedbackSignal, Generation,
    InvalidTransition, Lease, Outcome, PauseState, ResourceId, Transition,
};
use uuid::Uuid;

use crate::delivery::Lane;
use crate::lifecycle::{Disposition, Effect, Event, Life};
use crate::moment::Moment;
use crate::registry::{ActuatorKey, Registered, Registry};
use crate::verify::Verification;

pub use deliver::{Closed, Next};
pub use report::{Answer, ReportError};

/// Directives that are over stay in memory for reports that come twice; at 3 KiB each, 6 MiB. Older ones are read again.
const SETTLED_MAX: usize = 2_048;

/// Steps that may wait for the ledger: 8 s of 2,000 directives per second with 4 steps each; at 0.5 KiB each, 32 MiB.
pub const RECORDS_MAX: usize = 65_536;

/// Resources whose newest assessment is kept: ten times the plant that planning is measured with.
const ASSESSMENTS_MAX: usize = 100_000;

/// What the shell has to do, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Write a step to the ledger.
    Record(Transition),
    /// Store a verdict and what it teaches, before the step that follows.
    Verdict(Box<Outcome>, Vec<FeedbackSignal>),
    /// Offer a directive to the ledger.
    Propose(Box<Directive>),
    /// Let the actuator's stream ask for its next delivery.
    Wake(ActuatorKey),
    /// Read a directive with its history from the ledger, and hand it to [`Engine::ledger`].
    Fetch(Uuid),
    /// Something happened to a directive that cannot have; it was left alone.
    Impossible(Uuid, InvalidTransition),
}

#[derive(Debug)]
struct Entry {
    life: Life,
    /// Of the newest change that the ledger told or confirmed.
    revision: u64,
    /// Place in the order of delivery: the revision at which it was first seen.
    cursor: u64,
    /// Steps that the ledger has not confirmed yet.
    unsettled: usize,
    verification: Option<Verification>,
    timer: Option<Timestamp>,
    held: bool,
    settled: bool,
}

/// The directives of one (resource, kind) by generation.
#[derive(Debug, Default)]
struct Chain {
    newest: Generation,
    directives: BTreeMap<Generation, Uuid>,
}

/// Execute's core.
#[derive(Debug)]
pub struct Engine {
    entries: HashMap<Uuid, Entry>,
    chains: HashMap<(ResourceId, DirectiveKind), Chain>,
    registry: Registry,
    lanes: BTreeMap<ActuatorKey, Lane>,
    assessments: HashMap<ResourceId, Arc<Assessment>>,
    /// Directives that wait for assessments of a resource: to be verified, or to be sent.
    watchers: HashMap<ResourceId, BTreeSet<Uuid>>,
    timers: BTreeSet<(Timestamp, Uuid)>,
    settled: VecDeque<Uuid>,
    pause: PauseState,
    /// Originals that are not in memory, by the verified undo that took them back.
    taken_back: BTreeMap<Uuid, Uuid>,
    unrecorded: usize,
    throttled: bool,
    subscriptions: u64,
    outputs: Vec<Output>,
}

impl Engine {
    /// Knows nothing but the pause.
    pub fn new(pause: PauseState) -> Self {
        Self {
            entries: HashMap::new(),
            chains: HashMap::new(),
            registry: Registry::default(),
            lanes: BTreeMap::new(),
            assessments: HashMap::new(),
            watchers: HashMap::new(),
            timers: BTreeSet::new(),
            settled: VecDeque::new(),
            pause,
            taken_back: BTreeMap::new(),
            unrecorded: 0,
            throttled: false,
            subscriptions: 0,
            outputs: Vec::new(),
        }
    }

    /// What has piled up for the shell.
    pub fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    /// The actuators and their leases.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The kill switch.
    pub fn pause(&self) -> &PauseState {
        &self.pause
    }

    /// Sets the kill switch; at once, since every delivery asks for it.
    pub fn set_pause(&mut self, pause: PauseState) {
        self.pause = pause;
        self.wake_all();
    }

    /// Where a directive stands, if it is in memory.
    pub fn state(&self, id: Uuid) -> Option<DirectiveState> {
        self.entries.get(&id).map(|entry| entry.life.state())
    }

    /// Steps that wait for the ledger.
    pub fn unrecorded(&self) -> usize {
        self.unrecorded
    }

    /// Directives in memory, and how many of them are not over.
    pub fn directives(&self) -> (usize, usize) {
        (self.entries.len(), self.entries.values().filter(|entry| !entry.settled).count())
    }

    /// When time alone changes something; leases and answers that are due are looked at by each tick anyway.
    pub fn next_wake(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// A change that the ledger told. Echoes of our own steps, and news older than them, change nothing.
    pub fn ledger(&mut self, record: DirectiveRecord, now: Timestamp) {
        if let Some(entry) = self.entries.get_mut(&record.directive.id) {
            if record.revision <= entry.revision || entry.unsettled > 0 {
                return;
            }
            if entry.life.state() == record.state {
                entry.revision = record.revision;
                return;
            }
        }
        self.adopt(record, now);
    }

    /// What the ledger says holds, whatever was believed: after a compare-and-set was lost.
    pub fn adopt(&mut self, record: DirectiveRecord, now: Timestamp) {
        let (id, revision) = (record.directive.id, record.revision);
        let cursor = self.entries.get(&id).map_or(revision, |entry| entry.cursor);
        self.forget(id);
        let life = Life::from_record(record);
        self.link(life.directive().clone());
        let entry = Entry {
            life,
            revision,
            cursor,
            unsettled: 0,
            verification: None,
            timer: None,
            held: false,
            settled: false,
        };
        self.entries.insert(id, entry);
        self.take_up(id, now);
        self.settle(id);
        self.schedule(id);
    }

    /// The ledger confirmed a step.
    pub fn recorded(&mut self, id: Uuid, revision: u64) {
        if let Some(entry) = self.entries.get_mut(&id)
            && entry.unsettled > 0
        {
            entry.unsettled -= 1;
            entry.revision = entry.revision.max(revision);
            self.unrecorded -= 1;
        }
        if self.throttled && self.unrecorded < RECORDS_MAX / 4 {
            self.throttled = false;
            self.wake_all();
        }
    }

    /// Drops a directive from memory.
    pub fn forget(&mut self, id: Uuid) {
        let Some(entry) = self.entries.remove(&id) else { return };
        self.unrecorded -= entry.unsettled;
        if let Some(at) = entry.timer {
            self.timers.remove(&(at, id));
        }
        self.unwatch(id, &entry);
        let directive = entry.life.directive();
        let place = (directive.resource.clone(), directive.kind());
        if let Some(chain) = self.chains.get_mut(&place) {
            chain.directives.remove(&directive.generation);
        }
    }

    /// Knowledge granted or confirmed a lease.
    pub fn granted(&mut self, registered: Registered, now: Moment) {
        let Some(key) = self.registry.granted(registered, now.monotonic) else { return };
        self.outputs.push(Output::Wake(key));
        self.instances_changed(now.wall);
    }

    /// A lease was renewed until `ends`, by the monotonic clock.
    pub fn renewed(&mut self, lease: &Lease, ends: std::time::Duration) {
        self.registry.renewed(lease, ends);
    }

    /// A lease is over.
    pub fn lease_ended(&mut self, lease: &Lease, now: Moment) {
        if let Some(key) = self.registry.ended(lease) {
            self.outputs.push(Output::Wake(key));
            self.instances_changed(now.wall);
        }
    }

    /// Time passed.
    pub fn tick(&mut self, now: Moment) {
        let over = self.registry.sweep(now.monotonic);
        if !over.is_empty() {
            self.outputs.extend(over.into_iter().map(Output::Wake));
            self.instances_changed(now.wall);
        }
        let later = self.timers.split_off(&(now.wall, Uuid::max()));
        for (_, id) in std::mem::replace(&mut self.timers, later) {
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.timer = None;
            }
            self.happen(id, now.wall, Event::Tick);
            self.check_verification(id, now.wall);
            self.schedule(id);
        }
        self.refill(now.wall);
    }

    /// One event of one directive, with all that follows from it.
    fn happen(&mut self, id: Uuid, now: Timestamp, event: Event) -> Option<Disposition> {
        let entry = self.entries.get_mut(&id)?;
        let (life, effects) = match entry.life.clone().handle(now, event) {
            Ok(handled) => handled,
            Err(invalid) => {
                self.outputs.push(Output::Impossible(id, invalid));
                return None;
            }
        };
        entry.life = life;
        let (mut answer, mut verify) = (None, None);
        for effect in effects {
            match effect {
                Effect::Record(transition) => {
                    entry.unsettled += 1;
                    self.unrecorded += 1;
                    self.outputs.push(Output::Record(transition));
                }
                Effect::Verify(applied_at) => verify = Some(applied_at),
                Effect::Answer(disposition) => answer = Some(disposition),
            }
        }
        if let Some(applied_at) = verify {
            self.begin_verification(id, applied_at, now);
        }
        self.settle(id);
        self.schedule(id);
        answer
    }

    /// Does for a directive that was just read what its state asks for.
    fn take_up(&mut self, id: Uuid, now: Timestamp) {
        let Some(entry) = self.entries.get(&id) else { return };
        let (state, directive) = (entry.life.state(), entry.life.directive().clone());
        match state {
            _ if state.deliverable() => {
                self.replace_older(id, now);
                self.offer(id);
            }
            DirectiveState::Applied | DirectiveState::Verifying => {
                self.happen(id, now, Event::Watched);
                self.offer(id);
            }
            DirectiveState::Verified => self.offer(id),
            DirectiveState::Harmful | DirectiveState::Ineffective => {
                self.offer(id);
                self.propose_undo(id, &[], "it was judged so before a restart", now);
            }
            _ => {}
        }
        if let Some(original) = directive.undo_of
            && state == DirectiveState::Verified
        {
            self.take_back(original, id, now);
        }
        if let Some(undo) = self.taken_back.remove(&id) {
            self.take_back(id, undo, now);
        }
    }

    fn link(&mut self, directive: Arc<Directive>) {
        if directive.generation == Generation(0) {
            return;
        }
        let chain = self.chains.entry((directive.resource.clone(), directive.kind())).or_default();
        chain.newest = chain.newest.max(directive.generation);
        chain.directives.insert(directive.generation, directive.id);
    }

    /// The newest directive of (resource, kind) that is in effect or on its way there.
    fn current(&self, resource: &ResourceId, kind: DirectiveKind) -> Option<Uuid> {
        let chain = self.chains.get(&(resource.clone(), kind))?;
        let stands =
            |id: &&Uuid| self.state(**id).is_some_and(|state| state.in_effect() || state.deliverable());
        chain.directives.values().rev().find(stands).copied()
    }

    fn newest_generation(&self, directive: &Directive) -> Generation {
        let chain = self.chains.get(&(directive.resource.clone(), directive.kind()));
        chain.map_or(Generation(0), |chain| chain.newest)
    }

    fn schedule(&mut self, id: Uuid) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let verdict = entry.verification.as_ref().map(Verification::next_wake);
        let wake = entry.life.next_wake().into_iter().chain(verdict).min();
        if entry.timer == wake {
            return;
        }
        if let Some(at) = std::mem::replace(&mut entry.timer, wake) {
            self.timers.remove(&(at, id));
        }
        self.timers.extend(wake.map(|at| (at, id)));
    }

    /// Counts a directive that is over, and drops the oldest of them.
    fn settle(&mut self, id: Uuid) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let state = entry.life.state();
        let over = !(state.under_way() || state == DirectiveState::Proposed);
        if over && !entry.settled {
            self.settled.push_back(id);
        }
        entry.settled = over;
        for _ in SETTLED_MAX..self.settled.len() {
            let Some(oldest) = self.settled.pop_front() else { return };
            match self.may_go(oldest) {
                Some(true) => self.forget(oldest),
                Some(false) => self.settled.push_back(oldest),
                None => {}
            }
        }
    }

    /// Whether a directive that is over can be dropped; `None` if it is not over after all. The current one of a
    /// replicated kind is kept for late joiners.
    fn may_go(&self, id: Uuid) -> Option<bool> {
        let entry = self.entries.get(&id).filter(|entry| entry.settled)?;
        let directive = entry.life.directive();
        let kept = !directive.kind().exclusive()
            && self.current(&directive.resource, directive.kind()) == Some(directive.id);
        Some(!kept && entry.unsettled == 0)
    }

    fn watch(&mut self, id: Uuid, resources: impl IntoIterator<Item = ResourceId>) {
        for resource in resources {
            self.watchers.entry(resource).or_default().insert(id);
        }
    }

    fn unwatch(&mut self, id: Uuid, entry: &Entry) {
        let own = &entry.life.directive().resource;
        let promised = entry.verification.iter().flat_map(Verification::resources);
        for resource in promised.chain([own]) {
            if let Some(ids) = self.watchers.get_mut(resource) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.watchers.remove(resource);
                }
            }
        }
    }

    fn wake_all(&mut self) {
        self.outputs.extend(self.lanes.keys().cloned().map(Output::Wake));
    }
}

#[cfg(test)]
mod tests;
