//! A serde deserializer over the merged tree that knows for each value its full key and its layer.
//! Text from the environment and from flags becomes whatever type the setting asks for.

use std::collections::{BTreeMap, btree_map};
use std::str::FromStr;

use serde::de::value::{MapAccessDeserializer, SeqDeserializer};
use serde::de::{self, Deserializer, IntoDeserializer, Visitor};

use super::problem::{Problem, below};
use super::tree::{Node, Origin};

/// A node, the dotted key that leads to it, and the fields known where it was found.
pub(super) struct Source {
    node: Node,
    key: String,
    fields: &'static [&'static str],
}

impl Source {
    pub(super) fn root(node: Node) -> Self {
        Self { node, key: String::new(), fields: &[] }
    }

    /// Runs the visit and adds this place to its error.
    fn placing<T>(self, visit: impl FnOnce(Self) -> Result<T, Problem>) -> Result<T, Problem> {
        let (key, value, origin) = (self.key.clone(), self.node.shown(), self.node.origin().clone());
        visit(self).map_err(|problem| problem.placed(&key, &value, &origin))
    }

    /// A number or truth value: text is parsed as the type that is asked for, TOML goes by its own type.
    fn scalar<'de, T: FromStr, V: Visitor<'de>>(
        self,
        visitor: V,
        visit: impl FnOnce(V, T) -> Result<V::Value, Problem>,
    ) -> Result<V::Value, Problem> {
        self.placing(|source| match &source.node {
            Node::Text(text, _) => match text.trim().parse() {
                Ok(value) => visit(visitor, value),
                Err(_) => source.by_own_type(visitor),
            },
            _ => source.by_own_type(visitor),
        })
    }

    fn by_own_type<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.node {
            Node::Table(entries, _) => visitor.visit_map(Table::new(&self.key, self.fields, entries)),
            Node::List(items, _) => visit_list(&self.key, items, visitor),
            Node::Scalar(value, _) => visit_scalar(value, visitor),
            Node::Text(text, origin) => match parsed(&text, &origin) {
                Some(node) => Self { node, ..self }.by_own_type(visitor),
                None => visitor.visit_string(text),
            },
        }
    }
}

/// Text that holds a TOML value: a list, a table, or a scalar.
fn parsed(text: &str, origin: &Origin) -> Option<Node> {
    let mut table: toml::Table = format!("value = {text}").parse().ok()?;
    let value = table.remove("value").filter(|_| table.is_empty())?;
    Some(Node::from_value(value, origin))
}

fn visit_scalar<'de, V: Visitor<'de>>(value: toml::Value, visitor: V) -> Result<V::Value, Problem> {
    match value {
        toml::Value::String(text) => visitor.visit_string(text),
        toml::Value::Integer(number) => visitor.visit_i64(number),
        toml::Value::Float(number) => visitor.visit_f64(number),
        toml::Value::Boolean(truth) => visitor.visit_bool(truth),
        toml::Value::Datetime(time) => visitor.visit_string(time.to_string()),
        toml::Value::Array(_) | toml::Value::Table(_) => {
            unreachable!("the tree holds lists and tables as nodes")
        }
    }
}

fn visit_list<'de, V: Visitor<'de>>(key: &str, items: Vec<Node>, visitor: V) -> Result<V::Value, Problem> {
    let item = |(i, node)| Source { node, key: format!("{key}[{i}]"), fields: &[] };
    let mut list = SeqDeserializer::new(items.into_iter().enumerate().map(item));
    let value = visitor.visit_seq(&mut list)?;
    list.end()?;
    Ok(value)
}

impl IntoDeserializer<'_, Problem> for Source {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! scalars {
    ($($method:ident => $visit:ident: $type:ty),* $(,)?) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
            self.scalar(visitor, |visitor, value: $type| visitor.$visit(value))
        })*
    };
}

impl<'de> Deserializer<'de> for Source {
    type Error = Problem;

    scalars! {
        deserialize_bool => visit_bool: bool,
        deserialize_i8 => visit_i8: i8,
        deserialize_i16 => visit_i16: i16,
        deserialize_i32 => visit_i32: i32,
        deserialize_i64 => visit_i64: i64,
        deserialize_u8 => visit_u8: u8,
        deserialize_u16 => visit_u16: u16,
        deserialize_u32 => visit_u32: u32,
        deserialize_u64 => visit_u64: u64,
        deserialize_f32 => visit_f32: f32,
        deserialize_f64 => visit_f64: f64,
        deserialize_string => visit_string: String,
        deserialize_str => visit_string: String,
        deserialize_char => visit_char: char,
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.placing(|source| source.by_own_type(visitor))
    }

    /// Empty text takes an optional setting away.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match &self.node {
            Node::Text(text, _) if text.is_empty() => visitor.visit_none(),
            _ => self.placing(|source| visitor.visit_some(source)),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        self.placing(|source| visitor.visit_newtype_struct(source))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.placing(|source| match &source.node {
            Node::Text(text, origin) if !text.trim_start().starts_with('[') => {
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                let items = parts.map(|part| Node::Text(part.to_owned(), origin.clone())).collect();
                visit_list(&source.key, items, visitor)
            }
            _ => source.by_own_type(visitor),
        })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        Self { fields: &[], ..self }.deserialize_any(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        Self { fields, ..self }.deserialize_any(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        self.placing(|source| match source.node {
            Node::Text(name, _) | Node::Scalar(toml::Value::String(name), _) => {
                visitor.visit_enum(name.into_deserializer())
            }
            Node::Table(entries, _) => {
                visitor.visit_enum(MapAccessDeserializer::new(Table::new(&source.key, &[], entries)))
            }
            _ => Err(de::Error::unknown_variant("", variants)),
        })
    }

    /// A struct asks to ignore what it does not know; we refuse that, whether or not it says `deny_unknown_fields`.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Problem> {
        let fields = self.fields;
        let name = self.key.rsplit('.').next().unwrap_or_default().to_owned();
        self.placing(|_| Err(de::Error::unknown_field(&name, fields)))
    }

    serde::forward_to_deserialize_any! { bytes byte_buf unit unit_struct identifier }
}

/// The entries of a table, each with its full key.
struct Table {
    key: String,
    fields: &'static [&'static str],
    entries: btree_map::IntoIter<String, Node>,
    current: Option<(String, Node)>,
}

impl Table {
    fn new(key: &str, fields: &'static [&'static str], entries: BTreeMap<String, Node>) -> Self {
        Self { key: key.to_owned(), fields, entries: entries.into_iter(), current: None }
    }
}

impl<'de> de::MapAccess<'de> for Table {
    type Error = Problem;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Problem> {
        let Some((name, node)) = self.entries.next() else { return Ok(None) };
        let key = below(&self.key, &name);
        let read = seed.deserialize(Key { name: name.clone() });
        let read = read.map_err(|problem| problem.placed(&key, &node.shown(), node.origin()))?;
        self.current = Some((key, node));
        Ok(Some(read))
    }

    fn next_value_seed<S: de::DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Problem> {
        let (key, node) = self.current.take().expect("serde asks for a value after its key");
        seed.deserialize(Source { node, key, fields: self.fields })
    }
}

/// The name of an entry; a map may be keyed by a number or an enum, so it is read as text.
struct Key {
    name: String,
}

impl<'de> Deserializer<'de> for Key {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_string(self.name)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_enum(self.name.into_deserializer())
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}
