//! Knowledge's settings.

use std::path::PathBuf;
use std::str::FromStr;

use chassis::{Invalid, ServerConfig, Validate};
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgConnectOptions;

use crate::embedded;
use crate::retention::Retention;

/// Knowledge's port on the local machine.
pub const PORT: u16 = 7401;

/// Two for the lanes, one for the tail of the feed, and five readers.
const CONNECTIONS_LEAST: u32 = 8;
/// More would not help a database on two cores, and the private cluster allows 64 for all.
const CONNECTIONS_MOST: u32 = 32;

/// Knowledge's settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the gRPC API listens.
    pub server: ServerConfig,
    /// The Postgres server to use, as `postgres://user:password@host/database`. Without it a private cluster is started under
    /// `data_dir`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database_url: Option<String>,
    /// Where the private cluster lives.
    pub data_dir: PathBuf,
    /// The directory of the PostgreSQL programs for the private cluster; without it the usual places are searched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postgres_dir: Option<PathBuf>,
    /// Connections to the database, 8 to 32: reads are short, so 16 serve hundreds of callers.
    pub max_connections: u32,
    /// What is kept, and how long.
    pub retention: Retention,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server: ServerConfig::loopback(PORT),
            database_url: None,
            data_dir: embedded::default_data_dir(&chassis::config::environment()),
            postgres_dir: None,
            max_connections: 16,
            retention: Retention::default(),
        }
    }
}

impl Validate for Config {
    fn validate(&self) -> Result<(), Invalid> {
        let Self { server, database_url, data_dir, postgres_dir: _, max_connections, retention } = self;
        server.validate().map_err(|invalid| invalid.under("server"))?;
        retention.validate().map_err(|invalid| invalid.under("retention"))?;
        if let Some(url) = database_url {
            let known = url.starts_with("postgres://") || url.starts_with("postgresql://");
            if !known || PgConnectOptions::from_str(url).is_err() {
                // The value may hold a password: it is not repeated.
                return Err(Invalid::new(
                    "database_url",
                    "(hidden)",
                    "must be postgres://user:password@host/database",
                ));
            }
        } else if data_dir.as_os_str().is_empty() {
            return Err(Invalid::new("data_dir", "", "must be a directory when there is no database_url"));
        }
        if !(CONNECTIONS_LEAST..=CONNECTIONS_MOST).contains(max_connections) {
            return Err(Invalid::new("max_connections", max_connections, "must be 8 to 32"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid() {
        Config::default().validate().unwrap();
    }

    #[test]
    fn a_broken_rule_names_its_key_and_hides_the_password() {
        let check = |config: Config, key: &str| {
            let invalid = config.validate().unwrap_err();
            assert!(format!("{invalid}").contains(key), "{invalid}");
            assert!(!format!("{invalid}").contains("secret"), "{invalid}");
        };
        let url = Some("mysql://root:secret@host/db".to_owned());
        check(Config { database_url: url, ..Config::default() }, "database_url");
        check(Config { max_connections: 1, ..Config::default() }, "max_connections");
        check(Config { data_dir: PathBuf::new(), ..Config::default() }, "data_dir");
        let retention = Retention { changes: 0, ..Retention::default() };
        check(Config { retention, ..Config::default() }, "retention.changes");
    }
}
