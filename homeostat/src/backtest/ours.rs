//! Our own policy in the replay: Analyze's learners and Plan's core, fed through the types that carry them in production.

use super::replay::{AGE_S, CONTROL_S, Policy, View, Wish};
use analyze::{
    capacity::{CapacityLearner, Tick},
    forecast::lookahead::Lookahead,
    late::{LateLearner, LateTick},
};
use chassis::IdGenerator;
use jiff::{SignedDuration, Timestamp};
use plan::{planner, report::PlanReport, world::World};
use proto::model::{
    Action, ActuatorSpec, Assessment, AutonomyLevel, Capacity, DataQuality, Declared, DeclaredSpec,
    Directive, DirectiveKind, DirectiveRecord, DirectiveState, Generation, Objective, PolicySpec, Quality,
    ResourceId, ResourceKind, ResourcePattern, ReviewRule, ScalePolicy, Selector, ServiceSpec, SignalGlance,
};
use std::{collections::VecDeque, time::Duration};

/// The one replayed service.
const NAMESPACE: &str = "backtest";
const SERVICE: &str = "service";
/// Traces have no date: they begin on a Monday, at midnight.
const BEGIN_S: i64 = 4 * 86_400;
/// Reports that are kept; each names what was seen, weighed and vetoed.
const REPORTS_MAX: usize = 1_000_000;

/// What the product does when nothing else is declared: the replay's bounds, changes as large as it takes, at most half of what
/// runs taken away at once, two minutes of stabilisation, and 70 % as what people would run.
#[must_use]
pub fn default_policy() -> PolicySpec {
    PolicySpec {
        service: SERVICE.to_owned(),
        autonomy: AutonomyLevel::Act,
        scale: Some(ScalePolicy {
            minimum_replicas: 2,
            maximum_replicas: 500,
            step_up_replicas: 500,
            step_down_replicas: 500,
            cooldown_up: Duration::ZERO,
            cooldown_down: Duration::from_secs(120),
            target_utilisation_ratio: 0.7,
        }),
        breaker: None,
        blast_radius_ratio: 0.5,
        review: ReviewRule::Automatic,
    }
}

/// How our policy is replayed.
#[derive(Debug, Clone)]
pub struct Settings {
    /// As in the output.
    pub name: String,
    /// What people want.
    pub policy: PolicySpec,
    /// What is promised.
    pub objective: Objective,
    /// Whether a limiter follows the advised admission.
    pub sheds: bool,
    /// Nothing at all is done while blind: the baseline of a metrics outage.
    pub holds_when_blind: bool,
    /// Whether every report is kept.
    pub reports: bool,
}

/// Analyze and Plan around the replayed service.
#[derive(Debug)]
pub struct Ours {
    settings: Settings,
    service: ResourceId,
    world: World,
    ids: IdGenerator,
    lookahead: Lookahead,
    late: LateLearner,
    capacity: CapacityLearner,
    generation: u64,
    under_way: VecDeque<DirectiveRecord>,
    admitted: Option<f64>,
    sequence: u64,
    /// What was decided and why, oldest first.
    pub reports: Vec<(u32, PlanReport)>,
}

impl Ours {
    /// A control plane that has just started.
    ///
    /// # Errors
    /// When the policy is not valid.
    pub fn new(settings: Settings) -> Result<Self, proto::model::InvalidId> {
        settings.policy.validate()?;
        let service = ResourceId::service(NAMESPACE, SERVICE)?;
        let mut world = World::new(moment(0));
        world.replace_documents(documents(&settings)?);
        world.actuators = vec![ActuatorSpec {
            name: "replay".to_owned(),
            instance: "replay".to_owned(),
            kinds: vec![DirectiveKind::Scale],
            resources: vec![ResourcePattern::new(ResourceKind::Service, NAMESPACE, "*")?],
            max_in_flight: 1,
            supports_dry_run: false,
            supports_undo: true,
        }];
        if settings.sheds {
            world.shedding.insert(service.clone());
        }
        Ok(Self {
            settings,
            service,
            world,
            ids: IdGenerator::from_seed(0),
            lookahead: Lookahead::new(step()),
            late: LateLearner::default(),
            capacity: CapacityLearner::default(),
            generation: 0,
            under_way: VecDeque::new(),
            admitted: None,
            sequence: 0,
            reports: Vec::new(),
        })
    }

    /// What Analyze would say now: all of it as old as metrics are.
    fn assess(&mut self, view: &View<'_>) -> Assessment {
        let at = moment(view.now_s - AGE_S);
        let from = AGE_S + CONTROL_S;
        let seen =
            view.arrivals(from, AGE_S).zip(view.utilisation(from, AGE_S)).zip(view.late_ratio(from, AGE_S));
        let seen = seen
            .zip(view.replicas(AGE_S))
            .map(|(((load, used), late), (ready, _))| (load, used, late, ready));
        self.sequence += 1;
        self.lookahead.observe(at, seen.map(|(load, ..)| load));
        let mut signals = Vec::with_capacity(4);
        if let Some((load, used, late, ready)) = seen {
            let (ready, requests) = (f64::from(ready), load * f64::from(CONTROL_S));
            self.capacity.observe(Tick {
                load: Some(load),
                ready: Some(ready),
                utilisation: Some(used),
                error_ratio: Some(late),
            });
            self.late.observe(LateTick {
                requests: Some(requests),
                ready: Some(ready),
                utilisation: Some(used),
                bad_ratio: Some(late),
            });
            let values =
                [("load", load), ("ready_replicas", ready), ("utilisation", used), ("bad_ratio", late)];
            signals.extend(values.map(|(name, value)| glance(name, value, at)));
        }
        let outlook = self.lookahead.outlook().map(|mut outlook| {
            outlook.late = self.late.points();
            Box::new(outlook)
        });
        let quality = if seen.is_some() { Quality::Good } else { Quality::Unknown };
        let capacity: Capacity = self.capacity.capacity();
        Assessment {
            resource: self.service.clone(),
            shard: self.service.shard(),
            at,
            sequence: self.sequence,
            signals,
            symptoms: Vec::new(),
            objective: None,
            capacity,
            outlook,
            budget_policies: Vec::new(),
            data: data(quality, at),
            interval: step(),
        }
    }

    /// What the actuator reports: done at once, and seen to be done when as many are ready.
    fn follow(&mut self, view: &View<'_>) {
        let ready = if view.is_blind(AGE_S) { None } else { view.replicas(AGE_S).map(|replicas| replicas.0) };
        while let Some(mut record) = self.under_way.pop_front() {
            let Action::Scale { replicas } = record.directive.action else { continue };
            if ready.is_some_and(|ready| ready >= replicas) || !self.under_way.is_empty() {
                record.state = DirectiveState::Verified;
                record.revision += 1;
                record.changed_at = moment(view.now_s);
                self.world.ledger.put(&record);
            } else {
                self.under_way.push_front(record);
                return;
            }
        }
    }

    fn carry_out(&mut self, mut directive: Directive, now: Timestamp) -> u32 {
        let Action::Scale { replicas } = directive.action else { return 0 };
        self.generation += 1;
        directive.generation = Generation(self.generation);
        let waits = !directive.reduces;
        let record = DirectiveRecord {
            directive,
            state: if waits { DirectiveState::Applied } else { DirectiveState::Verified },
            revision: 2 * self.generation,
            changed_at: now,
            detail: String::new(),
            history: Vec::new(),
        };
        self.world.ledger.put(&record);
        if waits {
            self.under_way.push_back(record);
        }
        replicas
    }
}

impl Policy for Ours {
    fn name(&self) -> &str {
        &self.settings.name
    }

    fn decide(&mut self, view: &View<'_>) -> Option<Wish> {
        let stay = Wish { replicas: view.total, admitted: self.admitted };
        if view.now_s < AGE_S + CONTROL_S {
            return Some(stay);
        }
        let now = moment(view.now_s);
        self.follow(view);
        let assessment = self.assess(view);
        let blind = assessment.signals.is_empty();
        self.world.assess(assessment);
        if blind && self.settings.holds_when_blind {
            return Some(stay);
        }
        let input = self.world.input(&self.service)?;
        if self.settings.sheds {
            self.admitted = input.economy.admission();
        }
        // As in production, a service at rest is found by numbers alone; words are made where somebody reads them.
        if !self.settings.reports && planner::rest(&input, now).is_some() {
            return Some(Wish { replicas: view.total, admitted: self.admitted });
        }
        let decision = plan::plan(&input, now, &mut self.ids).into_iter().next()?;
        if self.settings.reports && self.reports.len() < REPORTS_MAX {
            self.reports.push((view.now_s, decision.report));
        }
        let replicas = match decision.directive {
            Some(directive) => self.carry_out(directive, now),
            None => view.total,
        };
        Some(Wish { replicas, admitted: self.admitted })
    }
}

fn step() -> Duration {
    Duration::from_secs(u64::from(CONTROL_S))
}

fn moment(second: u32) -> Timestamp {
    let begin = Timestamp::from_second(BEGIN_S).unwrap_or(Timestamp::UNIX_EPOCH);
    begin.checked_add(SignedDuration::from_secs(i64::from(second))).unwrap_or(Timestamp::MAX)
}

fn glance(name: &str, value: f64, at: Timestamp) -> SignalGlance {
    SignalGlance::plain(name, Some(value), at)
}

fn data(quality: Quality, at: Timestamp) -> DataQuality {
    let reason = if quality == Quality::Good { String::new() } else { "no metrics arrive".to_owned() };
    let seen = u32::from(quality == Quality::Good);
    DataQuality { quality, reason, since: at, sources_expected: 1, sources_seen: seen, last_good: None }
}

fn documents(settings: &Settings) -> Result<Vec<Declared>, proto::model::InvalidId> {
    let selector = |text: &str| text.parse::<Selector>();
    let service = ServiceSpec {
        instances: [("job".to_owned(), SERVICE.to_owned())].into(),
        total: selector("requests_total")?,
        good: None,
        latency: Some(selector("latency_seconds")?),
        busy_seconds: None,
        workers: None,
        ready: None,
        edges: Vec::new(),
        objective: Some(settings.objective),
    };
    let policy =
        PolicySpec { service: SERVICE.to_owned(), autonomy: AutonomyLevel::Act, ..settings.policy.clone() };
    let declared = |name: &str, spec| Declared {
        namespace: NAMESPACE.to_owned(),
        name: name.to_owned(),
        spec,
        version: 1,
        applied_at: None,
    };
    Ok(vec![
        declared(SERVICE, DeclaredSpec::Service(Box::new(service))),
        declared("policy", DeclaredSpec::Policy(Box::new(policy))),
    ])
}
