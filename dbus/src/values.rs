//! What the properties of an interface are, as an exporter shows them.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use zbus::zvariant::{OwnedValue, Value};

use crate::error::Error;

/// The values of an interface's properties, by name.
pub type Values = BTreeMap<&'static str, Value<'static>>;

/// A dictionary of anything by name: `a{sv}`.
pub type Dict = HashMap<String, OwnedValue>;

/// The fields of a flat struct by their names: numbers as `d` (fractions) or `t` (counts), texts as `s`. Others are left out.
pub(crate) fn figures(of: &impl Serialize) -> HashMap<String, Value<'static>> {
    let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(of) else { return HashMap::new() };
    let figure = |value| match value {
        serde_json::Value::Number(number) => number.as_u64().map(Value::U64).or(number.as_f64().map(Value::F64)),
        serde_json::Value::String(text) => Some(Value::from(text)),
        _ => None,
    };
    fields.into_iter().filter_map(|(name, value)| Some((name, figure(value)?))).collect()
}

/// A number that somebody has given, if it is one.
pub(crate) fn finite(what: &str, number: f64) -> Result<f64, Error> {
    if number.is_finite() {
        Ok(number)
    } else {
        Err(Error::InvalidValue(format!("{what} takes a number, not {number}")))
    }
}
