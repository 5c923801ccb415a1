//! `pause` and `resume`: the kill switch.

use super::person;
use crate::{cli::Reason, endpoints::Clients, output};
use chassis::exit;
use proto::model::PauseState;
use serde::Serialize;

#[derive(Debug, Serialize)]
struct Switch {
    #[serde(flatten)]
    state: PauseState,
    stored_in_knowledge: bool,
}

fn show(format: output::Format, state: PauseState, stored: bool) -> anyhow::Result<u8> {
    output::print(format, &Switch { state, stored_in_knowledge: stored }, |switch| {
        let PauseState { paused, counter, .. } = &switch.state;
        let word = if *paused { "paused: nothing is delivered" } else { "acting is allowed" };
        let kept = if switch.stored_in_knowledge {
            "kept in the local file and in Knowledge"
        } else {
            "kept in the local file; Knowledge cannot be reached now and gets it later"
        };
        format!("{word} (switch {counter}; {kept})")
    })?;
    Ok(exit::DONE)
}

/// `homeostat pause`.
///
/// # Errors
/// When Execute cannot be reached.
pub async fn pause(clients: Clients, reason: Reason) -> anyhow::Result<u8> {
    let (state, stored) = clients.execute()?.pause(&reason.reason, &person()).await?;
    show(reason.output.output, state, stored)
}

/// `homeostat resume`.
///
/// # Errors
/// When Execute cannot be reached.
pub async fn resume(clients: Clients, reason: Reason) -> anyhow::Result<u8> {
    let (state, stored) = clients.execute()?.resume(&reason.reason, &person()).await?;
    show(reason.output.output, state, stored)
}
