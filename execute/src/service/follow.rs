//! What Execute follows: the ledger's directives and Analyze's assessments. Each stream starts over by itself; a snapshot
//! comes first every time, so that nothing depends on where the last stream broke.

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use proto::client::{Analyze, Error, Knowledge};
use proto::model::{DirectiveRecord, DirectiveState};

use super::shared::Shared;

/// Histories that are read at once after a restart: they come from one database.
const READS_MAX: usize = 32;

/// Follows the ledger until the stream breaks.
pub(super) async fn directives(shared: &Shared, knowledge: &Knowledge) -> Result<(), Error> {
    let mut stream = knowledge.watch_directives(0, true).await?;
    let mut reads = FuturesUnordered::new();
    loop {
        tokio::select! {
            // What comes from the stream is decided on at once; histories are for what a restart interrupted.
            biased;
            record = stream.next(), if reads.len() < READS_MAX => match record {
                Ok(Some(record)) if is_interrupted(shared, &record) => reads.push(with_history(knowledge, record)),
                Ok(Some(record)) => shared.with(|engine, now| engine.ledger(record, now.wall)),
                Ok(None) => break,
                Err(error @ Error::Answer { .. }) => refused(shared, "knowledge", &error),
                Err(error) => return Err(error),
            },
            Some(record) = reads.next() => shared.with(|engine, now| engine.ledger(record, now.wall)),
        }
    }
    while let Some(record) = reads.next().await {
        shared.with(|engine, now| engine.ledger(record, now.wall));
    }
    Ok(())
}

/// Follows the assessments of all declared resources until the stream breaks.
pub(super) async fn assessments(shared: &Shared, analyze: &Analyze) -> Result<(), Error> {
    let mut stream = analyze.watch_assessments(Vec::new()).await?;
    loop {
        match stream.next().await {
            Ok(Some(assessment)) => shared.with(|engine, now| engine.assess(assessment, now.wall)),
            Ok(None) => return Ok(()),
            Err(error @ Error::Answer { .. }) => refused(shared, "analyze", &error),
            Err(error) => return Err(error),
        }
    }
}

/// Under way, and not by us: only its history tells when it was sent and applied.
fn is_interrupted(shared: &Shared, record: &DirectiveRecord) -> bool {
    let DirectiveRecord { directive, state, history, .. } = record;
    let tells = matches!(
        state,
        DirectiveState::Delivered
            | DirectiveState::Accepted
            | DirectiveState::Applied
            | DirectiveState::Verifying
            | DirectiveState::Unknown
    );
    tells && history.is_empty() && shared.with(|engine, _| engine.state(directive.id).is_none())
}

/// The directive with its history, or without where that cannot be read: then the last change stands for it.
async fn with_history(knowledge: &Knowledge, record: DirectiveRecord) -> DirectiveRecord {
    match knowledge.get_directive(record.directive.id).await {
        Ok(whole) => whole,
        Err(error) => {
            tracing::warn!(directive = %record.directive.id, "no history: {}", chassis::chain(&error));
            record
        }
    }
}

fn refused(shared: &Shared, from: &str, error: &Error) {
    shared.metrics.refused_input.with_label_values(&[from]).inc();
    tracing::error!("left out: {}", chassis::chain(error));
}
