//! What the configured server is shown with each question. Secrets are read from their files for every question, so that a changed
//! one is used at once; they are in no message, and go to no server but the configured one, whatever a DataSource names.

use std::path::Path;

use reqwest::{RequestBuilder, StatusCode, Url};

use super::PrometheusConfig;

/// Bytes of a secret: the longest tokens have some thousands.
const SECRET_MAX: usize = 16 << 10;

/// Shows what is configured, where the question goes to the configured server.
pub(super) async fn show(
    request: RequestBuilder,
    to: &Url,
    config: &PrometheusConfig,
) -> Result<RequestBuilder, String> {
    if !is_own(to, config) {
        return Ok(request);
    }
    if let Some(file) = &config.bearer_token_file {
        return Ok(request.bearer_auth(secret("bearer_token_file", file).await?));
    }
    if let (Some(name), Some(file)) = (&config.username, &config.password_file) {
        return Ok(request.basic_auth(name, Some(secret("password_file", file).await?)));
    }
    Ok(request)
}

/// What a refusal means, and what would help.
pub(super) fn refused(status: StatusCode, to: &Url, config: &PrometheusConfig) -> String {
    let shown = if config.bearer_token_file.is_some() {
        "the token of prometheus.bearer_token_file"
    } else if config.username.is_some() {
        "prometheus.username with the password of prometheus.password_file"
    } else {
        return format!(
            "the server answered {status}: give Analyze prometheus.bearer_token_file, or prometheus.username and prometheus.password_file"
        );
    };
    if is_own(to, config) {
        format!("the server answered {status}: it does not take {shown}")
    } else {
        format!("the server answered {status}: {shown} is shown to prometheus.url alone")
    }
}

/// Whether that is the configured server: scheme, host and port are its own.
fn is_own(to: &Url, config: &PrometheusConfig) -> bool {
    let own = config.url.as_deref().and_then(|url| Url::parse(url).ok());
    own.is_some_and(|own| own.origin() == to.origin())
}

async fn secret(key: &str, file: &Path) -> Result<String, String> {
    let told = |why: &dyn std::fmt::Display| format!("prometheus.{key} {}: {why}", file.display());
    let bytes = tokio::fs::read(file).await.map_err(|error| told(&error))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| told(&"is no text"))?.trim();
    if text.is_empty() || text.len() > SECRET_MAX || text.chars().any(char::is_control) {
        return Err(told(&format!("must hold one line of 1 to {SECRET_MAX} bytes")));
    }
    Ok(text.to_owned())
}
