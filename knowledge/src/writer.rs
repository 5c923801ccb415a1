//! The two lanes to the database: the ledger, where every write gets a revision, and bulk, for feedback and outcomes, so that
//! 50,000 feedback signals a second do not stand before a directive.

pub(crate) mod lane;

use std::collections::HashMap;
use std::sync::Arc;

use chassis::SharedClock;
use futures::future::BoxFuture;
use proto::{
    model::{FeedbackSignal, Outcome},
    wire::{self, change::Change as Event},
};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::batch::{self, Answer, Batch, Command, Emitted, Moved, Proposed, Writes};
use crate::hub::Hub;
use crate::metrics::Metrics;
use crate::store::Error;
use crate::store::{self, LedgerTx, Session};
use lane::{Execute, Lane};

/// Directives whose immutable part is remembered, twice: a life of 1 s at 2,000 a second. About 2 × 2,048 × 4 KB = 16 MB.
const BODIES: usize = 2_048;

/// Writes the ledger.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) session: Session,
    pub(crate) clock: SharedClock,
    pub(crate) hub: Arc<Hub>,
    /// This instance, so that it knows its own notifications.
    pub(crate) sender: Uuid,
    pub(crate) metrics: Metrics,
    pub(crate) bodies: Bodies,
}

impl Execute for Ledger {
    type Command = Command;
    type Answer = Answer;
    const GROUP_ROWS: usize = 4_096;

    fn rows(command: &Command) -> usize {
        command.rows()
    }

    async fn execute(&mut self, commands: &[&Command]) -> Result<Vec<Answer>, Error> {
        let mut tx = LedgerTx::begin(&mut self.session, self.clock.now()).await?;
        match self.decide(&mut tx, commands).await {
            Ok((answers, true)) => {
                let changes = tx.commit_written(&mut self.session).await?;
                self.publish(changes);
                answers.iter().for_each(|answer| self.count(answer));
                Ok(answers)
            }
            Ok((answers, false)) => {
                tx.rollback(&mut self.session).await;
                answers.iter().for_each(|answer| self.count(answer));
                Ok(answers)
            }
            Err(error) => {
                tx.rollback(&mut self.session).await;
                Err(error)
            }
        }
    }

    async fn end(&mut self) {
        self.session.close().await;
    }
}

impl Ledger {
    /// Decides about a group and writes it; also tells whether there was anything to write.
    async fn decide(
        &mut self,
        tx: &mut LedgerTx,
        commands: &[&Command],
    ) -> Result<(Vec<Answer>, bool), Error> {
        let (ids, keys) = batch::needed(commands.iter().copied());
        let mut loaded = store::directive::load(tx.connection(), &ids, &keys).await?;
        let holders = batch::holders(commands.iter().copied());
        store::standing::load_levels(tx.connection(), holders, &mut loaded).await?;
        let mut batch = Batch::new(loaded, tx.revision(), tx.now());
        let answers: Vec<Answer> = commands.iter().map(|command| batch.run(command)).collect();
        let writes = batch.finish();
        if writes.emitted.is_empty() {
            return Ok((answers, false));
        }
        self.remember_bodies(tx, &writes).await?;
        for emitted in &writes.emitted {
            let directive =
                self.bodies.get(emitted.id).ok_or(Error::Inconsistent("a directive without a body"))?;
            tx.emit(|revision| event(emitted, directive, revision));
        }
        let feed = tx.feed(self.sender)?;
        store::directive::write(tx.connection(), &writes, feed).await?;
        Ok((answers, true))
    }

    /// Loads what is not remembered. A batch that is rolled back leaves bodies behind that were never stored; they are
    /// never asked for.
    async fn remember_bodies(&mut self, tx: &mut LedgerTx, writes: &Writes) -> Result<(), Error> {
        self.bodies.turn();
        for (known, body) in &writes.inserted {
            self.bodies.put(known.stored.id, body.clone());
        }
        let missing: Vec<Uuid> = writes.moved.keys().copied().filter(|id| !self.bodies.touch(*id)).collect();
        if !missing.is_empty() {
            for (id, body) in store::directive::bodies(tx.connection(), &missing).await? {
                self.bodies.put(id, body);
            }
        }
        Ok(())
    }

    fn publish(&self, changes: Vec<Arc<wire::Change>>) {
        self.hub.publish(changes);
        self.metrics.revision.set(store::signed(self.hub.newest()));
    }

    fn count(&self, answer: &Answer) {
        match answer {
            Answer::Propose(proposed) => {
                let verdict = match proposed.verdict {
                    wire::ProposeVerdict::Accepted => "accepted",
                    wire::ProposeVerdict::AlreadyStored => "already_stored",
                    wire::ProposeVerdict::StaleGeneration => "stale_generation",
                    wire::ProposeVerdict::UnderWay => "under_way",
                    wire::ProposeVerdict::Unspecified => "unspecified",
                };
                self.metrics.proposals.with_label_values(&[verdict]).inc();
            }
            Answer::AboveLevel(_) => self.metrics.proposals.with_label_values(&["above_level"]).inc(),
            Answer::Transitions(moved) => {
                let recorded = moved.iter().filter(|moved| moved.recorded).count() as u64;
                self.metrics.transitions.with_label_values(&["recorded"]).inc_by(recorded);
                self.metrics
                    .transitions
                    .with_label_values(&["refused"])
                    .inc_by(moved.len() as u64 - recorded);
            }
        }
    }
}

fn event(emitted: &Emitted, directive: &wire::Directive, revision: u64) -> Event {
    Event::Directive(wire::DirectiveRecord {
        directive: Some(directive.clone()),
        state: emitted.state.into(),
        revision,
        changed_at_unix_ms: emitted.changed_at.as_millisecond(),
        history: Vec::new(),
        detail: emitted.detail.clone(),
    })
}

impl Lane<Ledger> {
    /// Offers a directive.
    pub(crate) async fn propose(&self, directive: proto::model::Directive) -> Result<Proposed, Error> {
        match self.ask(Command::Propose(Box::new(directive))).await? {
            Answer::Propose(proposed) => Ok(proposed),
            Answer::AboveLevel(why) => Err(Error::Precondition(why)),
            Answer::Transitions(_) => Err(Error::Inconsistent("an answer to another question")),
        }
    }

    /// Moves directives.
    pub(crate) async fn transitions(
        &self,
        transitions: Vec<proto::model::Transition>,
    ) -> Result<Vec<Moved>, Error> {
        match self.ask(Command::Transitions(transitions)).await? {
            Answer::Transitions(moved) => Ok(moved),
            Answer::Propose(_) | Answer::AboveLevel(_) => {
                Err(Error::Inconsistent("an answer to another question"))
            }
        }
    }

    /// Anything else that changes the ledger, in a transaction of its own.
    pub(crate) async fn transact<T, W>(&self, work: W) -> Result<T, Error>
    where
        T: Send + 'static,
        W: for<'t> FnOnce(&'t mut LedgerTx) -> BoxFuture<'t, Result<T, Error>> + Send + 'static,
    {
        self.alone(move |ledger| {
            Box::pin(async move {
                let mut tx = LedgerTx::begin(&mut ledger.session, ledger.clock.now()).await?;
                match work(&mut tx).await {
                    Ok(answer) => {
                        let changes = tx.commit(ledger.sender, &mut ledger.session).await?;
                        ledger.publish(changes);
                        Ok(answer)
                    }
                    Err(error) => {
                        tx.rollback(&mut ledger.session).await;
                        Err(error)
                    }
                }
            })
        })
        .await
    }
}

/// The immutable parts of the directives moved last: two maps, the older of which is dropped when the younger is full.
#[derive(Debug, Default)]
pub(crate) struct Bodies {
    young: HashMap<Uuid, wire::Directive>,
    old: HashMap<Uuid, wire::Directive>,
}

impl Bodies {
    /// Drops the older half when the younger is full; called between batches, so that a batch finds all it put.
    fn turn(&mut self) {
        if self.young.len() >= BODIES {
            self.old = std::mem::take(&mut self.young);
        }
    }

    fn put(&mut self, id: Uuid, body: wire::Directive) {
        self.young.insert(id, body);
    }

    /// Whether it is remembered; then it stays for longer.
    fn touch(&mut self, id: Uuid) -> bool {
        if let Some(body) = self.old.remove(&id) {
            self.young.insert(id, body);
        }
        self.young.contains_key(&id)
    }

    fn get(&self, id: Uuid) -> Option<&wire::Directive> {
        self.young.get(&id)
    }
}

/// Writes feedback signals and outcomes.
#[derive(Debug)]
pub(crate) struct Bulk {
    pub(crate) session: Session,
    pub(crate) metrics: Metrics,
}

/// What the bulk lane stores.
#[derive(Debug)]
pub(crate) enum Load {
    Feedback(Vec<FeedbackSignal>),
    Outcomes(Vec<Outcome>),
}

impl Execute for Bulk {
    type Command = Load;
    /// How many rows were new.
    type Answer = u64;
    const GROUP_ROWS: usize = 20_000;

    fn rows(command: &Load) -> usize {
        match command {
            Load::Feedback(signals) => signals.len(),
            Load::Outcomes(outcomes) => outcomes.len(),
        }
    }

    async fn execute(&mut self, commands: &[&Load]) -> Result<Vec<u64>, Error> {
        let (mut outcomes, mut signals) = (Vec::new(), Vec::<&[FeedbackSignal]>::new());
        for load in commands {
            match load {
                Load::Outcomes(more) => {
                    outcomes.extend(more);
                    signals.push(&[]);
                }
                Load::Feedback(more) => signals.push(more),
            }
        }
        let (mut connection, _) = self.session.begin("begin").await?;
        let stored = match insert(&mut connection, &outcomes, &signals).await {
            Ok(stored) => {
                self.session.commit(connection).await?;
                stored
            }
            Err(error) => {
                self.session.rollback(connection).await;
                return Err(error);
            }
        };
        let new: u64 = stored.iter().sum();
        let all: u64 = signals.iter().map(|signals| signals.len() as u64).sum();
        self.metrics.feedback.with_label_values(&["stored"]).inc_by(new);
        self.metrics.feedback.with_label_values(&["repeated"]).inc_by(all - new);
        Ok(stored)
    }

    async fn end(&mut self) {
        self.session.close().await;
    }
}

async fn insert(
    connection: &mut PgConnection,
    outcomes: &[&Outcome],
    signals: &[&[FeedbackSignal]],
) -> Result<Vec<u64>, Error> {
    store::outcome::insert(connection, outcomes).await?;
    store::feedback::insert(connection, signals).await
}
