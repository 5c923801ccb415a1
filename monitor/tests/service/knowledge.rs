//! A Knowledge that holds declared documents in memory and tells watchers of changes; the rest it does not do.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use chassis::grpc::until_stopped;
use chassis::{Context, GrpcServer, ServerConfig};
use futures::{Stream, StreamExt};
use proto::wire::{self, knowledge_server};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tonic::{Request, Response, Status};

#[derive(Clone)]
pub struct FakeKnowledge {
    ctx: Context,
    documents: Arc<Mutex<Vec<wire::Declared>>>,
    changes: broadcast::Sender<wire::Change>,
}

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl FakeKnowledge {
    pub async fn start(ctx: &Context, documents: Vec<wire::Declared>) -> (Self, std::net::SocketAddr) {
        let fake = Self {
            ctx: ctx.clone(),
            documents: Arc::new(Mutex::new(documents)),
            changes: broadcast::channel(16).0,
        };
        let server = GrpcServer::bind(&ServerConfig::default()).await.unwrap();
        let addr = server.local_addr();
        let routes = tonic::service::Routes::new(knowledge_server::KnowledgeServer::new(fake.clone()));
        server.serve(ctx, "knowledge", routes, proto::DESCRIPTORS, &["homeostat.v1.Knowledge"]).unwrap();
        (fake, addr)
    }

    pub fn declare(&self, document: wire::Declared) {
        self.documents.lock().unwrap().push(document.clone());
        let change = Some(wire::change::Change::Applied(document));
        // Nobody may be watching yet; then the list tells it.
        let _ = self.changes.send(wire::Change { revision: 2, at_unix_ms: 1, change });
    }
}

macro_rules! knowledge {
    ($($method:ident($request:ident) -> $response:ident;)*) => {
        #[tonic::async_trait]
        impl knowledge_server::Knowledge for FakeKnowledge {
            $(async fn $method(&self, _: Request<wire::$request>) -> Result<Response<wire::$response>, Status> {
                Err(Status::unimplemented(stringify!($method)))
            })*

            type LoadSnapshotsStream = Streamed<wire::Snapshot>;
            async fn load_snapshots(
                &self,
                _: Request<wire::LoadSnapshotsRequest>,
            ) -> Result<Response<Self::LoadSnapshotsStream>, Status> {
                Err(Status::unimplemented("load_snapshots"))
            }

            type WatchDirectivesStream = Streamed<wire::DirectiveRecord>;
            async fn watch_directives(
                &self,
                _: Request<wire::WatchDirectivesRequest>,
            ) -> Result<Response<Self::WatchDirectivesStream>, Status> {
                Err(Status::unimplemented("watch_directives"))
            }

            async fn list_declared(
                &self,
                _: Request<wire::ListDeclaredRequest>,
            ) -> Result<Response<wire::ListDeclaredResponse>, Status> {
                let documents = self.documents.lock().unwrap().clone();
                Ok(Response::new(wire::ListDeclaredResponse { documents, revision: 1 }))
            }

            type WatchChangesStream = Streamed<wire::Change>;
            async fn watch_changes(
                &self,
                _: Request<wire::WatchChangesRequest>,
            ) -> Result<Response<Self::WatchChangesStream>, Status> {
                let changes = BroadcastStream::new(self.changes.subscribe());
                let changes = changes.map(|change| change.map_err(|_| Status::data_loss("lagged")));
                Ok(Response::new(until_stopped(&self.ctx.stopper, changes)))
            }
        }
    };
}

knowledge! {
    apply(ApplyRequest) -> ApplyResponse;
    delete_declared(DeleteDeclaredRequest) -> DeleteDeclaredResponse;
    record_thresholds(RecordThresholdsRequest) -> RecordThresholdsResponse;
    list_thresholds(ListThresholdsRequest) -> ListThresholdsResponse;
    threshold_history(ThresholdHistoryRequest) -> ThresholdHistoryResponse;
    review_threshold(ReviewThresholdRequest) -> ReviewThresholdResponse;
    save_snapshots(SaveSnapshotsRequest) -> SaveSnapshotsResponse;
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
