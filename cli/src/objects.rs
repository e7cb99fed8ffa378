//! Objects on the bus and their properties, as values that JSON has too.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value as Json};
use zbus::fdo::ManagedObjects;
use zbus::zvariant::Value;

/// Properties by name.
pub type Properties = Map<String, Json>;

/// All objects of one name on the bus: by path and interface.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Objects {
    all: BTreeMap<String, BTreeMap<String, Properties>>,
}

impl Objects {
    /// What `GetManagedObjects` answers.
    pub fn new(answer: &ManagedObjects) -> Self {
        let mut objects = Objects::default();
        for (path, interfaces) in answer {
            for (interface, properties) in interfaces {
                let properties = properties.iter().map(|(name, value)| (name.clone(), json(value))).collect();
                objects.add(path.as_str(), interface.as_str(), properties);
            }
        }
        objects
    }

    /// An interface is there.
    pub fn add(&mut self, path: &str, interface: &str, properties: Properties) {
        self.all.entry(path.to_owned()).or_default().insert(interface.to_owned(), properties);
    }

    /// An interface is gone.
    pub fn remove(&mut self, path: &str, interface: &str) {
        if let Some(interfaces) = self.all.get_mut(path) {
            interfaces.remove(interface);
            if interfaces.is_empty() {
                self.all.remove(path);
            }
        }
    }

    /// Properties have other values. Of an interface that is not known nothing is kept: it will be told whole.
    pub fn change(&mut self, path: &str, interface: &str, changed: &HashMap<&str, Value<'_>>) {
        let known = self.all.get_mut(path).and_then(|interfaces| interfaces.get_mut(interface));
        if let Some(known) = known {
            known.extend(changed.iter().map(|(name, value)| ((*name).to_owned(), json(value))));
        }
    }

    /// All that have this interface, with its properties.
    pub fn with<'a>(&'a self, interface: &'a str) -> impl Iterator<Item = (&'a str, &'a Properties)> {
        self.all.iter().filter_map(move |(path, interfaces)| Some((path.as_str(), interfaces.get(interface)?)))
    }
}

/// The properties of an interface, from a signal.
pub fn properties(values: &HashMap<&str, Value<'_>>) -> Properties {
    values.iter().map(|(name, value)| ((*name).to_owned(), json(value))).collect()
}

/// A value as JSON has it; what JSON does not have (bytes that are no text, file handles, infinite numbers) is null.
fn json(value: &Value<'_>) -> Json {
    match value {
        Value::Bool(truth) => Json::from(*truth),
        Value::U8(number) => Json::from(*number),
        Value::I16(number) => Json::from(*number),
        Value::U16(number) => Json::from(*number),
        Value::I32(number) => Json::from(*number),
        Value::U32(number) => Json::from(*number),
        Value::I64(number) => Json::from(*number),
        Value::U64(number) => Json::from(*number),
        Value::F64(number) => Json::from(*number),
        Value::Str(text) => Json::from(text.as_str()),
        Value::ObjectPath(path) => Json::from(path.as_str()),
        Value::Signature(signature) => Json::from(signature.to_string()),
        Value::Value(inner) => json(inner),
        Value::Array(items) => items.iter().map(json).collect(),
        Value::Structure(fields) => fields.fields().iter().map(json).collect(),
        Value::Dict(entries) => {
            let entry = |(key, value): (&Value<'_>, &Value<'_>)| match json(key) {
                Json::String(key) => Some((key, json(value))),
                _ => None,
            };
            Json::Object(entries.iter().filter_map(entry).collect())
        }
        _ => Json::Null,
    }
}
