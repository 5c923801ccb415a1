//! For tests: directives and assessments in one line, and in-memory stand-ins for Knowledge and Analyze on real sockets.

mod analyze;
mod knowledge;
mod stage;
pub(crate) mod store;

use std::time::Duration;

use jiff::Timestamp;
use proto::model::{
    Action, ActuatorSpec, Assessment, AutonomyLevel, BreakerMode, BreakerSetting, Capacity, DataQuality,
    Directive, DirectiveKind, DirectiveRecord, DirectiveState, Generation, Preconditions, Quality, Rationale,
    ResourceId, ResourceKind, ResourcePattern, SignalGlance,
};
use uuid::{Builder, Uuid};

use crate::moment::later;

pub use analyze::FakeAnalyze;
pub use knowledge::{FakeKnowledge, Fault, When};
pub use stage::Stage;

/// When tests begin.
pub fn start() -> Timestamp {
    Timestamp::from_second(1_700_000_000).expect("a date in 2023")
}

/// So many milliseconds after [`start`].
pub fn at(millis: u64) -> Timestamp {
    later(start(), Duration::from_millis(millis))
}

/// An id that a number tells.
pub fn id(number: u64) -> Uuid {
    Builder::from_custom_bytes(u128::from(number).to_be_bytes()).into_uuid()
}

/// `service:shop/cart`.
pub fn cart() -> ResourceId {
    ResourceId::service("shop", "cart").expect("a valid name")
}

/// `edge:shop/cart->stock`.
pub fn edge() -> ResourceId {
    ResourceId::edge("shop", "cart", "stock").expect("valid names")
}

/// Generation 1 for `cart`: from so many replicas to so many; expires after 60 s, 5 s to apply, 10 s to verify.
pub fn scale(from: u32, to: u32) -> Directive {
    let reduces = to < from;
    directive(cart(), Action::Scale { replicas: to }, Action::Scale { replicas: from }, reduces)
}

/// Generation 1 for `edge`, taken back by `metrics_only`; all instances must apply it.
pub fn breaker(mode: BreakerMode) -> Directive {
    let setting = |mode| {
        Action::SetBreaker(BreakerSetting {
            mode,
            failure_ratio_to_open: 0.5,
            slow_call: Some(Duration::from_millis(500)),
            open_wait: Duration::from_secs(2),
            half_open_permits: 3,
            told: None,
        })
    };
    directive(edge(), setting(mode), setting(BreakerMode::MetricsOnly), false)
}

fn directive(resource: ResourceId, action: Action, undo: Action, reduces: bool) -> Directive {
    Directive {
        id: id(1),
        resource,
        action,
        undo,
        parent_generation: Generation(0),
        generation: Generation(1),
        policy: "default".to_owned(),
        autonomy: AutonomyLevel::Act,
        created_at: start(),
        expires_at: at(60_000),
        apply_timeout: Duration::from_secs(5),
        verify_window: Duration::from_secs(10),
        preconditions: Preconditions {
            max_evidence_age: Duration::from_secs(30),
            requires_known_data: false,
        },
        expected: Vec::new(),
        counterfactual: Vec::new(),
        rationale: Rationale::default(),
        blast_radius_ratio: 0.1,
        reduces,
        undo_of: None,
        quorum_ratio: 1.0,
    }
}

/// The ledger's record of a directive.
pub fn record(directive: &Directive, state: DirectiveState, revision: u64) -> DirectiveRecord {
    DirectiveRecord {
        directive: directive.clone(),
        state,
        revision,
        changed_at: directive.created_at,
        detail: String::new(),
        history: Vec::new(),
    }
}

/// An assessment so many milliseconds after [`start`], 1 s after the one before; a signal without a value is unknown.
pub fn assessment(resource: &ResourceId, millis: u64, signals: &[(&str, Option<f64>)]) -> Assessment {
    let glance = |&(name, value): &(&str, Option<f64>)| SignalGlance::plain(name, value, at(millis));
    Assessment {
        resource: resource.clone(),
        shard: resource.shard(),
        at: at(millis),
        sequence: millis,
        signals: signals.iter().map(glance).collect(),
        symptoms: Vec::new(),
        objective: None,
        capacity: Capacity::default(),
        outlook: None,
        budget_policies: Vec::new(),
        data: DataQuality {
            quality: Quality::Good,
            reason: String::new(),
            since: start(),
            sources_expected: 1,
            sources_seen: 1,
            last_good: Some(at(millis)),
        },
        interval: Duration::from_secs(1),
    }
}

/// An actuator for everything in the namespace `shop`.
pub fn actuator(name: &str, instance: &str) -> ActuatorSpec {
    let all = |kind| ResourcePattern::new(kind, "shop", "*").expect("a valid pattern");
    ActuatorSpec {
        name: name.to_owned(),
        instance: instance.to_owned(),
        kinds: vec![DirectiveKind::Scale, DirectiveKind::SetBreaker],
        resources: vec![all(ResourceKind::Service), all(ResourceKind::Edge)],
        max_in_flight: 8,
        supports_dry_run: true,
        supports_undo: true,
    }
}
