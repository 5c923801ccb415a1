//! Asks Prometheus servers what the queries of imported objectives give, and tells the objectives: one round per interval, each
//! query once however many objectives share it, and silence is told as such.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chassis::{Context, OnFailure};
use futures::stream::{self, StreamExt};
use jiff::Timestamp;
use tokio::time::MissedTickBehavior;

use super::core::Core;
use super::prometheus::{Asker, AskerError, PrometheusConfig};
use crate::slo::objective::Promql;
use crate::slo::queried::Answer;
use crate::slo::rules;

/// Questions under way at once: a Prometheus answers 20 at once by default, and others ask it too.
const QUESTIONS_AT_ONCE: usize = 8;
/// Queries of one round; those beyond are told as not asked.
const QUESTIONS_MAX: usize = 5_000;

pub(super) fn spawn(ctx: &Context, core: Arc<Core>, config: PrometheusConfig) -> Result<(), AskerError> {
    let asker = Asker::new(config.clone())?;
    let (stopper, clock) = (ctx.stopper.clone(), ctx.clock.clone());
    ctx.tasks.spawn("analyze-queries", OnFailure::StopProcess, async move {
        let mut interval = tokio::time::interval(config.interval);
        interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                () = stopper.stopped() => return Ok(()),
                _ = interval.tick() => {}
            }
            let questions = core.book().questions();
            if questions.is_empty() {
                continue;
            }
            let at = whole_millisecond(clock.now());
            let answers = tokio::select! {
                () = stopper.stopped() => return Ok(()),
                answers = ask_all(&asker, &config, questions, at) => answers,
            };
            core.answered(at, config.interval, &answers);
        }
    });
    Ok(())
}

async fn ask_all(
    asker: &Asker,
    config: &PrometheusConfig,
    questions: BTreeSet<Promql>,
    at: Timestamp,
) -> BTreeMap<Promql, Answer> {
    let ask = |question: Promql| async move {
        let answer = match question.server.as_ref().or(config.url.as_ref()) {
            Some(server) => asker.ask(server, &rules::instant(&question), at).await,
            None => Err(
                "no server is named: give its DataSource connectionDetails.url, or Analyze prometheus.url"
                    .to_owned(),
            ),
        };
        (question, answer)
    };
    let asked = questions.into_iter().take(QUESTIONS_MAX).map(ask);
    stream::iter(asked).buffer_unordered(QUESTIONS_AT_ONCE).collect().await
}

/// The wire has milliseconds; cutting here keeps what is recorded equal to what is remembered.
fn whole_millisecond(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at)
}
