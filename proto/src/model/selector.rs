//! Prometheus instant selectors: `name{label="value",label!="v",label=~"re",label!~"re"}`.
//! Grammar: prometheus.io/docs/prometheus/latest/querying/basics (time series selectors); regular expressions are anchored.

use super::{ids::InvalidId, text::serde_as_text};
use regex::{Regex, RegexBuilder};
use std::{fmt, str::FromStr};

/// Longest selector text.
const TEXT_LENGTH_MAX: usize = 2_048;
/// Most matchers in one selector.
const MATCHERS_MAX: usize = 32;
/// Compiled size of one regular expression: linear-time matching within 64 KiB of program.
const REGEX_BYTES_MAX: usize = 64 * 1024;

/// How one label is matched. A label that is absent matches as the empty string.
#[derive(Debug, Clone)]
pub enum Matcher {
    /// `label="value"`
    Equal(String, String),
    /// `label!="value"`
    NotEqual(String, String),
    /// `label=~"regex"`
    Regex(String, Regex),
    /// `label!~"regex"`
    NotRegex(String, Regex),
}

impl Matcher {
    /// The label it looks at.
    pub fn label(&self) -> &str {
        match self {
            Self::Equal(label, _)
            | Self::NotEqual(label, _)
            | Self::Regex(label, _)
            | Self::NotRegex(label, _) => label,
        }
    }

    /// Whether a label value (empty when absent) passes.
    pub fn matches(&self, value: &str) -> bool {
        match self {
            Self::Equal(_, wanted) => value == wanted,
            Self::NotEqual(_, unwanted) => value != unwanted,
            Self::Regex(_, regex) => regex.is_match(value),
            Self::NotRegex(_, regex) => !regex.is_match(value),
        }
    }
}

/// Which series are meant.
#[derive(Debug, Clone)]
pub struct Selector {
    text: String,
    metric: String,
    matchers: Vec<Matcher>,
}

impl Selector {
    /// The metric's name.
    pub fn metric(&self) -> &str {
        &self.metric
    }

    /// Its label matchers; all must pass.
    pub fn matchers(&self) -> &[Matcher] {
        &self.matchers
    }

    /// Whether the labels pass; `lookup` gives a label's value or `None`.
    pub fn matches_labels<'a>(&self, lookup: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.matchers.iter().all(|matcher| matcher.matches(lookup(matcher.label()).unwrap_or("")))
    }
}

impl PartialEq for Selector {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}
impl Eq for Selector {}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
serde_as_text!(Selector);

fn invalid(text: &str, rule: impl Into<String>) -> InvalidId {
    InvalidId::new("selector", text, rule)
}

fn is_name(text: &str, colon: bool) -> bool {
    let mut chars = text.chars();
    let first = |c: char| c.is_ascii_alphabetic() || c == '_' || (colon && c == ':');
    chars.next().is_some_and(first) && chars.all(|c| first(c) || c.is_ascii_digit())
}

impl FromStr for Selector {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let text = text.trim();
        if text.len() > TEXT_LENGTH_MAX {
            return Err(invalid(text, "must be at most 2048 bytes"));
        }
        let (metric, rest) = match text.find('{') {
            Some(at) => (text[..at].trim(), Some(&text[at + 1..])),
            None => (text, None),
        };
        if !is_name(metric, true) {
            return Err(invalid(
                text,
                "must begin with a metric name (an empty selector would mean everything)",
            ));
        }
        let matchers = match rest {
            None => Vec::new(),
            Some(rest) => parse_matchers(text, rest)?,
        };
        Ok(Self { text: text.to_owned(), metric: metric.to_owned(), matchers })
    }
}

fn parse_matchers(text: &str, mut rest: &str) -> Result<Vec<Matcher>, InvalidId> {
    let mut matchers = Vec::new();
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix('}') {
            return if after.trim().is_empty() {
                Ok(matchers)
            } else {
                Err(invalid(text, "nothing may follow }"))
            };
        }
        if matchers.len() == MATCHERS_MAX {
            return Err(invalid(text, "must have at most 32 matchers"));
        }
        let (matcher, after) = parse_matcher(text, rest)?;
        matchers.push(matcher);
        rest = after.trim_start();
        rest = match rest.strip_prefix(',') {
            Some(after) => after,
            None if rest.starts_with('}') => rest,
            None => return Err(invalid(text, "matchers must be separated by , and closed by }")),
        };
    }
}

fn parse_matcher<'a>(text: &str, rest: &'a str) -> Result<(Matcher, &'a str), InvalidId> {
    let at = rest.find(['=', '!']).ok_or_else(|| invalid(text, "a matcher needs one of = != =~ !~"))?;
    let label = rest[..at].trim();
    if !is_name(label, false) {
        return Err(invalid(text, format!("{label:?} is not a label name")));
    }
    let (operator, after) = ["=~", "!~", "!=", "="]
        .iter()
        .find_map(|operator| rest[at..].strip_prefix(operator).map(|after| (*operator, after)))
        .ok_or_else(|| invalid(text, "a matcher needs one of = != =~ !~"))?;
    let (value, after) = parse_quoted(text, after.trim_start())?;
    let label = label.to_owned();
    let matcher = match operator {
        "=" => Matcher::Equal(label, value),
        "!=" => Matcher::NotEqual(label, value),
        "=~" => Matcher::Regex(label, anchored(text, &value)?),
        _ => Matcher::NotRegex(label, anchored(text, &value)?),
    };
    Ok((matcher, after))
}

fn parse_quoted<'a>(text: &str, rest: &'a str) -> Result<(String, &'a str), InvalidId> {
    let inner =
        rest.strip_prefix('"').ok_or_else(|| invalid(text, "a label value must stand in double quotes"))?;
    let mut value = String::new();
    let mut chars = inner.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &inner[at + 1..])),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, c @ ('"' | '\\'))) => value.push(c),
                // A regular expression keeps its own escapes.
                Some((_, c)) => value.extend(['\\', c]),
                None => break,
            },
            c => value.push(c),
        }
    }
    Err(invalid(text, "a label value must end with a double quote"))
}

fn anchored(text: &str, pattern: &str) -> Result<Regex, InvalidId> {
    RegexBuilder::new(&format!("^(?:{pattern})$"))
        .size_limit(REGEX_BYTES_MAX)
        .build()
        .map_err(|_| invalid(text, format!("{pattern:?} is not a regular expression of bounded size")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(selector: &str, labels: &[(&str, &str)]) -> bool {
        let selector: Selector = selector.parse().unwrap();
        selector
            .matches_labels(|label| labels.iter().find(|(name, _)| *name == label).map(|(_, value)| *value))
    }

    #[test]
    fn matches_as_prometheus_does() {
        assert!(matches(r#"m{code!~"5.."}"#, &[("code", "200")]));
        assert!(!matches(r#"m{code!~"5.."}"#, &[("code", "503")]));
        assert!(matches(r#"m{code=~"2..|3.."}"#, &[("code", "301")]));
        assert!(!matches(r#"m{code=~"2"}"#, &[("code", "200")]), "regular expressions are anchored");
        assert!(matches(r#"m{code!="500"}"#, &[]), "an absent label is the empty string");
        assert!(matches(r#"m { a = "x,}\"" , b="y" , }"#, &[("a", "x,}\""), ("b", "y")]));
        assert!(matches("plain:recorded", &[]));
    }

    #[test]
    fn refuses_what_would_mean_everything_or_nothing() {
        for text in [
            "",
            "{}",
            "{a=\"b\"}",
            "m{",
            "m{a}",
            "m{a=b}",
            "m{a=\"b}",
            "m{a=\"b\"} x",
            "m{a=~\"(\"}",
            "9m",
            "m{a=\"b\" c=\"d\"}",
        ] {
            assert!(text.parse::<Selector>().is_err(), "{text:?} must be refused");
        }
    }
}
