//! A ledger that keeps generations and a feed, and a source of assessments. Everything that Plan does not call is refused.

use chassis::{Context, GrpcServer, ServerConfig, SharedClock, grpc::until_stopped};
use futures::{Stream, StreamExt, stream};
use proto::{
    client::{Change, ChangeEvent},
    model::*,
    wire::{self, analyze_server, knowledge_server},
};
use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::sync::watch;
use tonic::{Request, Response, Status, service::Routes};
use uuid::Uuid;

/// Longer than anything here takes.
pub const LIMIT: Duration = Duration::from_secs(20);

const DOCUMENTS: &str = r#"
kind: Service
metadata: { name: catalog, namespace: staging }
spec:
  instances: { service: catalog }
  signals: { total: http_requests_total, good: 'http_requests_total{code!~"5.."}' }
  objective: { target: 0.99, window: 1h }
---
kind: Policy
metadata: { name: catalog, namespace: staging }
spec:
  service: catalog
  autonomy: AUTONOMY
  scale: { minimum: 1, maximum: 10, step_up: 4, cooldown_up: 1h, cooldown_down: 1h, target_utilisation: 0.6 }
"#;

pub fn catalog() -> ResourceId {
    ResourceId::service("staging", "catalog").unwrap()
}

/// Two replicas, each good for 50 requests/s, at 50.
pub fn calm() -> Vec<(&'static str, f64)> {
    vec![("load", 50.0), ("utilisation", 0.5), ("ready_replicas", 2.0), ("bad_ratio", 0.0)]
}

/// The same two at 400 requests/s.
pub fn crowd() -> Vec<(&'static str, f64)> {
    vec![("load", 400.0), ("utilisation", 1.0), ("ready_replicas", 2.0), ("bad_ratio", 0.5)]
}

// === Analyze

#[derive(Clone)]
pub struct FakeAnalyze {
    pub addr: SocketAddr,
    pub ctx: Context,
    newest: watch::Sender<Option<wire::Assessment>>,
}

impl FakeAnalyze {
    pub async fn start(ctx: &Context, config: ServerConfig) -> Self {
        let server = GrpcServer::bind(&config).await.unwrap();
        let fake = Self { addr: server.local_addr(), ctx: ctx.clone(), newest: watch::Sender::new(None) };
        let routes = Routes::new(analyze_server::AnalyzeServer::new(fake.clone()));
        server.serve(ctx, "fake-analyze", routes, proto::DESCRIPTORS, &[]).unwrap();
        fake
    }

    /// The next assessment of catalog.
    pub fn tell(&self, signals: Vec<(&'static str, f64)>) {
        let now = self.ctx.clock.now();
        let glance = |(name, value): (&str, f64)| SignalGlance::plain(name, Some(value), now);
        let assessment = Assessment {
            resource: catalog(),
            shard: catalog().shard(),
            at: now,
            sequence: 1,
            signals: signals.into_iter().map(glance).collect(),
            symptoms: Vec::new(),
            objective: None,
            capacity: Capacity { per_replica: Some(50.0), lower: None, upper: None, samples: 100 },
            outlook: None,
            budget_policies: Vec::new(),
            data: DataQuality {
                quality: Quality::Good,
                reason: String::new(),
                since: now,
                sources_expected: 2,
                sources_seen: 2,
                last_good: Some(now),
            },
            // Long enough that nothing here grows stale while a slow machine catches its breath.
            interval: Duration::from_secs(15),
        };
        self.newest.send_replace(Some(assessment.into()));
    }
}

type Out<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl analyze_server::Analyze for FakeAnalyze {
    type IngestStream = Out<wire::IngestAck>;
    type WatchAssessmentsStream = Out<wire::Assessment>;

    async fn ingest(
        &self,
        _: Request<tonic::Streaming<wire::SampleBatch>>,
    ) -> Result<Response<Self::IngestStream>, Status> {
        Err(Status::unimplemented("not Plan's"))
    }

    async fn watch_assessments(
        &self,
        _: Request<wire::WatchAssessmentsRequest>,
    ) -> Result<Response<Self::WatchAssessmentsStream>, Status> {
        let mut newest = self.newest.subscribe();
        newest.mark_changed();
        let items = tokio_stream::wrappers::WatchStream::from_changes(newest);
        let items = items.filter_map(|item| std::future::ready(item.map(Ok)));
        Ok(Response::new(until_stopped(&self.ctx.stopper, items)))
    }

    async fn list_signals(
        &self,
        _: Request<wire::ListSignalsRequest>,
    ) -> Result<Response<wire::ListSignalsResponse>, Status> {
        Err(Status::unimplemented("not Plan's"))
    }

    async fn list_objective_states(
        &self,
        _: Request<wire::ListObjectiveStatesRequest>,
    ) -> Result<Response<wire::ListObjectiveStatesResponse>, Status> {
        Err(Status::unimplemented("not Plan's"))
    }
}

// === Knowledge

#[derive(Default)]
struct State {
    documents: Vec<Declared>,
    records: Vec<DirectiveRecord>,
    changes: Vec<(u64, ChangeEvent)>,
    oldest: u64,
    proposed: Vec<wire::Directive>,
    proposed_at: Duration,
    actuator_away: bool,
    refuses: bool,
    pause: Option<PauseState>,
    standings: Vec<wire::Standing>,
    evidence: Vec<wire::StandingEvidence>,
}

#[derive(Clone)]
pub struct FakeKnowledge {
    pub addr: SocketAddr,
    pub ctx: Context,
    clock: SharedClock,
    state: Arc<Mutex<State>>,
    revision: watch::Sender<u64>,
}

impl FakeKnowledge {
    pub async fn start(ctx: &Context, config: ServerConfig) -> Self {
        let server = GrpcServer::bind(&config).await.unwrap();
        let fake = Self {
            addr: server.local_addr(),
            ctx: ctx.clone(),
            clock: ctx.clock.clone(),
            state: Arc::default(),
            revision: watch::Sender::new(1),
        };
        let standings = wire::standings_server::StandingsServer::new(fake.clone());
        let routes = Routes::new(knowledge_server::KnowledgeServer::new(fake.clone())).add_service(standings);
        server.serve(ctx, "fake-knowledge", routes, proto::DESCRIPTORS, &[]).unwrap();
        fake
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn declare(&self, autonomy: &str) {
        let text = DOCUMENTS.replace("AUTONOMY", autonomy);
        let documents = yaml::read(&text).unwrap();
        self.state().documents =
            documents.into_iter().map(|document| Declared { version: 1, ..document }).collect();
    }

    pub fn proposed(&self) -> Vec<wire::Directive> {
        self.state().proposed.clone()
    }

    pub fn last_proposal_at(&self) -> Duration {
        self.state().proposed_at
    }

    pub fn generation(&self) -> Generation {
        let state = self.state();
        state.records.iter().map(|record| record.directive.generation).max().unwrap_or_default()
    }

    fn change(&self, make: impl FnOnce(&mut State, u64) -> ChangeEvent) {
        self.revision.send_modify(|revision| {
            *revision += 1;
            let mut state = self.state();
            let event = make(&mut state, *revision);
            state.changes.push((*revision, event));
        });
    }

    /// Moves a directive on, and tells the feed.
    pub fn advance(&self, index: usize, to: DirectiveState) {
        let now = self.clock.now();
        self.change(|state, revision| {
            let record = &mut state.records[index];
            (record.state, record.revision, record.changed_at) = (to, revision, now);
            ChangeEvent::Directive(Box::new(record.clone()))
        });
    }

    /// A scaling of catalog that the feed never tells of.
    pub fn store_silently(&self, generation: u64, before: u32, after: u32, state: DirectiveState) {
        let now = self.clock.now();
        let directive = Directive {
            id: Uuid::from_u128(u128::from(generation)),
            resource: catalog(),
            action: Action::Scale { replicas: after },
            undo: Action::Scale { replicas: before },
            parent_generation: Generation(generation - 1),
            generation: Generation(generation),
            policy: "catalog".to_owned(),
            autonomy: AutonomyLevel::Act,
            created_at: now - jiff::SignedDuration::from_secs(7_200),
            expires_at: now,
            apply_timeout: Duration::from_secs(15),
            verify_window: Duration::from_secs(10),
            preconditions: Preconditions {
                max_evidence_age: Duration::from_secs(5),
                requires_known_data: false,
            },
            expected: Vec::new(),
            counterfactual: Vec::new(),
            rationale: Rationale::default(),
            blast_radius_ratio: 0.0,
            reduces: false,
            undo_of: None,
            quorum_ratio: 1.0,
        };
        // Generation 5 was made long ago: its cooldown is over.
        let changed_at = if generation == 5 { now - jiff::SignedDuration::from_secs(7_200) } else { now };
        let revision = *self.revision.borrow();
        let detail = String::new();
        let record = DirectiveRecord { directive, state, revision, changed_at, detail, history: Vec::new() };
        self.state().records.push(record);
    }

    /// Forgets all changes: whoever follows from before must read the lists.
    pub fn compact(&self) {
        self.change(|state, revision| {
            state.changes.clear();
            state.oldest = revision;
            ChangeEvent::Compacted
        });
    }

    pub fn pause(&self, pause: PauseState) {
        self.change(|state, _| {
            state.pause = Some(pause.clone());
            ChangeEvent::Pause(pause)
        });
    }

    pub fn delete_service(&self) {
        self.change(|state, _| {
            state.documents.retain(|document| document.kind() != DeclaredKind::Service);
            ChangeEvent::Deleted(DeclaredKind::Service, "staging".to_owned(), "catalog".to_owned())
        });
    }

    /// Answers every proposal with an error.
    pub fn refuse(&self, refuses: bool) {
        self.state().refuses = refuses;
    }

    /// The actuator's lease runs out, or it registers again; only the second is told.
    pub fn set_actuator(&self, live: bool) {
        if live {
            self.change(|state, _| {
                state.actuator_away = false;
                ChangeEvent::Actuator(Box::new(actuator()))
            });
        } else {
            self.state().actuator_away = true;
        }
    }

    fn answer(&self, directive: Directive) -> (wire::ProposeVerdict, Generation, Option<DirectiveState>) {
        let current = self.generation();
        let under_way = self.state().records.iter().any(|record| record.state.under_way());
        let advice = matches!(directive.autonomy, AutonomyLevel::Observe | AutonomyLevel::Recommend);
        if !advice && under_way {
            return (wire::ProposeVerdict::UnderWay, current, None);
        }
        if !advice && directive.parent_generation != current {
            return (wire::ProposeVerdict::StaleGeneration, current, None);
        }
        let (state, generation) = if advice {
            (DirectiveState::Proposed, Generation(0))
        } else {
            (DirectiveState::Issued, current.next())
        };
        let now = self.clock.now();
        self.change(|held, revision| {
            let directive = Directive { generation, ..directive };
            let detail = String::new();
            let record =
                DirectiveRecord { directive, state, revision, changed_at: now, detail, history: Vec::new() };
            held.records.push(record.clone());
            ChangeEvent::Directive(Box::new(record))
        });
        (wire::ProposeVerdict::Accepted, generation, Some(state))
    }
}

fn actuator() -> ActuatorRecord {
    ActuatorRecord {
        actuator: ActuatorSpec {
            name: "process".to_owned(),
            instance: "one".to_owned(),
            kinds: vec![DirectiveKind::Scale],
            resources: vec![ResourcePattern::exactly(&catalog())],
            max_in_flight: 1,
            supports_dry_run: false,
            supports_undo: true,
        },
        lease: Lease { id: "lease".to_owned(), epoch: 1 },
        live: true,
        registered_at: jiff::Timestamp::UNIX_EPOCH,
        remaining: Duration::from_secs(10),
    }
}

/// Written as `async_trait` would write it, since it does not look into macros.
macro_rules! not_plans {
    ($($method:ident: $request:ident => $reply:ident),+ $(,)?) => {
        $(fn $method<'a, 'b>(
            &'a self,
            _: Request<wire::$request>,
        ) -> Pin<Box<dyn Future<Output = Result<Response<wire::$reply>, Status>> + Send + 'b>>
        where
            'a: 'b,
            Self: 'b,
        {
            Box::pin(std::future::ready(Err(Status::unimplemented("not Plan's"))))
        })+
    };
}

type Never<T> = stream::Empty<Result<T, Status>>;

#[tonic::async_trait]
impl knowledge_server::Knowledge for FakeKnowledge {
    type LoadSnapshotsStream = Never<wire::Snapshot>;
    type WatchDirectivesStream = Never<wire::DirectiveRecord>;
    type WatchChangesStream = Out<wire::Change>;

    async fn list_declared(
        &self,
        _: Request<wire::ListDeclaredRequest>,
    ) -> Result<Response<wire::ListDeclaredResponse>, Status> {
        let documents = self.state().documents.iter().cloned().map(Into::into).collect();
        Ok(Response::new(wire::ListDeclaredResponse { documents, revision: *self.revision.borrow() }))
    }

    async fn list_directives(
        &self,
        request: Request<wire::ListDirectivesRequest>,
    ) -> Result<Response<wire::ListDirectivesResponse>, Status> {
        let states = request.into_inner().states;
        let asked =
            |record: &&DirectiveRecord| states.is_empty() || states.contains(&i32::from(record.state));
        let directives = self.state().records.iter().rev().filter(asked).cloned().map(Into::into).collect();
        Ok(Response::new(wire::ListDirectivesResponse { directives, revision: *self.revision.borrow() }))
    }

    async fn list_actuators(
        &self,
        _: Request<wire::ListActuatorsRequest>,
    ) -> Result<Response<wire::ListActuatorsResponse>, Status> {
        let away = self.state().actuator_away;
        let actuators = if away { Vec::new() } else { vec![actuator().into()] };
        Ok(Response::new(wire::ListActuatorsResponse { actuators }))
    }

    async fn get_pause(
        &self,
        _: Request<wire::GetPauseRequest>,
    ) -> Result<Response<wire::PauseState>, Status> {
        let pause =
            self.state().pause.clone().unwrap_or_else(|| PauseState::never(jiff::Timestamp::UNIX_EPOCH));
        Ok(Response::new(pause.into()))
    }

    async fn watch_changes(
        &self,
        request: Request<wire::WatchChangesRequest>,
    ) -> Result<Response<Self::WatchChangesStream>, Status> {
        let (fake, revision) = (self.clone(), self.revision.subscribe());
        let from = request.into_inner().from_revision;
        let items = stream::unfold((fake, revision, from), |(fake, mut revision, from)| async move {
            loop {
                let next = {
                    let state = fake.state();
                    let compacted = (state.oldest > from).then_some((state.oldest, ChangeEvent::Compacted));
                    compacted.or_else(|| state.changes.iter().find(|(revision, _)| *revision > from).cloned())
                };
                if let Some((at, event)) = next {
                    let change = Change { revision: at, at: fake.clock.now(), event };
                    return Some((Ok(wire::Change::from(change)), (fake, revision, at)));
                }
                revision.changed().await.ok()?;
            }
        });
        Ok(Response::new(until_stopped(&self.ctx.stopper, items)))
    }

    async fn propose(
        &self,
        request: Request<wire::ProposeRequest>,
    ) -> Result<Response<wire::ProposeResponse>, Status> {
        let wire = request.into_inner().directive.ok_or_else(|| Status::invalid_argument("no directive"))?;
        let directive = Directive::try_from(wire.clone())?;
        let refuses = self.state().refuses;
        // Stored before a test can see that it was proposed.
        let answer = (!refuses).then(|| self.answer(directive));
        {
            let mut state = self.state();
            state.proposed.push(wire);
            state.proposed_at = self.clock.monotonic();
        }
        let (verdict, generation, state) = answer.ok_or_else(|| Status::invalid_argument("not today"))?;
        Ok(Response::new(wire::ProposeResponse {
            verdict: verdict.into(),
            generation: generation.0,
            state: state.map_or(0, i32::from),
            revision: *self.revision.borrow(),
            detail: String::new(),
        }))
    }

    async fn list_outcomes(
        &self,
        _: Request<wire::ListOutcomesRequest>,
    ) -> Result<Response<wire::ListOutcomesResponse>, Status> {
        Ok(Response::new(wire::ListOutcomesResponse::default()))
    }

    async fn load_snapshots(
        &self,
        _: Request<wire::LoadSnapshotsRequest>,
    ) -> Result<Response<Self::LoadSnapshotsStream>, Status> {
        Err(Status::unimplemented("not Plan's"))
    }

    async fn watch_directives(
        &self,
        _: Request<wire::WatchDirectivesRequest>,
    ) -> Result<Response<Self::WatchDirectivesStream>, Status> {
        Err(Status::unimplemented("not Plan's"))
    }

    not_plans! {
        apply: ApplyRequest => ApplyResponse,
        delete_declared: DeleteDeclaredRequest => DeleteDeclaredResponse,
        record_thresholds: RecordThresholdsRequest => RecordThresholdsResponse,
        list_thresholds: ListThresholdsRequest => ListThresholdsResponse,
        threshold_history: ThresholdHistoryRequest => ThresholdHistoryResponse,
        review_threshold: ReviewThresholdRequest => ReviewThresholdResponse,
        save_snapshots: SaveSnapshotsRequest => SaveSnapshotsResponse,
        record_transitions: RecordTransitionsRequest => RecordTransitionsResponse,
        get_directive: GetDirectiveRequest => DirectiveRecord,
        review_directive: ReviewDirectiveRequest => DirectiveRecord,
        grant_lease: GrantLeaseRequest => GrantLeaseResponse,
        renew_lease: RenewLeaseRequest => RenewLeaseResponse,
        release_lease: ReleaseLeaseRequest => ReleaseLeaseResponse,
        record_outcomes: RecordOutcomesRequest => RecordOutcomesResponse,
        record_feedback: RecordFeedbackRequest => RecordFeedbackResponse,
        list_feedback: ListFeedbackRequest => ListFeedbackResponse,
        set_pause: SetPauseRequest => PauseState,
        list_resources: ListResourcesRequest => ListResourcesResponse,
    }
}

// === What policies have earned

impl FakeKnowledge {
    /// The newest standing of each policy at each resource.
    pub fn standings(&self) -> Vec<wire::Standing> {
        self.state().standings.clone()
    }

    /// All evidence that was told.
    pub fn evidence(&self) -> Vec<wire::StandingEvidence> {
        self.state().evidence.clone()
    }

    /// As if a person, or another Plan, had been faster.
    pub fn set_standing(&self, standing: wire::Standing) {
        let mut state = self.state();
        state
            .standings
            .retain(|known| (&known.policy, &known.resource) != (&standing.policy, &standing.resource));
        state.standings.push(standing);
    }
}

#[tonic::async_trait]
impl wire::standings_server::Standings for FakeKnowledge {
    async fn list_standings(
        &self,
        _: Request<wire::ListStandingsRequest>,
    ) -> Result<Response<wire::ListStandingsResponse>, Status> {
        Ok(Response::new(wire::ListStandingsResponse { standings: self.standings() }))
    }

    async fn record_standing(
        &self,
        request: Request<wire::RecordStandingRequest>,
    ) -> Result<Response<wire::RecordStandingResponse>, Status> {
        let standing =
            request.into_inner().standing.ok_or_else(|| Status::invalid_argument("no standing"))?;
        let known = self
            .standings()
            .into_iter()
            .find(|known| (&known.policy, &known.resource) == (&standing.policy, &standing.resource));
        let recorded = standing.generation == known.as_ref().map_or(0, |known| known.generation) + 1;
        if recorded {
            self.set_standing(standing.clone());
        }
        let newest = if recorded { Some(standing) } else { known };
        Ok(Response::new(wire::RecordStandingResponse { recorded, standing: newest }))
    }

    async fn record_evidence(
        &self,
        request: Request<wire::RecordEvidenceRequest>,
    ) -> Result<Response<wire::RecordEvidenceResponse>, Status> {
        let evidence = request.into_inner().evidence;
        let stored = evidence.len() as u64;
        self.state().evidence.extend(evidence);
        Ok(Response::new(wire::RecordEvidenceResponse { stored }))
    }

    async fn list_evidence(
        &self,
        _: Request<wire::ListEvidenceRequest>,
    ) -> Result<Response<wire::ListEvidenceResponse>, Status> {
        Ok(Response::new(wire::ListEvidenceResponse { evidence: self.evidence() }))
    }

    async fn standing_history(
        &self,
        _: Request<wire::StandingHistoryRequest>,
    ) -> Result<Response<wire::StandingHistoryResponse>, Status> {
        Err(Status::unimplemented("not Plan's"))
    }
}
