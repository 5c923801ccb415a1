//! A mode is followed by all replicas of its service, also by later ones, and by no other service.

#![expect(clippy::unwrap_used, reason = "in a test, an unwrap is an assertion")]

use actuators::{Actuator, ApplyOutcome};
use execute::testing::scale;
use proto::model::{Action, Directive, DirectiveKind, Generation, ResourceId, ServiceMode};
use staging::dir::{Dir, Endpoint};
use staging::mode::ModeActuator;
use staging::topology::Role;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::kit::{DEADLINE, endpoints, folder, set};

fn actuator(dir: &Dir) -> ModeActuator {
    let service = ResourceId::service("staging", "inventory").unwrap();
    ModeActuator::new(&service, dir.clone(), Role::Inventory).unwrap()
}

fn directive(mode: ServiceMode, generation: u64) -> Directive {
    Directive { action: Action::SetMode { mode }, generation: Generation(generation), ..scale(1, 2) }
}

/// The head of each replica's answer.
async fn answers(dir: &Dir, role: Role, method: &str) -> Vec<String> {
    let mut heads = Vec::new();
    for Endpoint { address, .. } in endpoints(dir, role) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request =
            format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        heads.push(answer.split("\r\n\r\n").next().unwrap_or_default().to_owned());
    }
    heads
}

fn all_say(heads: &[String], words: &[&str]) -> bool {
    !heads.is_empty() && heads.iter().all(|head| words.iter().all(|word| head.contains(word)))
}

const TAKEN: [&str; 1] = ["HTTP/1.1 200"];
const REFUSED: [&str; 2] = ["HTTP/1.1 503", "x-mode: read-only"];

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_service_refuses_writes_until_it_is_normal_again() {
    let (_folder, dir) = folder();
    let mut inventory = set(&dir, Role::Inventory).await;
    inventory.scale(2, 1).await.unwrap();
    let actuator = actuator(&dir);
    assert!(all_say(&answers(&dir, Role::Inventory, "POST").await, &TAKEN));

    let outcome = actuator.apply(&directive(ServiceMode::ReadOnly, 3), false).await;
    assert_eq!(outcome, ApplyOutcome::applied("2 replicas are read-only"));
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        assert!(all_say(&answers(&dir, Role::Inventory, method).await, &REFUSED), "{method}");
    }
    assert!(all_say(&answers(&dir, Role::Inventory, "GET").await, &TAKEN), "reads go on");
    assert_eq!(actuator.observe(&directive(ServiceMode::Normal, 3).resource).await[0].value, 2.0);

    inventory.scale(3, 2).await.unwrap();
    let later = || async {
        let heads = answers(&dir, Role::Inventory, "POST").await;
        (heads.len() == 3 && all_say(&heads, &REFUSED)).then_some(())
    };
    chassis::testing::eventually(DEADLINE, "a later replica that follows", later).await;

    let older = actuator.apply(&directive(ServiceMode::Normal, 2), false).await;
    assert!(matches!(older, ApplyOutcome::Refused { .. }), "{older:?}");
    let outcome = actuator.apply(&directive(ServiceMode::Normal, 4), false).await;
    assert_eq!(outcome, ApplyOutcome::applied("3 replicas are normal"));
    assert!(all_say(&answers(&dir, Role::Inventory, "POST").await, &TAKEN));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mode_that_one_replica_does_not_follow_is_put_back() {
    let (_folder, dir) = folder();
    let mut inventory = set(&dir, Role::Inventory).await;
    inventory.scale(1, 1).await.unwrap();
    let mut all = endpoints(&dir, Role::Inventory);
    let whole = serde_json::to_vec(&all).unwrap();
    all.push(Endpoint { instance: "inventory-9".to_owned(), address: "127.0.0.1:1".parse().unwrap() });
    std::fs::write(dir.endpoints(Role::Inventory), serde_json::to_vec(&all).unwrap()).unwrap();
    let actuator = actuator(&dir);
    let outcome = actuator.apply(&directive(ServiceMode::ReadOnly, 3), false).await;
    assert!(matches!(outcome, ApplyOutcome::Failed { .. }), "{outcome:?}");
    let resource = directive(ServiceMode::ReadOnly, 3).resource;
    assert_eq!(actuator.last_generation(&resource, DirectiveKind::SetMode), Generation(0));
    std::fs::write(dir.endpoints(Role::Inventory), whole).unwrap();
    let back = || async { all_say(&answers(&dir, Role::Inventory, "POST").await, &TAKEN).then_some(()) };
    chassis::testing::eventually(DEADLINE, "writes again", back).await;
    let degraded = actuator.apply(&directive(ServiceMode::Degraded, 4), false).await;
    assert!(matches!(degraded, ApplyOutcome::Refused { .. }), "{degraded:?}");
}
