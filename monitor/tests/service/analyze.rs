//! An Analyze that keeps every row it gets, and acknowledges, holds back or hangs up as told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use chassis::grpc::until_stopped;
use chassis::{Context, GrpcServer, ServerConfig};
use futures::Stream;
use proto::model::{Quality, SampleBatch};
use proto::wire::{self, analyze_server};
use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};

/// A row as it arrived.
#[derive(Debug, Clone)]
pub struct Seen {
    pub signal: String,
    pub declared: bool,
    pub at_ms: i64,
    pub value: Option<f64>,
    pub quality: Quality,
    /// What it stands for.
    pub interval_ms: u128,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Acknowledges each batch.
    Acknowledge,
    /// Takes batches and says nothing.
    HoldBack,
    /// Ends every stream, and each new one after its first batch.
    HangUp,
}

#[derive(Clone)]
pub struct FakeAnalyze {
    ctx: Context,
    manner: watch::Sender<Manner>,
    log: Arc<Mutex<Log>>,
}

#[derive(Debug, Default)]
pub struct Log {
    pub rows: Vec<Seen>,
    pub gaps: Vec<String>,
    pub streams: u32,
    pub batches: u32,
}

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl FakeAnalyze {
    pub async fn start(ctx: &Context, manner: Manner) -> (Self, SocketAddr) {
        let fake = Self { ctx: ctx.clone(), manner: watch::Sender::new(manner), log: Arc::default() };
        let server = GrpcServer::bind(&ServerConfig::default()).await.unwrap();
        let addr = server.local_addr();
        let routes = tonic::service::Routes::new(analyze_server::AnalyzeServer::new(fake.clone()));
        server.serve(ctx, "analyze", routes, proto::DESCRIPTORS, &["homeostat.v1.Analyze"]).unwrap();
        (fake, addr)
    }

    pub fn behave(&self, manner: Manner) {
        self.manner.send_replace(manner);
    }

    pub fn with<T>(&self, look: impl FnOnce(&Log) -> T) -> T {
        look(&self.log.lock().unwrap())
    }

    /// All rows of one signal, as they arrived.
    pub fn rows(&self, signal: &str) -> Vec<Seen> {
        self.with(|log| log.rows.iter().filter(|row| row.signal == signal).cloned().collect())
    }

    /// The newest row of one signal.
    pub fn newest(&self, signal: &str) -> Option<Seen> {
        self.rows(signal).pop()
    }
}

/// Reads one stream's batches; each stream has its own dictionary.
struct Reader {
    fake: FakeAnalyze,
    incoming: Streaming<wire::SampleBatch>,
    signals: BTreeMap<u32, (String, bool)>,
    sequence: u64,
}

impl Reader {
    async fn next(mut self) -> Option<(Result<wire::IngestAck, Status>, Self)> {
        let mut manner = self.fake.manner.subscribe();
        loop {
            let now = *manner.borrow_and_update();
            if now == Manner::HangUp && self.sequence > 0 {
                return None;
            }
            let message = tokio::select! {
                message = self.incoming.message() => message.ok()??,
                _ = manner.changed() => continue,
            };
            let sequence = self.take(SampleBatch::try_from(message).unwrap());
            if now == Manner::Acknowledge {
                return Some((Ok(wire::IngestAck { sequence, refused: 0, reason: String::new() }), self));
            }
        }
    }

    fn take(&mut self, batch: SampleBatch) -> u64 {
        self.sequence += 1;
        assert_eq!(batch.sequence, self.sequence, "sequences count up from 1 on each stream");
        for descriptor in batch.descriptors {
            assert_eq!(descriptor.signal.resource.shard(), batch.shard, "all rows are of the batch's shard");
            self.signals.insert(descriptor.handle, (descriptor.signal.to_string(), descriptor.declared));
        }
        let mut log = self.fake.log.lock().unwrap();
        log.batches += 1;
        log.gaps.extend(batch.gaps.into_iter().map(|gap| format!("{}: {}", gap.resource, gap.reason)));
        for sample in batch.samples {
            let (signal, declared) =
                self.signals.get(&sample.handle).expect("introduced on this stream").clone();
            let (at_ms, value, quality) = (sample.at.as_millisecond(), sample.value, sample.quality);
            let interval_ms = batch.interval.as_millis();
            log.rows.push(Seen { signal, declared, at_ms, value, quality, interval_ms });
        }
        batch.sequence
    }
}

#[tonic::async_trait]
impl analyze_server::Analyze for FakeAnalyze {
    type IngestStream = Streamed<wire::IngestAck>;
    async fn ingest(
        &self,
        request: Request<Streaming<wire::SampleBatch>>,
    ) -> Result<Response<Self::IngestStream>, Status> {
        self.log.lock().unwrap().streams += 1;
        let incoming = request.into_inner();
        let reader = Reader { fake: self.clone(), incoming, signals: BTreeMap::new(), sequence: 0 };
        let acks = futures::stream::unfold(reader, Reader::next);
        Ok(Response::new(until_stopped(&self.ctx.stopper, acks)))
    }

    type WatchAssessmentsStream = Streamed<wire::Assessment>;
    async fn watch_assessments(
        &self,
        _: Request<wire::WatchAssessmentsRequest>,
    ) -> Result<Response<Self::WatchAssessmentsStream>, Status> {
        Err(Status::unimplemented("watch_assessments"))
    }

    async fn list_signals(
        &self,
        _: Request<wire::ListSignalsRequest>,
    ) -> Result<Response<wire::ListSignalsResponse>, Status> {
        Err(Status::unimplemented("list_signals"))
    }

    async fn list_objective_states(
        &self,
        _: Request<wire::ListObjectiveStatesRequest>,
    ) -> Result<Response<wire::ListObjectiveStatesResponse>, Status> {
        Err(Status::unimplemented("list_signals"))
    }
}
