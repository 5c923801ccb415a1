//! What the benches run on: a whole control plane in this process, with a database of its own, and a directive to send.

use crate::{
    compose::{self, Config, System},
    endpoints::Clients,
};
use anyhow::Context as _;
use chassis::Context;
use jiff::Timestamp;
use proto::model::{Action, AutonomyLevel, Directive, Generation, Preconditions, Rationale, ResourceId};
use std::{net::SocketAddr, path::Path, time::Duration};
use uuid::Uuid;

/// How long each figure is measured, after a warm-up,
pub(super) const MEASURED: Duration = Duration::from_secs(10);
pub(super) const WARM_UP: Duration = Duration::from_secs(2);
/// and how long what is under way then may take to end.
pub(super) const DRAIN: Duration = Duration::from_secs(10);

/// A running control plane.
#[derive(Debug)]
pub(super) struct Rig {
    pub(super) clients: Clients,
    system: System,
    ctx: Context,
}

impl Rig {
    /// Starts afresh.
    pub(super) async fn start(dir: &Path, ctx: &Context) -> anyhow::Result<Self> {
        if dir.exists() {
            std::fs::remove_dir_all(dir).with_context(|| format!("cannot clear {}", dir.display()))?;
        }
        std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let mut config = Config::default().on_free_ports();
        config.knowledge.data_dir = dir.join("control");
        config.execute.data_dir = dir.join("control/execute");
        let ctx = Context { metrics: prometheus::Registry::default(), ..ctx.sub() };
        let system = compose::start(config, SocketAddr::from(([127, 0, 0, 1], 0)), &ctx).await?;
        let clients = Clients::at(system.endpoints.clone(), dir.join("control"));
        Ok(Self { clients, system, ctx })
    }

    pub(super) async fn stop(self) {
        self.system.stop().await;
        self.ctx.stopper.stop();
    }
}

/// How fast a counter grows: after a warm-up, over [`MEASURED`].
pub(super) async fn rate(counter: impl Fn() -> u64, ctx: &Context) -> f64 {
    tokio::time::sleep(WARM_UP).await;
    let (from, began) = (counter(), ctx.clock.monotonic());
    tokio::time::sleep(MEASURED).await;
    let (to, ended) = (counter(), ctx.clock.monotonic());
    (to - from) as f64 / (ended - began).as_secs_f64()
}

/// A directive as a planner would make it: with rationale, undo and expiry, for a resource of its own.
pub(super) fn directive(id: Uuid, number: u64, now: Timestamp) -> anyhow::Result<Directive> {
    Ok(Directive {
        id,
        resource: ResourceId::service("bench", &format!("s{number}"))?,
        action: Action::Scale { replicas: 3 },
        undo: Action::Scale { replicas: 2 },
        parent_generation: Generation(0),
        generation: Generation(0),
        policy: "bench".to_owned(),
        autonomy: AutonomyLevel::Act,
        created_at: now,
        expires_at: now + Duration::from_secs(60),
        apply_timeout: Duration::from_secs(30),
        verify_window: Duration::from_secs(30),
        preconditions: Preconditions {
            max_evidence_age: Duration::from_secs(60),
            requires_known_data: false,
        },
        expected: Vec::new(),
        counterfactual: Vec::new(),
        rationale: Rationale {
            text: "load of 480 requests per second needs 3 replicas of 160 each".to_owned(),
            ..Rationale::default()
        },
        blast_radius_ratio: 0.0,
        reduces: false,
        undo_of: None,
        quorum_ratio: 1.0,
    })
}
