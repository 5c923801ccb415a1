//! Execute in-process, spoken to over real sockets through its own client, between stand-ins for Knowledge and Analyze.

#![expect(clippy::unwrap_used, reason = "in a test, an unwrap is an assertion")]

mod api;
mod leases;
mod outage;
mod pause;
mod puppet;
mod saga;
mod speed;

use std::time::Duration;

use execute::testing::{FakeKnowledge, Stage, id};
use proto::model::{Directive, DirectiveState, ExpectedEffect, Generation};

/// Long enough for a busy machine; nothing waits for it when all goes well.
const SOON: Duration = Duration::from_secs(30);

/// A copy as of now, planned against generation `parent`, that expires in a minute.
fn dated(stage: &Stage, number: u64, parent: u64, directive: Directive) -> Directive {
    let now = stage.ctx.clock.now();
    let expires_at = now + Duration::from_secs(60);
    let parent_generation = Generation(parent);
    Directive { id: id(number), created_at: now, expires_at, parent_generation, ..directive }
}

fn promise(signal: &str, upper: f64, breach_is_harm: bool) -> ExpectedEffect {
    ExpectedEffect { resource: None, signal: signal.to_owned(), lower: 0.0, upper, breach_is_harm }
}

async fn reaches(knowledge: &FakeKnowledge, directive: uuid::Uuid, state: DirectiveState) {
    let what = format!("{directive} becomes {state}");
    let look = || async { (knowledge.state(directive) == Some(state)).then_some(()) };
    chassis::testing::eventually(SOON, &what, look).await;
}
