//! A stand-in for Knowledge: in memory, on a real socket, and with faults before, after, or instead of one answer.

mod rpc;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use chassis::{Context, GrpcServer, ServerConfig, SharedClock};
use futures::{Stream, stream};
use proto::model::{
    ActuatorRecord, Directive, DirectiveRecord, DirectiveState, FeedbackSignal, Outcome, PauseState,
    Transition,
};
use proto::wire::{self, ProposeVerdict, knowledge_server};
use tokio::sync::watch;
use tonic::service::Routes;
use tonic::{Response, Status};
use uuid::Uuid;

use super::store::{Store, without_history};

/// When an answer fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Nothing is done, and the caller is told that nobody is there.
    Before,
    /// It is done, and the caller is told that nobody is there.
    After,
    /// It is done twice, and the caller is told the second answer.
    Twice,
}

/// What goes wrong with the next call of one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// The call, as in `RecordTransitions`.
    pub call: &'static str,
    /// When.
    pub when: When,
    /// How many calls of that name go well before.
    pub skip: u64,
}

/// The stand-in.
#[derive(Debug)]
pub struct FakeKnowledge {
    this: Weak<Self>,
    store: Mutex<Store>,
    faults: Mutex<Vec<Fault>>,
    calls: Mutex<BTreeMap<&'static str, u64>>,
    revision: watch::Sender<u64>,
    down: watch::Sender<bool>,
    latency: Mutex<Duration>,
    clock: SharedClock,
}

type Replied<T> = Result<Response<T>, Status>;
type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl FakeKnowledge {
    /// Serves on a free port until `ctx` stops.
    pub async fn start(ctx: &Context) -> (Arc<Self>, SocketAddr) {
        let fake = Arc::new_cyclic(|this| Self {
            this: this.clone(),
            store: Mutex::new(Store::new(ctx.clock.now())),
            faults: Mutex::default(),
            calls: Mutex::default(),
            revision: watch::Sender::new(0),
            down: watch::Sender::new(false),
            latency: Mutex::default(),
            clock: ctx.clock.clone(),
        });
        let server = GrpcServer::bind(&ServerConfig::default()).await.expect("a free port");
        let addr = server.local_addr();
        let routes = Routes::new(
            knowledge_server::KnowledgeServer::from_arc(fake.clone())
                .max_decoding_message_size(proto::client::MESSAGE_LIMIT_BYTES)
                .max_encoding_message_size(proto::client::MESSAGE_LIMIT_BYTES),
        );
        let health = server.serve(ctx, "fake-knowledge", routes, proto::DESCRIPTORS, &[]);
        health.expect("descriptors that were compiled in").set_all_serving(true);
        (fake, addr)
    }

    /// Makes the next call of that name go wrong.
    pub fn fail_next(&self, fault: Fault) {
        lock(&self.faults).push(fault);
    }

    /// Whether a fault has not struck yet.
    pub fn has_faults_left(&self) -> bool {
        !lock(&self.faults).is_empty()
    }

    /// Away: every call is refused, every stream breaks.
    pub fn set_down(&self, down: bool) {
        self.down.send_replace(down);
    }

    /// How long each write takes, as if on a slow disk.
    pub fn set_latency(&self, latency: Duration) {
        *lock(&self.latency) = latency;
    }

    /// How often a call was made.
    pub fn calls(&self, call: &'static str) -> u64 {
        lock(&self.calls).get(call).copied().unwrap_or(0)
    }

    /// Proposes a directive, as Plan does.
    pub fn propose(&self, directive: Directive) -> ProposeVerdict {
        let now = self.clock.now();
        self.change(|store| store.propose(directive, now).0)
    }

    /// Moves a directive behind Execute's back.
    pub fn step(&self, step: Transition) -> bool {
        self.change(|store| store.step(step).0)
    }

    /// Ends all leases, as if nobody had renewed them.
    pub fn end_leases(&self) {
        self.change(|store| store.leases.values_mut().for_each(|one| one.ends = Duration::ZERO));
    }

    /// Name, instance and epoch of those who hold a lease.
    pub fn live(&self) -> Vec<(String, u64)> {
        let now = self.clock.monotonic();
        let live =
            |store: &mut Store| store.actuators(now).into_iter().filter(|one| one.live).collect::<Vec<_>>();
        let named = |one: ActuatorRecord| {
            (format!("{}/{}", one.actuator.name, one.actuator.instance), one.lease.epoch)
        };
        self.change(|store| live(store)).into_iter().map(named).collect()
    }

    /// A directive with its history.
    pub fn directive(&self, id: Uuid) -> Option<DirectiveRecord> {
        lock(&self.store).directives.get(&id).cloned()
    }

    /// Where a directive stands.
    pub fn state(&self, id: Uuid) -> Option<DirectiveState> {
        lock(&self.store).directives.get(&id).map(|record| record.state)
    }

    /// All directives.
    pub fn directives(&self) -> Vec<DirectiveRecord> {
        lock(&self.store).directives.values().cloned().collect()
    }

    /// Verdicts, oldest first.
    pub fn outcomes(&self) -> Vec<Outcome> {
        lock(&self.store).outcomes.clone()
    }

    /// Feedback signals.
    pub fn feedback(&self) -> Vec<FeedbackSignal> {
        lock(&self.store).feedback.values().cloned().collect()
    }

    /// The pause as it remembers it.
    pub fn pause(&self) -> PauseState {
        lock(&self.store).pause.clone()
    }

    /// Sets the pause, as another Execute would.
    pub fn set_pause(&self, pause: PauseState) {
        self.change(|store| store.pause = pause);
    }

    fn change<T>(&self, act: impl FnOnce(&mut Store) -> T) -> T {
        let mut store = lock(&self.store);
        let result = act(&mut store);
        self.revision.send_replace(store.revision);
        result
    }

    /// One call with the fault that is due for it.
    async fn serve<T>(
        &self,
        call: &'static str,
        act: impl Fn(&mut Store) -> Result<T, Status>,
    ) -> Replied<T> {
        *lock(&self.calls).entry(call).or_default() += 1;
        let away = || Status::unavailable("away");
        if *self.down.borrow() {
            return Err(away());
        }
        let latency = *lock(&self.latency);
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        let when = {
            let mut faults = lock(&self.faults);
            let due = faults.iter_mut().position(|fault| {
                let strikes = fault.call == call && fault.skip == 0;
                fault.skip -= u64::from(fault.call == call && !strikes);
                strikes
            });
            due.map(|place| faults.remove(place).when)
        };
        if when == Some(When::Before) {
            return Err(away());
        }
        let mut answer = self.change(&act);
        if when == Some(When::Twice) {
            answer = self.change(&act);
        }
        if when == Some(When::After) { Err(away()) } else { answer.map(Response::new) }
    }

    fn wall(&self) -> (jiff::Timestamp, Duration) {
        (self.clock.now(), self.clock.monotonic())
    }
}

/// Changed directives after a revision, for as long as the stand-in is there.
fn tail(
    fake: Arc<FakeKnowledge>,
    from: u64,
) -> impl Stream<Item = Result<wire::DirectiveRecord, Status>> + Send {
    let (revision, down) = (fake.revision.subscribe(), fake.down.subscribe());
    stream::unfold((fake, from, revision, down), |(fake, from, mut revision, mut down)| async move {
        loop {
            if *down.borrow_and_update() {
                return None;
            }
            revision.borrow_and_update();
            let next = {
                let store = lock(&fake.store);
                let change = store.changes.get(store.changes.partition_point(|(at, _)| *at <= from));
                change
                    .map(|(at, id)| (*at, DirectiveRecord { revision: *at, ..store.directives[id].clone() }))
            };
            if let Some((at, record)) = next {
                return Some((Ok(without_history(record).into()), (fake, at, revision, down)));
            }
            tokio::select! {
                changed = revision.changed() => changed.ok()?,
                changed = down.changed() => changed.ok()?,
            }
        }
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
