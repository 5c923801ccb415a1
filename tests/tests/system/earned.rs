//! Autonomy as earned, over five processes: a directive that did harm takes a level at once, a person's word caps it, and both
//! outlive the processes.

use chassis::{Context, testing::eventually};
use proto::model::{
    Action, AutonomyLevel, Directive, DirectiveState, Generation, Preconditions, Rationale, ResourceId,
    Transition,
};
use serde_json::Value;
use std::time::Duration;
use system_tests::{Five, data_dir, run_command, turn};

const DEADLINE: Duration = Duration::from_secs(30);
const SERVICES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/staging/services.yaml");
const CATALOG: &str = "service:staging/catalog";

/// A scaling of catalog as Plan proposes it under its policy.
fn directive(ctx: &Context) -> Directive {
    let now = ctx.clock.now();
    Directive {
        id: ctx.uuid(),
        resource: ResourceId::service("staging", "catalog").unwrap(),
        action: Action::Scale { replicas: 3 },
        undo: Action::Scale { replicas: 2 },
        parent_generation: Generation(0),
        generation: Generation(0),
        policy: "catalog".to_owned(),
        autonomy: AutonomyLevel::Act,
        created_at: now,
        expires_at: now + Duration::from_secs(60),
        apply_timeout: Duration::from_secs(15),
        verify_window: Duration::from_secs(600),
        preconditions: Preconditions {
            max_evidence_age: Duration::from_secs(600),
            requires_known_data: false,
        },
        expected: Vec::new(),
        counterfactual: Vec::new(),
        rationale: Rationale { text: "a test of harm".to_owned(), ..Rationale::default() },
        blast_radius_ratio: 0.0,
        reduces: false,
        undo_of: None,
        quorum_ratio: 1.0,
    }
}

/// Has it applied and found harmful in Execute's place, which would go on verifying what was applied.
async fn do_harm(five: &mut Five, ctx: &Context) {
    five.processes.get_mut("execute").unwrap().kill();
    let knowledge = five.clients.knowledge().unwrap();
    let directive = directive(ctx);
    let id = directive.id;
    knowledge.propose(directive).await.unwrap();
    let steps = [
        (DirectiveState::Issued, DirectiveState::Applied),
        (DirectiveState::Applied, DirectiveState::Harmful),
    ];
    for (from, to) in steps {
        let step = Transition {
            directive_id: id,
            from,
            to,
            at: ctx.clock.now(),
            actor: "execute".to_owned(),
            detail: "more requests failed than before".to_owned(),
            attempt: 1,
            before: Vec::new(),
            after: Vec::new(),
        };
        let results = knowledge.record_transitions(vec![step]).await.unwrap();
        assert!(results[0].recorded, "{from} to {to}: {:?}", results[0]);
    }
}

/// What the command line says, whatever it ends with.
fn ask(five: &Five, arguments: &[&str]) -> (Option<i32>, Value) {
    let dir = five.data_dir.to_string_lossy().into_owned();
    let output = run_command(&[arguments, &["--output", "json", "--data-dir", &dir]].concat());
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or_default())
}

/// Catalog's row of `policies list`.
fn row(five: &Five) -> Value {
    let (code, rows) = ask(five, &["policies", "list"]);
    assert_eq!(code, Some(0));
    let found = rows.as_array().into_iter().flatten().find(|row| row["resource"] == CATALOG);
    found.cloned().unwrap_or_default()
}

/// The level at which Plan plans catalog now.
async fn planned_at(five: &Five, level: proto::wire::AutonomyLevel) {
    eventually(DEADLINE, level.as_str_name(), || async {
        let mut plan = five.clients.plan().ok()?;
        let reports = plan.list_reports(proto::wire::ListReportsRequest {}).await.ok()?.into_inner().reports;
        let report = reports.into_iter().find(|report| {
            report.resource.as_ref().is_some_and(|id| id.kind == "service" && id.name == "catalog")
        })?;
        (report.autonomy() == level).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn harm_demotes_at_once_a_person_caps_and_a_restart_keeps_both() {
    let _turn = turn();
    let (dir, ctx) = (data_dir(), Context::system());
    let mut five = Five::start(dir.path()).await;
    assert_eq!(ask(&five, &["apply", "-f", SERVICES]).0, Some(0));
    planned_at(&five, proto::wire::AutonomyLevel::Act).await;
    assert_eq!(row(&five)["level"], "act", "as declared");

    do_harm(&mut five, &ctx).await;
    eventually(DEADLINE, "the demotion on record", || async {
        (row(&five)["level"] == "approve").then_some(())
    })
    .await;
    planned_at(&five, proto::wire::AutonomyLevel::Approve).await;
    let demoted = row(&five);
    assert_eq!((&demoted["declared"], &demoted["earned"]), (&"act".into(), &"approve".into()));
    assert_eq!((&demoted["cause"], &demoted["actor"]), (&"demoted".into(), &"plan".into()));
    assert!(demoted["reason"].as_str().unwrap().contains("more requests failed"), "{demoted}");
    let (_, evidence) = ask(&five, &["policies", "evidence", "staging/catalog"]);
    let harm = evidence.as_array().unwrap().iter().find(|found| found["verdict"] == "harm");
    assert_eq!(harm.unwrap()["source"], "outcome");

    // A cap does not give back what was lost, and says so.
    let reason = ["--reason", "a drill"];
    let (code, _) = ask(
        &five,
        &[&["policies", "set-level", "catalog", "act", "--resource", CATALOG], &reason[..]].concat(),
    );
    assert_eq!((code, row(&five)["level"].as_str()), (Some(2), Some("approve")));
    let without = ["policies", "set-level", "catalog", "act", "--resource", CATALOG];
    assert_eq!(ask(&five, &without).0, Some(64), "a reason is required");
    let (code, _) = ask(&five, &[&["policies", "set-level", "catalog", "recommend"], &reason[..]].concat());
    assert_eq!((code, row(&five)["cap"].as_str()), (Some(0), Some("recommend")));
    planned_at(&five, proto::wire::AutonomyLevel::Recommend).await;

    for name in ["plan", "knowledge", "execute"] {
        let process = five.processes.get_mut(name).unwrap();
        process.kill();
        process.start_again();
    }
    five.serving().await;
    planned_at(&five, proto::wire::AutonomyLevel::Recommend).await;
    let (_, shown) = ask(&five, &["policies", "show", "catalog", "--resource", CATALOG]);
    let causes: Vec<_> =
        shown[0]["history"].as_array().unwrap().iter().map(|change| change["cause"].clone()).collect();
    assert_eq!(causes, ["set", "set", "demoted"], "the harm is counted once: {shown}");
    assert_eq!(shown[0]["level"], "recommend");
}
