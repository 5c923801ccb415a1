//! Who drives replicas, and what becomes of them when a driver, a replica or the owner dies.

use std::collections::BTreeMap;
use std::process::{Child, Command};

use staging::dir::Dir;
use staging::replicas::{self, Identity, ReplicaError, ReplicaSet, ReplicaSpec};
use staging::topology::Role;

use crate::kit::{clock, folder, launch, set, spec, until};

const ROLE: Role = Role::Inventory;

fn processes(dir: &Dir) -> BTreeMap<String, Identity> {
    let state = replicas::read(dir, ROLE).expect("readable").expect("written");
    state.replicas.into_iter().filter_map(|replica| Some((replica.instance, replica.process?))).collect()
}

fn is_alive(process: Identity) -> bool {
    std::fs::read_to_string(format!("/proc/{}/stat", process.pid)).is_ok_and(|stat| !stat.contains(") Z "))
}

fn actuator(dir: &Dir) -> Child {
    Command::new(launch().program)
        .args(["staging-service", "actuator", "--service", ROLE.name(), "--data-dir"])
        .arg(dir.path())
        .arg(format!("--owner-pid={}", std::process::id()))
        .spawn()
        .expect("the program is built")
}

fn kill(process: Identity) {
    Command::new("kill").args(["-9", &process.pid.to_string()]).status().expect("kill is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_actuator_is_followed_by_one_that_adopts_its_replicas_and_starts_the_missing() {
    let (_folder, dir) = folder();
    let mut first = set(&dir, ROLE).await;
    first.scale(3, 7).await.expect("started");
    drop(first);
    let started = processes(&dir);

    let mut driver = actuator(&dir);
    until("the actuator holds the lock", || {
        let lock = std::fs::File::open(dir.replicas_lock(ROLE)).expect("there");
        matches!(lock.try_lock(), Err(std::fs::TryLockError::WouldBlock))
    })
    .await;
    driver.kill().expect("running");
    driver.wait().expect("ended");
    let victim = started["inventory-2"];
    kill(victim);
    until("the replica is dead", || !is_alive(victim)).await;

    let mut second = set(&dir, ROLE).await;
    let adopted = processes(&dir);
    assert_eq!(adopted["inventory-1"], started["inventory-1"]);
    assert_eq!(adopted["inventory-3"], started["inventory-3"]);
    assert_ne!(adopted["inventory-2"], victim);
    let seen = second.observe();
    assert_eq!((seen.generation, seen.running, seen.ready), (7, 3, 3));
    let again = second.scale(3, 7).await.expect("known");
    assert_eq!((again.before, again.after), (0, 3));
    assert_eq!(processes(&dir), adopted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_heals_what_dies_under_it() {
    let (_folder, dir) = folder();
    set(&dir, ROLE).await.scale(2, 1).await.expect("started");
    let victim = processes(&dir)["inventory-1"];
    let mut driver = actuator(&dir);
    kill(victim);
    until("it is running again", || {
        let now = processes(&dir).get("inventory-1").copied();
        now.is_some_and(|now| now != victim && is_alive(now))
    })
    .await;
    driver.kill().expect("running");
    driver.wait().expect("ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_driver_at_a_time_and_no_generation_twice_or_backwards() {
    let (_folder, dir) = folder();
    let mut driver = set(&dir, ROLE).await;
    driver.scale(1, 5).await.expect("started");
    let second = ReplicaSet::open(&dir, ROLE, spec(), clock()).await;
    assert!(matches!(second, Err(ReplicaError::Driven(ROLE))));
    let before = processes(&dir);
    let repeated = driver.scale(4, 5).await.expect("a repetition is not refused");
    assert_eq!((repeated.before, repeated.after), (0, 1), "what generation 5 did is what it says");
    let stale = driver.scale(0, 4).await;
    assert!(matches!(stale, Err(ReplicaError::Stale { offered: 4, current: 5 })));
    assert!(matches!(driver.scale(1_000, 6).await, Err(ReplicaError::Bounds(1_000))));
    assert_eq!(processes(&dir), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_started_but_not_recorded_is_found_and_not_started_twice() {
    let (_folder, dir) = folder();
    set(&dir, ROLE).await.scale(1, 1).await.expect("started");
    let started = processes(&dir);
    // As if the driver had died between starting the process and writing down which.
    let text = std::fs::read_to_string(dir.replicas(ROLE)).expect("written");
    let mut state: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    state["replicas"][0]["process"] = serde_json::Value::Null;
    state["replicas"][0]["stage"] = "starting".into();
    std::fs::write(dir.replicas(ROLE), state.to_string()).expect("writable");
    let driver = set(&dir, ROLE).await;
    assert_eq!(driver.observe().ready, 1);
    assert_eq!(processes(&dir), started);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_over_when_the_owner_is_gone() {
    let (_folder, dir) = folder();
    let mut owner = Command::new("sleep").arg("600").spawn().expect("sleep is there");
    let spec = ReplicaSpec { owner_pid: Some(owner.id()), ..spec() };
    let mut driver = ReplicaSet::open(&dir, ROLE, spec, clock()).await.expect("nobody else");
    driver.scale(2, 1).await.expect("started");
    let started = processes(&dir);
    owner.kill().expect("running");
    owner.wait().expect("ended");
    until("all have ended", || !started.values().any(|process| is_alive(*process))).await;
}
