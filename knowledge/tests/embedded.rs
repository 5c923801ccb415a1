//! The private Postgres cluster, with real Postgres: what is committed outlives stops and kill -9 of either side,
//! and every refusal names what to mend. No test needs a server of its own.

#[path = "embedded/refusals.rs"]
mod refusals;
#[path = "embedded/support.rs"]
mod support;

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use knowledge::embedded::EmbeddedError;
use nix::sys::signal::Signal;
use nix::unistd::geteuid;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};

use support::*;

/// Set only in the child process that `kill_9_of_homeostat_…` starts.
const HOLD: &str = "HOMEOSTAT_TEST_HOLD";

#[tokio::test]
async fn what_was_committed_is_there_after_stop_and_start() {
    let dir = temp();
    let first = start(dir.path()).await;
    let pid = first.pid();
    write_row(&first.connect_options(), "kept").await;
    first.stop().await;
    assert!(!alive(pid), "stop returned before Postgres ended");

    let second = start(dir.path()).await;
    assert_eq!(rows(&second.connect_options()).await, ["kept"]);
    second.stop().await;
}

#[tokio::test]
async fn it_is_durable_private_and_has_no_tcp_port() {
    let dir = temp();
    let embedded = start(dir.path()).await;
    let by_url: PgConnectOptions = embedded.url().parse().expect("sqlx reads the URL");
    let mut connection = connect(&by_url).await;
    let check = [
        ("select current_setting('listen_addresses')", ""),
        ("select current_setting('fsync')", "on"),
        ("select current_setting('synchronous_commit')", "on"),
        ("select current_setting('data_checksums')", "on"),
        ("select current_database()::text", "homeostat"),
        ("select datcollate::text from pg_database where datname = current_database()", "C"),
    ];
    for (sql, expect) in check {
        assert_eq!(text(&mut connection, sql).await, expect, "{sql}");
    }
    let cluster = dir.path().join("postgres");
    let mode = std::fs::metadata(&cluster).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "others could reach the socket");
    assert_ne!(owner(&cluster), 0, "Postgres runs as root");
    embedded.stop().await;
}

#[tokio::test]
async fn kill_9_of_postgres_loses_no_committed_row_and_a_restart_heals_it() {
    let dir = temp();
    let mut embedded = start(dir.path()).await;
    let options = embedded.connect_options();
    write_row(&options, "before").await;
    let killed = embedded.pid();
    signal(killed, Signal::SIGKILL);

    let status = tokio::time::timeout(DEADLINE, embedded.watch()).await.expect("watch resolves");
    assert!(!status.expect("a status").success());
    embedded.restart().await.expect("it starts again");
    assert_ne!(embedded.pid(), killed);
    assert_eq!(rows(&options).await, ["before"]);
    embedded.stop().await;
}

#[tokio::test]
async fn supervision_heals_kill_9_by_itself_and_stops_when_told() {
    let dir = temp();
    let embedded = start(dir.path()).await;
    let options = embedded.connect_options();
    write_row(&options, "before").await;
    let killed = embedded.pid();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let supervised = embedded.supervise(async {
        let _ = stopped.await;
    });
    let scenario = async {
        signal(killed, Signal::SIGKILL);
        let healed = || async {
            let mut connection = PgConnection::connect_with(&options).await.ok()?;
            sqlx::query_scalar::<_, String>("select line from kept").fetch_all(&mut connection).await.ok()
        };
        assert_eq!(eventually("Postgres is back", healed).await, ["before"]);
        stop.send(()).expect("supervision still runs");
    };
    let both = async { tokio::join!(supervised, scenario) };
    tokio::time::timeout(DEADLINE, both).await.expect("supervision ends");
    assert!(PgConnection::connect_with(&options).await.is_err(), "Postgres still runs");
    start(dir.path()).await.stop().await;
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_gets_a_short_private_socket_directory() {
    let dir = temp();
    let long = dir.path().join("a, \"quoted\" and rather long name ".repeat(5));
    enterable(dir.path());
    let embedded = start(&long).await;
    write_row(&embedded.connect_options(), "kept").await;
    let by_url: PgConnectOptions = embedded.url().parse().expect("sqlx reads the URL");
    assert_eq!(rows(&by_url).await, ["kept"]);
    let socket_dir = by_url.get_socket().expect("a socket").clone();
    assert!(socket_dir.starts_with("/tmp"), "{}", socket_dir.display());
    assert_eq!(std::fs::metadata(&socket_dir).unwrap().permissions().mode() & 0o777, 0o700);
    embedded.stop().await;
    assert!(!socket_dir.exists(), "the socket directory is left behind");

    // Somebody else could have made it first.
    std::fs::create_dir(&socket_dir).unwrap();
    std::fs::set_permissions(&socket_dir, std::fs::Permissions::from_mode(0o777)).unwrap();
    let error = refusal(config(&long)).await;
    assert!(matches!(error, EmbeddedError::SocketDirectory { .. }), "{error}");
    std::fs::remove_dir(&socket_dir).unwrap();
}

#[tokio::test]
async fn a_stale_pid_file_that_names_a_living_stranger_does_not_matter() {
    let dir = temp();
    let first = start(dir.path()).await;
    write_row(&first.connect_options(), "kept").await;
    first.stop().await;
    let cluster = dir.path().join("postgres");
    let mut stranger = stranger(owner(&cluster));
    let pid = stranger.id().expect("it was not waited for");
    let stale = format!("{pid}\n{}\n1700000000\n5432\n", cluster.display());
    std::fs::write(cluster.join("postmaster.pid"), stale).unwrap();
    std::fs::write(cluster.join(".s.PGSQL.5432.lock"), format!("{pid}\n")).unwrap();

    let second = start(dir.path()).await;
    assert_eq!(rows(&second.connect_options()).await, ["kept"]);
    assert!(stranger.try_wait().unwrap().is_none(), "the stranger was killed");
    second.stop().await;
}

/// A process of the given user that is not Postgres, ended with the test. Postgres takes it for a running
/// postmaster if it is its own user's.
fn stranger(uid: u32) -> tokio::process::Child {
    let mut command = tokio::process::Command::new("sleep");
    command.arg("1000").stdout(Stdio::null()).kill_on_drop(true);
    if geteuid().is_root() {
        command.uid(uid);
    }
    command.spawn().expect("sleep runs")
}

#[tokio::test]
async fn kill_9_of_homeostat_takes_postgres_along_and_the_next_start_has_every_row() {
    let dir = temp();
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "holds_a_cluster_when_asked", "--nocapture", "--test-threads=1"])
        .env(HOLD, dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    let ready =
        lines.map_while(Result::ok).find_map(|l| l.split_once("postmaster=").map(|(_, p)| p.to_owned()));
    let postmaster: u32 = ready.expect("the holder got ready").trim().parse().unwrap();
    assert!(alive(postmaster));
    holder.kill().unwrap();
    holder.wait().unwrap();
    eventually("Postgres ends after its homeostat", || async { (!alive(postmaster)).then_some(()) }).await;

    let next = start(dir.path()).await;
    assert_eq!(rows(&next.connect_options()).await, ["written by the killed one"]);
    next.stop().await;
}

/// The other half of the test above: in the child process it holds a cluster until it is killed; else it is empty.
#[tokio::test]
async fn holds_a_cluster_when_asked() {
    let Some(dir) = std::env::var_os(HOLD).map(PathBuf::from) else { return };
    let embedded = start(&dir).await;
    write_row(&embedded.connect_options(), "written by the killed one").await;
    println!("\npostmaster={}", embedded.pid());
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn dropping_it_stops_postgres() {
    let dir = temp();
    let embedded = start(dir.path()).await;
    let pid = embedded.pid();
    drop(embedded);
    eventually("Postgres ends after the drop", || async { (!alive(pid)).then_some(()) }).await;
}

#[tokio::test]
async fn a_half_made_cluster_is_removed_and_made_anew() {
    let dir = temp();
    let half = dir.path().join("postgres.new-1");
    std::fs::create_dir_all(half.join("base")).unwrap();
    std::fs::write(half.join("PG_VERSION"), "15\n").unwrap();
    enterable(dir.path());
    let embedded = start(dir.path()).await;
    assert!(!half.exists());
    embedded.stop().await;
}
