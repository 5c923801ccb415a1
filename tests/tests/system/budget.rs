//! An error budget burned by a real fault: its policy freezes, scales and tightens, refuses what would take capacity away, and
//! takes everything back when its reset criteria hold. And readiness, on a cluster that is well and on one that is not.

use super::staging;
use actuators::{Actuator, ApplyOutcome, Runner};
use chassis::{Context, OnFailure, testing::eventually};
use proto::model::{
    Action, ActuatorSpec, AutonomyLevel, Directive, DirectiveKind, DirectiveState, Generation, Observation,
    Preconditions, Rationale, ResourceId, ResourceKind, ResourcePattern,
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use system_tests::{Plane, data_dir, run_command, turn};

const OBJECTIVE: &str = "staging/catalog-requests";

/// Six seconds of failing requests are allowed in a minute; from half of them on catalog is protected.
const SLO: &str = r#"apiVersion: openslo/v1
kind: SLO
metadata:
  name: catalog-requests
  annotations:
    homeostat.io/namespace: staging
    homeostat.io/error-budget-policy: '{"steps":[{"at":0.5,"measures":["freeze-deployments","scale-up","tighten-breakers","read-only"],"expires_after_s":600}],"reset":{"stable_s":2,"approvals":1},"refuse_risk_below":0.5}'
spec:
  service: catalog
  indicator:
    metadata:
      name: catalog-bad-requests
      annotations:
        homeostat.io/weight-signal: load
    spec:
      ratioMetric:
        rawType: failure
        raw:
          metricSource:
            type: Homeostat
            spec:
              signal: bad_ratio
  timeWindow:
    - duration: 1m
      isRolling: true
  budgetingMethod: Occurrences
  objectives:
    - target: 0.9
"#;

/// The gate that a team's pipeline asks before it deploys: shut while catalog is frozen.
struct Gate {
    shut: Arc<Mutex<bool>>,
    generation: Mutex<Generation>,
}

fn catalog() -> ResourceId {
    ResourceId::service("staging", "catalog").unwrap()
}

impl Actuator for Gate {
    fn spec(&self) -> ActuatorSpec {
        ActuatorSpec {
            name: "deploy-gate".to_owned(),
            instance: "one".to_owned(),
            kinds: vec![DirectiveKind::Freeze],
            resources: vec![ResourcePattern::new(ResourceKind::Service, "staging", "catalog").unwrap()],
            max_in_flight: 1,
            supports_dry_run: false,
            supports_undo: true,
        }
    }

    async fn observe(&self, _: &ResourceId) -> Vec<Observation> {
        let value = f64::from(u8::from(*self.shut.lock().unwrap()));
        vec![Observation { name: "frozen".to_owned(), value }]
    }

    async fn apply(&self, directive: &Directive, _: bool) -> ApplyOutcome {
        let Action::Freeze { until, .. } = directive.action else {
            return ApplyOutcome::refused("only freezes");
        };
        *self.shut.lock().unwrap() = until.is_some();
        *self.generation.lock().unwrap() = directive.generation;
        ApplyOutcome::applied(directive.action.to_string())
    }

    fn last_generation(&self, _: &ResourceId, _: DirectiveKind) -> Generation {
        *self.generation.lock().unwrap()
    }
}

fn gate(plane: &Plane, ctx: &Context) -> Arc<Mutex<bool>> {
    let shut = Arc::new(Mutex::new(false));
    let actuator = Gate { shut: shut.clone(), generation: Mutex::default() };
    let channel = plane.clients.channel(&plane.clients.endpoints.execute).unwrap();
    let runner = Runner::new(channel, Arc::new(actuator), ctx.clone());
    ctx.tasks.spawn("deploy-gate", OnFailure::Log, async move { Ok(runner.run().await?) });
    shut
}

fn fault(plane: &Plane, arguments: &[&str]) {
    plane.json(&[&["staging", "fault"], arguments].concat());
}

fn tracked(plane: &Plane) -> Option<Value> {
    let dir = plane.data_dir.to_string_lossy().into_owned();
    // Burning is exit code 2 here, and no failure.
    let output = run_command(&["slo", "status", "--output", "json", "--data-dir", &dir]);
    let all: Value = serde_json::from_slice(&output.stdout).ok()?;
    all.as_array()?.iter().find(|one| one["objective"] == OBJECTIVE).cloned()
}

fn history(plane: &Plane) -> Value {
    plane.json(&["slo", "history", OBJECTIVE])
}

/// The states of the policy's own directives, by kind of action; those that take one back apart.
fn states(plane: &Plane) -> BTreeMap<(String, bool), Vec<String>> {
    let mut found: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for directive in history(plane)["directives"].as_array().unwrap() {
        if directive["policy"] == OBJECTIVE {
            let word = directive["action"].as_str().unwrap().split(' ').next().unwrap().to_owned();
            let back = !directive["undo_of"].is_null();
            found.entry((word, back)).or_default().push(directive["state"].as_str().unwrap().to_owned());
        }
    }
    found
}

/// A scale-in of catalog as an outsider might propose it.
fn risky(ctx: &Context, parent: Generation) -> Directive {
    let now = ctx.clock.now();
    Directive {
        id: ctx.uuid(),
        resource: catalog(),
        action: Action::Scale { replicas: 1 },
        undo: Action::Scale { replicas: 3 },
        parent_generation: parent,
        generation: Generation(0),
        policy: "outsider".to_owned(),
        autonomy: AutonomyLevel::Act,
        created_at: now,
        expires_at: now + Duration::from_secs(20),
        apply_timeout: Duration::from_secs(10),
        verify_window: Duration::from_secs(10),
        preconditions: Preconditions { max_evidence_age: Duration::from_secs(10), requires_known_data: true },
        expected: Vec::new(),
        counterfactual: Vec::new(),
        rationale: Rationale { text: "an outsider wants to save".to_owned(), ..Rationale::default() },
        blast_radius_ratio: 0.5,
        reduces: true,
        undo_of: None,
        quorum_ratio: 1.0,
    }
}

/// Proposes it again whenever something else was on the line, until the ledger has taken one; gives back what became of it.
async fn refused(plane: &Plane, ctx: &Context) -> String {
    let knowledge = plane.clients.knowledge().unwrap();
    let taken = eventually(Duration::from_secs(20), "a risky directive in the ledger", || async {
        let list = knowledge.list_directives(Some(catalog()), &[], 100).await.ok()?;
        let scales = list.directives.iter().filter(|one| one.directive.kind() == DirectiveKind::Scale);
        let parent = scales.map(|one| one.directive.generation).max().unwrap_or_default();
        let directive = risky(ctx, parent);
        let answer = knowledge.propose(directive.clone()).await.ok()?;
        (answer.state == Some(DirectiveState::Issued)).then_some(directive.id)
    })
    .await;
    let over = eventually(Duration::from_secs(20), "its refusal", || async {
        let record = knowledge.get_directive(taken).await.ok()?;
        (!record.state.under_way()).then_some(record)
    })
    .await;
    assert_eq!(over.state, DirectiveState::Refused, "{}", over.detail);
    over.detail
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burned_budget_protects_its_service_and_lets_go_by_its_criteria() {
    let _turn = turn();
    let dir = data_dir();
    let ctx = Context::system();
    let plane = Plane::start(dir.path(), &[]).await;
    let _cluster = staging::start(dir.path(), "steady", Duration::from_secs(150), "act", 12);
    let file = dir.path().join("slo.yaml");
    std::fs::write(&file, SLO).unwrap();
    let shut = gate(&plane, &ctx);
    plane.json(&["slo", "import", &file.to_string_lossy()]);
    eventually(Duration::from_secs(40), "a budget that is known and whole", || async {
        tracked(&plane).filter(|one| one["budget_remaining_ratio"].as_f64() > Some(0.9))
    })
    .await;

    fault(&plane, &["inject", "burn", "--service", "catalog", "--errors", "1"]);
    eventually(Duration::from_secs(30), "a shut gate", || async { shut.lock().unwrap().then_some(()) }).await;
    fault(&plane, &["clear", "burn"]);

    // Freeze, more replicas and tighter breakers are made; nobody takes read-only.
    eventually(Duration::from_secs(30), "freeze, scale and breaker in force", || async {
        let states = states(&plane);
        let stands = |word: &str| {
            let found = states.get(&(word.to_owned(), false))?;
            found
                .iter()
                .any(|state| ["applied", "verifying", "verified"].contains(&state.as_str()))
                .then_some(())
        };
        stands("freeze").and(stands("scale")).and(states.get(&("set".to_owned(), false)).map(|_| ()))
    })
    .await;

    let reason = refused(&plane, &ctx).await;
    assert!(reason.contains(OBJECTIVE) && reason.contains("error budget left"), "{reason}");

    let approved =
        plane.json(&["slo", "approve", OBJECTIVE, "--reason", "the fault is gone", "--for", "10m"]);
    assert_eq!(approved["kind"], "approved");

    eventually(Duration::from_secs(100), "everything taken back", || async {
        let states = states(&plane);
        let over = |word: &str| {
            let made = states.get(&(word.to_owned(), false))?;
            made.iter().any(|state| state == "undone").then_some(())
        };
        over("freeze").and(over("scale"))
    })
    .await;
    assert!(!*shut.lock().unwrap(), "the gate is open again");

    let story = history(&plane);
    let told: Vec<_> = story["timeline"].as_array().unwrap().iter().collect();
    let has = |what: &str, text: &str| {
        told.iter().any(|moment| {
            moment["what"] == what && moment["text"].as_str().unwrap_or_default().contains(text)
        })
    };
    for (what, text) in [
        ("measure_begun", "freeze-deployments"),
        ("proposed", "of the error budget of staging/catalog-requests was used up"),
        ("applied", "freeze deployments until"),
        ("refused", "error budget left"),
        ("approved", "the fault is gone"),
        ("measure_undone", "the reset criteria hold"),
        ("reset", ""),
        ("undone", "scale to"),
    ] {
        assert!(has(what, text), "{what} {text:?} is not in {story:#}");
    }
    assert!(has("expired", "set mode to read_only"), "what nobody took is told as that: {story:#}");
    let who = told.iter().find(|moment| moment["what"] == "approved").unwrap();
    assert!(!who["who"].as_str().unwrap().is_empty() && who["text"].as_str().unwrap().contains("until"));
}

fn readiness(plane: &Plane) -> (Option<i32>, Value) {
    let dir = plane.data_dir.to_string_lossy().into_owned();
    let output = run_command(&["readiness", "--output", "json", "--data-dir", &dir]);
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_passes_on_a_healthy_cluster_and_never_on_one_whose_requests_fail() {
    let _turn = turn();
    let dir = data_dir();
    let plane = Plane::start(dir.path(), &[]).await;
    let _cluster = staging::start(dir.path(), "steady", Duration::from_secs(120), "act", 13);
    let ready = eventually(Duration::from_secs(60), "readiness", || async {
        let (code, said) = readiness(&plane);
        (code == Some(0)).then_some(said)
    })
    .await;
    assert_eq!((&ready["level"], &ready["go"]), (&"PRODUCTION_READY".into(), &true.into()), "{ready:#}");

    // 15 % failing requests are never ready.
    fault(&plane, &["inject", "some", "--service", "catalog", "--errors", "0.15"]);
    let failing = eventually(Duration::from_secs(30), "a refusal", || async {
        let (code, said) = readiness(&plane);
        (code == Some(2)).then_some(said)
    })
    .await;
    let gates = failing["gates"].as_array().unwrap();
    let failed = gates.iter().filter(|gate| gate["verdict"] == "fail");
    assert!(failed.count() > 0, "{failing:#}");
    assert_eq!(failing["go"], false);
}
