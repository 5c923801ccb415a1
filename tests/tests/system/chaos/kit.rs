//! A staging cluster of real processes that stands alone: its breakers enforce without a control plane. Calls, faults that are
//! waited for until they are in force, and what the breakers say.

use chassis::{Context, testing::eventually};
use serde_json::Value;
use staging::{
    cluster::{Cluster, ClusterArgs},
    dir::{Dir, Endpoint},
    faults::{self, Effect, Fault},
    replicas::Launch,
    topology::Role,
};
use std::{collections::BTreeMap, net::SocketAddr, time::Duration};
use system_tests::{Turn, binary, turn};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
    time::Instant,
};

/// Far above what anything here takes on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(30);
/// The label of the one fault of a test.
const FAULT: &str = "chaos";

/// What a request came back with.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// 0 without an answer.
    pub status: u16,
    pub degraded: bool,
    pub took: Duration,
    pub body: String,
}

impl Answer {
    /// The whole answer.
    pub fn is_full(&self) -> bool {
        self.status == 200 && !self.degraded
    }
}

/// One GET over a connection of its own.
pub async fn get(address: SocketAddr, path: &str) -> Answer {
    let began = Instant::now();
    let text = exchange(address, path).await.unwrap_or_default();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_default();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    let degraded = head.to_ascii_lowercase().contains("\r\nx-degraded:");
    Answer { status, degraded, took: began.elapsed(), body: body.to_owned() }
}

async fn exchange(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// So many requests, one due each `gap` whatever becomes of earlier ones; in the order in which they were due.
pub async fn paced(address: SocketAddr, count: usize, gap: Duration) -> Vec<Answer> {
    let mut due = tokio::time::interval(gap);
    let mut sent = Vec::new();
    for _ in 0..count {
        due.tick().await;
        sent.push(tokio::spawn(get(address, "/")));
    }
    let mut answers = Vec::new();
    for one in sent {
        answers.push(one.await.unwrap());
    }
    answers
}

/// `callers` at once, each with `calls` requests one after the other.
pub async fn crowd(address: SocketAddr, callers: usize, calls: usize) -> Vec<Answer> {
    let mut crowd = JoinSet::new();
    for _ in 0..callers {
        crowd.spawn(async move {
            let mut answers = Vec::new();
            for _ in 0..calls {
                answers.push(get(address, "/").await);
            }
            answers
        });
    }
    crowd.join_all().await.into_iter().flatten().collect()
}

/// How many of the answers are such.
pub fn count(answers: &[Answer], such: impl Fn(&Answer) -> bool) -> usize {
    answers.iter().filter(|answer| such(answer)).count()
}

/// Services, in a process each, with the arguments that a test gives them.
pub struct Rig {
    cluster: Option<Cluster>,
    folder: TempDir,
    _turn: Turn,
}

/// What a rig is made of.
pub struct Plan<'a> {
    /// Replicas of catalog and of inventory.
    pub replicas: [u32; 2],
    /// Further arguments of each service's replicas.
    pub arguments: &'a [(Role, &'a [&'a str])],
    /// What breakers do before anybody sets a policy.
    pub first: &'a str,
    pub execute_url: Option<String>,
    /// What is normal on the edge from catalog to inventory, if that is known.
    pub baseline: Option<Vec<f64>>,
}

impl Default for Plan<'_> {
    fn default() -> Self {
        Self { replicas: [1, 1], arguments: &[], first: "enforce", execute_url: None, baseline: None }
    }
}

impl Rig {
    /// So many replicas of catalog and inventory, each service with further arguments; every breaker enforces.
    pub async fn start(catalog: u32, inventory: u32, arguments: &[(Role, &[&str])]) -> Self {
        Self::planned(turn(), Plan { replicas: [catalog, inventory], arguments, ..Plan::default() }).await
    }

    /// As planned, in this turn.
    pub async fn planned(turn: Turn, plan: Plan<'_>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut service_arguments: BTreeMap<Role, Vec<String>> =
            Role::ALL.map(|role| (role, vec![format!("--breaker={}", plan.first)])).into();
        for (role, more) in plan.arguments {
            service_arguments.entry(*role).or_default().extend(more.iter().map(|text| (*text).to_owned()));
        }
        let args = ClusterArgs {
            replicas: [Role::Catalog, Role::Inventory].into_iter().zip(plan.replicas).collect(),
            seed: 7,
            service_arguments,
            execute_url: plan.execute_url,
            ..ClusterArgs::new(folder.path(), Launch::of(binary()))
        };
        if let Some(numbers) = plan.baseline {
            let file = Dir::new(folder.path()).baseline("catalog->inventory");
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, serde_json::to_vec(&numbers).unwrap()).unwrap();
        }
        let cluster = Cluster::start(args, &Context::testing(5)).await.unwrap();
        let rig = Self { cluster: Some(cluster), folder, _turn: turn };
        eventually(DEADLINE, "the first full answer", || async {
            get(rig.gateway(), "/").await.is_full().then_some(())
        })
        .await;
        rig
    }

    pub async fn end(mut self) {
        if let Some(cluster) = self.cluster.take() {
            cluster.end().await;
        }
    }

    pub fn cluster(&self) -> &Cluster {
        self.cluster.as_ref().unwrap()
    }

    pub fn replicas(&self, role: Role) -> Vec<SocketAddr> {
        let text = std::fs::read(self.cluster().dir().endpoints(role)).unwrap();
        let endpoints: Vec<Endpoint> = serde_json::from_slice(&text).unwrap();
        endpoints.into_iter().map(|endpoint| endpoint.address).collect()
    }

    pub fn gateway(&self) -> SocketAddr {
        self.replicas(Role::Gateway)[0]
    }

    /// Puts the service's fault in force, or ends it; returns when every replica obeys.
    pub async fn fault(&self, role: Role, effect: Option<Effect>) {
        let dir = self.cluster().dir();
        match effect {
            Some(effect) => {
                let fault = Fault { service: role.to_string(), instance: None, effect };
                faults::inject(dir, FAULT, fault).unwrap();
            }
            None => faults::clear(dir, Some(FAULT)).unwrap(),
        }
        let wanted = serde_json::to_value(faults::effects(
            &faults::list(dir).unwrap(),
            role.name(),
            "any replica of it",
        ))
        .unwrap();
        for replica in self.replicas(role) {
            eventually(DEADLINE, "a fault in force", || async {
                let told: Value = serde_json::from_str(&get(replica, "/faults").await.body).ok()?;
                (told == wanted).then_some(())
            })
            .await;
        }
    }

    /// What each replica's breaker on its outgoing edge says.
    pub async fn breakers(&self, caller: Role) -> Vec<Breaker> {
        let mut breakers = Vec::new();
        for replica in self.replicas(caller) {
            let told: Value = serde_json::from_str(&get(replica, "/breakers").await.body).unwrap();
            breakers.push(Breaker(told[caller.edge().unwrap()].clone()));
        }
        breakers
    }

    /// A series of one replica, summed over its labels that are not named.
    pub async fn metric(&self, replica: SocketAddr, name: &str, labels: &[&str]) -> f64 {
        let text = get(replica, "/metrics").await.body;
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let series = lines.filter_map(|line| line.rsplit_once(' '));
        let ours = series.filter(|(series, _)| series.split('{').next() == Some(name));
        ours.filter(|(series, _)| labels.iter().all(|label| series.contains(label)))
            .map(|(_, value)| value.parse::<f64>().unwrap())
            .sum()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let logs = std::fs::read_dir(self.folder.path().join("log")).into_iter().flatten().flatten();
            for log in logs {
                let text = std::fs::read_to_string(log.path()).unwrap_or_default();
                let last: Vec<_> = text.lines().rev().take(10).collect();
                eprintln!("---- last lines of {}, newest first\n{}", log.path().display(), last.join("\n"));
            }
        }
    }
}

/// One breaker as its process tells of it.
#[derive(Debug, Clone)]
pub struct Breaker(Value);

impl Breaker {
    pub fn state(&self) -> &str {
        self.0["state"].as_str().unwrap()
    }

    pub fn opened(&self) -> u64 {
        self.0["opened_total"].as_u64().unwrap()
    }

    pub fn results(&self, outcome: &str) -> u64 {
        self.0["results"][outcome].as_u64().unwrap()
    }

    pub fn all_results(&self) -> u64 {
        self.0["results"].as_object().unwrap().values().filter_map(Value::as_u64).sum()
    }

    pub fn rejected(&self) -> u64 {
        self.0["rejected"].as_object().unwrap().values().filter_map(Value::as_u64).sum()
    }

    pub fn shed(&self) -> u64 {
        self.0["rejected"]["shed"].as_u64().unwrap()
    }

    pub fn field(&self, name: &str) -> &Value {
        &self.0[name]
    }

    pub fn transitions(&self) -> &[Value] {
        self.0["transitions"].as_array().unwrap()
    }

    /// Why it moved or spoke, in order.
    pub fn causes(&self) -> Vec<&str> {
        self.transitions().iter().map(|told| told["cause"].as_str().unwrap()).collect()
    }

    /// The first transition of this cause.
    pub fn first(&self, cause: &str) -> Option<&Value> {
        self.transitions().iter().find(|told| told["cause"] == cause)
    }

    /// The states it went through, in order, each told once.
    pub fn path(&self) -> Vec<&str> {
        let moves = self.transitions().iter().filter(|told| told["from"] != told["to"]);
        moves.map(|told| told["to"].as_str().unwrap()).collect()
    }
}
