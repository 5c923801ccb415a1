//! The files through which the processes of one cluster find one another, all under one directory.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::topology::Role;

/// The directory of one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dir(PathBuf);

/// One address of `endpoints/<service>.json`, which balancers follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The replica, `catalog-3`.
    pub instance: String,
    /// Where it listens.
    pub address: std::net::SocketAddr,
}

/// What a replica tells of itself once it listens (`ready/<instance>.json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listening {
    /// Its process.
    pub pid: u32,
    /// Where it listens.
    pub address: std::net::SocketAddr,
}

impl Dir {
    /// Nothing is created yet. The path is made absolute, for processes are recognised by it.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self(std::path::absolute(&path).unwrap_or(path))
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Serving addresses of a service.
    pub fn endpoints(&self, role: Role) -> PathBuf {
        self.0.join("endpoints").join(format!("{role}.json"))
    }

    /// State of a service's replica set.
    pub fn replicas(&self, role: Role) -> PathBuf {
        self.0.join("replicas").join(format!("{role}.json"))
    }

    /// Held by the one process that drives a replica set.
    pub fn replicas_lock(&self, role: Role) -> PathBuf {
        self.0.join("replicas").join(format!("{role}.lock"))
    }

    /// What to scrape, all services.
    pub fn targets(&self) -> PathBuf {
        self.0.join("targets.json")
    }

    /// One service's part of it.
    pub fn targets_part(&self, role: Role) -> PathBuf {
        self.0.join("targets").join(format!("{role}.json"))
    }

    /// The faults in force.
    pub fn faults(&self) -> PathBuf {
        self.0.join("faults.json")
    }

    /// How a service works.
    pub fn mode(&self, role: Role) -> PathBuf {
        self.0.join("modes").join(format!("{role}.json"))
    }

    /// What the replicas of an edge's caller have learned to be normal on it, for those that start anew.
    pub fn baseline(&self, edge: &str) -> PathBuf {
        self.0.join("baselines").join(format!("{edge}.json"))
    }

    /// Where a replica says that it listens.
    pub fn ready(&self, instance: &str) -> PathBuf {
        self.0.join("ready").join(format!("{instance}.json"))
    }

    /// A process's output.
    pub fn log(&self, process: &str) -> PathBuf {
        self.0.join("log").join(format!("{process}.log"))
    }

    /// What the load process is to do.
    pub fn load_plan(&self) -> PathBuf {
        self.0.join("load").join("plan.json")
    }

    /// What the load process saw.
    pub fn load_records(&self) -> PathBuf {
        self.0.join("load").join("records.csv")
    }
}
