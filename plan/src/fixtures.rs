//! A small plant for tests: catalog calls inventory; both are declared, watched and healthy until a test says otherwise.

use crate::{
    candidates::{Candidate, scale::Replicas},
    data::Data,
    guardrails::{self, Situation},
    input::PolicyView,
    score::Cost,
    world::World,
};
use jiff::Timestamp;
use proto::model::*;
use std::time::Duration;
use uuid::Uuid;

pub fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

pub fn service(name: &str) -> ResourceId {
    ResourceId::service("staging", name).unwrap()
}

pub fn edge(caller: &str, callee: &str) -> ResourceId {
    ResourceId::edge("staging", caller, callee).unwrap()
}

pub fn objective(target_ratio: f64) -> Objective {
    Objective {
        target_ratio,
        latency_bound: Some(Duration::from_millis(250)),
        window: Duration::from_secs(3_600),
    }
}

pub fn objective_state(burn_rate_short: Option<f64>) -> ObjectiveState {
    ObjectiveState {
        standing: ObjectiveStanding::Met,
        target_ratio: 0.99,
        good_ratio: None,
        burn_rate_short,
        burn_rate_long: None,
        budget_remaining_ratio: None,
        total_events: 0.0,
        unknown_time_ratio: 0.0,
    }
}

pub fn glance(name: &str, value: f64, second: i64) -> SignalGlance {
    SignalGlance::plain(name, Some(value), at(second))
}

pub fn assessment(resource: ResourceId, second: i64, signals: &[(&str, f64)]) -> Assessment {
    Assessment {
        shard: resource.shard(),
        resource,
        at: at(second),
        sequence: u64::try_from(second).unwrap_or(0),
        signals: signals.iter().map(|(name, value)| glance(name, *value, second)).collect(),
        symptoms: Vec::new(),
        objective: None,
        capacity: Capacity::default(),
        outlook: None,
        budget_policies: Vec::new(),
        data: DataQuality {
            quality: Quality::Good,
            reason: String::new(),
            since: at(0),
            sources_expected: 1,
            sources_seen: 1,
            last_good: None,
        },
        interval: Duration::from_secs(1),
    }
}

pub fn service_assessment(name: &str, second: i64, signals: &[(&str, f64)]) -> Assessment {
    assessment(service(name), second, signals)
}

/// The error-budget policy of catalog with so much left and these measures in force since second 50; risk needs 20 %.
pub fn budget_policy(left: Option<f64>, measures: &[BudgetMeasure]) -> BudgetPolicyState {
    let measure = |measure: &BudgetMeasure| MeasureInForce {
        measure: *measure,
        step: 1,
        since: at(50),
        until: None,
        reason: "80 % or more of the error budget of staging/catalog-requests was used up".to_owned(),
    };
    BudgetPolicyState {
        objective: "staging/catalog-requests".to_owned(),
        consumed_ratio: left.map(|left| 1.0 - left),
        remaining_ratio: left,
        refuse_risk_below: 0.2,
        measures: measures.iter().map(measure).collect(),
        known: left.is_some(),
        waiting_for: Vec::new(),
        autonomy: None,
    }
}

pub fn symptom(kind: SymptomKind, state: SymptomState) -> Symptom {
    Symptom {
        id: format!("symptom-{kind}"),
        kind,
        state,
        severity: Severity::High,
        confidence: 0.9,
        suspected_at: at(1),
        opened_at: Some(at(2)),
        ended_at: None,
        text: String::new(),
        explained_by: None,
        blast_radius_ratio: 0.0,
        evidence: Vec::new(),
    }
}

fn declared(name: &str, spec: DeclaredSpec) -> Declared {
    Declared { namespace: "staging".to_owned(), name: name.to_owned(), spec, version: 1, applied_at: None }
}

fn selector(text: &str) -> Selector {
    text.parse().unwrap()
}

pub fn service_document(name: &str, callees: &[&str]) -> Declared {
    let edge = |callee: &&str| EdgeSpec {
        callee: (*callee).to_owned(),
        total: selector("calls_total"),
        good: selector("calls_good_total"),
        latency: None,
    };
    let spec = ServiceSpec {
        instances: [("job".to_owned(), name.to_owned())].into(),
        total: selector("requests_total"),
        good: None,
        latency: Some(selector("latency_seconds")),
        busy_seconds: None,
        workers: None,
        ready: None,
        edges: callees.iter().map(edge).collect(),
        objective: Some(objective(0.99)),
    };
    declared(name, DeclaredSpec::Service(Box::new(spec)))
}

/// 2 to 10 replicas, 4 up, 1 down, 10 s and 60 s, aiming at 60 %; a third at once; the edge to inventory at 50 %.
pub fn policy_spec(service: &str) -> PolicySpec {
    PolicySpec {
        service: service.to_owned(),
        autonomy: AutonomyLevel::Act,
        scale: Some(ScalePolicy {
            minimum_replicas: 2,
            maximum_replicas: 10,
            step_up_replicas: 4,
            step_down_replicas: 1,
            cooldown_up: Duration::from_secs(10),
            cooldown_down: Duration::from_secs(60),
            target_utilisation_ratio: 0.6,
        }),
        breaker: Some(BreakerRule {
            callees: vec!["inventory".to_owned()],
            failure_ratio_to_open: 0.5,
            cooldown: Duration::from_secs(30),
        }),
        blast_radius_ratio: 0.34,
        review: ReviewRule::Automatic,
    }
}

pub fn policy_document(name: &str, service: &str) -> Declared {
    declared(name, DeclaredSpec::Policy(Box::new(policy_spec(service))))
}

pub fn actuator() -> ActuatorSpec {
    let pattern = |kind| ResourcePattern::new(kind, "staging", "*").unwrap();
    ActuatorSpec {
        name: "process".to_owned(),
        instance: "one".to_owned(),
        kinds: vec![DirectiveKind::Scale, DirectiveKind::SetBreaker],
        resources: vec![pattern(ResourceKind::Service), pattern(ResourceKind::Edge)],
        max_in_flight: 8,
        supports_dry_run: false,
        supports_undo: true,
    }
}

struct Change {
    resource: ResourceId,
    action: Action,
    undo: Action,
}

fn record(generation: u32, change: Change, state: DirectiveState, second: i64) -> DirectiveRecord {
    let Change { resource, action, undo } = change;
    let directive = Directive {
        id: Uuid::from_u128(u128::from(generation)),
        resource,
        action,
        undo,
        parent_generation: Generation(u64::from(generation) - 1),
        generation: Generation(u64::from(generation)),
        policy: "policy".to_owned(),
        autonomy: AutonomyLevel::Act,
        created_at: at(second),
        expires_at: at(second + 30),
        apply_timeout: Duration::from_secs(15),
        verify_window: Duration::from_secs(10),
        preconditions: Preconditions { max_evidence_age: Duration::from_secs(5), requires_known_data: false },
        expected: Vec::new(),
        counterfactual: Vec::new(),
        rationale: Rationale::default(),
        blast_radius_ratio: 0.0,
        reduces: false,
        undo_of: None,
        quorum_ratio: 1.0,
    };
    DirectiveRecord {
        directive,
        state,
        revision: u64::try_from(second).unwrap(),
        changed_at: at(second),
        detail: String::new(),
        history: Vec::new(),
    }
}

/// A scaling of catalog that reached its state at this second.
pub fn scale_record(
    generation: u32,
    before: u32,
    after: u32,
    state: DirectiveState,
    second: i64,
) -> DirectiveRecord {
    let (action, undo) = (Action::Scale { replicas: after }, Action::Scale { replicas: before });
    record(generation, Change { resource: service("catalog"), action, undo }, state, second)
}

pub fn enforced() -> BreakerSetting {
    BreakerSetting {
        mode: BreakerMode::Enforce,
        failure_ratio_to_open: 0.5,
        slow_call: Some(Duration::from_millis(250)),
        open_wait: Duration::from_secs(1),
        half_open_permits: 2,
        told: None,
    }
}

/// An enforced breaker that reached its state at this second.
pub fn breaker_record(
    generation: u32,
    edge: &ResourceId,
    state: DirectiveState,
    second: i64,
) -> DirectiveRecord {
    let undo = BreakerSetting { mode: BreakerMode::MetricsOnly, ..enforced() };
    let (action, undo) = (Action::SetBreaker(enforced()), Action::SetBreaker(undo));
    record(generation, Change { resource: edge.clone(), action, undo }, state, second)
}

/// The plant at one second. Change what `caller`, `callee` and `edge` give, then `settle`.
#[derive(Clone)]
pub struct Plant {
    pub world: World,
    pub second: i64,
    next: [Assessment; 3],
}

impl Plant {
    pub fn new() -> Self {
        let mut world = World::new(at(0));
        let documents = vec![
            service_document("catalog", &["inventory"]),
            service_document("inventory", &[]),
            policy_document("catalog-policy", "catalog"),
            policy_document("inventory-policy", "inventory"),
        ];
        world.replace_documents(documents);
        world.actuators = vec![actuator()];
        let mut plant = Self { world, second: 100, next: next(100, 100.0, 4) };
        plant.settle();
        plant
    }

    pub fn caller(&mut self) -> &mut Assessment {
        &mut self.next[0]
    }

    pub fn callee(&mut self) -> &mut Assessment {
        &mut self.next[1]
    }

    pub fn edge(&mut self) -> &mut Assessment {
        &mut self.next[2]
    }

    /// Shows the assessments to the world as those of the next second.
    pub fn settle(&mut self) {
        self.second += 1;
        for assessment in &mut self.next {
            assessment.at = at(self.second);
            assessment.sequence += 1;
            self.world.assess(assessment.clone());
        }
    }

    /// So many healthy seconds at this load and with so many replicas of catalog.
    pub fn run(&mut self, seconds: u32, load: f64, replicas: u32) {
        for _ in 0..seconds {
            self.next = next(self.second, load, replicas);
            self.settle();
        }
    }

    /// Replaces one signal of catalog.
    pub fn set(&mut self, name: &str, value: f64) {
        let second = self.second;
        self.next[0].signals.retain(|signal| signal.name != name);
        self.next[0].signals.push(glance(name, value, second));
    }

    pub fn set_policy(&mut self, change: impl FnOnce(&mut PolicySpec)) {
        let mut spec = policy_spec("catalog");
        change(&mut spec);
        self.world.apply(declared("catalog-policy", DeclaredSpec::Policy(Box::new(spec))));
    }
}

/// A replica takes 50 requests per second.
fn next(second: i64, load: f64, replicas: u32) -> [Assessment; 3] {
    let used = load / (50.0 * f64::from(replicas));
    let signals = [
        ("load", load),
        ("utilisation", used),
        ("ready_replicas", f64::from(replicas)),
        ("bad_ratio", 0.0),
        ("latency_p99_seconds", 0.05),
    ];
    let calls = [("load", load), ("error_ratio", 0.0), ("latency_p99_seconds", 0.05)];
    [
        service_assessment("catalog", second, &signals),
        service_assessment(
            "inventory",
            second,
            &[("load", load), ("utilisation", 0.3), ("ready_replicas", 4.0), ("bad_ratio", 0.0)],
        ),
        assessment(edge("catalog", "inventory"), second, &calls),
    ]
}

/// A bare scaling of catalog.
pub fn scale_to(current: u32, replicas: u32) -> Candidate {
    Candidate {
        resource: service("catalog"),
        action: Action::Scale { replicas },
        undo: Action::Scale { replicas: current },
        reduces: replicas < current,
        blast_radius_ratio: 0.0,
        follows_last_good: None,
        cost: Cost::of_replicas(replicas, current, replicas, replicas),
        text: String::new(),
        evidence: Vec::new(),
        symptom_ids: Vec::new(),
        expected: Vec::new(),
        counterfactual: Vec::new(),
        interval: Duration::from_secs(1),
        takes_back: None,
    }
}

/// One guardrail asked about catalog.
pub struct Case {
    pub plant: Plant,
    pub replicas: Option<Replicas>,
}

impl Case {
    pub fn replicas(current: u32) -> Self {
        Self { plant: Plant::new(), replicas: Some(Replicas { ready: current, current }) }
    }

    pub fn ready(&mut self, ready: u32) {
        self.replicas.as_mut().unwrap().ready = ready;
    }

    pub fn level(mut self, level: AutonomyLevel) -> Self {
        self.plant.set_policy(|policy| policy.autonomy = level);
        self
    }

    /// The assessment of catalog is of this quality and age; `None`: there is none.
    pub fn data(mut self, quality: Option<Quality>, age: i64) -> Self {
        match quality {
            Some(quality) => {
                self.plant.caller().data.quality = quality;
                self.plant.settle();
                self.plant.second += age;
            }
            None => {
                let documents =
                    vec![service_document("catalog", &[]), policy_document("catalog-policy", "catalog")];
                self.plant.world = World::new(at(0));
                self.plant.world.replace_documents(documents);
            }
        }
        self
    }

    /// Nothing more happens for so long but that catalog stays unknown.
    pub fn last_good(mut self, age: i64) -> Self {
        self.plant.second += age;
        self.plant.settle();
        self
    }

    pub fn vetoes(&self, guardrail: &str, candidate: &Candidate) -> bool {
        self.verdict(guardrail, candidate).vetoed
    }

    pub fn reason(&self, guardrail: &str, candidate: &Candidate) -> String {
        self.verdict(guardrail, candidate).reason
    }

    fn verdict(&self, guardrail: &str, candidate: &Candidate) -> GuardrailVerdict {
        let catalog = service("catalog");
        let input = self.plant.world.input(&catalog).unwrap();
        let now = at(self.plant.second);
        let data = Data::of(input.assessment, input.last_good, now);
        let PolicyView::One(policy) = input.policy else { panic!("catalog has one policy") };
        let situation = Situation {
            now,
            input: &input,
            policy,
            autonomy: input.level(policy, input.service),
            data: &data,
            line: input.scale_line,
            replicas: self.replicas,
        };
        let verdicts = guardrails::judge(candidate, &situation);
        verdicts
            .into_iter()
            .find(|verdict| verdict.guardrail == guardrail)
            .expect("the guardrail has that name")
    }
}
