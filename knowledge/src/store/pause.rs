//! The kill switch's memory.

use jiff::Timestamp;
use proto::{model::PauseState, wire::change::Change as Event};
use sqlx::PgConnection;

use super::{LedgerTx, signed, unsigned};
use crate::store::Error;

/// What is remembered; none while nobody has touched the switch.
pub(crate) async fn get(connection: &mut PgConnection) -> Result<Option<PauseState>, Error> {
    let row = sqlx::query!(r#"select paused, counter, reason, actor, unix_ms(at) as "at!" from pause"#)
        .fetch_optional(connection)
        .await
        .map_err(Error::sql("read the pause"))?;
    let state = row.map(|row| {
        let at = Timestamp::from_millisecond(row.at).map_err(|_| Error::Inconsistent("the pause's time"))?;
        Ok(PauseState {
            paused: row.paused,
            counter: unsigned(row.counter),
            reason: row.reason,
            actor: row.actor,
            at,
        })
    });
    state.transpose()
}

/// Merges what somebody remembers into what is stored; returns what holds.
pub(crate) async fn merge(tx: &mut LedgerTx, state: PauseState) -> Result<PauseState, Error> {
    let stored = get(tx.connection()).await?.unwrap_or_else(|| PauseState::never(tx.now()));
    if (stored.counter, stored.paused) == (state.counter, state.paused) {
        return Ok(stored);
    }
    let merged = stored.clone().merge(state);
    if merged == stored {
        return Ok(stored);
    }
    sqlx::query!(
        "insert into pause (paused, counter, reason, actor, at) values ($1, $2, $3, $4, from_unix_ms($5::bigint))
         on conflict (single) do update
         set paused = excluded.paused, counter = excluded.counter, reason = excluded.reason,
             actor = excluded.actor, at = excluded.at",
        merged.paused,
        signed(merged.counter),
        merged.reason,
        merged.actor,
        merged.at.as_millisecond(),
    )
    .execute(tx.connection())
    .await
    .map_err(Error::sql("store the pause"))?;
    tx.emit(|_| Event::Pause(merged.clone().into()));
    Ok(merged)
}
