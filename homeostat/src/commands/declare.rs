//! `apply`, `get` and `delete`.

use crate::{
    endpoints::Clients,
    output::{self, Format, table},
};
use anyhow::Context as _;
use chassis::exit;
use proto::model::{Declared, DeclaredKind, DeclaredSpec, yaml};
use serde::Serialize;
use std::{io::Read, path::PathBuf};

/// One declared document as listings show it.
#[derive(Debug, Serialize)]
struct Row {
    kind: DeclaredKind,
    namespace: String,
    name: String,
    version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    applied_at: Option<String>,
    spec: serde_json::Value,
}

fn row(document: &Declared) -> anyhow::Result<Row> {
    // The text form is the one that people wrote; it is shown again as they know it.
    let text: serde_yaml_ng::Value = serde_yaml_ng::from_str(&yaml::write(document)?)?;
    let spec = text.get("spec").cloned().unwrap_or_default();
    Ok(Row {
        kind: document.kind(),
        namespace: document.namespace.clone(),
        name: document.name.clone(),
        version: document.version,
        applied_at: document.applied_at.map(|at| at.to_string()),
        spec: serde_json::to_value(spec)?,
    })
}

fn brief(document: &Declared) -> String {
    match &document.spec {
        DeclaredSpec::Service(service) => {
            let objective = service.objective.as_ref().map_or("no objective".to_owned(), |objective| {
                format!("{} % good", objective.target_ratio * 100.0)
            });
            format!("{objective}, {} edge(s)", service.edges.len())
        }
        DeclaredSpec::Policy(policy) => {
            let scale = policy.scale.map_or("not scaled".to_owned(), |scale| {
                format!("{} to {} replicas", scale.minimum_replicas, scale.maximum_replicas)
            });
            format!("for {}, {}, {scale}", policy.service, policy.autonomy)
        }
        DeclaredSpec::Slo(slo) => {
            format!("for {}, {} % good", slo.service, slo.objective.target_ratio * 100.0)
        }
    }
}

fn show(format: Format, documents: &[Declared]) -> anyhow::Result<()> {
    let rows = documents.iter().map(row).collect::<anyhow::Result<Vec<_>>>()?;
    output::print(format, &rows, |_| {
        let lines = documents.iter().map(|document| {
            [
                document.kind().to_string(),
                format!("{}/{}", document.namespace, document.name),
                document.version.to_string(),
                brief(document),
            ]
        });
        table(["KIND", "NAME", "VERSION", "WHAT"], lines)
    })
}

/// `homeostat apply -f FILE`.
///
/// # Errors
/// When the file or one of its documents is refused; then nothing is applied.
pub async fn apply(clients: Clients, file: PathBuf, format: Format) -> anyhow::Result<u8> {
    let text = if file.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
        text
    } else {
        match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) => {
                eprintln!("homeostat: cannot read {}: {error}; nothing was applied", file.display());
                return Ok(exit::USAGE);
            }
        }
    };
    let documents = match yaml::read(&text) {
        Ok(documents) => documents,
        Err(error) => {
            eprintln!("homeostat: {}: {}; nothing was applied", file.display(), chassis::chain(&error));
            return Ok(exit::USAGE);
        }
    };
    let applied = clients.knowledge()?.apply(documents).await?;
    show(format, &applied)?;
    Ok(exit::DONE)
}

/// `homeostat get KIND [NAME]`.
///
/// # Errors
/// When Knowledge cannot be reached.
pub async fn get(
    clients: Clients,
    kind: DeclaredKind,
    name: Option<String>,
    format: Format,
) -> anyhow::Result<u8> {
    let (namespace, name) = match name.as_deref() {
        Some(text) => text.split_once('/').unwrap_or(("", text)),
        None => ("", ""),
    };
    let list = clients.knowledge()?.list_declared(Some(kind), namespace, name).await?;
    show(format, &list.documents)?;
    if name.is_empty() || !list.documents.is_empty() {
        return Ok(exit::DONE);
    }
    let place = if namespace.is_empty() { String::new() } else { format!("{namespace}/") };
    anyhow::bail!("there is no {kind} {place}{name}; `homeostat get {kind}` lists what there is")
}

/// `homeostat delete KIND NAME`.
///
/// # Errors
/// When Knowledge cannot be reached.
pub async fn delete(clients: Clients, kind: DeclaredKind, name: String) -> anyhow::Result<u8> {
    let (namespace, name) = name.split_once('/').unwrap_or(("default", &name));
    if clients.knowledge()?.delete_declared(kind, namespace, name).await? {
        println!("{kind} {namespace}/{name} deleted");
        Ok(exit::DONE)
    } else {
        anyhow::bail!("there is no {kind} {namespace}/{name}; `homeostat get {kind}` lists what there is")
    }
}
