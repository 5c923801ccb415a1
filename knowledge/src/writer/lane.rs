//! A lane to the database: one task that takes commands from a bounded queue and commits all that wait as one group. Nothing is
//! answered before its commit. One bad command does not take the others down: a group that fails is tried one by one.

use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use crate::metrics::LaneMetrics;
use crate::store::Error;
use crate::store::within;

/// Commands that may wait: at 8,000 a second half a second's worth, as a 0.5 s stall of the disk would leave behind.
const QUEUE_COMMANDS: usize = 4_096;
/// Commands in one transaction. 512 of them take about 20 ms, which is what the last of them waits at most.
const GROUP_COMMANDS: usize = 512;
/// How long a command may wait for room in a full queue.
const ENQUEUE_DEADLINE: Duration = Duration::from_secs(2);
/// How long a group may take: 50 times the usual. A database that hangs is then given up, not waited for.
const GROUP_DEADLINE: Duration = Duration::from_secs(10);

/// What a lane does with its commands.
pub(crate) trait Execute: Send + Sized + 'static {
    /// What it is asked.
    type Command: Send + Sync + 'static;
    /// What it answers.
    type Answer: Send + 'static;
    /// Most rows in one group; a command that alone has more goes alone.
    const GROUP_ROWS: usize;

    /// Rows that a command may write.
    fn rows(command: &Self::Command) -> usize;

    /// Carries out all commands in one transaction, in order, and answers each.
    fn execute(
        &mut self,
        commands: &[&Self::Command],
    ) -> impl Future<Output = Result<Vec<Self::Answer>, Error>> + Send;

    /// Lets go of the database, after the last command.
    fn end(&mut self) -> impl Future<Output = ()> + Send;
}

type Alone<E> = Box<dyn for<'e> FnOnce(&'e mut E) -> BoxFuture<'e, ()> + Send>;

enum Order<E: Execute> {
    Group(E::Command, oneshot::Sender<Result<E::Answer, Error>>),
    /// In a transaction of its own.
    Alone(Alone<E>),
}

/// Where commands are handed in. Clones share the lane; it ends when all are gone.
pub(crate) struct Lane<E: Execute> {
    queue: mpsc::Sender<Order<E>>,
}

impl<E: Execute> Clone for Lane<E> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone() }
    }
}

impl<E: Execute> std::fmt::Debug for Lane<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lane").field("room", &self.queue.capacity()).finish()
    }
}

impl<E: Execute> Lane<E> {
    /// A lane, and the work that must run for it.
    pub(crate) fn new(executor: E, metrics: LaneMetrics) -> (Self, Worker<E>) {
        let (queue, orders) = mpsc::channel(QUEUE_COMMANDS);
        (Self { queue }, Worker { executor, orders, metrics })
    }

    /// Has a command carried out with others; the answer is durable.
    pub(crate) async fn ask(&self, command: E::Command) -> Result<E::Answer, Error> {
        let (reply, answer) = oneshot::channel();
        self.enqueue(Order::Group(command, reply)).await?;
        answer.await.unwrap_or(Err(Error::Stopping))
    }

    /// Has something done between groups; its answer is whatever it sends.
    pub(crate) async fn alone<T, W>(&self, work: W) -> Result<T, Error>
    where
        T: Send + 'static,
        W: for<'e> FnOnce(&'e mut E) -> BoxFuture<'e, Result<T, Error>> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let run: Alone<E> = Box::new(move |executor| {
            Box::pin(async move {
                // A caller that has gone away does not need the answer.
                let _ = reply.send(within(GROUP_DEADLINE, work(executor)).await);
            })
        });
        self.enqueue(Order::Alone(run)).await?;
        answer.await.unwrap_or(Err(Error::Stopping))
    }

    async fn enqueue(&self, order: Order<E>) -> Result<(), Error> {
        match self.queue.send_timeout(order, ENQUEUE_DEADLINE).await {
            Ok(()) => Ok(()),
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => Err(Error::Overloaded),
            Err(mpsc::error::SendTimeoutError::Closed(_)) => Err(Error::Stopping),
        }
    }
}

/// The task behind a lane.
pub(crate) struct Worker<E: Execute> {
    executor: E,
    orders: mpsc::Receiver<Order<E>>,
    metrics: LaneMetrics,
}

type Waiting<E> = (<E as Execute>::Command, oneshot::Sender<Result<<E as Execute>::Answer, Error>>);

impl<E: Execute> Worker<E> {
    /// Works until every [`Lane`] is gone, or `cut` resolves; then it still does what is queued.
    pub(crate) async fn run(mut self, cut: impl Future<Output = ()>) {
        let mut orders = Vec::with_capacity(GROUP_COMMANDS);
        let mut cut = Box::pin(cut);
        let mut open = true;
        loop {
            tokio::select! {
                () = &mut cut, if open => {
                    open = false;
                    self.orders.close();
                }
                taken = self.orders.recv_many(&mut orders, GROUP_COMMANDS) => {
                    if taken == 0 {
                        return self.executor.end().await;
                    }
                    self.metrics.queued.set(i64::try_from(self.orders.len()).unwrap_or(i64::MAX));
                    self.work(&mut orders).await;
                }
            }
        }
    }

    async fn work(&mut self, orders: &mut Vec<Order<E>>) {
        let (mut group, mut rows) = (Vec::new(), 0);
        for order in orders.drain(..) {
            match order {
                Order::Group(command, reply) => {
                    let more = E::rows(&command);
                    if rows + more > E::GROUP_ROWS {
                        self.commit(std::mem::take(&mut group)).await;
                        rows = 0;
                    }
                    rows += more;
                    group.push((command, reply));
                }
                Order::Alone(run) => {
                    self.commit(std::mem::take(&mut group)).await;
                    rows = 0;
                    run(&mut self.executor).await;
                }
            }
        }
        self.commit(group).await;
    }

    async fn commit(&mut self, group: Vec<Waiting<E>>) {
        if group.is_empty() {
            return;
        }
        match self.attempt(&group).await {
            Ok(answers) => {
                for ((_, reply), answer) in group.into_iter().zip(answers) {
                    let _ = reply.send(Ok(answer));
                }
            }
            Err(error) if error.may_be_one_row() && group.len() > 1 => {
                self.metrics.split.inc();
                for waiting in group {
                    let one = [waiting];
                    let answer = self.attempt(&one).await.map(|mut answers| answers.remove(0));
                    let [(_, reply)] = one;
                    let _ = reply.send(answer);
                }
            }
            Err(error) => {
                for (_, reply) in group {
                    let _ = reply.send(Err(error.clone()));
                }
            }
        }
    }

    async fn attempt(&mut self, group: &[Waiting<E>]) -> Result<Vec<E::Answer>, Error> {
        let commands: Vec<&E::Command> = group.iter().map(|(command, _)| command).collect();
        let timer = self.metrics.seconds.start_timer();
        let result = within(GROUP_DEADLINE, self.executor.execute(&commands)).await;
        timer.observe_duration();
        self.metrics.commands.observe(commands.len() as f64);
        match &result {
            Ok(answers) if answers.len() == commands.len() => {}
            Ok(_) => return Err(Error::Inconsistent("a command without an answer")),
            Err(error) => {
                self.metrics.failures.inc();
                tracing::warn!(
                    commands = commands.len(),
                    "a group was not committed: {}",
                    chassis::chain(error)
                );
            }
        }
        result
    }
}
