//! A stand-in for Knowledge: in memory, on a real socket, and with faults before, after, or instead of one answer.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use chassis::{Context, GrpcServer, ServerConfig, SharedClock};
use futures::{Stream, StreamExt, stream};
use proto::convert;
use proto::model::{
    ActuatorRecord, ActuatorSpec, Directive, DirectiveRecord, DirectiveState, FeedbackSignal, Lease, Outcome,
    PauseState, Transition,
};
use proto::wire::{self, ProposeVerdict, knowledge_server};
use tokio::sync::watch;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
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

/// What the services under test never ask for.
fn not_here<T>() -> Replied<T> {
    Err(Status::unimplemented("not in the stand-in"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn models<W: Clone, M: TryFrom<W, Error = convert::Error>>(values: &[W]) -> Result<Vec<M>, Status> {
    Ok(values.iter().cloned().map(M::try_from).collect::<Result<_, _>>()?)
}

fn given<W: Clone>(value: &Option<W>) -> Result<W, Status> {
    value.clone().ok_or_else(|| Status::invalid_argument("must be given"))
}

#[tonic::async_trait]
impl knowledge_server::Knowledge for FakeKnowledge {
    async fn propose(&self, request: Request<wire::ProposeRequest>) -> Replied<wire::ProposeResponse> {
        let directive = Directive::try_from(given(&request.into_inner().directive)?)?;
        let now = self.clock.now();
        self.serve("Propose", |store| {
            let (verdict, record) = store.propose(directive.clone(), now);
            Ok(wire::ProposeResponse {
                verdict: verdict.into(),
                generation: record.as_ref().map_or(0, |record| record.directive.generation.0),
                state: record.as_ref().map_or(0, |record| record.state.into()),
                revision: store.revision,
                detail: String::new(),
            })
        })
        .await
    }

    async fn record_transitions(
        &self,
        request: Request<wire::RecordTransitionsRequest>,
    ) -> Replied<wire::RecordTransitionsResponse> {
        let steps: Vec<Transition> = models(&request.into_inner().transitions)?;
        self.serve("RecordTransitions", |store| {
            let one = |step: &Transition| {
                let (recorded, state, revision) = store.step(step.clone());
                wire::TransitionResult { recorded, state: state.map_or(0, Into::into), revision }
            };
            Ok(wire::RecordTransitionsResponse { results: steps.iter().map(one).collect() })
        })
        .await
    }

    async fn get_directive(
        &self,
        request: Request<wire::GetDirectiveRequest>,
    ) -> Replied<wire::DirectiveRecord> {
        let id = convert::uuid(&request.into_inner().id, "id")?;
        let found = |store: &mut Store| store.directives.get(&id).cloned().map(Into::into);
        self.serve("GetDirective", |store| found(store).ok_or_else(|| Status::not_found("no such directive")))
            .await
    }

    type WatchDirectivesStream = Streamed<wire::DirectiveRecord>;

    async fn watch_directives(
        &self,
        request: Request<wire::WatchDirectivesRequest>,
    ) -> Replied<Self::WatchDirectivesStream> {
        let request = request.into_inner();
        let snapshot = request.snapshot;
        let (first, from) = self
            .serve("WatchDirectives", |store| {
                let first = if snapshot { store.snapshot() } else { Vec::new() };
                Ok((first, if snapshot { store.revision } else { request.from_revision }))
            })
            .await?
            .into_inner();
        let first = stream::iter(first.into_iter().map(|record| Ok(record.into())));
        let fake = self.this.upgrade().ok_or_else(|| Status::unavailable("away"))?;
        Ok(Response::new(Box::pin(first.chain(tail(fake, from)))))
    }

    async fn grant_lease(
        &self,
        request: Request<wire::GrantLeaseRequest>,
    ) -> Replied<wire::GrantLeaseResponse> {
        let request = request.into_inner();
        let spec = ActuatorSpec::try_from(given(&request.actuator)?)?;
        let (ttl, now) = (Duration::from_millis(request.ttl_ms), self.wall());
        self.serve("GrantLease", |store| {
            let lease = store
                .grant(spec.clone(), ttl, now)
                .map_err(|other| Status::already_exists(format!("{other} serves it")))?;
            let generations = store.generations(&spec).into_iter().map(Into::into).collect();
            Ok(wire::GrantLeaseResponse { lease_id: lease.id, epoch: lease.epoch, generations })
        })
        .await
    }

    async fn renew_lease(
        &self,
        request: Request<wire::RenewLeaseRequest>,
    ) -> Replied<wire::RenewLeaseResponse> {
        let wire::RenewLeaseRequest { lease_id, epoch, ttl_ms } = request.into_inner();
        let (lease, now) = (Lease { id: lease_id, epoch }, self.clock.monotonic());
        let ttl = Duration::from_millis(ttl_ms);
        self.serve("RenewLease", |store| Ok(wire::RenewLeaseResponse { held: store.renew(&lease, ttl, now) }))
            .await
    }

    async fn release_lease(
        &self,
        request: Request<wire::ReleaseLeaseRequest>,
    ) -> Replied<wire::ReleaseLeaseResponse> {
        let wire::ReleaseLeaseRequest { lease_id, epoch } = request.into_inner();
        let lease = Lease { id: lease_id, epoch };
        self.serve("ReleaseLease", |store| {
            store.release(&lease);
            Ok(wire::ReleaseLeaseResponse {})
        })
        .await
    }

    async fn list_actuators(
        &self,
        request: Request<wire::ListActuatorsRequest>,
    ) -> Replied<wire::ListActuatorsResponse> {
        let (live_only, now) = (request.into_inner().live_only, self.clock.monotonic());
        self.serve("ListActuators", |store| {
            let actuators = store.actuators(now).into_iter().filter(|one| one.live || !live_only);
            Ok(wire::ListActuatorsResponse { actuators: actuators.map(Into::into).collect() })
        })
        .await
    }

    async fn record_outcomes(
        &self,
        request: Request<wire::RecordOutcomesRequest>,
    ) -> Replied<wire::RecordOutcomesResponse> {
        let outcomes: Vec<Outcome> = models(&request.into_inner().outcomes)?;
        self.serve("RecordOutcomes", |store| {
            for outcome in &outcomes {
                let key = |one: &Outcome| (one.directive_id, one.at, one.result);
                if !store.outcomes.iter().any(|known| key(known) == key(outcome)) {
                    store.outcomes.push(outcome.clone());
                }
            }
            Ok(wire::RecordOutcomesResponse {})
        })
        .await
    }

    async fn record_feedback(
        &self,
        request: Request<wire::RecordFeedbackRequest>,
    ) -> Replied<wire::RecordFeedbackResponse> {
        let signals: Vec<FeedbackSignal> = models(&request.into_inner().signals)?;
        self.serve("RecordFeedback", |store| {
            let before = store.feedback.len();
            for signal in &signals {
                store.feedback.entry(signal.id).or_insert_with(|| signal.clone());
            }
            Ok(wire::RecordFeedbackResponse { stored: (store.feedback.len() - before) as u64 })
        })
        .await
    }

    async fn set_pause(&self, request: Request<wire::SetPauseRequest>) -> Replied<wire::PauseState> {
        let wire::SetPauseRequest { paused, counter, reason, actor } = request.into_inner();
        let state = PauseState { paused, counter, reason, actor, at: self.clock.now() };
        self.serve("SetPause", |store| {
            store.pause = store.pause.clone().merge(state.clone());
            Ok(store.pause.clone().into())
        })
        .await
    }

    async fn get_pause(&self, _: Request<wire::GetPauseRequest>) -> Replied<wire::PauseState> {
        self.serve("GetPause", |store| Ok(store.pause.clone().into())).await
    }

    async fn apply(&self, _: Request<wire::ApplyRequest>) -> Replied<wire::ApplyResponse> {
        not_here()
    }
    async fn list_declared(
        &self,
        _: Request<wire::ListDeclaredRequest>,
    ) -> Replied<wire::ListDeclaredResponse> {
        not_here()
    }
    async fn delete_declared(
        &self,
        _: Request<wire::DeleteDeclaredRequest>,
    ) -> Replied<wire::DeleteDeclaredResponse> {
        not_here()
    }
    async fn record_thresholds(
        &self,
        _: Request<wire::RecordThresholdsRequest>,
    ) -> Replied<wire::RecordThresholdsResponse> {
        not_here()
    }
    async fn list_thresholds(
        &self,
        _: Request<wire::ListThresholdsRequest>,
    ) -> Replied<wire::ListThresholdsResponse> {
        not_here()
    }
    async fn threshold_history(
        &self,
        _: Request<wire::ThresholdHistoryRequest>,
    ) -> Replied<wire::ThresholdHistoryResponse> {
        not_here()
    }
    async fn review_threshold(
        &self,
        _: Request<wire::ReviewThresholdRequest>,
    ) -> Replied<wire::ReviewThresholdResponse> {
        not_here()
    }
    async fn save_snapshots(
        &self,
        _: Request<wire::SaveSnapshotsRequest>,
    ) -> Replied<wire::SaveSnapshotsResponse> {
        not_here()
    }
    type LoadSnapshotsStream = Streamed<wire::Snapshot>;
    async fn load_snapshots(
        &self,
        _: Request<wire::LoadSnapshotsRequest>,
    ) -> Replied<Self::LoadSnapshotsStream> {
        not_here()
    }
    async fn list_directives(
        &self,
        _: Request<wire::ListDirectivesRequest>,
    ) -> Replied<wire::ListDirectivesResponse> {
        not_here()
    }
    async fn review_directive(
        &self,
        _: Request<wire::ReviewDirectiveRequest>,
    ) -> Replied<wire::DirectiveRecord> {
        not_here()
    }
    async fn list_outcomes(
        &self,
        _: Request<wire::ListOutcomesRequest>,
    ) -> Replied<wire::ListOutcomesResponse> {
        not_here()
    }
    async fn list_feedback(
        &self,
        _: Request<wire::ListFeedbackRequest>,
    ) -> Replied<wire::ListFeedbackResponse> {
        not_here()
    }
    type WatchChangesStream = Streamed<wire::Change>;
    async fn watch_changes(
        &self,
        _: Request<wire::WatchChangesRequest>,
    ) -> Replied<Self::WatchChangesStream> {
        not_here()
    }
    async fn list_resources(
        &self,
        _: Request<wire::ListResourcesRequest>,
    ) -> Replied<wire::ListResourcesResponse> {
        not_here()
    }
}
