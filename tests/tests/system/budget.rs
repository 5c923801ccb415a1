//! An error budget burned by a real fault: its policy freezes, scales and tightens, refuses what would take capacity away, and
//! takes everything back when its reset criteria hold. And readiness, on a cluster that is well and on one that is not.

use super::staging;
use chassis::{Context, OnFailure, testing::eventually};
use homeostat::endpoints::Clients;
use proto::model::{
    Action, AutonomyLevel, Directive, DirectiveKind, DirectiveRecord, DirectiveState, Generation,
    Preconditions, Rationale, ResourceId,
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use system_tests::{Five, Plane, Process, data_dir, run_command, turn};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const OBJECTIVE: &str = "staging/catalog-requests";

/// Six seconds of failing requests are allowed in a minute; from half of them on catalog is protected.
const SLO: &str = r#"apiVersion: openslo/v1
kind: SLO
metadata:
  name: catalog-requests
  annotations:
    homeostat.io/namespace: staging
    homeostat.io/error-budget-policy: '{"steps":[{"at":0.5,"measures":["notify","freeze-deployments","scale-up","tighten-breakers","read-only","rollback","raise-cadence"],"expires_after_s":600}],"reset":{"stable_s":2,"approvals":1},"refuse_risk_below":0.5}'
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

fn catalog() -> ResourceId {
    ResourceId::service("staging", "catalog").unwrap()
}

/// `homeostat actuator gate`, as a team runs it.
fn gate(plane: &Plane) -> Process {
    let dir = plane.data_dir.to_string_lossy().into_owned();
    let arguments = ["actuator", "gate", "--service", "staging/catalog", "--data-dir", &dir];
    Process::start("gate", &plane.data_dir, arguments.map(str::to_owned).into())
}

/// `homeostat actuator cadence`, as a team runs it.
fn cadence(plane: &Plane) -> Process {
    let dir = plane.data_dir.to_string_lossy().into_owned();
    let arguments = ["actuator", "cadence", "--service", "staging/catalog", "--data-dir", &dir];
    Process::start("cadence", &plane.data_dir, arguments.map(str::to_owned).into())
}

/// How often Monitor is seen to look at catalog: as often as half the configured second, or as that.
async fn looked_at(plane: &Plane, what: &str, millis: std::ops::RangeInclusive<u64>) {
    let monitor = plane.clients.monitor().unwrap();
    let request = proto::wire::GetCadenceRequest { service: Some(catalog().into()) };
    eventually(Duration::from_secs(20), what, || {
        let (mut monitor, request, millis) = (monitor.clone(), request.clone(), millis.clone());
        async move {
            let status = monitor.get_cadence(request).await.ok()?.into_inner();
            millis.contains(&status.observed_interval_ms).then_some(())
        }
    })
    .await;
}

/// The exit code that a pipeline gets before it deploys catalog.
fn may_deploy(plane: &Plane) -> Option<i32> {
    let dir = plane.data_dir.to_string_lossy().into_owned();
    run_command(&["slo", "gate", "staging/catalog", "--output", "json", "--data-dir", &dir]).status.code()
}

/// `homeostat actuator webhook`, and what it posts to a receiver of ours.
async fn webhook(plane: &Plane, ctx: &Context) -> (Process, Arc<Mutex<Vec<Value>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = told.clone();
    ctx.tasks.spawn("receiver", OnFailure::Log, async move {
        loop {
            let (stream, _) = listener.accept().await?;
            if let Some(body) = receive(stream).await {
                heard.lock().unwrap().push(body);
            }
        }
    });
    let dir = plane.data_dir.to_string_lossy().into_owned();
    let arguments = ["actuator", "webhook", "--url", &url, "--data-dir", &dir];
    (Process::start("webhook", &plane.data_dir, arguments.map(str::to_owned).into()), told)
}

/// One post of JSON, answered with 204.
async fn receive(mut stream: TcpStream) -> Option<Value> {
    let (mut text, mut buffer) = (String::new(), [0; 4_096]);
    while !text.trim_end().ends_with('}') {
        let read = stream.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
        text.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await.ok()?;
    serde_json::from_str(text.split_once("\r\n\r\n")?.1).ok()
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
            let words: Vec<_> = directive["action"].as_str().unwrap().split(' ').collect();
            // Breakers and modes are both set.
            let word = if words[0] == "set" { words[1] } else { words[0] }.to_owned();
            let back = !directive["undo_of"].is_null();
            found.entry((word, back)).or_default().push(directive["state"].as_str().unwrap().to_owned());
        }
    }
    found
}

/// Where catalog's replicas listen.
fn addresses(plane: &Plane) -> Vec<String> {
    let endpoints = plane.data_dir.join("staging/endpoints/catalog.json");
    let Ok(text) = std::fs::read_to_string(endpoints) else { return Vec::new() };
    let Ok(endpoints) = serde_json::from_str::<Vec<Value>>(&text) else { return Vec::new() };
    endpoints.iter().filter_map(|endpoint| Some(endpoint["address"].as_str()?.to_owned())).collect()
}

/// What the breakers towards inventory do, as catalog's own replicas say it.
async fn breakers(plane: &Plane) -> Vec<String> {
    let mut found = Vec::new();
    for address in addresses(plane) {
        let told = ask(&address, "GET /breakers").await.map(|answer| answer.2);
        let told: Value = serde_json::from_str(&told.unwrap_or_default()).unwrap_or_default();
        found.push(told["catalog->inventory"]["state"].as_str().unwrap_or("no answer").to_owned());
    }
    found
}

/// What each of catalog's replicas answers to a write: the code, and the mode that it gives as the reason.
async fn writes(plane: &Plane) -> Vec<String> {
    let mut found = Vec::new();
    for address in addresses(plane) {
        let (code, mode, _) = ask(&address, "POST /").await.unwrap_or_default();
        found.push(format!("{code} {mode}"));
    }
    found
}

/// An answer: its code, its `x-mode`, its body.
async fn ask(address: &str, what: &str) -> Option<(String, String, String)> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request =
        format!("{what} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let mut answer = String::new();
    stream.write_all(request.as_bytes()).await.ok()?;
    stream.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let mode = head.lines().find_map(|line| line.strip_prefix("x-mode: ")).unwrap_or_default();
    Some((head.split(' ').nth(1)?.to_owned(), mode.to_owned(), body.to_owned()))
}

/// What the cluster's breakers do before anybody sets them: count, and reject nothing.
const UNSET: &str = "METRICS_ONLY";

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
async fn outcome(clients: &Clients, ctx: &Context) -> DirectiveRecord {
    let knowledge = clients.knowledge().unwrap();
    let taken = eventually(Duration::from_secs(20), "a risky directive in the ledger", || async {
        let list = knowledge.list_directives(Some(catalog()), &[], 100).await.ok()?;
        let scales = list.directives.iter().filter(|one| one.directive.kind() == DirectiveKind::Scale);
        let parent = scales.map(|one| one.directive.generation).max().unwrap_or_default();
        let directive = risky(ctx, parent);
        let answer = knowledge.propose(directive.clone()).await.ok()?;
        (answer.state == Some(DirectiveState::Issued)).then_some(directive.id)
    })
    .await;
    eventually(Duration::from_secs(30), "its end", || async {
        let record = knowledge.get_directive(taken).await.ok()?;
        (!record.state.under_way()).then_some(record)
    })
    .await
}

async fn refused(clients: &Clients, ctx: &Context) -> String {
    let over = outcome(clients, ctx).await;
    assert_eq!(over.state, DirectiveState::Refused, "{}", over.detail);
    over.detail
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exhausted_budget_refuses_risk_also_right_after_a_restart() {
    let _turn = turn();
    let dir = data_dir();
    let ctx = Context::system();
    let mut five = Five::start(dir.path()).await;
    let _cluster = staging::start(dir.path(), "steady", Duration::from_secs(150), "observe", 12);
    let data_dir = dir.path().to_string_lossy().into_owned();
    let run = |arguments: &[&str]| {
        let output = run_command(&[arguments, &["--data-dir", &data_dir]].concat());
        (output.status.code(), serde_json::from_slice::<Value>(&output.stdout).unwrap_or_default())
    };
    let left = || {
        let (_, all) = run(&["slo", "status", "--output", "json"]);
        all.as_array()?.iter().find(|one| one["objective"] == OBJECTIVE)?["budget_remaining_ratio"].as_f64()
    };
    // Six seconds of failing requests use up ten minutes' budget, and stay in the window.
    let file = dir.path().join("slo.yaml");
    std::fs::write(
        &file,
        SLO.replace("duration: 1m", "duration: 10m").replace("target: 0.9", "target: 0.99"),
    )
    .unwrap();
    assert_eq!(run(&["slo", "import", &file.to_string_lossy()]).0, Some(0));
    eventually(Duration::from_secs(40), "a budget that is known and whole", || async {
        left().filter(|left| *left > 0.9)
    })
    .await;
    let fault = ["staging", "fault", "inject", "burn", "--service", "catalog", "--errors", "1"];
    assert_eq!(run(&fault).0, Some(0));
    eventually(Duration::from_secs(60), "a budget that is gone", || async {
        left().filter(|left| *left < -0.2)
    })
    .await;
    assert_eq!(run(&["staging", "fault", "clear", "burn"]).0, Some(0));
    let says = |reason: &str| reason.contains(OBJECTIVE) && reason.contains("error budget left");
    let reason = refused(&five.clients, &ctx).await;
    assert!(says(&reason), "{reason}");

    // Who measures is gone before the others come back: there is no new evidence.
    for name in ["monitor", "analyze", "plan"] {
        five.processes.get_mut(name).unwrap().kill();
    }
    for name in ["analyze", "plan"] {
        five.processes.get_mut(name).unwrap().start_again();
    }
    let ended = |over: &DirectiveRecord| {
        let safe = matches!(over.state, DirectiveState::Refused | DirectiveState::Expired);
        assert!(safe, "{:?}: {}", over.state, over.detail);
    };
    ended(&outcome(&five.clients, &ctx).await);

    // And none is applied while the first evidence comes, of a service that is well by now: what was used up is remembered.
    five.processes.get_mut("monitor").unwrap().start_again();
    eventually(Duration::from_secs(60), "a refusal for the budget that was used up before", || async {
        let over = outcome(&five.clients, &ctx).await;
        ended(&over);
        says(&over.detail).then_some(())
    })
    .await;
    five.serving().await;
    let remembered = eventually(Duration::from_secs(20), "the budget", || async { left() }).await;
    assert!(remembered < 0.5, "{remembered} is left, more than the policy wants before anybody takes risks");
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
    let _gate = gate(&plane);
    let _cadence = cadence(&plane);
    let (_webhook, told) = webhook(&plane, &ctx).await;
    assert_eq!(may_deploy(&plane), Some(0), "nothing is frozen yet");
    plane.json(&["slo", "import", &file.to_string_lossy()]);
    eventually(Duration::from_secs(40), "a budget that is known and whole", || async {
        tracked(&plane).filter(|one| one["budget_remaining_ratio"].as_f64() > Some(0.9))
    })
    .await;

    fault(&plane, &["inject", "burn", "--service", "catalog", "--errors", "1"]);
    eventually(Duration::from_secs(30), "a shut gate", || async {
        (may_deploy(&plane) == Some(2)).then_some(())
    })
    .await;
    fault(&plane, &["clear", "burn"]);

    // Freeze, more replicas, tighter breakers and closer looks are made, and catalog takes no writes; nobody takes a rollback.
    eventually(Duration::from_secs(30), "freeze, scale and breaker in force", || async {
        let states = states(&plane);
        let stands = |word: &str| {
            let found = states.get(&(word.to_owned(), false))?;
            found
                .iter()
                .any(|state| ["applied", "verifying", "verified"].contains(&state.as_str()))
                .then_some(())
        };
        stands("freeze")
            .and(stands("scale"))
            .and(stands("breaker"))
            .and(stands("notify"))
            .and(stands("look"))
            .and(stands("mode"))
    })
    .await;
    let refusing: Vec<_> = writes(&plane).await;
    assert!(!refusing.is_empty() && refusing.iter().all(|answer| answer == "503 read-only"), "{refusing:?}");
    looked_at(&plane, "a Monitor that looks at catalog twice as often", 350..=650).await;
    eventually(Duration::from_secs(10), "breakers of catalog that reject", || async {
        let all = breakers(&plane).await;
        (!all.is_empty() && all.iter().all(|state| state != UNSET && state != "no answer")).then_some(())
    })
    .await;

    let reason = refused(&plane.clients, &ctx).await;
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
        over("freeze").and(over("scale")).and(over("breaker")).and(over("look")).and(over("mode"))
    })
    .await;
    let taking: Vec<_> = writes(&plane).await;
    assert!(!taking.is_empty() && taking.iter().all(|answer| answer == "200 "), "{taking:?}");
    looked_at(&plane, "a Monitor that looks as configured", 850..=1_200).await;
    eventually(Duration::from_secs(10), "breakers of catalog as before", || async {
        let all = breakers(&plane).await;
        (!all.is_empty() && all.iter().all(|state| state == UNSET)).then_some(())
    })
    .await;
    assert_eq!(may_deploy(&plane), Some(0), "the gate is open again");
    let kept = std::fs::read_to_string(plane.data_dir.join("actuators/gate-one.json")).unwrap();
    assert!(kept.contains("\"until\": null"), "the gate's own file says so too: {kept}");
    let resolved = |told: &[Value]| told.iter().map(|post| post["resolved"] == true).collect::<Vec<_>>();
    eventually(Duration::from_secs(20), "people told of begin and end", || async {
        (resolved(&told.lock().unwrap()) == [false, true]).then_some(())
    })
    .await;

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
        ("undone", "set breaker to enforce"),
        ("undone", "look every 0.5 s until"),
        ("undone", "set mode to read_only"),
    ] {
        assert!(has(what, text), "{what} {text:?} is not in {story:#}");
    }
    assert!(
        has("expired", "roll back to the previous release"),
        "what nobody took is told as that: {story:#}"
    );
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
