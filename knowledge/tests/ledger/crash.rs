//! Postgres is killed amid a stream of proposals: all that was acknowledged is there afterwards, and nothing is half there.

use super::support::{Lab, client, within};
use chassis::{Context, ServerConfig};
use knowledge::Config;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use proto::client::ProposeVerdict;
use proto::model::DirectiveState;
use sqlx::postgres::PgConnectOptions;
use std::path::Path;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tonic::Code;
use uuid::Uuid;

/// A call must not hang while the database is away: 2 s to get a connection, with room for a busy machine.
const ANSWER_WITHIN: Duration = Duration::from_secs(8);

async fn start(data_dir: &Path) -> Lab {
    let ctx = Context::system();
    let config = Config {
        server: ServerConfig::loopback(0),
        data_dir: data_dir.to_owned(),
        max_connections: 8,
        ..Config::default()
    };
    let handle = knowledge::start(config, ctx.clone()).await.unwrap();
    let knowledge = client(&handle);
    let database = PgConnectOptions::from_str(handle.private_database_url.as_ref().unwrap()).unwrap();
    Lab { ctx, knowledge, database }
}

fn kill_postgres(data_dir: &Path) {
    let text = std::fs::read_to_string(data_dir.join("postgres/postmaster.pid")).unwrap();
    let pid = text.lines().next().unwrap().parse().unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
}

/// Proposes and moves directives of its own resource until told to stop; returns those whose last step was acknowledged.
async fn stream(
    lab: &Lab,
    name: usize,
    stop: &AtomicBool,
    acknowledged: &AtomicUsize,
) -> Vec<(Uuid, DirectiveState)> {
    let (mut known, mut generation) = (Vec::new(), 0);
    let resource = format!("service:staging/s{name}");
    while !stop.load(Ordering::Relaxed) {
        let directive = lab.directive(&resource, generation);
        // The answer may be lost with the connection: the same proposal is offered until it is answered.
        let answer = loop {
            let asked = tokio::time::timeout(ANSWER_WITHIN, lab.knowledge.propose(directive.clone()));
            match asked.await.expect("a call is answered while the database is away") {
                Ok(answer) => break answer,
                Err(error) => assert_eq!(error.code(), Some(Code::Unavailable), "{error}"),
            }
        };
        assert!(
            matches!(answer.verdict, ProposeVerdict::Accepted | ProposeVerdict::AlreadyStored),
            "{answer:?}"
        );
        generation = answer.generation.0;
        let step = lab.step(directive.id, DirectiveState::Issued, DirectiveState::Refused);
        loop {
            match lab.knowledge.record_transitions(vec![step.clone()]).await {
                Ok(answers) => break assert!(answers[0].recorded, "{answers:?}"),
                Err(error) => assert_eq!(error.code(), Some(Code::Unavailable), "{error}"),
            }
        }
        known.push((directive.id, DirectiveState::Refused));
        acknowledged.fetch_add(1, Ordering::Relaxed);
    }
    known
}

async fn check_whole(lab: &Lab, known: &[(Uuid, DirectiveState)]) {
    for (id, state) in known {
        assert_eq!(lab.knowledge.get_directive(*id).await.unwrap().state, *state);
    }
    let known = known.len() as i64;
    assert_eq!(
        lab.number("select count(*) from directive").await,
        known,
        "nothing that was not acknowledged in the end"
    );
    assert_eq!(lab.number("select sum(generation)::bigint from intent").await, known);
    assert_eq!(lab.number("select count(*) from transition").await, known);
    assert_eq!(lab.number("select count(*) from change").await, 2 * known);
    assert_eq!(lab.number("select max(revision) from change").await, 2 * known);
    assert_eq!(lab.number("select value from revision").await, 2 * known);
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_killed_postgres_and_a_restart() {
    let data_dir = tempfile::tempdir().unwrap();
    let lab = start(data_dir.path()).await;
    let (stop, acknowledged) = (AtomicBool::new(false), AtomicUsize::new(0));
    let streams = futures::future::join_all((0..8).map(|name| stream(&lab, name, &stop, &acknowledged)));
    let more = async |count: usize| {
        let enough = acknowledged.load(Ordering::Relaxed) + count;
        let look = || std::future::ready((acknowledged.load(Ordering::Relaxed) >= enough).then_some(()));
        chassis::testing::eventually(Duration::from_secs(60), "more directives are acknowledged", look).await;
    };
    let killer = async {
        for _ in 0..3 {
            more(50).await;
            kill_postgres(data_dir.path());
        }
        more(50).await;
        stop.store(true, Ordering::Relaxed);
    };
    let (known, ()) = tokio::join!(streams, killer);
    let known: Vec<_> = known.into_iter().flatten().collect();
    check_whole(&lab, &known).await;
    lab.ctx.stopper.stop();
    assert_eq!(lab.ctx.tasks.join(Duration::from_secs(20)).await, Vec::<&str>::new());
    assert!(!data_dir.path().join("postgres/postmaster.pid").exists(), "Postgres was stopped");
    let again = start(data_dir.path()).await;
    check_whole(&again, &known).await;
    again.ctx.stopper.stop();
    again.ctx.tasks.join(Duration::from_secs(20)).await;
}

#[tokio::test]
async fn stop_finishes_what_was_begun() {
    let data_dir = tempfile::tempdir().unwrap();
    let lab = start(data_dir.path()).await;
    let proposals =
        (0..200).map(|n| lab.knowledge.propose(lab.directive(&format!("service:staging/s{n}"), 0)));
    let stop = async {
        let mut stream = lab.knowledge.watch_changes(0).await.unwrap();
        within("a first change", stream.next()).await.unwrap();
        lab.ctx.stopper.stop();
    };
    let (answers, ()) = tokio::join!(futures::future::join_all(proposals), stop);
    assert_eq!(lab.ctx.tasks.join(Duration::from_secs(20)).await, Vec::<&str>::new());
    let acknowledged = answers.iter().filter(|answer| answer.is_ok()).count() as i64;
    let again = start(data_dir.path()).await;
    let stored = again.number("select count(*) from directive").await;
    assert!(stored >= acknowledged && acknowledged > 0, "{stored} stored, {acknowledged} acknowledged");
    again.ctx.stopper.stop();
    again.ctx.tasks.join(Duration::from_secs(20)).await;
}
