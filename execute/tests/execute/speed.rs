//! The hot path does not wait for the ledger.

use std::time::Duration;

use execute::testing::{Stage, actuator, id, scale};
use proto::model::{Directive, DirectiveState, ResourceId};

use super::{SOON, dated};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delivery_does_not_wait_for_its_own_record() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::start(1, dir.path()).await;
    let client = stage.client();
    let lease = client.register(actuator("a", "1")).await.unwrap().lease;
    let mut stream = client.subscribe(&lease, 0).await.unwrap();
    for number in 1..=3 {
        if number == 2 {
            // The first delivery shows that Execute follows the ledger; from now on no answer of Knowledge ends.
            stage.knowledge.set_latency(Duration::from_secs(3_600));
        }
        let resource = ResourceId::service("shop", &format!("s{number}")).unwrap();
        stage.knowledge.propose(dated(&stage, number, 0, Directive { resource, ..scale(1, 2) }));
        let delivery = tokio::time::timeout(SOON, stream.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(delivery.directive.id, id(number));
        if number > 1 {
            assert_eq!(stage.knowledge.state(id(number)), Some(DirectiveState::Issued), "not recorded yet");
        }
    }
}
