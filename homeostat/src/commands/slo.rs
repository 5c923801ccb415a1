//! `slo`: import, review, lint and export objectives. What stands in a file needs no control plane.

use crate::{
    cli_slo::{Files, Slo},
    endpoints::Clients,
    output::{self, Format, number, table},
};
use analyze::slo::{
    lint::{self, Weight},
    objective::{Indicator, ObjectiveSpec, Query, resolve},
    period::Period,
    rules,
};
use anyhow::Context as _;
use chassis::exit;
use proto::{
    model::{
        Declared, DeclaredKind, DeclaredSpec, Objective, SloSpec,
        openslo::{self, Document, Kind},
    },
    wire::{self, objectives_client::ObjectivesClient},
};
use serde::Serialize;
use std::{collections::BTreeMap, io::Read, path::PathBuf, time::Duration};
use tonic::transport::Channel;

mod simulate;

/// One objective as `slo list` shows it.
#[derive(Debug, Clone, Serialize)]
struct Row {
    objective: String,
    title: String,
    service: String,
    target: f64,
    window_s: u64,
    alerts: usize,
    policy: bool,
}

fn row(objective: &ObjectiveSpec) -> Row {
    Row {
        objective: objective.id.clone(),
        title: objective.title.clone(),
        service: format!("{}/{}", objective.namespace, objective.service),
        target: objective.target,
        window_s: objective.period.span().as_secs(),
        alerts: objective.rules.len(),
        policy: objective.policy.is_some(),
    }
}

/// The commands that need no control plane when files are given; `None`: it must be asked.
///
/// # Errors
/// When a file cannot be read, or its documents are not valid.
pub fn offline(command: &Slo) -> Option<anyhow::Result<u8>> {
    match command {
        Slo::Lint { files, scrape, output } if !files.files.is_empty() => {
            Some(read(files).and_then(|documents| lint(&documents, *scrape, output.output)))
        }
        Slo::Rules { files } if !files.files.is_empty() => {
            Some(read(files).and_then(|documents| write_rules(&documents)))
        }
        Slo::Export { files } if !files.files.is_empty() => {
            Some(read(files).and_then(|documents| export(&documents)))
        }
        Slo::Simulate { seed, runs, output } => Some(simulate::simulate(*seed, *runs, output.output)),
        _ => None,
    }
}

/// Runs one of the `slo` commands.
///
/// # Errors
/// When Knowledge or Analyze cannot be reached or refuses.
pub async fn run(clients: Clients, command: Slo) -> anyhow::Result<u8> {
    match command {
        Slo::Import { files, output } => import(&clients, &read(&files)?, output.output).await,
        Slo::Simulate { seed, runs, output } => simulate::simulate(seed, runs, output.output),
        Slo::Delete { document, output } => {
            super::slo_delete::delete(&clients, &document, output.output).await
        }
        Slo::List { output } => {
            let rows: Vec<Row> = objectives(&stored(&clients).await?)?.iter().map(row).collect();
            output::print(output.output, &rows, |rows| show_rows(rows))?;
            Ok(exit::DONE)
        }
        Slo::Status { output } => super::slo_history::status(&clients, output.output).await,
        Slo::History { objective, limit, output } => {
            super::slo_history::history(&clients, &objective, limit, output.output).await
        }
        Slo::Gate { service, output } => super::slo_gate::gate(&clients, &service, output.output).await,
        Slo::Approve(word) => super::slo_word::record(&clients, "approved", word).await,
        Slo::Review(word) => super::slo_word::record(&clients, "reviewed", word).await,
        Slo::Report { objective, window, output } => {
            super::slo_history::report(&clients, objective.as_deref(), window, output.output).await
        }
        Slo::Lint { scrape, output, .. } => lint(&stored(&clients).await?, scrape, output.output),
        Slo::Rules { .. } => write_rules(&stored(&clients).await?),
        Slo::Export { .. } => export(&stored(&clients).await?),
    }
}

/// The service of objectives, on Knowledge's port.
pub(super) fn client(clients: &Clients) -> anyhow::Result<ObjectivesClient<Channel>> {
    Ok(ObjectivesClient::new(clients.channel(&clients.endpoints.knowledge)?)
        .max_decoding_message_size(proto::client::MESSAGE_LIMIT_BYTES))
}

fn read(files: &Files) -> anyhow::Result<Vec<Document>> {
    let mut documents = Vec::new();
    for file in paths(&files.files)? {
        let text = if file.as_os_str() == "-" {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
            text
        } else {
            std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?
        };
        documents.extend(openslo::read(&text).with_context(|| format!("{} is refused", file.display()))?);
    }
    anyhow::ensure!(!documents.is_empty(), "there is no OpenSLO document to read");
    Ok(documents)
}

/// Files as they are, and every YAML file of a directory in the order of their names.
fn paths(given: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in given {
        if !path.is_dir() {
            found.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut inside: Vec<PathBuf> =
            entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
        inside.retain(|file| file.extension().is_some_and(|end| end == "yaml" || end == "yml"));
        inside.sort();
        found.extend(inside);
    }
    Ok(found)
}

/// Every document that is in force.
pub(super) async fn stored(clients: &Clients) -> anyhow::Result<Vec<Document>> {
    let request = wire::ListObjectivesRequest::default();
    let listed = client(clients)?.list_objectives(request).await?.into_inner().documents;
    let mut documents = Vec::new();
    for document in listed {
        documents
            .extend(openslo::read(&document.body).context("Knowledge holds a document that cannot be read")?);
    }
    Ok(documents)
}

/// The objectives of documents.
pub(super) fn objectives(documents: &[Document]) -> anyhow::Result<Vec<ObjectiveSpec>> {
    resolve(documents).map_err(|wrong| {
        let said: Vec<String> = wrong.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{}", said.join("; "))
    })
}

async fn import(clients: &Clients, documents: &[Document], format: Format) -> anyhow::Result<u8> {
    // What they refer to may have come with an earlier file.
    let mut all: BTreeMap<(Kind, String), Document> = BTreeMap::new();
    for document in stored(clients).await?.into_iter().chain(documents.iter().cloned()) {
        all.insert((document.kind(), document.metadata.name.clone()), document);
    }
    let all: Vec<Document> = all.into_values().collect();
    let found = match objectives(&all) {
        Ok(found) => found,
        Err(error) => {
            eprintln!("homeostat: {error:#}; nothing was imported");
            return Ok(exit::USAGE);
        }
    };
    let mut wanted = Vec::new();
    for document in documents {
        let body = openslo::write_one(document)?;
        let (kind, name) = (document.kind().to_string(), document.metadata.name.clone());
        wanted.push(wire::ObjectiveDocument { kind, name, body, ..Default::default() });
    }
    let request = wire::ImportObjectivesRequest { documents: wanted };
    client(clients)?.import_objectives(request).await?;
    for finding in lint::lint(&found, SCRAPE).into_iter().filter(|finding| finding.weight == Weight::Error) {
        eprintln!("homeostat: {}: {}", finding.objective, finding.text);
    }
    let imported = |row: &ObjectiveSpec| {
        let name =
            row.id.rsplit('/').next().unwrap_or_default().split('#').next().unwrap_or_default().to_owned();
        documents.iter().any(|document| document.kind() == Kind::Slo && document.metadata.name == name)
    };
    let declared = declared(clients, found.iter().filter(|one| imported(one))).await?;
    if !declared.is_empty() {
        clients.knowledge()?.apply(declared).await?;
    }
    let rows: Vec<Row> = found.iter().filter(|one| imported(one)).map(row).collect();
    output::print(format, &rows, |rows| show_rows(rows))?;
    Ok(exit::DONE)
}

/// What Analyze tracks from now on: objectives on the share of bad requests of a declared service, over a rolling window. The bound
/// of latency stays the service's own: it is part of what counts as bad there.
async fn declared<'a>(
    clients: &Clients,
    objectives: impl Iterator<Item = &'a ObjectiveSpec>,
) -> anyhow::Result<Vec<Declared>> {
    let mut documents = Vec::new();
    for one in objectives.filter(|one| !one.id.contains('#')) {
        let (Indicator::Ratio { query: Query::Signal(signal), of_bad: true, .. }, Period::Rolling(window)) =
            (&one.indicator, &one.period)
        else {
            continue;
        };
        if signal != BAD_RATIO {
            continue;
        }
        let listed = clients
            .knowledge()?
            .list_declared(Some(DeclaredKind::Service), &one.namespace, &one.service)
            .await?;
        let Some(DeclaredSpec::Service(service)) =
            listed.documents.into_iter().map(|document| document.spec).next()
        else {
            eprintln!(
                "homeostat: {}: there is no declared service {}/{}",
                one.id, one.namespace, one.service
            );
            continue;
        };
        let latency_bound = service.objective.and_then(|objective| objective.latency_bound);
        let objective = Objective { target_ratio: one.target, latency_bound, window: *window };
        let document = Declared {
            namespace: one.namespace.clone(),
            name: one.id.rsplit('/').next().unwrap_or(&one.id).to_owned(),
            spec: DeclaredSpec::Slo(SloSpec { service: one.service.clone(), objective }),
            version: 0,
            applied_at: None,
        };
        document.validate().with_context(|| format!("{} cannot be tracked", one.id))?;
        documents.push(document);
    }
    Ok(documents)
}

/// The signal of a service that says which share of its requests was bad.
const BAD_RATIO: &str = "bad_ratio";

/// The usual scrape interval of Prometheus.
const SCRAPE: Duration = Duration::from_secs(60);

fn lint(documents: &[Document], scrape: Duration, format: Format) -> anyhow::Result<u8> {
    let found = lint::lint(&objectives(documents)?, scrape);
    output::print(format, &found, |found| {
        let lines = found.iter().map(|finding| {
            let weight = format!("{:?}", finding.weight).to_lowercase();
            [weight, finding.objective.clone(), finding.rule.to_owned(), finding.text.clone()]
        });
        table(["WEIGHT", "OBJECTIVE", "RULE", "WHAT"], lines)
    })?;
    let broken = found.iter().any(|finding| finding.weight == Weight::Error);
    Ok(if broken { exit::NEGATIVE } else { exit::DONE })
}

fn write_rules(documents: &[Document]) -> anyhow::Result<u8> {
    let (file, without) = rules::rules(&objectives(documents)?);
    for missing in &without {
        eprintln!("homeostat: no rules for {missing}");
    }
    anyhow::ensure!(!file.groups.is_empty(), "no objective can be evaluated by Prometheus");
    print!("{}", serde_yaml_ng::to_string(&file)?);
    Ok(exit::DONE)
}

fn export(documents: &[Document]) -> anyhow::Result<u8> {
    print!("{}", openslo::write(documents)?);
    Ok(exit::DONE)
}

fn show_rows(rows: &[Row]) -> String {
    let lines = rows.iter().map(|row| {
        [
            row.objective.clone(),
            row.title.clone(),
            row.service.clone(),
            format!("{} %", number(Some(row.target * 100.0))),
            humantime::format_duration(Duration::from_secs(row.window_s)).to_string(),
            row.alerts.to_string(),
            if row.policy { "yes" } else { "no" }.to_owned(),
        ]
    });
    table(["OBJECTIVE", "TITLE", "SERVICE", "TARGET", "WINDOW", "ALERTS", "POLICY"], lines)
}
