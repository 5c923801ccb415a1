//! A control plane in one process or in five, and clients to speak to it.

use crate::process::{Process, command_json};
use chassis::testing::eventually;
use homeostat::endpoints::{Clients, Endpoints};
use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    time::Duration,
};

/// A first start creates a database cluster, on a machine that also runs other tests.
pub const START_DEADLINE: Duration = Duration::from_secs(60);

/// `homeostat up` in a process of its own.
#[derive(Debug)]
pub struct Plane {
    /// The process.
    pub process: Process,
    /// Its data directory.
    pub data_dir: PathBuf,
    /// Ready to speak to it.
    pub clients: Clients,
}

impl Plane {
    /// Starts it with one-second scrapes and waits until every service serves.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn start(data_dir: &Path, settings: &[&str]) -> Self {
        let mut arguments: Vec<String> =
            ["up", "--data-dir", &data_dir.to_string_lossy(), "--metrics-listen", "127.0.0.1:0"]
                .map(str::to_owned)
                .into();
        for service in ["knowledge", "monitor", "analyze", "plan", "execute"] {
            arguments.extend(["--set".to_owned(), format!("{service}.server.listen=127.0.0.1:0")]);
        }
        let targets = data_dir.join("staging/targets.json");
        let fixed =
            ["monitor.scrape_interval=1s".to_owned(), format!("monitor.targets_file={}", targets.display())];
        for setting in fixed.into_iter().chain(settings.iter().map(|text| (*text).to_owned())) {
            arguments.extend(["--set".to_owned(), setting]);
        }
        let mut process = Process::start("up", data_dir, arguments);
        let endpoints = eventually(START_DEADLINE, "homeostat up", || {
            let ended = process.ended();
            async move {
                assert!(ended.is_none(), "homeostat up ended with {ended:?}");
                Endpoints::read(data_dir).ok().flatten()
            }
        })
        .await;
        let clients = Clients::at(endpoints, data_dir.to_owned());
        let plane = Self { process, data_dir: data_dir.to_owned(), clients };
        plane.serving().await;
        plane
    }

    async fn serving(&self) {
        let address = self.clients.endpoints.metrics.replace("http://", "");
        eventually(START_DEADLINE, "readiness", || async {
            crate::plane::ready(&address).await.then_some(())
        })
        .await;
    }

    /// Asks the command line about this plane.
    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let dir = self.data_dir.to_string_lossy().into_owned();
        command_json(&[arguments, &["--data-dir", &dir]].concat())
    }
}

/// Whether `/readyz` answers 200.
pub async fn ready(address: &str) -> bool {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let Ok(mut stream) = tokio::net::TcpStream::connect(address).await else { return false };
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let mut answer = String::new();
    stream.write_all(request.as_bytes()).await.is_ok()
        && stream.read_to_string(&mut answer).await.is_ok()
        && answer.starts_with("HTTP/1.1 200")
}

/// The five services as five processes.
#[derive(Debug)]
pub struct Five {
    /// By name: knowledge, analyze, monitor, plan, execute.
    pub processes: std::collections::BTreeMap<&'static str, Process>,
    /// Ready to speak to them.
    pub clients: Clients,
    /// Their data directory.
    pub data_dir: PathBuf,
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback interface has free ports");
    listener.local_addr().expect("a bound socket has an address").port()
}

impl Five {
    /// Starts all five.
    ///
    /// # Panics
    /// When one does not come up.
    pub async fn start(data_dir: &Path) -> Self {
        let url = || format!("http://127.0.0.1:{}", free_port());
        let endpoints = Endpoints {
            knowledge: url(),
            monitor: url(),
            analyze: url(),
            plan: url(),
            execute: url(),
            metrics: url(),
        };
        endpoints.write(data_dir).expect("the data directory can be written");
        let targets = data_dir.join("staging/targets.json");
        let interval = "scrape_interval=1s".to_owned();
        let targets = format!("targets_file={}", targets.display());
        let snapshots = "snapshot_interval=2s".to_owned();
        let processes = [
            ("knowledge", &endpoints.knowledge, vec![]),
            ("analyze", &endpoints.analyze, vec![snapshots]),
            ("monitor", &endpoints.monitor, vec![interval, targets]),
            ("plan", &endpoints.plan, vec![]),
            ("execute", &endpoints.execute, vec![]),
        ]
        .into_iter()
        .map(|(name, url, settings)| (name, service(name, url, settings, &endpoints, data_dir)))
        .collect();
        let clients = Clients::at(endpoints, data_dir.to_owned());
        let five = Self { processes, clients, data_dir: data_dir.to_owned() };
        five.serving().await;
        five
    }

    /// Waits until every service serves.
    ///
    /// # Panics
    /// When one does not.
    pub async fn serving(&self) {
        let dir = self.data_dir.to_string_lossy().into_owned();
        eventually(START_DEADLINE, "five serving services", || {
            let dir = dir.clone();
            async move {
                let status = crate::run_command(&["status", "--data-dir", &dir, "--output", "json"]);
                status.status.success().then_some(())
            }
        })
        .await;
    }
}

fn service(
    name: &'static str,
    url: &str,
    settings: Vec<String>,
    endpoints: &Endpoints,
    data_dir: &Path,
) -> Process {
    let listen = format!("server.listen={}", url.replace("http://", ""));
    let mut all = vec![listen];
    if name != "knowledge" {
        all.push(format!("knowledge.url={}", endpoints.knowledge));
    }
    if ["monitor", "plan", "execute"].contains(&name) {
        all.push(format!("analyze.url={}", endpoints.analyze));
    }
    let mut arguments =
        vec![name.to_owned(), "--data-dir".to_owned(), data_dir.to_string_lossy().into_owned()];
    for setting in all.into_iter().chain(settings) {
        arguments.extend(["--set".to_owned(), setting]);
    }
    Process::start(name, data_dir, arguments)
}
