//! A Knowledge that holds documents, thresholds and snapshots in memory, and tells watchers of changes; the rest it does not do.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use chassis::grpc::until_stopped;
use chassis::{Context, GrpcServer, ServerConfig};
use futures::{Stream, StreamExt, stream};
use proto::model::{SignalId, ThresholdState};
use proto::wire::{self, change::Change, knowledge_server};
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};

#[derive(Clone)]
pub struct FakeKnowledge {
    ctx: Context,
    held: Arc<Mutex<Held>>,
    revision: Arc<watch::Sender<u64>>,
}

#[derive(Default)]
struct Held {
    documents: Vec<wire::Declared>,
    thresholds: BTreeMap<(String, u64), wire::Threshold>,
    snapshots: BTreeMap<String, wire::Snapshot>,
    changes: Vec<wire::Change>,
    review_required: bool,
}

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl FakeKnowledge {
    /// One that remembers nothing yet and is not reachable.
    pub fn new(ctx: &Context) -> Self {
        Self { ctx: ctx.clone(), held: Arc::default(), revision: Arc::new(watch::Sender::new(0)) }
    }

    pub async fn serve(&self, listen: SocketAddr) -> SocketAddr {
        let config = ServerConfig { listen, ..ServerConfig::default() };
        let server = GrpcServer::bind(&config).await.unwrap();
        let addr = server.local_addr();
        let service =
            knowledge_server::KnowledgeServer::new(self.clone()).max_decoding_message_size(16 << 20);
        let routes = tonic::service::Routes::new(service);
        server
            .serve(&self.ctx, "knowledge", routes, proto::DESCRIPTORS, &["homeostat.v1.Knowledge"])
            .unwrap();
        addr
    }

    /// From now on a version beside another in force waits for a person.
    pub fn require_review(&self) {
        self.held.lock().unwrap().review_required = true;
    }

    pub fn declare(&self, document: proto::model::Declared) {
        let document = wire::Declared::from(document);
        self.held.lock().unwrap().documents.push(document.clone());
        self.tell(Change::Applied(document));
    }

    pub fn delete(&self, gone: wire::DeletedDocument) {
        self.held.lock().unwrap().documents.clear();
        self.tell(Change::Deleted(gone));
    }

    /// Versions of one signal, the oldest first.
    pub fn versions(&self, signal: &SignalId) -> Vec<proto::model::Threshold> {
        let held = self.held.lock().unwrap();
        let range = (signal.to_string(), 0)..(signal.to_string(), u64::MAX);
        held.thresholds.range(range).map(|(_, version)| version.clone().try_into().unwrap()).collect()
    }

    /// A person's decision, already made.
    pub fn decide(&self, version: proto::model::Threshold) {
        let version = wire::Threshold::from(version);
        self.held.lock().unwrap().store(version.clone());
        self.tell(Change::Threshold(version));
    }

    pub fn snapshots(&self) -> Vec<wire::Snapshot> {
        self.held.lock().unwrap().snapshots.values().cloned().collect()
    }

    pub fn put_snapshot(&self, snapshot: wire::Snapshot) {
        self.held.lock().unwrap().snapshots.insert(snapshot.key.clone(), snapshot);
    }

    fn tell(&self, change: Change) {
        let mut held = self.held.lock().unwrap();
        let revision = held.changes.len() as u64 + 1;
        held.changes.push(wire::Change { revision, at_unix_ms: 1, change: Some(change) });
        self.revision.send_replace(revision);
    }
}

fn text(version: &wire::Threshold) -> String {
    SignalId::try_from(version.signal.clone().unwrap()).unwrap().to_string()
}

impl Held {
    fn store(&mut self, version: wire::Threshold) {
        self.thresholds.insert((text(&version), version.generation), version);
    }

    /// As the real one: the answer is what is stored, under the number that it gives.
    fn record(&mut self, learned: wire::Threshold) -> wire::Threshold {
        let signal = text(&learned);
        if let Some(stored) = self.thresholds.get(&(signal.clone(), learned.generation)) {
            return stored.clone();
        }
        let versions =
            self.thresholds.range((signal.clone(), 0)..(signal, u64::MAX)).map(|(_, version)| version);
        let in_force = |version: &&wire::Threshold| {
            [ThresholdState::Active, ThresholdState::Pinned].map(i32::from).contains(&version.state)
        };
        let generation = versions.clone().map(|version| version.generation).max().unwrap_or(0) + 1;
        let held = versions.clone().find(in_force).cloned();
        let state = match &held {
            None => ThresholdState::Active,
            Some(_) if self.review_required => ThresholdState::Proposed,
            Some(held) if held.state == i32::from(ThresholdState::Pinned) => ThresholdState::Superseded,
            Some(_) => ThresholdState::Active,
        };
        if let Some(held) = held.filter(|_| state == ThresholdState::Active) {
            self.store(wire::Threshold { state: ThresholdState::Superseded.into(), ..held });
        }
        let stored = wire::Threshold { generation, state: state.into(), ..learned };
        self.store(stored.clone());
        stored
    }
}

macro_rules! knowledge {
    ($($method:ident($request:ident) -> $response:ident;)*) => {
        #[tonic::async_trait]
        impl knowledge_server::Knowledge for FakeKnowledge {
            $(async fn $method(&self, _: Request<wire::$request>) -> Result<Response<wire::$response>, Status> {
                Err(Status::unimplemented(stringify!($method)))
            })*

            async fn list_declared(
                &self,
                _: Request<wire::ListDeclaredRequest>,
            ) -> Result<Response<wire::ListDeclaredResponse>, Status> {
                let held = self.held.lock().unwrap();
                let (documents, revision) = (held.documents.clone(), held.changes.len() as u64);
                Ok(Response::new(wire::ListDeclaredResponse { documents, revision }))
            }

            async fn record_thresholds(
                &self,
                request: Request<wire::RecordThresholdsRequest>,
            ) -> Result<Response<wire::RecordThresholdsResponse>, Status> {
                let learned = request.into_inner().thresholds;
                let stored: Vec<_> = {
                    let mut held = self.held.lock().unwrap();
                    learned.into_iter().map(|version| held.record(version)).collect()
                };
                stored.iter().for_each(|version| self.tell(Change::Threshold(version.clone())));
                Ok(Response::new(wire::RecordThresholdsResponse { thresholds: stored }))
            }

            async fn list_thresholds(
                &self,
                request: Request<wire::ListThresholdsRequest>,
            ) -> Result<Response<wire::ListThresholdsResponse>, Status> {
                // Pages of one signal, so that paging is used.
                let after = request.into_inner().after_signal;
                let held = self.held.lock().unwrap();
                let wanted = [ThresholdState::Active, ThresholdState::Pinned, ThresholdState::Proposed].map(i32::from);
                let mut by_signal: BTreeMap<String, Vec<wire::Threshold>> = BTreeMap::new();
                for ((signal, _), version) in &held.thresholds {
                    if wanted.contains(&version.state) && *signal > after {
                        by_signal.entry(signal.clone()).or_default().push(version.clone());
                    }
                }
                let more = by_signal.len() > 1;
                let thresholds = by_signal.into_values().next().unwrap_or_default();
                let revision = held.changes.len() as u64;
                Ok(Response::new(wire::ListThresholdsResponse { thresholds, revision, more }))
            }

            async fn save_snapshots(
                &self,
                request: Request<wire::SaveSnapshotsRequest>,
            ) -> Result<Response<wire::SaveSnapshotsResponse>, Status> {
                request.into_inner().snapshots.into_iter().for_each(|snapshot| self.put_snapshot(snapshot));
                Ok(Response::new(wire::SaveSnapshotsResponse {}))
            }

            type LoadSnapshotsStream = Streamed<wire::Snapshot>;
            async fn load_snapshots(
                &self,
                request: Request<wire::LoadSnapshotsRequest>,
            ) -> Result<Response<Self::LoadSnapshotsStream>, Status> {
                let prefix = request.into_inner().key_prefix;
                let found = self.snapshots().into_iter().filter(move |snapshot| snapshot.key.starts_with(&prefix));
                Ok(Response::new(Box::pin(stream::iter(found.map(Ok).collect::<Vec<_>>()))))
            }

            type WatchChangesStream = Streamed<wire::Change>;
            async fn watch_changes(
                &self,
                request: Request<wire::WatchChangesRequest>,
            ) -> Result<Response<Self::WatchChangesStream>, Status> {
                let (fake, mut seen) = (self.clone(), request.into_inner().from_revision as usize);
                let changes = WatchStream::new(self.revision.subscribe()).flat_map(move |_| {
                    let new = fake.held.lock().unwrap().changes.get(seen..).unwrap_or_default().to_vec();
                    seen += new.len();
                    stream::iter(new.into_iter().map(Ok))
                });
                Ok(Response::new(until_stopped(&self.ctx.stopper, changes)))
            }

            type WatchDirectivesStream = Streamed<wire::DirectiveRecord>;
            async fn watch_directives(
                &self,
                _: Request<wire::WatchDirectivesRequest>,
            ) -> Result<Response<Self::WatchDirectivesStream>, Status> {
                Err(Status::unimplemented("watch_directives"))
            }
        }
    };
}

knowledge! {
    apply(ApplyRequest) -> ApplyResponse;
    delete_declared(DeleteDeclaredRequest) -> DeleteDeclaredResponse;
    threshold_history(ThresholdHistoryRequest) -> ThresholdHistoryResponse;
    review_threshold(ReviewThresholdRequest) -> ReviewThresholdResponse;
    propose(ProposeRequest) -> ProposeResponse;
    record_transitions(RecordTransitionsRequest) -> RecordTransitionsResponse;
    list_directives(ListDirectivesRequest) -> ListDirectivesResponse;
    get_directive(GetDirectiveRequest) -> DirectiveRecord;
    review_directive(ReviewDirectiveRequest) -> DirectiveRecord;
    grant_lease(GrantLeaseRequest) -> GrantLeaseResponse;
    renew_lease(RenewLeaseRequest) -> RenewLeaseResponse;
    release_lease(ReleaseLeaseRequest) -> ReleaseLeaseResponse;
    list_actuators(ListActuatorsRequest) -> ListActuatorsResponse;
    record_outcomes(RecordOutcomesRequest) -> RecordOutcomesResponse;
    list_outcomes(ListOutcomesRequest) -> ListOutcomesResponse;
    record_feedback(RecordFeedbackRequest) -> RecordFeedbackResponse;
    list_feedback(ListFeedbackRequest) -> ListFeedbackResponse;
    set_pause(SetPauseRequest) -> PauseState;
    get_pause(GetPauseRequest) -> PauseState;
    list_resources(ListResourcesRequest) -> ListResourcesResponse;
}
