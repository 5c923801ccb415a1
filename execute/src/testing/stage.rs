//! Execute between its stand-ins, on real sockets; it can be stopped, crashed and started again.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chassis::grpc::channel;
use chassis::{ClientConfig, Context, ServerConfig};
use proto::client::Execute;
use proto::model::{Assessment, ResourceId};
use tonic::transport::Channel;

use super::{FakeAnalyze, FakeKnowledge, assessment, start};
use crate::config::Config;

/// Execute and what it talks to.
#[derive(Debug)]
pub struct Stage {
    /// What outlives Execute.
    pub ctx: Context,
    /// The ledger.
    pub knowledge: Arc<FakeKnowledge>,
    /// Assessments.
    pub analyze: Arc<FakeAnalyze>,
    /// Execute's settings; a change holds from the next start.
    pub config: Config,
    running: Context,
}

impl Stage {
    /// Starts all three on free ports.
    pub async fn start(seed: u64, data_dir: &Path) -> Self {
        let ctx = Context::testing(seed);
        Self::start_in(ctx, data_dir).await
    }

    /// As [`Stage::start`], with another clock, for example.
    pub async fn start_in(ctx: Context, data_dir: &Path) -> Self {
        let (knowledge, knowledge_addr) = FakeKnowledge::start(&ctx).await;
        let (analyze, analyze_addr) = FakeAnalyze::start(&ctx).await;
        let config = Config {
            server: ServerConfig::default(),
            knowledge: ClientConfig::plain(knowledge_addr),
            analyze: ClientConfig::plain(analyze_addr),
            data_dir: data_dir.to_owned(),
            ..Config::default()
        };
        let running = fresh(&ctx);
        let mut stage = Self { ctx, knowledge, analyze, config, running };
        stage.run().await;
        stage
    }

    /// Where Execute listens, also after a restart.
    pub fn addr(&self) -> SocketAddr {
        self.config.server.listen
    }

    /// A connection to Execute.
    pub fn channel(&self) -> Channel {
        channel(&ClientConfig::plain(self.addr())).expect("a valid address")
    }

    /// A client of Execute.
    pub fn client(&self) -> Execute {
        Execute::new(self.channel())
    }

    /// Execute's own metrics as text.
    pub fn metrics(&self) -> prometheus::Registry {
        self.running.metrics.clone()
    }

    /// An assessment of now that says nothing but that data is good.
    pub fn known(&self, resource: &ResourceId) -> Assessment {
        self.assessed(resource, &[])
    }

    /// An assessment of now by which nothing goes wrong.
    pub fn good(&self, resource: &ResourceId) -> Assessment {
        self.assessed(resource, &[("bad_ratio", Some(0.0))])
    }

    /// An assessment of now.
    pub fn assessed(&self, resource: &ResourceId, signals: &[(&str, Option<f64>)]) -> Assessment {
        let since = self.ctx.clock.now().duration_since(start());
        assessment(resource, u64::try_from(since.as_millis()).unwrap_or(0), signals)
    }

    /// Ends Execute in order.
    pub async fn stop(&self) {
        self.running.stopper.stop();
        let late = self.running.tasks.join(Duration::from_secs(10)).await;
        assert!(late.is_empty(), "did not end: {late:?}");
    }

    /// Ends Execute at once, wherever it is: nothing is finished and nobody is told.
    pub async fn crash(&self) {
        self.running.tasks.join(Duration::ZERO).await;
    }

    /// Starts Execute again, on the same port.
    pub async fn run(&mut self) {
        self.running = fresh(&self.ctx);
        // The port of the one before may take a moment to be free.
        let started = chassis::testing::eventually(Duration::from_secs(10), "Execute starts", || async {
            crate::start(self.config.clone(), self.running.clone()).await.ok()
        });
        self.config.server.listen = started.await.addr;
    }
}

fn fresh(ctx: &Context) -> Context {
    Context { metrics: prometheus::Registry::new(), ..ctx.sub() }
}
