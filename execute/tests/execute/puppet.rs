//! An actuator in the fewest lines that keep the contract: it reconnects, keeps the generation beside the effect, and
//! reports until it is answered.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chassis::{Context, OnFailure};
use execute::testing::{Stage, actuator};
use proto::client::{Delivery, Error, Execute, Report, ReportAnswer, ReportResult};
use proto::model::{Action, ActuatorSpec, DirectiveKind, Generation, Lease, ResourceId};

/// What it holds across connections.
#[derive(Debug)]
pub struct Puppet {
    pub spec: ActuatorSpec,
    execute: Execute,
    lease: Mutex<Option<Lease>>,
    last: Mutex<BTreeMap<(ResourceId, DirectiveKind), Generation>>,
    effects: Mutex<Vec<(Generation, Action)>>,
    deliveries: Mutex<Vec<Delivery>>,
}

impl Puppet {
    pub fn new(stage: &Stage, instance: &str) -> Arc<Self> {
        Arc::new(Self {
            spec: ActuatorSpec { max_in_flight: 1_000, ..actuator("puppet", instance) },
            execute: stage.client(),
            lease: Mutex::default(),
            last: Mutex::default(),
            effects: Mutex::default(),
            deliveries: Mutex::default(),
        })
    }

    /// Works in the background until the context stops.
    pub fn work(self: &Arc<Self>, ctx: &Context) {
        let (puppet, stopper) = (self.clone(), ctx.stopper.clone());
        ctx.tasks.spawn("puppet", OnFailure::Log, async move {
            tokio::select! {
                () = puppet.run() => {}
                () = stopper.stopped() => {}
            }
            Ok(())
        });
    }

    /// What it did, in order.
    pub fn effects(&self) -> Vec<(u64, Action)> {
        self.effects.lock().unwrap().iter().map(|(generation, action)| (generation.0, *action)).collect()
    }

    /// What it was sent, in order.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.deliveries.lock().unwrap().clone()
    }

    /// Its registration; makes one if need be.
    pub async fn lease(&self) -> Result<Lease, Error> {
        if let Some(lease) = self.lease.lock().unwrap().clone() {
            return Ok(lease);
        }
        let lease = self.execute.register(self.spec.clone()).await?.lease;
        *self.lease.lock().unwrap() = Some(lease.clone());
        Ok(lease)
    }

    async fn run(&self) {
        loop {
            if let Err(error) = self.listen().await
                && error.code() == Some(tonic::Code::NotFound)
            {
                *self.lease.lock().unwrap() = None;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn listen(&self) -> Result<(), Error> {
        let lease = self.lease().await?;
        let mut stream = self.execute.subscribe(&lease, 0).await?;
        while let Some(delivery) = stream.next().await? {
            self.deliveries.lock().unwrap().push(delivery.clone());
            self.say(&delivery, ReportResult::Accepted).await?;
            let result = self.apply(&delivery);
            self.say(&delivery, result).await?;
        }
        Ok(())
    }

    fn apply(&self, delivery: &Delivery) -> ReportResult {
        let directive = &delivery.directive;
        let mut last = self.last.lock().unwrap();
        let standing = last.entry((directive.resource.clone(), directive.kind())).or_default();
        if directive.generation < *standing {
            return ReportResult::Refused;
        }
        if directive.generation > *standing {
            *standing = directive.generation;
            self.effects.lock().unwrap().push((directive.generation, directive.action));
        }
        ReportResult::Applied
    }

    /// Reports until it is answered; a lost lease or connection is for the caller.
    async fn say(&self, delivery: &Delivery, result: ReportResult) -> Result<(), Error> {
        loop {
            match self.report(delivery, result).await {
                Ok(_) => return Ok(()),
                Err(error) if error.code() == Some(tonic::Code::Unavailable) => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// One report.
    pub async fn report(&self, delivery: &Delivery, result: ReportResult) -> Result<ReportAnswer, Error> {
        let report = Report {
            directive_id: delivery.directive.id,
            attempt: delivery.attempt,
            generation: delivery.directive.generation,
            result,
            detail: String::new(),
            before: Vec::new(),
            after: Vec::new(),
        };
        let lease = self.lease().await?;
        self.execute.report(&lease, report).await
    }
}
