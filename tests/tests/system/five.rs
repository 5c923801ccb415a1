//! The five services as five separate processes close the same loop.

use super::staging;
use chassis::testing::eventually;
use proto::model::{DirectiveKind, DirectiveState};
use std::time::Duration;
use system_tests::{Five, data_dir, turn};

#[tokio::test(flavor = "multi_thread")]
async fn five_processes_close_the_loop() {
    let _turn = turn();
    let dir = data_dir();
    let five = Five::start(dir.path()).await;
    let _cluster = staging::start(dir.path(), "flash-crowd", Duration::from_secs(40), "act", 3);
    let knowledge = five.clients.knowledge().unwrap();
    eventually(Duration::from_secs(60), "a verified scale-out", || async {
        let list = knowledge.list_directives(None, &[DirectiveState::Verified], 100).await.ok()?;
        list.directives.into_iter().find(|record| record.directive.kind() == DirectiveKind::Scale)
    })
    .await;
    for (name, process) in five.processes {
        assert_eq!(process.stop(), Some(0), "{name} stops cleanly");
    }
}
