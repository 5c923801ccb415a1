//! The webhook actuator: `notify` directives become HTTP posts, to any receiver of JSON or to an Alertmanager. The receiver can
//! tell a repetition by the directive's id, and a post of ours by its signature; what was posted is not posted again.

use std::time::Duration;

use jiff::Timestamp;
use proto::model::{
    Action, ActuatorSpec, Directive, DirectiveKind, Generation, InvalidId, NotifyUrgency, Observation,
    ResourceId, ResourcePattern,
};
use reqwest::{Client, StatusCode, Url, redirect};
use ring::hmac;
use serde_json::{Value, json};

use crate::actuator::{Actuator, ApplyOutcome};
use crate::generations::FileGenerations;

/// A receiver that takes longer is away.
const TIMEOUT: Duration = Duration::from_secs(10);
/// An Alertmanager forgets what nobody repeats after this, should nobody say that it is over.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(7 * 86_400);
/// Names the directive to the receiver.
const IDEMPOTENCY: &str = "idempotency-key";

/// Says that the post is ours: `sha256=` and the HMAC-SHA256 of the body under the shared secret, in hexadecimal.
const SIGNATURE: &str = "x-homeostat-signature";
/// Bytes of a secret that nobody guesses, at least.
const SECRET_MIN: usize = 16;

/// What is posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// The directive, as JSON.
    #[default]
    Json,
    /// An alert, as an Alertmanager's `/api/v2/alerts` takes it.
    Alertmanager,
}

/// Why the actuator cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A name breaks a rule.
    #[error(transparent)]
    Name(#[from] InvalidId),
    /// The address is of no use.
    #[error("{0:?} is no address of HTTP")]
    Address(String),
    /// The secret is too easy to guess.
    #[error("the signing secret must have at least {SECRET_MIN} bytes")]
    Secret,
    /// There is no TLS.
    #[error("cannot speak HTTP")]
    Client(#[source] reqwest::Error),
}

/// By what the receiver knows us. Printed without its values.
#[derive(Clone, Default)]
pub struct Secrets {
    /// Sent as a bearer's.
    pub token: Option<String>,
    /// Signs each post, and is not sent.
    pub signing: Option<String>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { token, signing } = self;
        write!(f, "Secrets {{ token: {}, signing: {} }}", token.is_some(), signing.is_some())
    }
}

/// Posts notifications.
#[derive(Debug)]
pub struct WebhookActuator {
    spec: ActuatorSpec,
    client: Client,
    url: Url,
    form: Form,
    secrets: Secrets,
    posted: FileGenerations,
}

impl WebhookActuator {
    /// For these services. `posted` remembers what was posted.
    ///
    /// # Errors
    /// When a name, the address or a secret breaks a rule.
    pub fn new(
        instance: &str,
        services: Vec<ResourcePattern>,
        (url, form): (&str, Form),
        secrets: Secrets,
        posted: FileGenerations,
    ) -> Result<Self, OpenError> {
        let spec = ActuatorSpec {
            name: "webhook".to_owned(),
            instance: instance.to_owned(),
            kinds: vec![DirectiveKind::Notify],
            resources: services,
            max_in_flight: 4,
            supports_dry_run: true,
            supports_undo: true,
        };
        spec.validate()?;
        if secrets.signing.as_ref().is_some_and(|secret| secret.len() < SECRET_MIN) {
            return Err(OpenError::Secret);
        }
        let parsed = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let mut url = parsed.ok_or_else(|| OpenError::Address(url.to_owned()))?;
        if form == Form::Alertmanager && url.path() == "/" {
            url.set_path("/api/v2/alerts");
        }
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .timeout(TIMEOUT)
            .user_agent(concat!("homeostat-webhook/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(OpenError::Client)?;
        Ok(Self { spec, client, url, form, secrets, posted })
    }

    fn body(&self, directive: &Directive, urgency: NotifyUrgency, resolved: bool) -> Value {
        match self.form {
            Form::Json => json!({
                "id": directive.id,
                "resource": directive.resource,
                "urgency": urgency,
                "resolved": resolved,
                "policy": directive.policy,
                "text": directive.rationale.text,
                "created_at": directive.created_at,
                "undo_of": directive.undo_of,
            }),
            Form::Alertmanager => json!([alert(directive, urgency, resolved)]),
        }
    }

    async fn post(&self, directive: &Directive, body: &Value) -> ApplyOutcome {
        let body = body.to_string();
        let mut request = self
            .client
            .post(self.url.clone())
            .header(IDEMPOTENCY, directive.id.to_string())
            .header(reqwest::header::CONTENT_TYPE, "application/json");
        if let Some(secret) = &self.secrets.signing {
            request = request.header(SIGNATURE, signature(secret, &body));
        }
        if let Some(token) = &self.secrets.token {
            request = request.bearer_auth(token);
        }
        let request = request.body(body);
        match request.send().await.map_err(reqwest::Error::without_url) {
            Ok(answer) => of_status(answer.status()),
            Err(error) if error.is_connect() => ApplyOutcome::failed(chassis::chain(&error)),
            // It may have arrived.
            Err(error) => ApplyOutcome::unknown(chassis::chain(&error)),
        }
    }
}

fn signature(secret: &str, body: &str) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), body.as_bytes());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}

/// The same labels say the same alert: what is over ends the one that began.
fn alert(directive: &Directive, urgency: NotifyUrgency, resolved: bool) -> Value {
    let begun = directive.created_at;
    let ends: Timestamp =
        if resolved { begun } else { begun.saturating_add(FORGOTTEN_AFTER).unwrap_or(begun) };
    let mut alert = json!({
        "labels": {
            "alertname": "HomeostatErrorBudget",
            "resource": directive.resource.to_string(),
            "policy": directive.policy,
            "severity": urgency.as_str(),
        },
        "annotations": { "summary": directive.rationale.text, "directive": directive.id.to_string() },
        "endsAt": ends.to_string(),
    });
    if !resolved {
        alert["startsAt"] = json!(begun.to_string());
    }
    alert
}

fn of_status(status: StatusCode) -> ApplyOutcome {
    match status {
        status if status.is_success() => {
            ApplyOutcome::applied(format!("posted, the receiver answered {status}"))
        }
        status if status.is_client_error() => {
            ApplyOutcome::refused(format!("the receiver answered {status}"))
        }
        status => ApplyOutcome::failed(format!("the receiver answered {status}")),
    }
}

impl Actuator for WebhookActuator {
    fn spec(&self) -> ActuatorSpec {
        self.spec.clone()
    }

    async fn observe(&self, _: &ResourceId) -> Vec<Observation> {
        Vec::new()
    }

    async fn apply(&self, directive: &Directive, dry_run: bool) -> ApplyOutcome {
        let Action::Notify { urgency, resolved } = directive.action else {
            return ApplyOutcome::refused(format!("people can be told, not {}", directive.action));
        };
        let body = self.body(directive, urgency, resolved);
        if dry_run {
            return ApplyOutcome::applied(format!("would be posted: {body}"));
        }
        let outcome = self.post(directive, &body).await;
        if matches!(outcome, ApplyOutcome::Applied { .. }) {
            let kept = self.posted.store(&directive.resource, DirectiveKind::Notify, directive.generation);
            if let Err(error) = kept {
                return ApplyOutcome::applied(format!("posted, but {}", chassis::chain(&error)));
            }
        }
        outcome
    }

    fn last_generation(&self, resource: &ResourceId, kind: DirectiveKind) -> Generation {
        self.posted.last(resource, kind)
    }
}

#[cfg(test)]
#[path = "webhook/tests.rs"]
mod tests;
