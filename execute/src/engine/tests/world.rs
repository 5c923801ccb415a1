//! An engine, the ledger's rules, and actuators that do as they are told. Every delivery is checked against the rules that
//! must never be broken.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use proto::client::Delivery;
use proto::model::{ActuatorSpec, Outcome};

use super::*;
use crate::lifecycle::{Report, Reported};
use crate::moment::{between, later};
use crate::testing::{actuator, start, store::Store};

const TTL: Duration = Duration::from_secs(100_000);

#[derive(Debug)]
struct Outstanding {
    directive: Directive,
    ends: Timestamp,
}

#[derive(Debug)]
pub(super) struct World {
    pub engine: Engine,
    pub store: Store,
    pub millis: u64,
    pub outcomes: Vec<Outcome>,
    pub feedback: Vec<FeedbackSignal>,
    pub forget_proposals: bool,
    queue: VecDeque<Output>,
    /// What the ledger answered and the engine has not heard yet.
    answers: VecDeque<(Uuid, DirectiveState, bool, Option<DirectiveState>, u64)>,
    watched: usize,
    subscriptions: BTreeMap<usize, u64>,
    /// Per instance and resource: what was sent and not answered.
    outstanding: BTreeMap<(usize, ResourceId), Outstanding>,
    /// Highest generation sent per registration.
    sent: BTreeMap<(usize, u64, ResourceId, DirectiveKind), Generation>,
    sent_exclusive: BTreeMap<(ResourceId, DirectiveKind), Generation>,
}

impl World {
    /// So many instances are registered and subscribed.
    pub fn new(instances: usize) -> Self {
        let mut world = Self {
            engine: Engine::new(PauseState::never(start())),
            store: Store::new(start()),
            millis: 0,
            outcomes: Vec::new(),
            feedback: Vec::new(),
            forget_proposals: false,
            queue: VecDeque::new(),
            answers: VecDeque::new(),
            watched: 0,
            subscriptions: BTreeMap::new(),
            outstanding: BTreeMap::new(),
            sent: BTreeMap::new(),
            sent_exclusive: BTreeMap::new(),
        };
        for number in 0..instances {
            world.register(number);
            world.subscribe(number, 0);
        }
        world
    }

    pub fn now(&self) -> Moment {
        Moment { wall: at(self.millis), monotonic: Duration::from_millis(self.millis) }
    }

    /// A directive made now.
    pub fn dated(&self, directive: Directive) -> Directive {
        let now = self.now().wall;
        Directive { created_at: now, expires_at: later(now, Duration::from_secs(60)), ..directive }
    }

    pub fn propose(&mut self, directive: Directive) {
        self.store.propose(directive, self.now().wall);
    }

    /// Only the first instance serves the exclusive kind.
    fn spec(number: usize) -> ActuatorSpec {
        let spec = actuator("plant", &number.to_string());
        let kinds = if number == 0 { spec.kinds } else { vec![DirectiveKind::SetBreaker] };
        ActuatorSpec { kinds, max_in_flight: 2, ..spec }
    }

    pub fn register(&mut self, number: usize) {
        let now = self.now();
        let lease = self.store.grant(Self::spec(number), TTL, (now.wall, now.monotonic)).unwrap();
        let registered = Registered { spec: Self::spec(number), lease, ends: now.monotonic + TTL };
        self.engine.granted(registered, now);
        self.outstanding.retain(|(instance, _), _| *instance != number);
    }

    pub fn end_lease(&mut self, number: usize) {
        let lease = self.lease(number);
        self.store.release(&lease);
        self.engine.lease_ended(&lease, self.now());
    }

    fn lease(&self, number: usize) -> Lease {
        self.store.leases[&Self::key(number)].lease.clone()
    }

    pub fn key(number: usize) -> ActuatorKey {
        ActuatorKey::of(&Self::spec(number))
    }

    pub fn subscribe(&mut self, number: usize, cursor: u64) {
        let epoch = self.lease(number).epoch;
        let subscription = self.engine.subscribe(&Self::key(number), epoch, cursor);
        self.subscriptions.insert(number, subscription);
        self.outstanding.retain(|(instance, _), _| *instance != number);
    }

    pub fn subscription(&self, number: usize) -> u64 {
        self.subscriptions[&number]
    }

    pub fn unsubscribe(&mut self, number: usize) {
        if let Some(subscription) = self.subscriptions.remove(&number) {
            self.engine.unsubscribe(&Self::key(number), subscription);
        }
    }

    pub fn pause(&mut self, paused: bool) {
        let pause = PauseState { paused, ..PauseState::never(start()) };
        self.engine.set_pause(pause);
    }

    pub fn advance(&mut self, millis: u64) {
        self.millis += millis;
        self.engine.tick(self.now());
    }

    /// The next delivery of one instance, if it gets one; no rule may be broken.
    pub fn poll(&mut self, number: usize) -> Option<Delivery> {
        let subscription = self.subscriptions.get(&number).copied()?;
        let Next::Delivery(delivery) =
            self.engine.next_delivery(&Self::key(number), subscription, self.now())
        else {
            return None;
        };
        self.check(number, &delivery);
        Some(*delivery)
    }

    fn check(&mut self, number: usize, delivery: &Delivery) {
        let (directive, now) = (&delivery.directive, self.now().wall);
        let (resource, kind, generation) =
            (directive.resource.clone(), directive.kind(), directive.generation);
        assert!(!self.engine.pause.paused, "delivered while paused");
        let standing = self.engine.state(directive.id).unwrap().in_effect();
        assert!(now < directive.expires_at || (standing && !kind.exclusive()), "delivered after expiry");
        assert!(generation > Generation(0) && delivery.attempt > 0);
        let epoch = self.lease(number).epoch;
        let sent = self.sent.entry((number, epoch, resource.clone(), kind)).or_default();
        assert!(*sent <= generation, "generation {generation} after {sent}");
        *sent = generation;
        if kind.exclusive() {
            let sent = self.sent_exclusive.entry((resource.clone(), kind)).or_default();
            assert!(*sent <= generation, "generation {generation} after {sent}");
            *sent = generation;
        }
        self.outstanding.retain(|_, one| one.ends > now);
        if let Some(before) = self.outstanding.get(&(number, resource.clone())) {
            let replaces = before.directive.kind() == kind && before.directive.generation < generation;
            assert!(replaces, "{} before {} was answered", directive.id, before.directive.id);
        }
        let ends = later(now, directive.apply_timeout);
        self.outstanding.insert((number, resource), Outstanding { directive: directive.clone(), ends });
        let in_flight = self.outstanding.keys().filter(|(instance, _)| *instance == number).count();
        assert!(in_flight <= 2, "{in_flight} in flight");
        assert!(between(now, delivery.deadline) == directive.apply_timeout);
    }

    pub fn report(&mut self, number: usize, directive: u64, attempt: u32, reported: Reported) -> Disposition {
        let generation = self.store.directives[&id(directive)].directive.generation;
        self.report_on(number, id(directive), generation, attempt, reported)
    }

    pub fn report_on(
        &mut self,
        number: usize,
        directive: Uuid,
        generation: Generation,
        attempt: u32,
        reported: Reported,
    ) -> Disposition {
        self.try_report(number, directive, generation, attempt, reported).unwrap().disposition
    }

    pub fn try_report(
        &mut self,
        number: usize,
        directive: Uuid,
        generation: Generation,
        attempt: u32,
        reported: Reported,
    ) -> Result<Answer, ReportError> {
        let by = Self::key(number);
        let report =
            Report { by, attempt, reported, detail: String::new(), before: Vec::new(), after: Vec::new() };
        let answer = self.engine.report(directive, generation, report, self.now());
        if answer.is_ok() && reported.is_last_word() {
            self.outstanding
                .retain(|(instance, _), one| *instance != number || one.directive.id != directive);
        }
        answer
    }

    /// Sends, applies and reports one directive on one instance.
    pub fn apply(&mut self, number: usize, directive: u64) {
        self.watch();
        let delivery = self.poll(number).unwrap();
        assert_eq!(delivery.directive.id, id(directive));
        self.report(number, directive, delivery.attempt, Reported::Applied);
        self.settle();
    }

    /// The same on every instance.
    pub fn apply_by_all(&mut self, directive: u64) {
        self.watch();
        let numbers: Vec<_> = self.subscriptions.keys().copied().collect();
        for number in numbers {
            let delivery = self.poll(number).unwrap();
            assert_eq!(delivery.directive.id, id(directive));
            self.report(number, directive, delivery.attempt, Reported::Applied);
        }
        self.settle();
    }

    /// Tells the engine what changed in the ledger.
    pub fn watch(&mut self) {
        while let Some((_, directive)) = self.store.changes.get(self.watched) {
            let record = self.store.directives[directive].clone();
            self.watched += 1;
            self.engine.ledger(DirectiveRecord { history: Vec::new(), ..record }, self.now().wall);
        }
    }

    /// Lets the ledger take everything that waits for it, and tells the engine.
    pub fn settle(&mut self) {
        loop {
            self.record(usize::MAX);
            if self.answers.is_empty() {
                return;
            }
            self.answer(usize::MAX);
        }
    }

    /// The ledger takes some of what waits for it; the engine does not hear of it yet.
    pub fn record(&mut self, count: usize) {
        for _ in 0..count {
            self.queue.extend(self.engine.take_outputs());
            let Some(output) = self.queue.pop_front() else { return };
            self.take(output);
        }
    }

    /// The engine hears some of what the ledger answered.
    pub fn answer(&mut self, count: usize) {
        for _ in 0..count {
            let Some((directive, to, recorded, state, revision)) = self.answers.pop_front() else { return };
            if recorded || state == Some(to) {
                self.engine.recorded(directive, revision);
                continue;
            }
            self.queue.extend(self.engine.take_outputs());
            self.queue.retain(|one| !matches!(one, Output::Record(step) if step.directive_id == directive));
            self.answers.retain(|(other, ..)| *other != directive);
            let now = self.now().wall;
            self.engine.adopt(self.store.directives[&directive].clone(), now);
        }
    }

    fn take(&mut self, output: Output) {
        let now = self.now().wall;
        match output {
            Output::Record(step) => {
                let (directive, to) = (step.directive_id, step.to);
                let (recorded, state, revision) = self.store.step(step);
                self.answers.push_back((directive, to, recorded, state, revision));
            }
            Output::Verdict(outcome, feedback) => {
                self.outcomes.push(*outcome);
                self.feedback.extend(feedback);
            }
            Output::Propose(directive) if !self.forget_proposals => {
                self.store.propose(*directive, now);
            }
            Output::Propose(_) | Output::Wake(_) => {}
            Output::Fetch(directive) => self.engine.ledger(self.store.directives[&directive].clone(), now),
            Output::Impossible(directive, invalid) => panic!("{directive}: {invalid}"),
        }
    }

    /// Execute ends here and begins anew from the ledger; what was not recorded is lost.
    pub fn crash(&mut self) {
        let pause = self.engine.pause.clone();
        self.queue.clear();
        self.answers.clear();
        self.engine = Engine::new(pause);
        // What each instance of a replicated kind was sent is forgotten with the engine; from here on the instance's own
        // fence keeps older generations out. The exclusive kinds are fenced by the ledger's newest generation.
        self.sent.clear();
        self.watched = self.store.changes.len();
        let now = self.now();
        for leased in self.store.leases.values().filter(|one| one.ends > now.monotonic) {
            let registered =
                Registered { spec: leased.spec.clone(), lease: leased.lease.clone(), ends: leased.ends };
            self.engine.granted(registered, now);
        }
        for record in self.store.snapshot() {
            // With its history, as the shell reads it for what a crash interrupted.
            self.engine.ledger(self.store.directives[&record.directive.id].clone(), now.wall);
        }
        let numbers: Vec<_> = std::mem::take(&mut self.subscriptions).into_keys().collect();
        for number in numbers {
            if self.is_registered(number) {
                self.subscribe(number, 0);
            }
        }
    }

    pub fn ledger(&self, directive: u64) -> DirectiveState {
        self.state(id(directive))
    }

    pub fn state(&self, directive: Uuid) -> DirectiveState {
        self.store.directives[&directive].state
    }

    pub fn is_registered(&self, number: usize) -> bool {
        self.store.leases.get(&Self::key(number)).is_some_and(|one| one.ends > self.now().monotonic)
    }
}
