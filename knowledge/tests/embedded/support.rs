//! Starting, asking and signalling a private cluster, for the tests.

use std::future::Future;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use knowledge::embedded::{Embedded, EmbeddedConfig, EmbeddedError};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

/// Starting takes a second or two; far more means it never will.
pub const DEADLINE: Duration = Duration::from_secs(30);

pub fn config(data_dir: &Path) -> EmbeddedConfig {
    EmbeddedConfig { data_dir: data_dir.to_owned(), binaries: None, search_path: Vec::new() }
}

pub fn temp() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

pub async fn start(data_dir: &Path) -> Embedded {
    Embedded::start(config(data_dir)).await.expect("Postgres starts")
}

pub async fn refusal(config: EmbeddedConfig) -> EmbeddedError {
    Embedded::start(config).await.expect_err("the start is refused")
}

pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut probe: impl FnMut() -> F) -> T {
    let found = async {
        loop {
            match probe().await {
                Some(value) => return value,
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    tokio::time::timeout(DEADLINE, found).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}

pub async fn connect(options: &PgConnectOptions) -> PgConnection {
    PgConnection::connect_with(options).await.expect("a connection")
}

pub async fn text(connection: &mut PgConnection, sql: &'static str) -> String {
    sqlx::query_scalar(sql).fetch_one(connection).await.expect("one text")
}

pub async fn write_row(options: &PgConnectOptions, text: &str) {
    let mut connection = connect(options).await;
    sqlx::query("create table if not exists kept (line text)")
        .execute(&mut connection)
        .await
        .expect("a table");
    sqlx::query("insert into kept values ($1)").bind(text).execute(&mut connection).await.expect("a row");
}

pub async fn rows(options: &PgConnectOptions) -> Vec<String> {
    let mut connection = connect(options).await;
    sqlx::query_scalar("select line from kept order by 1").fetch_all(&mut connection).await.expect("rows")
}

pub fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.cast_signed()), signal).expect("the process is there");
}

/// Running, and not a zombie that waits for its parent.
pub fn alive(pid: u32) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

pub fn owner(path: &Path) -> u32 {
    std::fs::metadata(path).expect("the path is there").uid()
}

/// As root, lets other accounts pass through a temporary directory.
pub fn enterable(path: &Path) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o711)).expect("our own directory");
}
