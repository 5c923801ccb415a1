//! A running Analyze with a clock that the test moves, and a sender of samples.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use analyze::Config;
use chassis::testing::{ManualClock, eventually};
use chassis::{ClientConfig, Context, ServerConfig};
use jiff::Timestamp;
use proto::client::{Analyze, AssessmentStream};
use proto::model::{
    Assessment, Declared, DeclaredSpec, IngestAck, Objective, Quality, ResourceId, Sample, SampleBatch,
    ServiceSpec, SignalDescriptor, SignalId, SignalKind,
};
use proto::wire;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::knowledge::FakeKnowledge;

/// Long enough for a busy machine; only a failing test waits for it.
pub const SOON: Duration = Duration::from_secs(20);
pub const NAMES: [&str; 4] = ["load", "ready_replicas", "utilisation", "bad_ratio"];

/// A service with an objective.
pub fn catalog() -> Declared {
    let total = || "requests_total".parse().unwrap();
    let objective = Objective { target_ratio: 0.99, latency_bound: None, window: Duration::from_secs(3_600) };
    let spec = ServiceSpec {
        instances: BTreeMap::from([("app".to_owned(), "catalog".to_owned())]),
        total: total(),
        good: Some(total()),
        latency: None,
        busy_seconds: None,
        workers: None,
        ready: None,
        edges: Vec::new(),
        objective: Some(objective),
    };
    Declared {
        namespace: "staging".to_owned(),
        name: "catalog".to_owned(),
        spec: DeclaredSpec::Service(Box::new(spec)),
        version: 1,
        applied_at: None,
    }
}

pub struct World {
    pub clock: Arc<ManualClock>,
    pub knowledge: FakeKnowledge,
    pub knowledge_addr: SocketAddr,
    whole: Context,
}

impl World {
    /// With a Knowledge that does not listen yet, on a port that was free a moment ago.
    pub async fn without_knowledge() -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_second(1_800_000_000).unwrap()));
        let whole = Context { clock: clock.clone(), ..Context::testing(7) };
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let knowledge_addr = listener.local_addr().unwrap();
        Self { clock, knowledge: FakeKnowledge::new(&whole.sub()), knowledge_addr, whole }
    }

    pub async fn new() -> Self {
        let world = Self::without_knowledge().await;
        world.knowledge.serve(world.knowledge_addr).await;
        world
    }

    pub async fn analyze(&self) -> Running {
        self.analyze_with(|_| ()).await
    }

    pub async fn analyze_with(&self, change: impl FnOnce(&mut Config)) -> Running {
        let ctx = Context { metrics: prometheus::Registry::new(), ..self.whole.sub() };
        let mut config = Config {
            server: ServerConfig::loopback(0),
            knowledge: ClientConfig::plain(self.knowledge_addr),
            ..Config::default()
        };
        change(&mut config);
        let handle = analyze::start(config, ctx.clone()).await.unwrap();
        let client = Analyze::new(chassis::grpc::channel(&ClientConfig::plain(handle.addr)).unwrap());
        Running { ctx, client, clock: self.clock.clone() }
    }
}

pub struct Running {
    pub ctx: Context,
    pub client: Analyze,
    pub clock: Arc<ManualClock>,
}

impl Running {
    pub async fn stop(self) {
        self.ctx.stopper.stop();
        assert!(self.ctx.tasks.join(SOON).await.is_empty());
        assert_eq!(self.ctx.stopper.failure(), None);
    }

    pub async fn watch(&self) -> Watcher {
        Watcher { stream: self.client.watch_assessments(Vec::new()).await.unwrap() }
    }

    pub async fn sender(&self, resource: &str) -> Sender {
        let (batches, receiver) = mpsc::channel(64);
        let acks = self.client.raw().ingest(ReceiverStream::new(receiver)).await.unwrap().into_inner();
        let resource = resource.parse().unwrap();
        Sender { batches, acks, clock: self.clock.clone(), resource, sequence: 0 }
    }

    /// Waits until the metrics page has this line.
    pub async fn counted(&self, line: &str) {
        eventually(SOON, line, || {
            let text = chassis::metrics::text(&self.ctx.metrics);
            std::future::ready(text.lines().any(|found| found == line).then_some(()))
        })
        .await;
    }
}

pub struct Watcher {
    stream: AssessmentStream,
}

impl Watcher {
    pub async fn next(&mut self) -> Assessment {
        tokio::time::timeout(SOON, self.stream.next()).await.expect("an assessment in time").unwrap().unwrap()
    }

    pub async fn until(&mut self, what: impl Fn(&Assessment) -> bool) -> Assessment {
        loop {
            let assessment = self.next().await;
            if what(&assessment) {
                return assessment;
            }
        }
    }
}

pub struct Sender {
    pub batches: mpsc::Sender<wire::SampleBatch>,
    acks: tonic::Streaming<wire::IngestAck>,
    clock: Arc<ManualClock>,
    pub resource: ResourceId,
    sequence: u64,
}

impl Sender {
    pub fn signal(&self, name: &str) -> SignalId {
        SignalId::new(self.resource.clone(), name).unwrap()
    }

    /// One second later, this load and otherwise calm; waits for the acknowledgement.
    pub async fn tick(&mut self, load: f64) -> IngestAck {
        let batch = self.batch(load);
        self.send(batch).await
    }

    /// Many seconds of about 100 requests per second.
    pub async fn calm(&mut self, ticks: u32) {
        for i in 0..ticks {
            let acknowledged = self.tick(100.0 + f64::from(i * 7919 % 13)).await;
            assert_eq!(acknowledged.refused, 0, "{}", acknowledged.reason);
        }
    }

    pub fn batch(&mut self, load: f64) -> wire::SampleBatch {
        self.sequence += 1;
        self.clock.advance(Duration::from_secs(1));
        let at = Timestamp::from_millisecond(chassis::Clock::now(&*self.clock).as_millisecond()).unwrap();
        let descriptor = |(handle, name): (u32, &&str)| SignalDescriptor {
            handle,
            signal: self.signal(name),
            kind: SignalKind::Gauge,
            unit: "unit".to_owned(),
            declared: true,
        };
        let row = |(handle, value)| Sample { handle, at, value: Some(value), quality: Quality::Good };
        let batch = SampleBatch {
            sequence: self.sequence,
            shard: self.resource.shard(),
            sender: "test".to_owned(),
            descriptors: if self.sequence == 1 {
                (0..).zip(&NAMES).map(descriptor).collect()
            } else {
                Vec::new()
            },
            samples: (0..).zip([load, 2.0, 0.5, 0.0]).map(row).collect(),
            interval: Duration::from_secs(1),
            gaps: Vec::new(),
        };
        batch.into()
    }

    pub async fn send(&mut self, batch: wire::SampleBatch) -> IngestAck {
        let sequence = batch.sequence;
        self.batches.send(batch).await.unwrap();
        let acknowledged =
            tokio::time::timeout(SOON, self.acks.message()).await.expect("an acknowledgement in time");
        let acknowledged = IngestAck::try_from(acknowledged.unwrap().unwrap()).unwrap();
        assert_eq!(acknowledged.sequence, sequence);
        acknowledged
    }
}
