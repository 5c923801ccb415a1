//! The replicas of one service as real processes: started, made ready, drained, ended, and taken over by whoever comes next.

mod launch;
mod state;

use breaker::Priority;
use std::sync::Arc;
use std::time::Duration;

use chassis::SharedClock;

pub use crate::files::FileError;
pub use crate::process::Identity;
pub use launch::{Launch, ReplicaSpec};
pub(crate) use state::retract_targets;
pub use state::{Replica, Stage, State, read};

use crate::dir::{Dir, Listening};
use crate::files::{self, Lock};
use crate::process;
use crate::topology::Role;
use crate::upstream::{self, HttpClient};

/// More replicas than this are a mistake: 40 processes of 10 MiB are what a small machine bears.
pub const REPLICAS_MAX: u32 = 40;

/// A replica that does not answer within this is reported as not ready; it may become so later.
const READY_LIMIT: Duration = Duration::from_secs(10);

/// Requests in flight get this long before a drained replica is ended: the longest answer takes 3 s.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// Balancers re-read their endpoints each 100 ms; only then can the last request have been sent.
const FORGET: Duration = Duration::from_millis(250);

/// How often conditions are looked at, and how long one look may take.
const POLL: Duration = Duration::from_millis(20);
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);

/// What a change of scale brought about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScaleResult {
    /// Replicas that ran before this generation.
    pub before: u32,
    /// Replicas that run now.
    pub after: u32,
    /// Those of them that serve.
    pub ready: u32,
}

/// What there is to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// The newest generation accepted.
    pub generation: u64,
    /// How many are wanted.
    pub desired: u32,
    /// How many run.
    pub running: u32,
    /// How many serve.
    pub ready: u32,
}

/// Why a replica set could not be opened or scaled.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaError {
    /// Another process drives it.
    #[error("the replicas of {0} are driven by another process")]
    Driven(Role),
    /// A newer intent has been accepted.
    #[error("generation {offered} is older than {current}")]
    Stale {
        /// The one offered.
        offered: u64,
        /// The one accepted.
        current: u64,
    },
    /// Out of bounds.
    #[error("{0} replicas are not within 0..={REPLICAS_MAX}")]
    Bounds(u32),
    /// A process could not be started.
    #[error("cannot start {0}")]
    Spawn(String, #[source] std::io::Error),
    /// The files could not be used.
    #[error(transparent)]
    File(#[from] FileError),
}

/// The one driver of a service's replicas. Dropping it leaves them running.
#[derive(Debug)]
pub struct ReplicaSet {
    dir: Dir,
    role: Role,
    spec: ReplicaSpec,
    state: State,
    client: HttpClient,
    clock: SharedClock,
    _lock: Arc<Lock>,
}

impl ReplicaSet {
    /// Takes over what the last driver left: adopts replicas that run, starts those that should and do not, and ends those
    /// that were draining.
    pub async fn open(
        dir: &Dir,
        role: Role,
        spec: ReplicaSpec,
        clock: SharedClock,
    ) -> Result<Self, ReplicaError> {
        let lock = files::try_lock(&dir.replicas_lock(role))?.ok_or(ReplicaError::Driven(role))?;
        let state = state::read(dir, role)?.unwrap_or_else(State::empty);
        let client = upstream::http_client();
        let mut set = Self { dir: dir.clone(), role, spec, state, client, clock, _lock: Arc::new(lock) };
        set.find_unrecorded();
        set.heal().await?;
        Ok(set)
    }

    /// Makes it `desired` replicas. The same generation again changes nothing and says what it has brought about; an older
    /// one is refused.
    pub async fn scale(&mut self, desired: u32, generation: u64) -> Result<ScaleResult, ReplicaError> {
        if generation < self.state.generation {
            return Err(ReplicaError::Stale { offered: generation, current: self.state.generation });
        }
        if desired > REPLICAS_MAX {
            return Err(ReplicaError::Bounds(desired));
        }
        if generation > self.state.generation {
            self.state.before = self.state.running();
            self.state.generation = generation;
            self.state.desired = desired;
            self.publish()?;
        }
        self.heal().await?;
        Ok(ScaleResult {
            before: self.state.before,
            after: self.state.running(),
            ready: self.state.serving(),
        })
    }

    /// Starts the first replicas, before anybody has had an intent; does nothing if somebody has. Returns how many serve.
    pub async fn begin(&mut self, replicas: u32) -> Result<u32, ReplicaError> {
        if self.state.generation == 0 {
            self.state.desired = replicas.min(REPLICAS_MAX);
            self.heal().await?;
        }
        Ok(self.state.serving())
    }

    /// Makes what is what is wanted: the same work whatever happened. Call it now and then to replace dead replicas.
    pub async fn heal(&mut self) -> Result<(), ReplicaError> {
        self.bury();
        self.choose();
        self.publish()?;
        self.start_missing()?;
        self.await_ready().await?;
        self.end_draining().await
    }

    /// What there is to see now.
    pub fn observe(&self) -> Observation {
        observation(&self.state)
    }

    fn publish(&self) -> Result<(), ReplicaError> {
        Ok(state::publish(&self.dir, self.role, &self.state)?)
    }

    /// The last driver may have died between starting a process and writing down which.
    fn find_unrecorded(&mut self) {
        for replica in self.state.replicas.iter_mut().filter(|replica| !replica.is_alive()) {
            replica.process = self.spec.find(&self.dir, self.role, &replica.instance);
        }
    }

    /// Replicas whose process is gone are to be started again, or were to end anyway.
    fn bury(&mut self) {
        self.state.replicas.retain(|replica| replica.stage != Stage::Draining || replica.is_alive());
        for replica in self.state.replicas.iter_mut().filter(|replica| !replica.is_alive()) {
            replica.process = None;
            replica.stage = Stage::Starting;
        }
    }

    /// Adds names for what is missing; lets the youngest drain where there are too many.
    fn choose(&mut self) {
        let desired = self.state.desired as usize;
        let staying = |state: &State| state.replicas.iter().filter(|r| r.stage != Stage::Draining).count();
        while staying(&self.state) < desired {
            let taken = |ordinal| self.state.replicas.iter().any(|replica| replica.ordinal == ordinal);
            let ordinal = (1..).find(|ordinal| !taken(*ordinal)).expect("numbers do not end");
            let instance = format!("{}-{ordinal}", self.role);
            let replica = Replica { instance, ordinal, process: None, address: None, stage: Stage::Starting };
            self.state.replicas.push(replica);
        }
        while staying(&self.state) > desired {
            let staying = self.state.replicas.iter_mut().filter(|r| r.stage != Stage::Draining);
            let youngest = staying.max_by_key(|replica| replica.ordinal).expect("more stay than are wanted");
            youngest.stage = Stage::Draining;
        }
        // What was never started need not drain.
        self.state.replicas.retain(|replica| replica.stage != Stage::Draining || replica.is_alive());
    }

    fn start_missing(&mut self) -> Result<(), ReplicaError> {
        let missing = |r: &Replica| r.stage == Stage::Starting && r.process.is_none();
        let names: Vec<_> =
            self.state.replicas.iter().filter(|r| missing(r)).map(|r| r.instance.clone()).collect();
        for instance in names {
            let process = self.spec.start(&self.dir, self.role, &instance)?;
            if let Some(replica) = self.state.get_mut(&instance) {
                replica.process = process;
                replica.address = None;
            }
            self.publish()?;
        }
        Ok(())
    }

    async fn await_ready(&mut self) -> Result<(), ReplicaError> {
        let deadline = self.clock.monotonic() + READY_LIMIT;
        loop {
            let mut changed = false;
            for index in 0..self.state.replicas.len() {
                let replica = &self.state.replicas[index];
                if replica.stage == Stage::Starting
                    && let Some(address) = self.answers(replica).await
                {
                    let replica = &mut self.state.replicas[index];
                    replica.address = Some(address);
                    replica.stage = Stage::Ready;
                    changed = true;
                }
            }
            if changed {
                self.publish()?;
            }
            let waiting = self.state.replicas.iter().any(|r| r.stage == Stage::Starting && r.is_alive());
            if !waiting || self.clock.monotonic() >= deadline {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Where a starting replica listens, if that is this very process and it answers.
    async fn answers(&self, replica: &Replica) -> Option<std::net::SocketAddr> {
        let listening: Listening = files::read_json(&self.dir.ready(&replica.instance)).ok()??;
        if listening.pid != replica.process?.pid {
            return None;
        }
        self.ask(listening.address, "/healthz").await.map(|_| listening.address)
    }

    async fn ask(&self, address: std::net::SocketAddr, path: &str) -> Option<bytes::Bytes> {
        let asked =
            tokio::time::timeout(PROBE_TIMEOUT, upstream::get(&self.client, address, path, Priority::Normal))
                .await;
        let answer = asked.ok()?.ok()?;
        answer.status.is_success().then_some(answer.body)
    }

    /// Draining replicas are out of the endpoints already: wait for their requests, then end them together.
    async fn end_draining(&mut self) -> Result<(), ReplicaError> {
        let draining: Vec<Replica> =
            self.state.replicas.iter().filter(|r| r.stage == Stage::Draining).cloned().collect();
        if draining.is_empty() {
            return Ok(());
        }
        let deadline = self.clock.monotonic() + DRAIN_LIMIT;
        tokio::time::sleep(FORGET).await;
        for replica in &draining {
            while self.clock.monotonic() < deadline && !self.is_idle(replica).await {
                tokio::time::sleep(POLL).await;
            }
        }
        let processes: Vec<_> = draining.iter().filter_map(|replica| replica.process).collect();
        process::end(&processes, &self.clock).await;
        self.bury();
        self.publish()
    }

    /// One that cannot say is waited for no longer.
    async fn is_idle(&self, replica: &Replica) -> bool {
        let Some(address) = replica.address else { return true };
        self.ask(address, "/inflight").await.is_none_or(|body| body.as_ref() == b"0")
    }
}

/// What there is to see of a stored state.
pub fn observation(state: &State) -> Observation {
    Observation {
        generation: state.generation,
        desired: state.desired,
        running: state.running(),
        ready: state.serving(),
    }
}
