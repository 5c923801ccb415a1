//! What is refused, and that each refusal names what to mend and harms nothing.

use std::os::unix::fs::PermissionsExt;

use knowledge::embedded::{EmbeddedConfig, EmbeddedError};
use nix::unistd::geteuid;

use crate::support::{alive, config, enterable, refusal, start, temp};

#[tokio::test]
async fn a_second_start_is_refused_and_names_the_holder() {
    let dir = temp();
    let first = start(dir.path()).await;
    let error = refusal(config(dir.path())).await;
    let said = error.to_string();
    assert!(matches!(error, EmbeddedError::Locked { .. }), "{said}");
    assert!(said.contains(&format!("process {}", std::process::id())), "{said}");
    assert!(alive(first.pid()), "the refused start harmed the running one");
    first.stop().await;
    start(dir.path()).await.stop().await;
}

#[tokio::test]
async fn a_cluster_of_another_major_version_is_refused_and_both_versions_named() {
    let dir = temp();
    start(dir.path()).await.stop().await;
    let file = dir.path().join("postgres/PG_VERSION");
    let real = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, "12\n").unwrap();
    let error = refusal(config(dir.path())).await;
    let said = error.to_string();
    assert!(matches!(error, EmbeddedError::OtherMajor { .. }), "{said}");
    assert!(
        said.contains("PostgreSQL 12") && said.contains(&format!("PostgreSQL {}", real.trim())),
        "{said}"
    );
}

#[tokio::test]
async fn missing_programs_are_reported_with_the_places_searched() {
    let (dir, empty) = (temp(), temp());
    let error =
        refusal(EmbeddedConfig { binaries: Some(empty.path().to_owned()), ..config(dir.path()) }).await;
    let said = error.to_string();
    assert!(matches!(error, EmbeddedError::NoBinaries { .. }), "{said}");
    assert!(said.contains(&empty.path().display().to_string()), "{said}");
    assert!(said.contains("apt-get install postgresql"), "{said}");
}

#[tokio::test]
async fn a_directory_that_is_no_cluster_is_left_alone() {
    let dir = temp();
    enterable(dir.path());
    let precious = dir.path().join("postgres/precious");
    std::fs::create_dir(precious.parent().unwrap()).unwrap();
    std::fs::write(&precious, "mine").unwrap();
    if geteuid().is_root() {
        std::os::unix::fs::chown(precious.parent().unwrap(), Some(65534), Some(65534)).unwrap();
    }
    let error = refusal(config(dir.path())).await;
    assert!(matches!(error, EmbeddedError::NotACluster { .. }), "{error}");
    assert_eq!(std::fs::read_to_string(&precious).unwrap(), "mine");
}

#[tokio::test]
async fn a_start_that_fails_in_postgres_says_its_last_words() {
    let dir = temp();
    start(dir.path()).await.stop().await;
    std::fs::remove_file(dir.path().join("postgres/global/pg_control")).unwrap();
    let said = refusal(config(dir.path())).await.to_string();
    assert!(said.contains("pg_control") || said.contains("database system"), "{said}");
}

/// Only root changes the account, so only root can shut it out.
#[tokio::test]
async fn as_root_a_parent_that_postgres_cannot_enter_is_named() {
    if !geteuid().is_root() {
        return;
    }
    let dir = temp();
    let closed = dir.path().join("closed");
    enterable(dir.path());
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).unwrap();
    let error = refusal(config(&closed.join("data"))).await;
    let said = error.to_string();
    assert!(matches!(&error, EmbeddedError::Unreachable { path, .. } if *path == closed), "{said}");
    assert!(said.contains(&format!("chmod o+x {}", closed.display())), "{said}");
}
