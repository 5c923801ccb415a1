//! `slo delete KIND/NAME`: takes an imported document out of force. Its versions stay, and importing it again brings it back.

use super::slo;
use crate::{
    endpoints::Clients,
    output::{self, Format},
};
use chassis::exit;
use proto::{
    model::{DeclaredKind, openslo::Kind},
    wire,
};
use serde::Serialize;

#[derive(Debug, Serialize)]
struct Deleted {
    kind: String,
    name: String,
    version: u64,
}

/// Deletes it, unless something leans on it. Exit code 1: it is not there, or still needed.
pub(super) async fn delete(clients: &Clients, document: &str, format: Format) -> anyhow::Result<u8> {
    let parts = document.split_once('/');
    let Some((kind, name)) = parts.and_then(|(kind, name)| Some((parsed(kind)?, name))) else {
        eprintln!("homeostat: {document:?} is no document; name it KIND/NAME, for example SLO/checkout");
        return Ok(exit::USAGE);
    };
    let ids = match kind {
        Kind::Slo => of_slo(clients, name).await?,
        _ => Vec::new(),
    };
    if let Some(reason) = in_force(clients, &ids).await? {
        eprintln!("homeostat: {reason}");
        return Ok(exit::FAILED);
    }
    let request = wire::DeleteObjectiveRequest { kind: kind.to_string(), name: name.to_owned() };
    let gone = match slo::client(clients)?.delete_objective(request).await {
        Ok(answer) => answer.into_inner().document.unwrap_or_default(),
        Err(status) if matches!(status.code(), tonic::Code::NotFound | tonic::Code::FailedPrecondition) => {
            eprintln!("homeostat: {}", status.message());
            return Ok(exit::FAILED);
        }
        Err(status) => return Err(status.into()),
    };
    undeclare(clients, &ids).await?;
    let deleted = Deleted { kind: gone.kind, name: gone.name, version: gone.version };
    output::print(format, &deleted, |one| {
        format!("{}/{} is deleted; version {} says so in its history", one.kind, one.name, one.version)
    })?;
    Ok(exit::DONE)
}

/// The kind, in whatever case it was typed.
fn parsed(kind: &str) -> Option<Kind> {
    Kind::ALL.iter().copied().find(|known| known.as_str().eq_ignore_ascii_case(kind))
}

/// The objectives that the document makes.
async fn of_slo(clients: &Clients, name: &str) -> anyhow::Result<Vec<String>> {
    let found = slo::objectives(&slo::stored(clients).await?).unwrap_or_default();
    let own = |id: &str| id.rsplit('/').next().and_then(|last| last.split('#').next()) == Some(name);
    Ok(found.into_iter().map(|one| one.id).filter(|id| own(id)).collect())
}

/// What an error-budget policy holds in force would be left behind with nobody to take it back.
async fn in_force(clients: &Clients, ids: &[String]) -> anyhow::Result<Option<String>> {
    if ids.is_empty() {
        return Ok(None);
    }
    let tracked = clients.analyze()?.list_objective_states().await?;
    let held = tracked.iter().filter(|one| ids.contains(&one.objective)).find_map(|one| {
        let measures = &one.policy.as_ref()?.measures;
        let names: Vec<_> = measures.iter().map(|measure| measure.measure.to_string()).collect();
        (!names.is_empty()).then(|| (one.objective.clone(), names.join(", ")))
    });
    Ok(held.map(|(objective, measures)| {
        format!(
            "the error-budget policy of {objective} holds {measures} in force; import it without the policy first, which \
             takes them back"
        )
    }))
}

/// Takes back what the import declared for Analyze.
async fn undeclare(clients: &Clients, ids: &[String]) -> anyhow::Result<()> {
    let knowledge = clients.knowledge()?;
    for id in ids {
        let Some((namespace, name)) = id.split_once('/') else { continue };
        // Most have declared nothing: that it was not there is no failure.
        knowledge.delete_declared(DeclaredKind::Slo, namespace, name).await?;
    }
    Ok(())
}
