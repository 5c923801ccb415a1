//! Postgres: one file per aggregate and the change feed. All SQL of the workspace is here and in `migrations/`.

pub(crate) mod actuator;
pub(crate) mod change;
pub(crate) mod declared;
pub(crate) mod directive;
mod error;
pub(crate) mod feedback;
pub(crate) mod ledger;
pub(crate) mod migrations;
pub(crate) mod objective;
pub(crate) mod outcome;
pub(crate) mod pause;
pub(crate) mod record;
pub(crate) mod resource;
pub(crate) mod retained;
pub(crate) mod seasonality;
pub(crate) mod session;
pub(crate) mod snapshot;
pub(crate) mod standing;
pub(crate) mod threshold;

use prost::Message;
use proto::convert;
use sqlx::{PgPool, Postgres, Transaction};

pub use error::Error;
pub(crate) use ledger::LedgerTx;
pub use migrations::SchemaError;
pub(crate) use session::Session;

/// What the readers of the ledger need.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    /// For reading, and for writes outside the ledger.
    pub(crate) pool: PgPool,
}

impl Store {
    /// A transaction that sees one moment of the ledger: what it reads belongs to the revision it reads.
    pub(crate) async fn moment(&self) -> Result<Transaction<'static, Postgres>, Error> {
        self.pool
            .begin_with("begin isolation level repeatable read read only")
            .await
            .map_err(Error::sql("begin to read"))
    }
}

/// Ends a reading transaction; nothing is lost if that fails.
pub(crate) async fn done(moment: Transaction<'static, Postgres>) {
    let _ = moment.rollback().await;
}

/// Reads a stored message.
pub(crate) fn decode<M: Message + Default>(what: &'static str, bytes: &[u8]) -> Result<M, Error> {
    M::decode(bytes).map_err(|source| Error::Bytes { what, source })
}

/// Reads a stored message as the value that it was.
pub(crate) fn model<W, M>(what: &'static str, bytes: &[u8]) -> Result<M, Error>
where
    W: Message + Default,
    M: TryFrom<W, Error = convert::Error>,
{
    M::try_from(decode::<W>(what, bytes)?).map_err(|source| Error::Stored { what, source })
}

/// Reads a stored word.
pub(crate) fn word<T: std::str::FromStr>(what: &'static str, text: &str) -> Result<T, Error> {
    text.parse().map_err(|_| Error::Inconsistent(what))
}

/// A count or generation as Postgres holds it: it has no unsigned numbers. Nothing counts beyond 2⁶³.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// And back; the columns are checked not to be negative.
pub(crate) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// The end of a span of bounded waiting around one transaction.
pub(crate) async fn within<T>(
    bound: std::time::Duration,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::time::timeout(bound, work).await.unwrap_or(Err(Error::Slow))
}
