//! The process actuator over a manager that counts.

use std::sync::Mutex;

use execute::testing::{breaker, cart, scale};
use proto::model::BreakerMode;

use super::*;

#[derive(Debug)]
struct Counting {
    now: Mutex<Replicas>,
    broken: bool,
}

impl ReplicaManager for Counting {
    async fn scale(&self, replicas: u32, generation: Generation) -> Result<Replicas, ScaleError> {
        let mut now = self.now.lock().unwrap();
        if self.broken {
            return Err(ScaleError::Failed("no memory".into()));
        }
        if generation < now.generation {
            return Err(ScaleError::Refused(format!("older than {}", now.generation)));
        }
        *now = Replicas { generation, wanted: replicas, running: replicas, ready: replicas };
        Ok(*now)
    }
    async fn observe(&self) -> Replicas {
        *self.now.lock().unwrap()
    }
    fn generation(&self) -> Generation {
        self.now.lock().unwrap().generation
    }
}

fn process(broken: bool) -> ProcessActuator<Counting> {
    let now = Mutex::new(Replicas { generation: Generation(1), wanted: 1, running: 1, ready: 1 });
    ProcessActuator::new(&cart(), "here", Bounds { min: 1, max: 4 }, Counting { now, broken }).unwrap()
}

fn to(replicas: u32, generation: u64) -> Directive {
    Directive { generation: Generation(generation), ..scale(1, replicas) }
}

#[tokio::test]
async fn scale_is_done_once_with_its_generation() {
    let process = process(false);
    assert_eq!(process.apply(&to(3, 2), false).await, ApplyOutcome::applied("3 of 3 replicas serve"));
    assert_eq!(process.last_generation(&cart(), DirectiveKind::Scale), Generation(2));
    let seen = process.observe(&cart()).await;
    assert!(seen.contains(&Observation { name: "ready_replicas".to_owned(), value: 3.0 }), "{seen:?}");
}

#[tokio::test]
async fn what_is_out_of_bounds_or_old_or_of_another_kind_is_refused() {
    let process = process(false);
    for directive in [to(5, 2), to(2, 0), breaker(BreakerMode::Enforce)] {
        let outcome = process.apply(&directive, false).await;
        assert!(matches!(outcome, ApplyOutcome::Refused { .. }), "{outcome:?}");
    }
    assert_eq!(process.observe(&cart()).await[0].value, 1.0, "nothing has changed");
}

#[tokio::test]
async fn dry_run_starts_nothing() {
    let process = process(false);
    assert_eq!(process.apply(&to(3, 2), true).await, ApplyOutcome::applied("would be 3 replicas"));
    assert_eq!(process.last_generation(&cart(), DirectiveKind::Scale), Generation(1));
}

#[tokio::test]
async fn failure_says_why() {
    let outcome = process(true).apply(&to(3, 2), false).await;
    assert_eq!(outcome, ApplyOutcome::failed("the replicas could not be changed: no memory"));
}
