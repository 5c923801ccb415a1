//! What can only be seen from inside: a Postgres that outlived its homeostat and its guard, delays, default paths.

use super::*;

fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

#[test]
fn a_user_keeps_data_under_xdg_or_home() {
    let check = |pairs, expect: &str| assert_eq!(user_data_dir(&environment(pairs)), Path::new(expect));
    check(&[("XDG_DATA_HOME", "/x"), ("HOME", "/h")], "/x/homeostat");
    check(&[("XDG_DATA_HOME", "relative"), ("HOME", "/h")], "/h/.local/share/homeostat");
    check(&[("HOME", "/h")], "/h/.local/share/homeostat");
}

#[test]
fn restarts_come_at_once_and_then_ever_later_up_to_a_limit() {
    let delays: Vec<u128> = [0, 1, 2, 3, 7, 8, 1_000].map(|n| restart_delay(n).as_millis()).into();
    assert_eq!(delays, [0, 100, 200, 400, 6_400, 10_000, 10_000]);
}

#[tokio::test]
async fn an_orphan_postgres_is_stopped_before_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let config = EmbeddedConfig { data_dir: dir.path().to_owned(), ..EmbeddedConfig::default() };
    let Embedded { site, postmaster, _lock } = Embedded::start(config.clone()).await.unwrap();
    let orphan = postmaster.pid();
    let mut connection = PgConnection::connect_with(&site.options(site::NAME)).await.unwrap();
    sqlx::query("create table kept as select 7 as n").execute(&mut connection).await.unwrap();
    postmaster.abandon().await;
    drop(_lock);
    assert!(leftover::processes(&site).contains(&orphan));

    let next = Embedded::start(config).await.unwrap();
    assert_ne!(next.pid(), orphan);
    assert!(!leftover::processes(&site).contains(&orphan), "the orphan still runs");
    let mut connection = PgConnection::connect_with(&next.connect_options()).await.unwrap();
    let n: i32 = sqlx::query_scalar("select n from kept").fetch_one(&mut connection).await.unwrap();
    assert_eq!(n, 7);
    next.stop().await;
}

#[tokio::test]
async fn a_postgres_started_by_hand_on_the_cluster_is_neither_stopped_nor_joined() {
    let dir = tempfile::tempdir().unwrap();
    let config = EmbeddedConfig { data_dir: dir.path().to_owned(), ..EmbeddedConfig::default() };
    let mut embedded = Embedded::start(config.clone()).await.unwrap();
    let site = embedded.site.clone();
    embedded.postmaster.stop().await;
    drop(embedded);
    let mut command = site.account.command(&site.binaries.program("postgres"));
    command.arg("-D").arg(&site.cluster).args(["-c", "listen_addresses=", "-c"]);
    command.arg(format!("unix_socket_directories={}", site.socket_dir.display()));
    let mut by_hand = command.kill_on_drop(true).spawn().unwrap();
    let answers = async {
        while PgConnection::connect_with(&site.options(site::NAME)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), answers).await.unwrap();

    let said = Embedded::start(config).await.unwrap_err().to_string();
    assert!(said.contains("postmaster.pid"), "{said}");
    assert!(PgConnection::connect_with(&site.options(site::NAME)).await.is_ok(), "it was harmed: {said}");
    leftover::signal(by_hand.id().unwrap(), nix::sys::signal::Signal::SIGINT);
    by_hand.wait().await.unwrap();
}
