//! Where the services are: flags, then the `endpoints.json` of a running `homeostat up`, then the default ports.

use crate::cli::Global;
use anyhow::Context as _;
use chassis::ClientConfig;
use proto::client::{Analyze, Execute, Knowledge, MESSAGE_LIMIT_BYTES, MonitorClient, PlanClient};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Addresses of the five services, as `http://HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    /// Knowledge.
    pub knowledge: String,
    /// Monitor.
    pub monitor: String,
    /// Analyze.
    pub analyze: String,
    /// Plan.
    pub plan: String,
    /// Execute.
    pub execute: String,
    /// Prometheus metrics and health over HTTP.
    pub metrics: String,
}

impl Default for Endpoints {
    fn default() -> Self {
        let at = |port: u16| format!("http://127.0.0.1:{port}");
        Self {
            knowledge: at(7401),
            monitor: at(7402),
            analyze: at(7403),
            plan: at(7404),
            execute: at(7405),
            metrics: at(7400),
        }
    }
}

/// The file in the data directory that tells them.
pub fn file(data_dir: &Path) -> PathBuf {
    data_dir.join("endpoints.json")
}

impl Endpoints {
    /// As a running `up` wrote them.
    ///
    /// # Errors
    /// When the file is there but cannot be read.
    pub fn read(data_dir: &Path) -> anyhow::Result<Option<Self>> {
        let path = file(data_dir);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(
                serde_json::from_str(&text)
                    .with_context(|| format!("cannot understand {}", path.display()))?,
            )),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// For the clients of this `up`; replaced in one step.
    ///
    /// # Errors
    /// When the data directory cannot be written.
    pub fn write(&self, data_dir: &Path) -> anyhow::Result<()> {
        let (path, new) = (file(data_dir), data_dir.join("endpoints.json.new"));
        std::fs::write(&new, serde_json::to_string_pretty(self)?)
            .and_then(|()| std::fs::rename(&new, &path))
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Clients of a running control plane.
#[derive(Debug, Clone)]
pub struct Clients {
    /// Where they point.
    pub endpoints: Endpoints,
    global: Global,
}

impl Clients {
    /// At known addresses, without TLS.
    pub fn at(endpoints: Endpoints, data_dir: PathBuf) -> Self {
        Self { endpoints, global: Global::of_data_dir(data_dir) }
    }

    /// Finds the services; connects when first used.
    ///
    /// # Errors
    /// When `endpoints.json` cannot be read.
    pub fn find(global: &Global) -> anyhow::Result<Self> {
        let data_dir = crate::compose::data_dir(global);
        let mut endpoints = Endpoints::read(&data_dir)?.unwrap_or_default();
        for (given, field) in [
            (&global.knowledge_url, &mut endpoints.knowledge),
            (&global.monitor_url, &mut endpoints.monitor),
            (&global.analyze_url, &mut endpoints.analyze),
            (&global.plan_url, &mut endpoints.plan),
            (&global.execute_url, &mut endpoints.execute),
        ] {
            if let Some(url) = given {
                field.clone_from(url);
            }
        }
        Ok(Self { endpoints, global: global.clone() })
    }

    /// A channel to any of the services, for generated clients and actuators.
    ///
    /// # Errors
    /// When the address or a TLS file is of no use.
    pub fn channel(&self, url: &str) -> anyhow::Result<tonic::transport::Channel> {
        let config = ClientConfig {
            url: url.to_owned(),
            ca_file: self.global.ca_file.clone(),
            cert_file: self.global.cert_file.clone(),
            key_file: self.global.key_file.clone(),
            domain: None,
        };
        Ok(chassis::grpc::channel(&config)?)
    }

    /// Knowledge.
    ///
    /// # Errors
    /// When its address or the TLS files are wrong.
    pub fn knowledge(&self) -> anyhow::Result<Knowledge> {
        Ok(Knowledge::new(self.channel(&self.endpoints.knowledge)?))
    }

    /// Analyze.
    ///
    /// # Errors
    /// When its address or the TLS files are wrong.
    pub fn analyze(&self) -> anyhow::Result<Analyze> {
        Ok(Analyze::new(self.channel(&self.endpoints.analyze)?))
    }

    /// Execute.
    ///
    /// # Errors
    /// When its address or the TLS files are wrong.
    pub fn execute(&self) -> anyhow::Result<Execute> {
        Ok(Execute::new(self.channel(&self.endpoints.execute)?))
    }

    /// Monitor.
    ///
    /// # Errors
    /// When its address or the TLS files are wrong.
    pub fn monitor(&self) -> anyhow::Result<MonitorClient> {
        Ok(MonitorClient::new(self.channel(&self.endpoints.monitor)?)
            .max_decoding_message_size(MESSAGE_LIMIT_BYTES))
    }

    /// Plan.
    ///
    /// # Errors
    /// When its address or the TLS files are wrong.
    pub fn plan(&self) -> anyhow::Result<PlanClient> {
        Ok(PlanClient::new(self.channel(&self.endpoints.plan)?)
            .max_decoding_message_size(MESSAGE_LIMIT_BYTES))
    }
}
