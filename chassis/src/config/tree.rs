//! The merged tree of settings, in which every value remembers the layer that set it.

use std::collections::{BTreeMap, btree_map};
use std::fmt::{self, Display};
use std::path::PathBuf;

use super::problem::Problem;

/// Which layer set a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    Defaults,
    File(PathBuf),
    Variable(String),
    Flag(String),
}

impl Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Defaults => f.write_str("the defaults"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => write!(f, "the environment variable {name}"),
            Self::Flag(key) => write!(f, "the command line, {key}"),
        }
    }
}

/// A value of the merged tree.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Table(BTreeMap<String, Node>, Origin),
    List(Vec<Node>, Origin),
    Scalar(toml::Value, Origin),
    /// From the environment or a flag: its type is what the setting asks for.
    Text(String, Origin),
}

impl Node {
    pub(super) fn from_table(table: toml::Table, origin: &Origin) -> Self {
        let entries = table.into_iter().map(|(key, value)| (key, Self::from_value(value, origin)));
        Self::Table(entries.collect(), origin.clone())
    }

    pub(super) fn from_value(value: toml::Value, origin: &Origin) -> Self {
        match value {
            toml::Value::Table(table) => Self::from_table(table, origin),
            toml::Value::Array(items) => Self::List(
                items.into_iter().map(|item| Self::from_value(item, origin)).collect(),
                origin.clone(),
            ),
            scalar => Self::Scalar(scalar, origin.clone()),
        }
    }

    /// Lays `over` on this tree: tables merge, all else is replaced.
    pub(super) fn merge(&mut self, over: Self) {
        match (self, over) {
            (Self::Table(mine, _), Self::Table(theirs, _)) => {
                for (key, node) in theirs {
                    match mine.entry(key) {
                        btree_map::Entry::Occupied(mut entry) => entry.get_mut().merge(node),
                        btree_map::Entry::Vacant(entry) => {
                            entry.insert(node);
                        }
                    }
                }
            }
            (mine, theirs) => *mine = theirs,
        }
    }

    /// Sets one value by its dotted key, making tables on the way.
    pub(super) fn set(&mut self, key: &str, text: &str, origin: Origin) -> Result<(), Problem> {
        let mut node = self;
        let mut done: Vec<&str> = Vec::new();
        for part in key.split('.') {
            if part.is_empty() {
                return Err(Problem::at(key, text, "has an empty part between its dots", origin));
            }
            let Self::Table(entries, _) = node else {
                let rule = format!("cannot be set: {} is no table", done.join("."));
                return Err(Problem::at(key, text, rule, origin));
            };
            done.push(part);
            node = entries
                .entry(part.to_owned())
                .or_insert_with(|| Self::Table(BTreeMap::new(), origin.clone()));
        }
        *node = Self::Text(text.to_owned(), origin);
        Ok(())
    }

    /// The layer that set the value at a dotted key; where the key is absent, that of its nearest table.
    pub(super) fn origin_of(&self, key: &str) -> &Origin {
        let mut node = self;
        for part in key.split('.') {
            match node {
                Self::Table(entries, _) => match entries.get(part) {
                    Some(next) => node = next,
                    None => break,
                },
                _ => break,
            }
        }
        node.origin()
    }

    pub(super) fn origin(&self) -> &Origin {
        match self {
            Self::Table(_, origin)
            | Self::List(_, origin)
            | Self::Scalar(_, origin)
            | Self::Text(_, origin) => origin,
        }
    }

    pub(super) fn shown(&self) -> String {
        match self {
            Self::Table(..) => "a table".to_owned(),
            Self::List(..) => "a list".to_owned(),
            Self::Scalar(value, _) => value.to_string(),
            Self::Text(text, _) => format!("{text:?}"),
        }
    }
}
