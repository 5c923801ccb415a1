//! The engine behind a lock, and how its outputs reach those who act on them. The lock is held for microseconds and never
//! across an await.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chassis::SharedClock;
use proto::client::Knowledge;
use proto::model::{Directive, FeedbackSignal, Outcome, PauseState, Transition};
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use crate::engine::{Engine, Next, Output};
use crate::fleet::Fleet;
use crate::metrics::Metrics;
use crate::moment::{Moment, between};
use crate::registry::ActuatorKey;

/// Something for the ledger.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    Record(Transition),
    Verdict(Box<Outcome>, Vec<FeedbackSignal>),
    Propose(Box<Directive>),
    Fetch(Uuid),
}

#[derive(Debug)]
struct Inner {
    engine: Engine,
    /// In the order in which the engine decided, each with its number.
    queue: VecDeque<(u64, Entry)>,
    last: u64,
    bells: BTreeMap<ActuatorKey, Arc<Notify>>,
}

/// What all parts of the service share.
#[derive(Debug)]
pub(crate) struct Shared {
    inner: Mutex<Inner>,
    /// Rung when there is something for the ledger.
    pub(crate) entries: Notify,
    durable: watch::Sender<u64>,
    pub(crate) clock: SharedClock,
    pub(crate) metrics: Metrics,
    pub(crate) knowledge: Knowledge,
    fleet: Mutex<Fleet>,
}

impl Shared {
    pub(crate) fn new(pause: PauseState, clock: SharedClock, metrics: Metrics, knowledge: Knowledge) -> Self {
        let engine = Engine::new(pause);
        let inner = Inner { engine, queue: VecDeque::new(), last: 0, bells: BTreeMap::new() };
        let durable = watch::Sender::new(0);
        let fleet = Mutex::default();
        Self { inner: Mutex::new(inner), entries: Notify::new(), durable, clock, metrics, knowledge, fleet }
    }

    pub(crate) fn now(&self) -> Moment {
        Moment { wall: self.clock.now(), monotonic: self.clock.monotonic() }
    }

    /// Lets the engine decide something, and passes on what it wants done.
    pub(crate) fn with<T>(&self, decide: impl FnOnce(&mut Engine, Moment) -> T) -> T {
        self.with_number(decide).0
    }

    /// As [`Shared::with`]; also tells the number up to which entries must be durable for the decision to be.
    pub(crate) fn with_number<T>(&self, decide: impl FnOnce(&mut Engine, Moment) -> T) -> (T, u64) {
        let now = self.now();
        let mut inner = self.lock();
        let result = decide(&mut inner.engine, now);
        if inner.dispatch() {
            self.entries.notify_one();
        }
        (result, inner.last)
    }

    /// Everything that waits for the ledger, at most `limit` entries.
    pub(crate) fn take_entries(&self, limit: usize) -> Vec<Entry> {
        let mut inner = self.lock();
        let count = inner.queue.len().min(limit);
        self.metrics.unrecorded.set(i64::try_from(inner.queue.len()).unwrap_or(i64::MAX));
        inner.queue.drain(..count).map(|(_, entry)| entry).collect()
    }

    /// Drops the steps of a directive that wait for the ledger, and takes over what the ledger says instead.
    pub(crate) fn overrule(&self, id: Uuid, adopt: impl FnOnce(&mut Engine, Moment)) {
        let now = self.now();
        let mut inner = self.lock();
        inner.queue.retain(|(_, entry)| !matches!(entry, Entry::Record(step) if step.directive_id == id));
        adopt(&mut inner.engine, now);
        if inner.dispatch() {
            self.entries.notify_one();
        }
    }

    /// What was taken is durable, or never will be.
    pub(crate) fn settle_entries(&self) {
        let inner = self.lock();
        let durable = inner.queue.front().map_or(inner.last, |(number, _)| number - 1);
        drop(inner);
        self.durable.send_replace(durable);
    }

    /// Waits until entries up to this number are durable.
    pub(crate) async fn durable(&self, number: u64) {
        let mut durable = self.durable.subscribe();
        // The sender lives as long as we do.
        let _ = durable.wait_for(|reached| *reached >= number).await;
    }

    /// Opens a lane; its bell is rung whenever there may be something on it.
    pub(crate) fn subscribe(&self, key: &ActuatorKey, epoch: u64, cursor: u64) -> (u64, Arc<Notify>) {
        let bell = Arc::new(Notify::new());
        let mut inner = self.lock();
        let subscription = inner.engine.subscribe(key, epoch, cursor);
        let replaced = inner.bells.insert(key.clone(), bell.clone());
        if inner.dispatch() {
            self.entries.notify_one();
        }
        drop(inner);
        // Only now, so that the stream before finds itself replaced when it looks.
        replaced.inspect(|replaced| replaced.notify_one());
        self.gauge();
        (subscription, bell)
    }

    /// A lane's stream ended.
    pub(crate) fn unsubscribe(&self, key: &ActuatorKey, subscription: u64, bell: &Arc<Notify>) {
        let mut inner = self.lock();
        if inner.bells.get(key).is_some_and(|own| Arc::ptr_eq(own, bell)) {
            inner.bells.remove(key);
        }
        inner.engine.unsubscribe(key, subscription);
        drop(inner);
        self.gauge();
    }

    /// The next delivery on a lane.
    pub(crate) fn next_delivery(&self, key: &ActuatorKey, subscription: u64) -> Next {
        let next = self.with(|engine, now| engine.next_delivery(key, subscription, now));
        if let Next::Delivery(delivery) = &next {
            self.metrics.deliveries.inc();
            if delivery.attempt == 1 {
                let delay = between(delivery.directive.created_at, self.clock.now());
                self.metrics.decision_to_delivery.observe(delay.as_secs_f64());
            }
        }
        next
    }

    /// The pool of what breakers see. A lock of its own: evidence comes by the thousand, and directives do not wait for it.
    pub(crate) fn fleet(&self) -> MutexGuard<'_, Fleet> {
        self.fleet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings the gauges up to date.
    pub(crate) fn gauge(&self) {
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let inner = self.lock();
        let (_, open) = inner.engine.directives();
        self.metrics.open_directives.set(count(open));
        self.metrics.actuators.set(count(inner.engine.registry().len()));
        self.metrics.subscriptions.set(count(inner.engine.subscribed()));
        self.metrics.paused.set(i64::from(inner.engine.pause().paused));
        drop(inner);
        self.metrics.breakers.set(count(self.fleet().len()));
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Tells whether there is something new for the ledger.
    fn dispatch(&mut self) -> bool {
        let before = self.last;
        for output in self.engine.take_outputs() {
            let entry = match output {
                Output::Record(transition) => Entry::Record(transition),
                Output::Verdict(outcome, feedback) => Entry::Verdict(outcome, feedback),
                Output::Propose(directive) => Entry::Propose(directive),
                Output::Fetch(id) => Entry::Fetch(id),
                Output::Wake(key) => {
                    self.bells.get(&key).inspect(|bell| bell.notify_one());
                    continue;
                }
                Output::Impossible(id, invalid) => {
                    tracing::error!(directive = %id, "step left out: {invalid}");
                    continue;
                }
            };
            self.last += 1;
            self.queue.push_back((self.last, entry));
        }
        self.last > before
    }
}
