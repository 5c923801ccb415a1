//! The cluster's processes as one hidden subcommand, `homeostat staging-service ROLE ...`.

use chassis::Context;

use crate::actuator::{self, ActuatorArgs, ActuatorError};
use crate::load::{self, LoadArgs, LoadError};
use crate::service::{self, ServiceArgs, StartError};

/// One process of the cluster.
#[derive(Debug, Clone, PartialEq, clap::Subcommand)]
pub enum Node {
    /// Takes requests from outside.
    Gateway(ServiceArgs),
    /// A replica of catalog.
    Catalog(ServiceArgs),
    /// A replica of inventory.
    Inventory(ServiceArgs),
    /// Drives the replicas of one service.
    Actuator(ActuatorArgs),
    /// Sends load.
    Load(LoadArgs),
}

/// Why a process of the cluster failed.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// A replica.
    #[error(transparent)]
    Service(#[from] StartError),
    /// An actuator.
    #[error(transparent)]
    Actuator(#[from] ActuatorError),
    /// The load.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// Runs one process until it is done or stopped.
pub async fn run(node: Node, ctx: &Context) -> Result<(), NodeError> {
    match node {
        Node::Gateway(args) => service::run_gateway(args, ctx).await?,
        Node::Catalog(args) => service::run_catalog(args, ctx).await?,
        Node::Inventory(args) => service::run_inventory(args, ctx).await?,
        Node::Actuator(args) => actuator::run(args, ctx).await?,
        Node::Load(args) => load::run(args, ctx).await?,
    }
    ctx.stopper.stop();
    Ok(())
}
