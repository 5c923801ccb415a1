//! Brings the schema up to date at start, and refuses one that this program does not know.

use sqlx::PgPool;
use sqlx::migrate::{MigrateError, Migrator};

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");

/// Why the schema cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// A newer program has written it.
    #[error(
        "the database has migration {found}, this program knows none after {newest}: it belongs to a newer release; \
         start that one, or restore a backup from before the upgrade"
    )]
    Newer {
        /// The database's.
        found: i64,
        /// Ours.
        newest: i64,
    },
    /// It is not one that this program made.
    #[error(
        "the database's migrations are not those of this program (at {version}): it belongs to something else"
    )]
    Foreign {
        /// The first that differs.
        version: i64,
    },
    /// A migration failed, or the database did.
    #[error("cannot bring the database up to date")]
    Migrate(#[source] MigrateError),
}

/// Runs what is missing, forward only, under Postgres' advisory lock: of several instances one does it.
pub(crate) async fn run(pool: &PgPool) -> Result<(), SchemaError> {
    let newest = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    MIGRATIONS.run(pool).await.map_err(|error| match error {
        MigrateError::VersionMissing(found) if found > newest => SchemaError::Newer { found, newest },
        MigrateError::VersionMissing(version) | MigrateError::VersionMismatch(version) => {
            SchemaError::Foreign { version }
        }
        error => SchemaError::Migrate(error),
    })
}
