//! Writes down what the control plane says and does during a run, over the same streams that anyone can follow.

use crate::endpoints::Clients;
use chassis::{Backoff, Context};
use jiff::Timestamp;
use proto::{
    client::{Analyze, Knowledge},
    model::{Assessment, DirectiveRecord, Outcome, ResourceId, Symptom},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use uuid::Uuid;

/// What was seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recorded {
    /// Each symptom in its newest form.
    pub symptoms: BTreeMap<String, (ResourceId, Symptom)>,
    /// Each directive's changes, in order.
    pub directives: BTreeMap<Uuid, Vec<DirectiveRecord>>,
    /// Verdicts.
    pub outcomes: Vec<Outcome>,
}

/// A recording that runs.
#[derive(Debug)]
pub(crate) struct Recorder {
    seen: Arc<Mutex<Recorded>>,
    ctx: Context,
    knowledge: Knowledge,
    since: Timestamp,
}

/// Verdicts of one run: a few dozen directives at most.
const OUTCOMES_READ: u32 = 1_000;
/// How long the recorder's own tasks get to end.
const JOIN_LIMIT: Duration = Duration::from_secs(2);

impl Recorder {
    /// Follows assessments and directives until stopped.
    pub(crate) fn start(clients: &Clients, ctx: &Context) -> anyhow::Result<Self> {
        let seen = Arc::new(Mutex::new(Recorded::default()));
        let (knowledge, analyze) = (clients.knowledge()?, clients.analyze()?);
        let since = ctx.clock.now();
        let ctx = ctx.sub();
        ctx.tasks.spawn_loop("demo-symptoms", Backoff::default(), {
            let seen = Arc::clone(&seen);
            move || follow_symptoms(analyze.clone(), Arc::clone(&seen))
        });
        ctx.tasks.spawn_loop("demo-directives", Backoff::default(), {
            let (seen, knowledge) = (Arc::clone(&seen), knowledge.clone());
            move || follow_directives(knowledge.clone(), since, Arc::clone(&seen))
        });
        Ok(Self { seen, ctx, knowledge, since })
    }

    /// Stops, and adds each directive's full history and verdict.
    pub(crate) async fn stop(self) -> Recorded {
        self.ctx.stopper.stop();
        self.ctx.tasks.join(JOIN_LIMIT).await;
        let mut recorded = lock(&self.seen).clone();
        for (id, records) in &mut recorded.directives {
            match self.knowledge.get_directive(*id).await {
                Ok(record) => records.push(record),
                Err(error) => tracing::warn!(%id, %error, "the directive's history cannot be read"),
            }
        }
        match self.knowledge.list_outcomes(None, OUTCOMES_READ).await {
            Ok(outcomes) => {
                recorded.outcomes = outcomes.into_iter().filter(|outcome| outcome.at >= self.since).collect();
            }
            Err(error) => tracing::warn!(%error, "the outcomes cannot be read"),
        }
        recorded
    }
}

fn lock(seen: &Mutex<Recorded>) -> std::sync::MutexGuard<'_, Recorded> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn follow_symptoms(analyze: Analyze, seen: Arc<Mutex<Recorded>>) -> anyhow::Result<()> {
    let mut stream = analyze.watch_assessments(Vec::new()).await?;
    while let Some(Assessment { resource, symptoms, .. }) = stream.next().await? {
        let mut seen = lock(&seen);
        for symptom in symptoms {
            seen.symptoms.insert(symptom.id.clone(), (resource.clone(), symptom));
        }
    }
    Ok(())
}

async fn follow_directives(
    knowledge: Knowledge,
    since: Timestamp,
    seen: Arc<Mutex<Recorded>>,
) -> anyhow::Result<()> {
    let mut stream = knowledge.watch_directives(0, true).await?;
    while let Some(record) = stream.next().await? {
        if record.directive.created_at >= since {
            lock(&seen).directives.entry(record.directive.id).or_default().push(record);
        }
    }
    Ok(())
}
