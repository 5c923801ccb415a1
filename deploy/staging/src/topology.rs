//! Which services there are, what one replica of each can do, and who calls whom.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The namespace of all staging resources: `service:staging/catalog`.
pub const NAMESPACE: &str = "staging";

/// An answer later than this after the intended start is outside the objective.
pub const OBJECTIVE: Duration = Duration::from_millis(250);

/// One service of the cluster. The gateway calls catalog, catalog calls inventory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Takes requests from outside and spreads them over catalog.
    Gateway,
    /// Lists goods, with stock figures from inventory.
    Catalog,
    /// Knows what is in stock.
    Inventory,
}

/// What one replica can do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Capacity {
    /// Requests served at a time.
    pub workers: usize,
    /// Requests that may wait for a worker.
    pub queue: usize,
    /// Mean time a request keeps a worker busy by itself; calls to other services come on top.
    pub service_time: Duration,
    /// How long a call to the next service may take.
    pub upstream_timeout: Duration,
}

impl Role {
    /// Callers before callees.
    pub const ALL: [Role; 3] = [Role::Gateway, Role::Catalog, Role::Inventory];

    /// The roles whose replicas an actuator manages; the gateway is one process with room to spare.
    pub const MANAGED: [Role; 2] = [Role::Catalog, Role::Inventory];

    /// The name used in files, labels and resource ids.
    pub fn name(self) -> &'static str {
        match self {
            Role::Gateway => "gateway",
            Role::Catalog => "catalog",
            Role::Inventory => "inventory",
        }
    }

    /// Whom it calls.
    pub fn callee(self) -> Option<Role> {
        match self {
            Role::Gateway => Some(Role::Catalog),
            Role::Catalog => Some(Role::Inventory),
            Role::Inventory => None,
        }
    }

    /// The edge to its callee, as it is named in resource ids: `catalog->inventory`.
    pub fn edge(self) -> Option<String> {
        self.callee().map(|callee| format!("{self}->{callee}"))
    }

    /// What one replica does unless its arguments say otherwise.
    pub fn capacity(self) -> Capacity {
        match self {
            // Waits for others only: 2,048 requests in flight at 4 s each are 512 req/s of nothing but timeouts.
            Role::Gateway => Capacity {
                workers: 2_048,
                queue: 0,
                service_time: Duration::ZERO,
                upstream_timeout: Duration::from_secs(4),
            },
            // 8 workers / (45 ms own + 27 ms inventory and network) = 110 req/s; 64 waiting are 0.6 s.
            Role::Catalog => Capacity {
                workers: 8,
                queue: 64,
                service_time: Duration::from_millis(45),
                // Four times what users are promised: later nobody waits for the answer any more.
                upstream_timeout: Duration::from_secs(1),
            },
            // 4 workers / 25 ms = 160 req/s; 64 waiting are 0.4 s.
            Role::Inventory => Capacity {
                workers: 4,
                queue: 64,
                service_time: Duration::from_millis(25),
                upstream_timeout: Duration::from_secs(2),
            },
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No service of that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no service is called {0:?}; there are gateway, catalog and inventory")]
pub struct UnknownRole(String);

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Role::ALL.into_iter().find(|role| role.name() == text).ok_or_else(|| UnknownRole(text.to_owned()))
    }
}
