//! Many services as Plan sees them: declared, assessed every 15 s with a forecast, scaled by their policies, each second one with
//! a breaker towards the next.

use crate::backtest::ours::default_policy;
use chassis::IdGenerator;
use jiff::{SignedDuration, Timestamp};
use plan::{
    round::{Rounds, plan_each},
    shards::Threads,
    world::World,
};
use proto::model::{
    Action, ActuatorSpec, Assessment, BreakerRule, Capacity, DataQuality, Declared, DeclaredSpec,
    DirectiveKind, DirectiveRecord, DirectiveState, EdgeSpec, Generation, LatePoint, Objective, Outlook,
    OutlookPoint, PolicySpec, Quality, ResourceId, ResourceKind, ResourcePattern, Selector, ServiceSpec,
    SignalGlance,
};
use std::time::Duration;

const NAMESPACE: &str = "bench";
const INTERVAL: Duration = Duration::from_secs(15);
/// Requests per second that a replica takes.
const PER_REPLICA: f64 = 100.0;
/// As Analyze gives it: so many quantiles, so many steps ahead.
const LEVELS: [f64; 14] =
    [0.02, 0.075, 0.175, 0.375, 0.6, 0.775, 0.89, 0.945, 0.97, 0.985, 0.9925, 0.9965, 0.999, 0.99975];
const STEPS: u32 = 8;

struct Service {
    id: ResourceId,
    edge: Option<ResourceId>,
    load: f64,
    ready: u32,
}

/// The services and what Plan knows of them.
pub(super) struct Plant {
    world: World,
    services: Vec<Service>,
    busy: Vec<ResourceId>,
    ids: IdGenerator,
    now: Timestamp,
    sequence: u64,
    generation: u64,
    /// That share a round.
    pub(super) threads: Threads,
}

impl Plant {
    pub(super) fn new(count: usize) -> anyhow::Result<Self> {
        let now = Timestamp::from_second(1_800_000_000)?;
        let mut ids = IdGenerator::from_seed(1);
        let mut world = World::new(now);
        let name = |index: usize| format!("service-{:05}", index % count);
        let (mut documents, mut services) = (Vec::new(), Vec::new());
        for index in 0..count {
            let callee = (index % 2 == 0).then(|| name(index + 1));
            documents.extend(declared(&name(index), callee.as_deref())?);
            let load = 100.0 * (1.0 + 30.0 * ids.unit_f64());
            let edge = callee.map(|callee| ResourceId::edge(NAMESPACE, &name(index), &callee)).transpose()?;
            let ready = (load / (0.7 * PER_REPLICA)).ceil() as u32;
            services.push(Service { id: ResourceId::service(NAMESPACE, &name(index))?, edge, load, ready });
        }
        world.replace_documents(documents);
        world.actuators = vec![ActuatorSpec {
            name: "bench".to_owned(),
            instance: "bench".to_owned(),
            kinds: vec![DirectiveKind::Scale, DirectiveKind::SetBreaker],
            resources: vec![
                ResourcePattern::new(ResourceKind::Service, NAMESPACE, "*")?,
                ResourcePattern::new(ResourceKind::Edge, NAMESPACE, "*")?,
            ],
            max_in_flight: 1,
            supports_dry_run: false,
            supports_undo: true,
        }];
        Ok(Self {
            world,
            services,
            busy: Vec::new(),
            ids,
            now,
            sequence: 0,
            generation: 0,
            threads: Threads::MIN,
        })
    }

    pub(super) fn now(&self) -> Timestamp {
        self.now
    }

    /// The next scrape.
    pub(super) fn next(&mut self) -> Timestamp {
        self.now = self.now.checked_add(SignedDuration::from_secs(15)).unwrap_or(self.now);
        self.now
    }

    /// Load and replicas of each.
    pub(super) fn loads(&self) -> Vec<(f64, u32)> {
        self.services.iter().map(|service| (service.load, service.ready)).collect()
    }

    /// Every load from now on, times this.
    #[cfg(test)]
    pub(super) fn grow(&mut self, factor: f64) {
        self.services.iter_mut().for_each(|service| service.load *= factor);
    }

    /// Analyze's word about everything.
    pub(super) fn take_in(&mut self, now: Timestamp) {
        self.sequence += 1;
        for service in &self.services {
            // Arrivals at random, without their tails: a steady load with its usual noise.
            let load = service.load * (1.0 + 0.004 * (self.ids.unit_f64() - 0.5));
            let used = load / (PER_REPLICA * f64::from(service.ready));
            let ready = f64::from(service.ready);
            let seen =
                [("load", load), ("ready_replicas", ready), ("utilisation", used), ("bad_ratio", 0.0002)];
            let mut assessment = assessed(&service.id, now, self.sequence, &seen);
            assessment.outlook = Some(Box::new(outlook(now, service.load)));
            self.world.assess(assessment);
            if let Some(edge) = &service.edge {
                let calls = [("load", load), ("error_ratio", 0.0), ("latency_p99_seconds", 0.02)];
                self.world.assess(assessed(edge, now, self.sequence, &calls));
            }
        }
    }

    /// Finds what does not rest; how many that are.
    pub(super) fn screen(&mut self, rounds: &mut Rounds, now: Timestamp) -> usize {
        self.busy.clear();
        rounds.begin();
        rounds.screen(&self.world, self.world.services(), (now, false), self.threads, &mut self.busy);
        rounds.end();
        self.busy.len()
    }

    /// Plans what does not rest, and carries it out at once; how many directives that made.
    pub(super) fn plan_busy(&mut self, rounds: &mut Rounds, now: Timestamp) -> usize {
        let busy = std::mem::take(&mut self.busy);
        let mut records = Vec::new();
        let planned = plan_each(&self.world, &busy, now, &mut self.ids, self.threads);
        for (service, planned) in busy.iter().zip(planned) {
            records.extend(planned.directives);
            rounds.put(service, planned.reports);
        }
        self.busy = busy;
        let count = records.len();
        for mut directive in records {
            self.generation += 1;
            directive.generation = Generation(self.generation);
            if let Action::Scale { replicas } = directive.action {
                let place = self.services.binary_search_by(|service| service.id.cmp(&directive.resource));
                if let Some(service) = place.ok().and_then(|place| self.services.get_mut(place)) {
                    service.ready = replicas;
                }
            }
            self.world.ledger.put(&DirectiveRecord {
                directive,
                state: DirectiveState::Verified,
                revision: self.generation,
                changed_at: now,
                detail: String::new(),
                history: Vec::new(),
            });
        }
        count
    }

    /// A scrape, a round, and what comes of it.
    pub(super) fn round(&mut self, rounds: &mut Rounds) -> usize {
        let now = self.next();
        self.take_in(now);
        self.screen(rounds, now);
        self.plan_busy(rounds, now)
    }
}

fn declared(name: &str, callee: Option<&str>) -> anyhow::Result<[Declared; 2]> {
    let selector = |text: &str| text.parse::<Selector>();
    let edge = |callee: &str| -> anyhow::Result<EdgeSpec> {
        Ok(EdgeSpec {
            callee: callee.to_owned(),
            total: selector("calls_total")?,
            good: selector("calls_good_total")?,
            latency: None,
        })
    };
    let service = ServiceSpec {
        instances: [("job".to_owned(), name.to_owned())].into(),
        total: selector("requests_total")?,
        good: None,
        latency: None,
        busy_seconds: None,
        workers: None,
        ready: None,
        edges: callee.map(edge).transpose()?.into_iter().collect(),
        objective: Some(Objective {
            target_ratio: 0.999,
            latency_bound: Some(Duration::from_millis(400)),
            window: Duration::from_secs(28 * 86_400),
        }),
    };
    let policy = PolicySpec {
        service: name.to_owned(),
        breaker: callee.map(|callee| BreakerRule {
            callees: vec![callee.to_owned()],
            failure_ratio_to_open: 0.5,
            cooldown: Duration::from_secs(30),
        }),
        ..default_policy()
    };
    let document = |name: String, spec| Declared {
        namespace: NAMESPACE.to_owned(),
        name,
        spec,
        version: 1,
        applied_at: None,
    };
    Ok([
        document(name.to_owned(), DeclaredSpec::Service(Box::new(service))),
        document(format!("{name}-policy"), DeclaredSpec::Policy(Box::new(policy))),
    ])
}

fn assessed(resource: &ResourceId, at: Timestamp, sequence: u64, seen: &[(&str, f64)]) -> Assessment {
    Assessment {
        resource: resource.clone(),
        shard: resource.shard(),
        at,
        sequence,
        signals: seen.iter().map(|(name, value)| SignalGlance::plain(*name, Some(*value), at)).collect(),
        symptoms: Vec::new(),
        objective: None,
        capacity: Capacity {
            per_replica: Some(PER_REPLICA),
            lower: Some(0.95 * PER_REPLICA),
            upper: Some(1.05 * PER_REPLICA),
            samples: 10_000,
        },
        outlook: None,
        budget_policies: Vec::new(),
        data: DataQuality {
            quality: Quality::Good,
            reason: String::new(),
            since: at,
            sources_expected: 1,
            sources_seen: 1,
            last_good: None,
        },
        interval: INTERVAL,
    }
}

/// A steady load: the further ahead, the wider.
fn outlook(at: Timestamp, load: f64) -> Outlook {
    let point = |step: u32| OutlookPoint {
        after: INTERVAL * step,
        values: LEVELS
            .iter()
            .map(|level| load * (1.0 + 0.02 * f64::from(step).sqrt() * (level - 0.5)))
            .collect(),
    };
    let late = |band: u32| {
        let used = 0.5 + 0.02 * f64::from(band);
        let requests = 1e6;
        LatePoint { utilisation_ratio: used, requests, late: requests * (-25.0 * (1.0 - used)).exp() }
    };
    Outlook {
        at,
        levels: LEVELS.to_vec(),
        points: (1..=STEPS).map(point).collect(),
        late: (0..20).map(late).collect(),
        coverage_ratio: None,
    }
}
