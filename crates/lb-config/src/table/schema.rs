//! The JSON Schema of the language, for editors that complete and check while typing.
//!
//! It is written from the key table, so it lists what the decoder reads, with the same defaults and meanings. It is a
//! little more lenient than the decoder: forms of text (addresses, paths, templates) are the decoder's business.

use serde_json::{Map, Value, json};

use crate::language::tree::{self, Node};
use crate::table::section::{Default, Key, Kind, Section};

/// The JSON Schema (draft 2020-12) of a file with this table at its top level.
pub(crate) fn schema(root: &'static Section) -> Value {
    let mut definitions = Map::new();
    for section in root.all() {
        if section.name != root.name {
            definitions.insert(section.name.into(), table(section));
        }
    }
    let mut schema = table(root);
    if let Some(root) = schema.as_object_mut() {
        root.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
        root.insert("title".into(), json!("lbproxy"));
        root.insert("$defs".into(), definitions.into());
    }
    schema
}

fn table(section: &Section) -> Value {
    let keys = section.built().copied().chain((section.more)());
    let properties: Map<String, Value> = keys.map(|key| (key.name.into(), property(&key))).collect();
    let mut table = json!({
        "type": "object",
        "description": section.doc,
        "properties": properties,
        "additionalProperties": false,
    });
    // What stands in a route or a cluster may also be inherited, so its absence there is no fault.
    let required: Vec<&str> =
        section.built().filter(|key| key.default == Default::Required).map(|key| key.name).collect();
    if !required.is_empty() && matches!(section.name, "listener" | "endpoint" | "listener_tls" | "client_auth") {
        table["required"] = json!(required);
    }
    table
}

fn property(key: &Key) -> Value {
    let mut property = kind(&key.kind);
    let Some(object) = property.as_object_mut() else { return property };
    let mut doc = key.doc.to_owned();
    match key.default {
        Default::Value(literal) => {
            object.insert("default".into(), to_json(&Node::literal(literal)));
        }
        Default::Unset(what) => doc = format!("{doc} Default: {what}."),
        Default::Required | Default::InDoc | Default::NotBuilt(_) => {}
    }
    object.insert("description".into(), doc.into());
    property
}

fn kind(kind: &Kind) -> Value {
    match kind {
        Kind::Bool => json!({ "anyOf": [{ "type": "boolean" }, from_env()] }),
        Kind::Integer(least, most) => {
            json!({ "anyOf": [{ "type": "integer", "minimum": least, "maximum": most }, from_env()] })
        }
        Kind::Number(min, max) => {
            json!({ "anyOf": [{ "type": "number", "minimum": min, "maximum": max }, from_env()] })
        }
        Kind::Duration => text_like("^[0-9]+(ms|s|m|h|d)$"),
        Kind::Size => text_like("^[0-9]+([KMGkmg][Ii]?)?[Bb]$"),
        Kind::Rate => text_like("^[0-9]+/([smhd]|[0-9]+(ms|s|m|h|d))$"),
        Kind::Share => text_like("^[0-9]+(\\.[0-9]{1,4})?%$"),
        Kind::Status => json!({ "anyOf": [
            { "type": "integer", "minimum": 100, "maximum": 599 },
            text_like("^([1-5]xx|[1-5][0-9]{2}(-[1-5][0-9]{2})?)$"),
        ] }),
        Kind::Text => json!({ "type": "string" }),
        Kind::Word(words) => json!({ "anyOf": [{ "enum": words }, from_env()] }),
        Kind::List(items) => json!({ "type": "array", "items": self::kind(items) }),
        Kind::Map(values) => json!({ "type": "object", "additionalProperties": self::kind(values) }),
        Kind::Table(section) => json!({ "$ref": format!("#/$defs/{}", section.name) }),
        Kind::Any(kinds) => json!({ "anyOf": kinds.iter().map(self::kind).collect::<Vec<_>>() }),
        Kind::Anything => json!({}),
    }
}

fn text_like(pattern: &str) -> Value {
    json!({ "anyOf": [{ "type": "string", "pattern": pattern }, from_env()] })
}

/// Wherever a value is expected, the environment may supply it.
fn from_env() -> Value {
    json!({ "type": "string", "pattern": "\\$\\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\\}" })
}

fn to_json(node: &Node) -> Value {
    match &node.value {
        tree::Value::Text { text, .. } => json!(text),
        tree::Value::Integer(number) => json!(number),
        tree::Value::Float(number) => json!(number),
        tree::Value::Bool(truth) => json!(truth),
        tree::Value::List(items) => items.iter().map(to_json).collect(),
        tree::Value::Table(table) => {
            let entries = table.entries.iter().map(|entry| (entry.key.clone(), to_json(&entry.node)));
            Value::Object(entries.collect())
        }
        tree::Value::Other(_) | tree::Value::Broken => Value::Null,
    }
}
