//! What can be wrong with settings, said so that the reader can mend it without the source.

use std::fmt::{self, Display};
use std::path::PathBuf;

use crate::run::exit;

/// A setting that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Invalid {
    /// The dotted key, as in `monitor.scrape_interval`.
    pub key: String,
    /// The value that was found, as text; passwords in URLs are masked.
    pub value: String,
    /// What would be right: `must be at least 1s`.
    pub rule: String,
}

impl Invalid {
    /// A broken rule. An empty value stands for an absent one.
    pub fn new(key: impl Into<String>, value: impl Display, rule: impl Into<String>) -> Self {
        Self { key: key.into(), value: masked(&value.to_string()), rule: rule.into() }
    }

    /// The same, seen from one level further out: `scrape_interval` under `monitor` is `monitor.scrape_interval`.
    #[must_use]
    pub fn under(mut self, parent: &str) -> Self {
        self.key = if self.key.is_empty() { parent.to_owned() } else { format!("{parent}.{}", self.key) };
        self
    }
}

impl Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, value, rule } = self;
        if value.is_empty() { write!(f, "{key}: {rule}") } else { write!(f, "{key} = {value}: {rule}") }
    }
}

/// Why settings could not be loaded. Always the user's to mend: exit code 64.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not there or not readable.
    #[error("cannot read the configuration file {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{}:{line}:{column} is not valid TOML: {message}", path.display())]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// Where in it, from 1.
        line: usize,
        /// Where in the line, from 1.
        column: usize,
        /// What the parser expected.
        message: String,
    },
    /// A key is unknown, or a value is of the wrong type or breaks a rule.
    #[error("{invalid} (from {origin})")]
    Invalid {
        /// The key, value and rule.
        invalid: Invalid,
        /// The layer that set it: a file, an environment variable, a flag, or the defaults.
        origin: String,
    },
    /// The defaults themselves cannot be written as TOML: a mistake in the program.
    #[error("the default settings cannot be expressed in TOML: {message}")]
    Defaults {
        /// What the serializer said.
        message: String,
    },
}

impl ConfigError {
    /// The process exit code for this error.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        exit::USAGE
    }
}

/// The text with the password of a URL (`scheme://user:password@host`) replaced by `***`.
pub(super) fn masked(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    match authority.rsplit_once('@').and_then(|(user, _)| user.split_once(':').map(|(name, _)| (user, name)))
    {
        Some((user, name)) => format!("{scheme}://{name}:***{}", &rest[user.len()..]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_names_key_rule_and_value() {
        let error = Invalid::new("scrape_interval", "200ms", "must be at least 1s").under("monitor");
        assert_eq!(error.to_string(), "monitor.scrape_interval = 200ms: must be at least 1s");
        let error = Invalid::new("", "", "is required").under("tls");
        assert_eq!(error.to_string(), "tls: is required");
    }

    #[test]
    fn passwords_in_urls_are_masked() {
        for (text, expect) in [
            ("postgres://me:secret@db:5432/x", "postgres://me:***@db:5432/x"),
            ("postgres://me:se@cret@db/x", "postgres://me:***@db/x"),
            ("postgres://me@db/x", "postgres://me@db/x"),
            ("http://127.0.0.1:7401/a:b@c", "http://127.0.0.1:7401/a:b@c"),
            ("plain text", "plain text"),
        ] {
            assert_eq!(masked(text), expect);
        }
    }
}
