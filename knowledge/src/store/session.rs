//! A lane's own connection: made when it is needed, kept while it works. A pool would ask the database twice more for each
//! group whether the connection still lives.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{Connection, PgConnection};

use crate::store::Error;

/// How long a caller waits before it is told that the database is away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// At most one connection.
#[derive(Debug)]
pub(crate) struct Session {
    options: PgConnectOptions,
    idle: Option<PgConnection>,
}

impl Session {
    /// Connects when first used.
    pub(crate) fn new(options: PgConnectOptions) -> Self {
        Self { options, idle: None }
    }

    /// Begins a transaction with these statements, and gives back their row. What fails on an idle connection, as after a
    /// restart of Postgres, is tried again on a new one: nothing was done yet.
    pub(crate) async fn begin(&mut self, sql: &'static str) -> Result<(PgConnection, Option<PgRow>), Error> {
        if let Some(mut connection) = self.idle.take()
            && let Ok(row) = sqlx::raw_sql(sql).fetch_optional(&mut connection).await
        {
            return Ok((connection, row));
        }
        let mut connection = self.connect().await?;
        let row =
            sqlx::raw_sql(sql).fetch_optional(&mut connection).await.map_err(Error::sql("begin to write"))?;
        Ok((connection, row))
    }

    /// Ends a transaction well.
    pub(crate) async fn commit(&mut self, mut connection: PgConnection) -> Result<(), Error> {
        sqlx::raw_sql("commit").execute(&mut connection).await.map_err(Error::sql("commit"))?;
        self.idle = Some(connection);
        Ok(())
    }

    /// Ends a transaction without a trace; where that fails, the connection is closed.
    pub(crate) async fn rollback(&mut self, mut connection: PgConnection) {
        if sqlx::raw_sql("rollback").execute(&mut connection).await.is_ok() {
            self.idle = Some(connection);
        }
    }

    /// Closes what is idle.
    pub(crate) async fn close(&mut self) {
        if let Some(connection) = self.idle.take() {
            let _ = connection.close().await;
        }
    }

    async fn connect(&self) -> Result<PgConnection, Error> {
        match tokio::time::timeout(CONNECT_TIMEOUT, PgConnection::connect_with(&self.options)).await {
            Ok(connected) => connected.map_err(Error::sql("connect to the database")),
            Err(_) => Err(Error::Unreachable(Arc::new(sqlx::Error::PoolTimedOut))),
        }
    }
}
