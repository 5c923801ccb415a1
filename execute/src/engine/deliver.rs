//! Which delivery goes out next on which lane.

use jiff::Timestamp;
use proto::client::Delivery;
use proto::model::{Directive, DirectiveState};
use uuid::Uuid;

use super::{Engine, Output, RECORDS_MAX};
use crate::delivery::Lane;
use crate::lifecycle::Event;
use crate::moment::{Moment, later};
use crate::preconditions::{Checked, Verdict, check};
use crate::registry::ActuatorKey;

/// Why a lane has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// The same actuator subscribed again.
    Replaced,
    /// Its lease is gone.
    LeaseGone,
}

/// What a lane's stream does next.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Send this.
    Delivery(Box<Delivery>),
    /// Wait to be woken.
    Wait,
    /// End.
    Closed(Closed),
}

impl Engine {
    /// Opens a lane: everything unanswered goes out again, and the current one of each replicated kind. `cursor` is the
    /// highest revision that the actuator has seen. Tells the subscription's number.
    pub fn subscribe(&mut self, key: &ActuatorKey, epoch: u64, cursor: u64) -> u64 {
        self.subscriptions += 1;
        let max_in_flight = self.registry.spec(key).map_or(1, |spec| spec.max_in_flight);
        let lane = match self.lanes.remove(key) {
            Some(lane) if lane.epoch == epoch => lane.renewed(self.subscriptions),
            _ => Lane::new(epoch, self.subscriptions, max_in_flight),
        };
        self.lanes.insert(key.clone(), lane);
        self.offer_all(key, cursor);
        self.outputs.push(Output::Wake(key.clone()));
        self.subscriptions
    }

    /// A stream ended. Its lane ends with it unless another stream has taken over.
    pub fn unsubscribe(&mut self, key: &ActuatorKey, subscription: u64) {
        if self.lanes.get(key).is_some_and(|lane| lane.subscription == subscription) {
            // The lane stays with its memory of generations, but nothing is sent on it.
            if let Some(lane) = self.lanes.remove(key) {
                self.lanes.insert(key.clone(), lane.renewed(0));
            }
        }
    }

    /// How many actuators are subscribed.
    pub fn subscribed(&self) -> usize {
        self.lanes.values().filter(|lane| lane.subscription != 0).count()
    }

    /// The next delivery on a lane, checked at this very moment.
    pub fn next_delivery(&mut self, key: &ActuatorKey, subscription: u64, now: Moment) -> Next {
        let Some(lane) = self.lanes.get(key).filter(|lane| lane.subscription == subscription) else {
            return Next::Closed(Closed::Replaced);
        };
        let Some(registered) = self.registry.live(key, lane.epoch, now.monotonic) else {
            return Next::Closed(Closed::LeaseGone);
        };
        let supports_undo = registered.spec.supports_undo;
        if self.pause.paused {
            return Next::Wait;
        }
        if self.unrecorded >= RECORDS_MAX / 2 {
            self.throttled = true;
            return Next::Wait;
        }
        while let Some((revision, directive)) = self.lanes.get_mut(key).and_then(|lane| lane.take(now.wall)) {
            if self.may_send(key, &directive, supports_undo, now.wall) {
                return Next::Delivery(Box::new(self.send(key, revision, &directive, now.wall)));
            }
        }
        Next::Wait
    }

    /// Checks one directive and does what the check asks for, other than sending.
    fn may_send(
        &mut self,
        key: &ActuatorKey,
        directive: &Directive,
        supports_undo: bool,
        now: Timestamp,
    ) -> bool {
        let (id, kind) = (directive.id, directive.kind());
        let state = self.state(id);
        let behind = self.lanes.get(key).is_some_and(|lane| lane.is_behind(directive));
        if behind || !self.registry.serving(&directive.resource, kind).contains(key) {
            return false;
        }
        if !kind.exclusive() && state.is_some_and(DirectiveState::in_effect) {
            // It stands: what is sent now only brings a late joiner to where the others are.
            return self.current(&directive.resource, kind) == Some(id);
        }
        if !state.is_some_and(DirectiveState::deliverable) {
            return false;
        }
        let checked = Checked {
            directive,
            paused: self.pause.paused,
            lease_held: true,
            supports_undo,
            newest_generation: self.newest_generation(directive),
            assessment: self.assessments.get(&directive.resource).map(AsRef::as_ref),
        };
        match check(&checked, now) {
            Verdict::Deliver => return true,
            Verdict::Wait(reason) => self.hold(id, reason, now),
            Verdict::Expire => {
                self.happen(id, now, Event::Tick);
            }
            // What was sent before may have been applied; only what never left can be refused here.
            Verdict::Refuse(reason) if state == Some(DirectiveState::Issued) => {
                self.happen(id, now, Event::Refused { reason });
            }
            Verdict::Refuse(_) => {}
        }
        false
    }

    fn send(&mut self, key: &ActuatorKey, revision: u64, directive: &Directive, now: Timestamp) -> Delivery {
        self.happen(directive.id, now, Event::Delivered { to: key.clone() });
        if let Some(lane) = self.lanes.get_mut(key) {
            lane.sent(directive, now);
        }
        let attempt = self.entries.get(&directive.id).map_or(1, |entry| entry.life.attempt());
        let deadline = later(now, directive.apply_timeout);
        Delivery { directive: directive.clone(), attempt, revision, deadline }
    }

    /// Waits for an assessment of its resource.
    fn hold(&mut self, id: Uuid, reason: String, now: Timestamp) {
        self.happen(id, now, Event::Held { reason });
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.held = true;
            let resource = entry.life.directive().resource.clone();
            self.watch(id, [resource]);
        }
    }

    /// Queues a directive on every lane that it is for.
    pub(super) fn offer(&mut self, id: Uuid) {
        let Some(entry) = self.entries.get(&id) else { return };
        let (life, directive) = (&entry.life, entry.life.directive());
        let replicated = !directive.kind().exclusive();
        if !(life.state().deliverable() || replicated && life.state().in_effect()) {
            return;
        }
        for key in self.registry.serving(&directive.resource, directive.kind()).iter() {
            let Some(lane) = self.lanes.get_mut(key) else { continue };
            let done = lane.holds(directive) || (replicated && life.answered_by(key));
            if lane.subscription != 0 && !done {
                lane.offer(entry.cursor, directive);
                self.outputs.push(Output::Wake(key.clone()));
            }
        }
    }

    /// Queues on one lane everything that it should have.
    fn offer_all(&mut self, key: &ActuatorKey, cursor: u64) {
        let mut wanted = Vec::new();
        for entry in self.entries.values() {
            let (life, directive) = (&entry.life, entry.life.directive());
            let replicated = !directive.kind().exclusive();
            if !(life.state().deliverable() || replicated && life.state().in_effect()) {
                continue;
            }
            // The cursor tells that this very process has seen it; only then its word still holds.
            let done = replicated && life.answered_by(key) && entry.cursor <= cursor;
            if !done && self.registry.serving(&directive.resource, directive.kind()).contains(key) {
                wanted.push((entry.cursor, directive.clone()));
            }
        }
        wanted.sort_by_key(|(cursor, directive)| (*cursor, directive.id));
        if let Some(lane) = self.lanes.get_mut(key) {
            wanted.iter().for_each(|(cursor, directive)| lane.offer(*cursor, directive));
        }
    }

    /// Looks again at lanes whose slots freed themselves, or whose queue has room again.
    pub(super) fn refill(&mut self, now: Timestamp) {
        let mut again = Vec::new();
        for (key, lane) in self.lanes.iter_mut().filter(|(_, lane)| lane.subscription != 0) {
            let freed = lane.next_wake().is_some_and(|wake| wake <= now);
            let room = lane.has_room_again();
            if freed || room {
                again.push((key.clone(), room));
            }
        }
        for (key, room) in again {
            if room {
                self.offer_all(&key, 0);
            }
            self.outputs.push(Output::Wake(key));
        }
    }

    /// Instances came or went: quorums may be reached, or be out of reach.
    pub(super) fn instances_changed(&mut self, now: Timestamp) {
        let outstanding = |state| matches!(state, DirectiveState::Delivered | DirectiveState::Accepted);
        let open: Vec<_> = self
            .entries
            .values()
            .filter(|entry| outstanding(entry.life.state()) && !entry.life.directive().kind().exclusive())
            .map(|entry| entry.life.directive().clone())
            .collect();
        for directive in open {
            let live = self.registry.serving(&directive.resource, directive.kind());
            self.happen(directive.id, now, Event::InstancesChanged(live));
        }
        self.lanes.retain(|key, lane| lane.subscription != 0 || self.registry.spec(key).is_some());
    }
}
