//! `slo gate`: whether deployments of a service are frozen. A pipeline asks it first: exit code 2 while they are.

use crate::{
    endpoints::Clients,
    output::{self, Format},
};
use chassis::{Clock as _, exit};
use jiff::Timestamp;
use proto::model::{Action, DirectiveKind, DirectiveRecord, DirectiveState, Generation, ResourceId};
use serde::Serialize;

/// Directives looked through: a freeze is renewed once a day at most.
const LOOKED_THROUGH: u32 = 1_000;

/// A freeze in force, or on its way.
#[derive(Debug, Serialize)]
struct Freeze {
    directive: String,
    policy: String,
    until: Timestamp,
    state: String,
    reason: String,
}

#[derive(Debug, Serialize)]
struct Gate {
    resource: String,
    frozen: bool,
    by: Vec<Freeze>,
}

/// Exit code 0: open; 2: frozen; 1: that cannot be said, which is no leave either.
pub(super) async fn gate(clients: &Clients, service: &str, format: Format) -> anyhow::Result<u8> {
    let text = if service.contains(':') { service.to_owned() } else { format!("service:{service}") };
    let resource: ResourceId = match text.parse() {
        Ok(resource) => resource,
        Err(error) => {
            eprintln!("homeostat: {error}; name a service as NAMESPACE/NAME");
            return Ok(exit::USAGE);
        }
    };
    let now = chassis::SystemClock.now();
    let listed = clients.knowledge()?.list_directives(Some(resource.clone()), &[], LOOKED_THROUGH).await?;
    let by: Vec<Freeze> = listed.directives.iter().filter_map(|record| in_force(record, now)).collect();
    let gate = Gate { resource: resource.to_string(), frozen: !by.is_empty(), by };
    output::print(format, &gate, show)?;
    Ok(if gate.frozen { exit::NEGATIVE } else { exit::DONE })
}

/// One that was given out counts from that moment on, and until it is known to be over: whoever deploys meanwhile would be late.
fn in_force(record: &DirectiveRecord, now: Timestamp) -> Option<Freeze> {
    use DirectiveState::{
        Accepted, Applied, Delivered, Harmful, Ineffective, Issued, Unknown, Verified, Verifying,
    };
    let directive = &record.directive;
    let Action::Freeze { until: Some(until), .. } = directive.action else { return None };
    let stands = [Issued, Delivered, Accepted, Applied, Verifying, Verified, Ineffective, Harmful, Unknown];
    let is_advice = directive.generation == Generation(0);
    let counts = directive.kind() == DirectiveKind::Freeze && until > now && !is_advice;
    (counts && stands.contains(&record.state)).then(|| Freeze {
        directive: directive.id.to_string(),
        policy: directive.policy.clone(),
        until,
        state: record.state.to_string(),
        reason: directive.rationale.text.clone(),
    })
}

fn show(gate: &Gate) -> String {
    let mut lines = vec![format!("{}: {}", gate.resource, if gate.frozen { "FROZEN" } else { "open" })];
    lines.extend(gate.by.iter().map(|by| format!("  until {} by {}: {}", by.until, by.policy, by.reason)));
    lines.join("\n")
}
