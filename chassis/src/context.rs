//! What every running part is handed: time, ids, its end, its tasks, its metrics. Nothing is global.

use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use crate::clock::{SharedClock, SystemClock};
use crate::ids::IdGenerator;
use crate::stopper::Stopper;
use crate::tasks::Tasks;

/// The furniture of one running part. Clones share everything.
///
/// The fields are public so that a test can replace one:
/// `Context { clock: manual.clone(), ..Context::testing(7) }`, or give a second instance of a service
/// its own metrics: `Context { metrics: Default::default(), ..ctx.sub() }`.
#[derive(Debug, Clone)]
pub struct Context {
    /// What time it is.
    pub clock: SharedClock,
    /// Where ids and chance come from.
    pub ids: Arc<Mutex<IdGenerator>>,
    /// When to end.
    pub stopper: Stopper,
    /// Where background work lives.
    pub tasks: Tasks,
    /// Where metrics are registered.
    pub metrics: prometheus::Registry,
}

impl Context {
    /// For production: the machine's clock, unpredictable ids.
    #[must_use]
    pub fn system() -> Self {
        Self::build(IdGenerator::from_entropy())
    }

    /// For tests: ids that the seed repeats. The clock is still the machine's; replace it where time matters.
    #[must_use]
    pub fn testing(seed: u64) -> Self {
        Self::build(IdGenerator::from_seed(seed))
    }

    fn build(mut ids: IdGenerator) -> Self {
        let metrics = prometheus::Registry::new();
        let stopper = Stopper::new();
        let tasks = Tasks::registered(stopper.clone(), ids.fork(), &metrics);
        Self { clock: Arc::new(SystemClock), ids: Arc::new(Mutex::new(ids)), stopper, tasks, metrics }
    }

    /// A new id of now.
    #[must_use]
    pub fn uuid(&self) -> Uuid {
        self.with_ids(|ids| ids.uuid(self.clock.now()))
    }

    /// Uses the shared generator; keep it short, others wait.
    pub fn with_ids<T>(&self, use_ids: impl FnOnce(&mut IdGenerator) -> T) -> T {
        use_ids(&mut self.ids.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A part that can be stopped and joined alone: its own child stopper and its own tasks; the rest is shared.
    /// A failure in it still stops the whole.
    #[must_use]
    pub fn sub(&self) -> Self {
        let stopper = self.stopper.child();
        let tasks = self.tasks.beside(stopper.clone(), self.with_ids(IdGenerator::fork));
        Self { stopper, tasks, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::OnFailure;
    use std::time::Duration;

    #[test]
    fn same_seed_gives_same_random_part_of_ids() {
        let bits = |seed| Context::testing(seed).uuid().as_u128() & u128::from(u64::MAX);
        assert_eq!(bits(7), bits(7));
        assert_ne!(bits(7), bits(8));
    }

    #[tokio::test]
    async fn part_is_stopped_and_joined_alone() {
        let whole = Context::testing(1);
        let part = whole.sub();
        let wait = |ctx: &Context| {
            let stopper = ctx.stopper.clone();
            async move {
                stopper.stopped().await;
                Ok(())
            }
        };
        whole.tasks.spawn("whole", OnFailure::StopProcess, wait(&whole));
        part.tasks.spawn("part", OnFailure::StopProcess, wait(&part));
        part.stopper.stop();
        assert!(part.tasks.join(Duration::from_secs(5)).await.is_empty());
        assert!(!whole.stopper.is_stopped());
        whole.stopper.stop();
        assert!(whole.tasks.join(Duration::from_secs(5)).await.is_empty());
    }

    #[tokio::test]
    async fn failure_in_a_part_stops_the_whole_and_is_counted_in_its_metrics() {
        let whole = Context::testing(1);
        let part = whole.sub();
        part.tasks.spawn("part", OnFailure::StopProcess, async { anyhow::bail!("broken") });
        whole.stopper.stopped().await;
        assert_eq!(whole.stopper.failure().as_deref(), Some("part: broken"));
        let text = crate::metrics::text(&whole.metrics);
        assert!(text.contains(r#"homeostat_chassis_task_failures_total{task="part"} 1"#), "{text}");
    }
}
