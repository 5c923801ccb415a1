//! The cluster, fresh databases, a running Knowledge on each, and values to send.

use std::process::{Command, Stdio};
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chassis::{ClientConfig, Context, ServerConfig};
use jiff::Timestamp;
use knowledge::embedded::{Embedded, EmbeddedConfig};
use knowledge::{Config, Handle};
use proto::client::Knowledge;
use proto::model::{
    Action, AutonomyLevel, Directive, DirectiveState, Generation, Preconditions, Rationale, ResourceId,
    Transition,
};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tonic::transport::Channel;
use uuid::Uuid;

/// Everything here takes well below a second; far more means it never will.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// The cluster of this program, as an administrator reaches it. It is stopped and removed when the program has ended.
fn cluster() -> &'static str {
    static URL: OnceLock<String> = OnceLock::new();
    URL.get_or_init(|| {
        let (send, receive) = std::sync::mpsc::channel();
        // Its own runtime: those of the tests end with them.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let data_dir = tempfile::tempdir().unwrap().keep();
                let embedded =
                    Embedded::start(EmbeddedConfig { data_dir, ..EmbeddedConfig::default() }).await.unwrap();
                remove_afterwards(&embedded);
                send.send(embedded.url()).unwrap();
                std::future::pending::<()>().await;
            });
        });
        receive.recv().unwrap()
    })
}

/// A shell that waits until we are gone, then for Postgres to end, and then removes its files.
fn remove_afterwards(embedded: &Embedded) {
    let script = "read -r _; while kill -0 \"$1\" 2>/dev/null; do sleep 0.05; done; rm -rf \"$2\"";
    let child = Command::new("/bin/sh")
        .args(["-c", script, "sh", &embedded.pid().to_string()])
        .arg(embedded.data_dir())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    std::mem::forget(child.unwrap());
}

/// A new, empty database.
pub async fn database() -> PgConnectOptions {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let admin = PgConnectOptions::from_str(cluster()).unwrap();
    let mut connection = PgConnection::connect_with(&admin).await.unwrap();
    sqlx::query(AssertSqlSafe(format!("create database {name}"))).execute(&mut connection).await.unwrap();
    admin.database(&name)
}

/// The URL of a database made by [`database`].
pub fn url(database: &PgConnectOptions) -> String {
    cluster().replace("/homeostat?", &format!("/{}?", database.get_database().unwrap()))
}

/// A running Knowledge, which ends with the test, and a client of it or of a part of it.
pub struct Lab<C = Knowledge> {
    pub ctx: Context,
    pub knowledge: C,
    pub database: PgConnectOptions,
}

impl<C> Drop for Lab<C> {
    fn drop(&mut self) {
        self.ctx.stopper.stop();
    }
}

pub fn config(database: &PgConnectOptions) -> Config {
    Config {
        server: ServerConfig::loopback(0),
        database_url: Some(url(database)),
        max_connections: 8,
        ..Config::default()
    }
}

/// Knowledge on a fresh database.
pub async fn lab() -> Lab {
    on(database().await).await
}

/// Knowledge on this database, which others may use too.
pub async fn on(database: PgConnectOptions) -> Lab {
    start(database, Knowledge::new).await
}

/// The same with this client.
pub async fn start<C>(database: PgConnectOptions, client: fn(Channel) -> C) -> Lab<C> {
    start_with(config(&database), database, client).await
}

/// The same with other settings.
pub async fn start_with<C>(config: Config, database: PgConnectOptions, client: fn(Channel) -> C) -> Lab<C> {
    let ctx = Context::system();
    let handle = knowledge::start(config, ctx.clone()).await.unwrap();
    Lab { ctx, knowledge: client(channel(&handle)), database }
}

pub fn client(handle: &Handle) -> Knowledge {
    Knowledge::new(channel(handle))
}

fn channel(handle: &Handle) -> Channel {
    chassis::grpc::channel(&ClientConfig::plain(handle.addr)).unwrap()
}

impl Lab {
    /// A connection beside the service, to look or to meddle.
    pub async fn sql(&self) -> PgConnection {
        PgConnection::connect_with(&self.database).await.unwrap()
    }

    pub async fn number(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&mut self.sql().await).await.unwrap()
    }

    /// A directive for this resource, planned against this generation.
    pub fn directive(&self, resource: &str, parent: u64) -> Directive {
        let now = self.ctx.clock.now();
        Directive {
            id: self.ctx.uuid(),
            resource: resource.parse().unwrap(),
            action: Action::Scale { replicas: 3 },
            undo: Action::Scale { replicas: 2 },
            parent_generation: Generation(parent),
            generation: Generation(0),
            policy: "shop".to_owned(),
            autonomy: AutonomyLevel::Act,
            created_at: millis(now),
            expires_at: millis(now + jiff::Span::new().minutes(1)),
            apply_timeout: Duration::from_secs(10),
            verify_window: Duration::from_secs(30),
            preconditions: Preconditions {
                max_evidence_age: Duration::from_secs(30),
                requires_known_data: false,
            },
            expected: Vec::new(),
            counterfactual: Vec::new(),
            rationale: Rationale {
                text: "load nears what two replicas can take".to_owned(),
                ..Rationale::default()
            },
            blast_radius_ratio: 0.5,
            reduces: false,
            undo_of: None,
            quorum_ratio: 1.0,
        }
    }

    /// One step of a life, by Execute.
    pub fn step(&self, id: Uuid, from: DirectiveState, to: DirectiveState) -> Transition {
        Transition {
            directive_id: id,
            from,
            to,
            at: millis(self.ctx.clock.now()),
            actor: "execute".to_owned(),
            detail: String::new(),
            attempt: 1,
            before: Vec::new(),
            after: Vec::new(),
        }
    }

    /// Moves one directive along these states; every step must be recorded.
    pub async fn walk(&self, id: Uuid, states: &[DirectiveState]) {
        let steps = states.windows(2).map(|pair| self.step(id, pair[0], pair[1])).collect();
        let answers = self.knowledge.record_transitions(steps).await.unwrap();
        assert!(answers.iter().all(|answer| answer.recorded), "{answers:?}");
    }
}

/// The wire has milliseconds.
pub fn millis(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.as_millisecond()).unwrap()
}

pub fn resource(text: &str) -> ResourceId {
    text.parse().unwrap()
}

/// Fails rather than waits for ever.
pub async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}
