//! kill -9 of every process in turn, twenty times in all, while a scenario runs on five processes: nothing is lost and
//! nothing is applied twice.

use super::staging as cluster;
use chassis::testing::eventually;
use proto::model::{DirectiveRecord, DirectiveState, ThresholdState};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};
use system_tests::{Five, data_dir, turn};

/// Signals with a learned threshold before the first kill: some of each managed service.
const LEARNED_MIN: usize = 5;
const KILLS: usize = 20;
const VICTIMS: [&str; 7] = ["knowledge", "monitor", "analyze", "plan", "execute", "actuator", "postgres"];
const BACK_DEADLINE: Duration = Duration::from_secs(40);

/// Process ids whose command line holds all of these words.
fn find(words: &[&str]) -> Vec<i32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let Ok(command) = std::fs::read(entry.path().join("cmdline")) else { continue };
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        if words.iter().all(|word| command.contains(word)) {
            found.push(pid);
        }
    }
    found
}

fn kill(pid: i32) {
    // It may have ended between the look and the blow.
    let _gone = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
}

/// Kills one victim; services are started again here, actuator and Postgres by whoever supervises them.
fn strike(five: &mut Five, victim: &'static str, dir: &Path) {
    let dir = dir.to_string_lossy().into_owned();
    match victim {
        "actuator" => {
            let pids = find(&["staging-service actuator", "--service catalog", &dir]);
            assert!(!pids.is_empty(), "there is an actuator to kill");
            pids.into_iter().for_each(kill);
        }
        "postgres" => {
            let pids = find(&["postgres", "-D", &dir]);
            assert!(!pids.is_empty(), "there is a postmaster to kill");
            pids.into_iter().for_each(kill);
        }
        service => {
            let process = five.processes.get_mut(service).unwrap();
            process.kill();
            process.start_again();
        }
    }
}

async fn all_directives(five: &Five) -> Vec<DirectiveRecord> {
    let knowledge = five.clients.knowledge().unwrap();
    let list = eventually(BACK_DEADLINE, "the ledger", || async {
        knowledge.list_directives(None, &[], 10_000).await.ok()
    })
    .await;
    let mut whole = Vec::new();
    for record in list.directives {
        let id = record.directive.id;
        whole.push(
            eventually(BACK_DEADLINE, "a directive", || async { knowledge.get_directive(id).await.ok() })
                .await,
        );
    }
    whole
}

/// What must hold of every history, whatever was killed.
fn check(records: &[DirectiveRecord]) {
    let mut generations = BTreeMap::<_, BTreeSet<u64>>::new();
    for record in records {
        let applied = record.history.iter().filter(|step| step.to == DirectiveState::Applied).count();
        assert!(applied <= 1, "{} was applied {applied} times", record.directive.id);
        for pair in record.history.windows(2) {
            assert_eq!(pair[0].to, pair[1].from, "{} has a hole in its history", record.directive.id);
        }
        if record.directive.generation.0 > 0 {
            let key = (record.directive.resource.clone(), record.directive.kind());
            assert!(
                generations.entry(key).or_default().insert(record.directive.generation.0),
                "a generation was given twice"
            );
        }
    }
    for ((resource, kind), given) in generations {
        let last = *given.last().unwrap();
        assert_eq!(given.len() as u64, last, "{resource} {kind}: a generation was lost");
    }
}

/// Signals of the cluster whose learned threshold is in force.
async fn active_thresholds(five: &Five) -> BTreeSet<String> {
    let knowledge = five.clients.knowledge().unwrap();
    let listed = knowledge.list_thresholds("service:staging/", true, "").await.unwrap().thresholds;
    let active = listed.iter().filter(|threshold| threshold.state == ThresholdState::Active);
    active.map(|threshold| threshold.signal.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_done_twice_whatever_is_killed() {
    let _turn = turn();
    let dir = data_dir();
    let mut five = Five::start(dir.path()).await;
    let mut staging = cluster::start(dir.path(), "flash-crowd", Duration::from_secs(240), "act", 9);
    let knowledge = five.clients.knowledge().unwrap();
    eventually(Duration::from_secs(60), "actuators", || async {
        let actuators = knowledge.list_actuators(true).await.ok()?;
        (actuators.len() >= 2).then_some(())
    })
    .await;
    // What is learned before anything is killed must be there afterwards.
    let learned = eventually(Duration::from_secs(120), "learned thresholds", || async {
        Some(active_thresholds(&five).await).filter(|active| active.len() >= LEARNED_MIN)
    })
    .await;
    let mut known = BTreeSet::new();
    for strike_number in 0..KILLS {
        let victim = VICTIMS[strike_number % VICTIMS.len()];
        strike(&mut five, victim, dir.path());
        five.serving().await;
        let records = all_directives(&five).await;
        check(&records);
        let ids: BTreeSet<_> = records.iter().map(|record| record.directive.id).collect();
        assert!(known.is_subset(&ids), "after killing {victim} a directive was lost");
        known = ids;
    }
    // Everything that was under way comes to an end, and the load is met in the end.
    eventually(Duration::from_secs(90), "a ledger at rest", || async {
        let list = knowledge.list_directives(None, &[], 10_000).await.ok()?;
        let open = list.directives.iter().filter(|record| record.state.under_way()).count();
        (open == 0 && !list.directives.is_empty()).then_some(())
    })
    .await;
    let records = all_directives(&five).await;
    check(&records);
    assert!(
        records.iter().any(|record| record.state == DirectiveState::Verified),
        "something was verified in between"
    );
    let active = active_thresholds(&five).await;
    let lost: Vec<_> = learned.difference(&active).collect();
    assert!(lost.is_empty(), "learned thresholds are gone: {lost:?}");
    assert!(staging.ended().is_none_or(|code| code == 0));
}
