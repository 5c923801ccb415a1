//! The Python example, made from the .proto files alone, registers, receives and reports a directive.

use chassis::testing::eventually;
use proto::model::{
    Action, AutonomyLevel, Directive, DirectiveState, Generation, Preconditions, Rationale, ResourceId,
};
use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};
use system_tests::{Plane, data_dir, turn};
use uuid::Uuid;

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// `make test` prepares one with grpcio and names it; without it the machine's own must have grpcio.
fn python() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let prepared = root.join(".venv/bin/python");
    let program =
        if prepared.exists() { prepared.to_string_lossy().into_owned() } else { "python3".to_owned() };
    let found = Command::new(&program).args(["-c", "import grpc, grpc_tools"]).stderr(Stdio::null()).status();
    assert!(
        found.is_ok_and(|status| status.success()),
        "{program} has no grpcio and grpcio-tools; run `make python` first"
    );
    program
}

fn scale(resource: &ResourceId, replicas: u32) -> Directive {
    let now = chassis::Clock::now(&chassis::SystemClock);
    Directive {
        id: Uuid::now_v7(),
        resource: resource.clone(),
        action: Action::Scale { replicas },
        undo: Action::Scale { replicas: 1 },
        parent_generation: Generation(0),
        generation: Generation(0),
        policy: "by hand".to_owned(),
        autonomy: AutonomyLevel::Act,
        created_at: now,
        expires_at: now + Duration::from_secs(60),
        apply_timeout: Duration::from_secs(10),
        verify_window: Duration::from_secs(2),
        preconditions: Preconditions {
            max_evidence_age: Duration::from_secs(60),
            requires_known_data: false,
        },
        expected: Vec::new(),
        counterfactual: Vec::new(),
        rationale: Rationale { text: "a test of the example".to_owned(), ..Rationale::default() },
        blast_radius_ratio: 0.0,
        reduces: false,
        undo_of: None,
        quorum_ratio: 1.0,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_example_registers_receives_and_reports() {
    let _turn = turn();
    let python = python();
    let dir = data_dir();
    let plane = Plane::start(dir.path(), &[]).await;
    let resource: ResourceId = "service:example/web".parse().unwrap();
    let script =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("actuators/examples/python/actuator.py");
    let lines = std::fs::read_to_string(&script).unwrap().lines().count();
    assert!(lines < 80, "the example has {lines} lines; it promises fewer than 80");
    let address = plane.clients.endpoints.execute.replace("http://", "");
    let child = Command::new(python)
        .arg(&script)
        .args([resource.to_string().as_str(), "--execute", &address])
        .stdin(Stdio::null())
        .spawn();
    let _example = Killed(child.unwrap());

    let knowledge = plane.clients.knowledge().unwrap();
    eventually(Duration::from_secs(30), "the example's registration", || async {
        let actuators = knowledge.list_actuators(true).await.ok()?;
        (!actuators.is_empty()).then_some(())
    })
    .await;
    let directive = scale(&resource, 3);
    let answer = knowledge.propose(directive.clone()).await.unwrap();
    assert_eq!(answer.generation, Generation(1), "{answer:?}");
    let record = eventually(Duration::from_secs(30), "the example's report", || async {
        let record = knowledge.get_directive(directive.id).await.ok()?;
        record.history.iter().any(|step| step.to == DirectiveState::Applied).then_some(record)
    })
    .await;
    let applied = record.history.iter().find(|step| step.to == DirectiveState::Applied).unwrap();
    assert!(!applied.after.is_empty(), "the example tells what it saw");
}
