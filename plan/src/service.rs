//! Starts Plan, and its loop: wake on what changed and every tick, plan, propose. A wake-up carries no decision; the loop reads
//! the present state and does the same work every time.

mod earned;
mod feeds;
mod proposals;
mod refusals;

use crate::{
    config::Config,
    grpc,
    input::PolicyView,
    metrics::Metrics,
    report::PlanReport,
    round::{Planned, Rounds, plan_each},
    shards::{self, Threads},
    world::World,
};
use chassis::{Backoff, ClientConfig, Context, GrpcServer, Health, Invalid, OnFailure, Validate};
use earned::Earned;
use feeds::{Event, Link};
use jiff::Timestamp;
use proposals::Proposals;
use proto::{
    client::{Analyze, Knowledge, Standings},
    model::ResourceId,
    wire::plan_server::PlanServer,
};
use refusals::Refusals;
use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::mpsc;

/// Messages that wait for the loop: a tick of 4,096 resources at about 4 KiB each is 16 MiB; the feeds wait beyond that.
const EVENTS_MAX: usize = 4_096;
/// Feeds come back quickly: while one is away, nothing is planned.
const RECONNECT: Backoff =
    Backoff { initial: Duration::from_millis(100), factor: 1.6, max: Duration::from_secs(2), jitter: 0.2 };

/// Why Plan cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings break a rule.
    #[error("plan's settings are not usable")]
    Config(#[source] Invalid),
    /// The port cannot be had.
    #[error("plan cannot listen")]
    Bind(#[from] chassis::grpc::BindError),
    /// A peer's address or certificates are of no use.
    #[error("plan cannot reach its peers")]
    Channel(#[from] chassis::grpc::ChannelError),
    /// The server cannot serve.
    #[error("plan cannot serve")]
    Serve(#[from] chassis::grpc::ServeError),
    /// Another Plan registered its metrics in the same registry.
    #[error("plan's metrics are registered already")]
    Metrics(#[from] prometheus::Error),
}

/// A running Plan. It ends with its context's stopper.
#[derive(Debug, Clone)]
pub struct Handle {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Whether it takes calls.
    pub health: Health,
}

/// The newest report of each resource. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reports {
    rounds: Arc<Mutex<Rounds>>,
}

impl Reports {
    pub(crate) fn all(&self) -> Vec<PlanReport> {
        self.rounds.lock().unwrap_or_else(PoisonError::into_inner).reports()
    }

    /// Those who ask for reports wait for a round at most.
    fn with<T>(&self, work: impl FnOnce(&mut Rounds) -> T) -> T {
        work(&mut self.rounds.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Starts Plan. It serves at once, and plans as soon as Analyze and Knowledge are both followed.
///
/// # Errors
/// When the settings, the port or the certificates are of no use. Peers that are away are no error.
pub async fn start(config: Config, ctx: Context) -> Result<Handle, StartError> {
    config.validate().map_err(StartError::Config)?;
    let Config { server, analyze, knowledge, tick } = config;
    let metrics = Metrics::register(&ctx.metrics)?;
    let to_knowledge = channel(&knowledge)?;
    let (analyze, knowledge) = (Analyze::new(channel(&analyze)?), Knowledge::new(to_knowledge.clone()));
    let server = GrpcServer::bind(&server).await?;
    let addr = server.local_addr();
    let reports = Reports::default();
    let api = PlanServer::new(grpc::Server { reports: reports.clone() })
        .max_encoding_message_size(chassis::grpc::MESSAGE_LIMIT_BYTES);
    let routes = tonic::service::Routes::new(api);
    let health = server.serve(&ctx, "plan", routes, proto::DESCRIPTORS, &["homeostat.v1.Plan"])?;
    let (events, inbox) = mpsc::channel(EVENTS_MAX);
    let standings = Standings::new(to_knowledge.clone());
    follow(&ctx, analyze, (knowledge.clone(), standings.clone()), &events);
    let world = World::new(ctx.clock.now());
    let planner = Planner {
        world,
        links: Links::default(),
        proposals: Proposals::new(knowledge, ctx.clock.clone(), metrics.clone()),
        reports,
        refusals: Refusals::spawn(&ctx, to_knowledge),
        earned: Earned::spawn(&ctx, standings, events),
        metrics,
        ctx: ctx.clone(),
        threads: shards::all_cores(),
    };
    ctx.tasks.spawn("plan.loop", OnFailure::StopProcess, async move {
        planner.run(inbox, tick).await;
        Ok(())
    });
    health.set_all_serving(true);
    Ok(Handle { addr, health })
}

fn channel(config: &ClientConfig) -> Result<tonic::transport::Channel, chassis::grpc::ChannelError> {
    chassis::grpc::channel(config)
}

fn follow(
    ctx: &Context,
    analyze: Analyze,
    (knowledge, standings): (Knowledge, Standings),
    events: &mpsc::Sender<Event>,
) {
    let (sink, clock) = (events.clone(), ctx.clock.clone());
    ctx.tasks.spawn_loop("plan.assessments", RECONNECT, move || {
        let feed = feeds::assessments(analyze.clone(), sink.clone(), clock.clone());
        async { Ok(feed.await?) }
    });
    let sink = events.clone();
    ctx.tasks.spawn_loop("plan.knowledge", RECONNECT, move || {
        let feed = feeds::knowledge(knowledge.clone(), standings.clone(), sink.clone());
        async { Ok(feed.await?) }
    });
}

/// Which peers are followed now; the text says why not.
#[derive(Debug)]
struct Links {
    analyze: Result<(), String>,
    knowledge: Result<(), String>,
}

impl Default for Links {
    fn default() -> Self {
        let starting = |name: &str| Err(format!("{name} has not answered yet"));
        Self { analyze: starting("Analyze"), knowledge: starting("Knowledge") }
    }
}

impl Links {
    fn broken(&self) -> Option<String> {
        [&self.knowledge, &self.analyze].into_iter().find_map(|link| link.as_ref().err().cloned())
    }
}

/// What must be planned again.
enum Dirty {
    All,
    Some { services: BTreeSet<ResourceId>, since: Option<Duration> },
}

impl Dirty {
    fn nothing() -> Self {
        Self::Some { services: BTreeSet::new(), since: None }
    }
}

struct Planner {
    world: World,
    links: Links,
    proposals: Proposals,
    reports: Reports,
    refusals: Refusals,
    earned: Earned,
    metrics: Metrics,
    ctx: Context,
    /// That share a round.
    threads: Threads,
}

impl Planner {
    async fn run(mut self, mut inbox: mpsc::Receiver<Event>, tick: Duration) {
        let mut ticker = tokio::time::interval(tick);
        ticker.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let stopper = self.ctx.stopper.clone();
        loop {
            let (mut dirty, mut unprompted) = (Dirty::nothing(), false);
            tokio::select! {
                () = stopper.stopped() => return,
                Some(answer) = self.proposals.next() => {
                    if let Some(resource) = self.proposals.take_in(answer, &mut self.world) {
                        self.mark(&mut dirty, &resource, None);
                    }
                }
                Some(event) = inbox.recv() => {
                    self.take_in(event, &mut dirty);
                    // What arrived together is planned together.
                    for _ in 0..EVENTS_MAX {
                        let Ok(event) = inbox.try_recv() else { break };
                        self.take_in(event, &mut dirty);
                    }
                }
                _ = ticker.tick() => {
                    (dirty, unprompted) = (Dirty::All, true);
                }
            }
            unprompted &= !self.weigh(&mut dirty);
            self.round(dirty, unprompted);
        }
    }

    /// Levels fall, and rise, before the next plan is made. Whether any did.
    fn weigh(&mut self, dirty: &mut Dirty) -> bool {
        let all = matches!(dirty, Dirty::All);
        let changes = self.world.reconsider(all, self.ctx.clock.now());
        let any = !changes.is_empty();
        if any {
            *dirty = Dirty::All;
        }
        self.earned.put(self.world.standings.take_unsent(), changes);
        any
    }

    fn take_in(&mut self, event: Event, dirty: &mut Dirty) {
        match event {
            Event::Assessment(assessment, arrived) => {
                self.metrics.assessments.inc();
                let resource = assessment.resource.clone();
                self.world.assess(*assessment);
                self.mark(dirty, &resource, Some(arrived));
            }
            Event::Link(link, state) => {
                let (name, held) = match link {
                    Link::Analyze => ("analyze", &mut self.links.analyze),
                    Link::Knowledge => ("knowledge", &mut self.links.knowledge),
                };
                self.metrics.connected.with_label_values(&[name]).set(state.is_ok().into());
                if state.is_ok() != held.is_ok() {
                    tracing::info!(peer = name, following = state.is_ok(), "peer changed");
                }
                *held = state;
                *dirty = Dirty::All;
            }
            Event::Knowledge(change) => {
                match change.apply(&mut self.world) {
                    feeds::Touched::Resource(resource) => self.mark(dirty, &resource, None),
                    feeds::Touched::Everything => *dirty = Dirty::All,
                    feeds::Touched::Nothing => {}
                };
            }
        }
    }

    fn mark(&self, dirty: &mut Dirty, resource: &ResourceId, arrived: Option<Duration>) {
        if let Dirty::Some { services, since } = dirty {
            services.extend(self.world.affected_by(resource));
            *since = [*since, arrived].into_iter().flatten().min();
        }
    }

    /// Plans what is dirty, reports, and sends proposals on their way.
    fn round(&mut self, dirty: Dirty, unprompted: bool) {
        let (some, since) = match dirty {
            Dirty::All => (None, None),
            Dirty::Some { services, since } if !services.is_empty() => (Some(services), since),
            Dirty::Some { .. } => return,
        };
        let timer = self.metrics.round.start_timer();
        let all = some.is_none();
        let busy = self.busy(some, unprompted);
        for (service, planned) in busy.iter().zip(self.decide(&busy)) {
            let policies = self.world.assessment(service).map_or(&[][..], |seen| &seen.budget_policies);
            planned.reports.iter().for_each(|report| self.refusals.note(report, policies));
            self.carry_out(service, planned, since);
        }
        if all {
            // What was deleted has no report any more.
            self.reports.with(Rounds::end);
        }
        timer.observe_duration();
    }

    /// The services for which a whole plan is to be made; `None`: of all.
    fn busy(&self, some: Option<BTreeSet<ResourceId>>, unprompted: bool) -> Vec<ResourceId> {
        let (now, mut busy) = (self.ctx.clock.now(), Vec::new());
        self.reports.with(|rounds| {
            let some: Option<Vec<_>> = some.map(|some| some.into_iter().collect());
            if some.is_none() {
                rounds.begin();
            }
            let services = some.as_deref().unwrap_or(self.world.services());
            match self.links.broken() {
                Some(_) => busy.extend_from_slice(services),
                None => rounds.screen(&self.world, services, (now, unprompted), self.threads, &mut busy),
            }
        });
        busy
    }

    /// Plans each of these services.
    fn decide(&self, services: &[ResourceId]) -> Vec<Planned> {
        let now = self.ctx.clock.now();
        match self.links.broken() {
            Some(reason) => services.iter().map(|service| self.idle(service, now, &reason)).collect(),
            None => self.ctx.with_ids(|ids| plan_each(&self.world, services, now, ids, self.threads)),
        }
    }

    fn idle(&self, service: &ResourceId, now: Timestamp, reason: &str) -> Planned {
        let Some(input) = self.world.input(service) else { return Planned::default() };
        let mut report = PlanReport::idle(service, now, format!("nothing is planned: {reason}"));
        if let PolicyView::One(policy) = input.policy {
            (report.policy, report.autonomy) = (policy.name.to_owned(), input.level(policy, service));
        }
        Planned { reports: vec![report], ..Planned::default() }
    }

    fn carry_out(&mut self, service: &ResourceId, planned: Planned, since: Option<Duration>) {
        let Planned { reports, directives, faults } = planned;
        let considered = reports.iter().flat_map(|report| &report.considered);
        for verdict in considered.flat_map(|considered| &considered.guardrails).filter(|v| v.vetoed) {
            self.metrics.vetoes.with_label_values(&[verdict.guardrail.as_str()]).inc();
        }
        for (resource, faults) in faults {
            self.metrics.faults.inc();
            tracing::error!(%resource, faults = %faults.join("; "), "a faulty directive was stopped");
        }
        self.reports.with(|rounds| rounds.put(service, reports));
        for directive in directives {
            self.proposals.send(directive, since, &mut self.world);
        }
    }
}
