//! A stand-in for Analyze: says what the test tells it to say.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use chassis::{Context, GrpcServer, ServerConfig};
use futures::{Stream, StreamExt, stream};
use proto::model::{Assessment, ResourceId};
use proto::wire::{self, analyze_server};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The stand-in.
#[derive(Debug)]
pub struct FakeAnalyze {
    newest: Mutex<BTreeMap<ResourceId, Assessment>>,
    said: broadcast::Sender<Assessment>,
}

impl FakeAnalyze {
    /// Serves on a free port until `ctx` stops.
    pub async fn start(ctx: &Context) -> (Arc<Self>, SocketAddr) {
        let fake = Arc::new(Self { newest: Mutex::default(), said: broadcast::Sender::new(1_024) });
        let server = GrpcServer::bind(&ServerConfig::default()).await.expect("a free port");
        let addr = server.local_addr();
        let routes = Routes::new(analyze_server::AnalyzeServer::from_arc(fake.clone()));
        let health = server.serve(ctx, "fake-analyze", routes, proto::DESCRIPTORS, &[]);
        health.expect("descriptors that were compiled in").set_all_serving(true);
        (fake, addr)
    }

    /// Says it to all who listen, and to those who come later.
    pub fn say(&self, assessment: Assessment) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.insert(assessment.resource.clone(), assessment.clone());
        // Nobody may be listening yet.
        let _ = self.said.send(assessment);
    }

    /// How many listen.
    pub fn listeners(&self) -> usize {
        self.said.receiver_count()
    }
}

#[tonic::async_trait]
impl analyze_server::Analyze for FakeAnalyze {
    type IngestStream = Streamed<wire::IngestAck>;
    async fn ingest(
        &self,
        _: Request<Streaming<wire::SampleBatch>>,
    ) -> Result<Response<Self::IngestStream>, Status> {
        Err(Status::unimplemented("not in the stand-in"))
    }

    type WatchAssessmentsStream = Streamed<wire::Assessment>;
    async fn watch_assessments(
        &self,
        _: Request<wire::WatchAssessmentsRequest>,
    ) -> Result<Response<Self::WatchAssessmentsStream>, Status> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let first: Vec<_> = newest.values().cloned().collect();
        let later =
            BroadcastStream::new(self.said.subscribe()).filter_map(|said| std::future::ready(said.ok()));
        let all = stream::iter(first).chain(later);
        Ok(Response::new(Box::pin(all.map(|assessment| Ok(assessment.into())))))
    }

    async fn list_signals(
        &self,
        _: Request<wire::ListSignalsRequest>,
    ) -> Result<Response<wire::ListSignalsResponse>, Status> {
        Err(Status::unimplemented("not in the stand-in"))
    }

    async fn list_objective_states(
        &self,
        _: Request<wire::ListObjectiveStatesRequest>,
    ) -> Result<Response<wire::ListObjectiveStatesResponse>, Status> {
        Err(Status::unimplemented("not in the stand-in"))
    }
}
