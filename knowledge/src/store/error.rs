//! What can go wrong with the ledger, sorted by what a caller can do about it.

use std::sync::Arc;

use proto::convert;

/// Why Knowledge did not do what it was asked. Cloned to every caller whose call was in the same transaction.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Postgres cannot be reached, or not in time. The same call may work later.
    #[error("the database cannot be reached")]
    Unreachable(#[source] Arc<sqlx::Error>),
    /// Postgres did not answer within the bound.
    #[error("the database did not answer in time")]
    Slow,
    /// Too much is queued already.
    #[error("more is queued than can be written in time")]
    Overloaded,
    /// The service is stopping.
    #[error("the service is stopping")]
    Stopping,
    /// Postgres refused a value, such as a text with a NUL byte.
    #[error("the database refused a value of {what}")]
    Value {
        /// Of which statement.
        what: &'static str,
        /// What it said.
        #[source]
        source: Arc<sqlx::Error>,
    },
    /// A statement failed: a mistake of ours.
    #[error("cannot {what}")]
    Statement {
        /// What was attempted.
        what: &'static str,
        /// What Postgres said.
        #[source]
        source: Arc<sqlx::Error>,
    },
    /// A stored message does not read.
    #[error("stored bytes of {what} do not decode")]
    Bytes {
        /// Of which table.
        what: &'static str,
        /// What is wrong with them.
        #[source]
        source: prost::DecodeError,
    },
    /// A stored message reads, but breaks a rule.
    #[error("a stored value of {what} breaks a rule")]
    Stored {
        /// Of which table.
        what: &'static str,
        /// Which rule.
        #[source]
        source: convert::Error,
    },
    /// What is stored contradicts itself.
    #[error("the database contradicts itself: {0}")]
    Inconsistent(&'static str),
    /// The request breaks a rule.
    #[error(transparent)]
    Invalid(#[from] convert::Error),
    /// There is none such.
    #[error("there is no {0}")]
    Missing(String),
    /// It does not stand where the request needs it.
    #[error("{0}")]
    Precondition(String),
    /// Somebody else holds it.
    #[error("{0}")]
    Held(String),
    /// The asked revision is no longer kept.
    #[error("revision {0} is no longer kept: watch again with a snapshot")]
    Compacted(u64),
}

/// Classes of SQLSTATE that mean "not now": connection, resources, operator intervention, system.
const AWAY_CLASSES: [&str; 4] = ["08", "53", "57", "58"];
/// Data exceptions: the value is at fault, not the statement.
const DATA_CLASS: &str = "22";

impl Error {
    /// Sorts what sqlx says by what a caller can do about it.
    pub(crate) fn sql(what: &'static str) -> impl Fn(sqlx::Error) -> Self {
        move |source| {
            let source = Arc::new(source);
            match source.as_ref() {
                sqlx::Error::Database(error) => {
                    let code = error.code().unwrap_or_default();
                    let class = code.get(..2).unwrap_or_default();
                    if AWAY_CLASSES.contains(&class) {
                        Self::Unreachable(source)
                    } else if class == DATA_CLASS {
                        Self::Value { what, source }
                    } else {
                        Self::Statement { what, source }
                    }
                }
                sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::Protocol(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed => Self::Unreachable(source),
                _ => Self::Statement { what, source },
            }
        }
    }

    /// Whether the fault may lie with one of several rows, so that the others should be tried without it.
    pub(crate) fn may_be_one_row(&self) -> bool {
        matches!(self, Self::Value { .. } | Self::Statement { .. } | Self::Bytes { .. } | Self::Stored { .. })
    }
}
