//! The arguments of a module: typed, and refused with the key, the value and what would be accepted.

use std::ops::RangeInclusive;

use crate::error::Error;
use crate::json::{self, Value};
use crate::properties::Properties;

/// Arguments as given in a `context.modules` entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Args {
    entries: Vec<(String, Value)>,
}

impl Args {
    /// Parses SPA-JSON; see [`json`](crate::json).
    ///
    /// # Errors
    /// [`Error::Syntax`] with the place.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Ok(Self { entries: json::parse_object(text)? })
    }

    /// The value of `key` as it stands; `null` counts as not given.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entries
            .iter()
            .find(|(known, _)| known == key)
            .map(|(_, value)| value)
            .filter(|value| !matches!(value, Value::Bare(word) if word == "null"))
    }

    /// All keys, in the order given.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(key, _)| key.as_str())
    }

    /// Refuses any key that is not in `known`. Keys that PipeWire itself adds to arguments are let through.
    ///
    /// # Errors
    /// [`Error::UnknownArgument`] for the first such key.
    pub fn only(&self, known: &[&str]) -> Result<(), Error> {
        match self.keys().find(|key| !known.contains(key)) {
            None => Ok(()),
            Some(key) => Err(Error::UnknownArgument { key: key.to_owned(), known: known.join(", ") }),
        }
    }

    /// A string.
    ///
    /// # Errors
    /// [`Error::Argument`] for an array or object.
    pub fn string(&self, key: &str) -> Result<Option<&str>, Error> {
        self.get(key).map(|value| value.as_text().ok_or_else(|| refused(key, value, "a string"))).transpose()
    }

    /// One of a few words.
    ///
    /// # Errors
    /// [`Error::Argument`] for anything else.
    pub fn one_of<T: Copy>(&self, key: &str, accepted: &[(&str, T)]) -> Result<Option<T>, Error> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let found = value.as_text().and_then(|text| accepted.iter().find(|(word, _)| *word == text));
        match found {
            Some((_, meaning)) => Ok(Some(*meaning)),
            None => {
                let words: Vec<&str> = accepted.iter().map(|(word, _)| *word).collect();
                Err(refused(key, value, words.join(" | ")))
            }
        }
    }

    /// An integer in `range`, bare or quoted.
    ///
    /// # Errors
    /// [`Error::Argument`] for anything else.
    pub fn integer(&self, key: &str, range: RangeInclusive<i64>) -> Result<Option<i64>, Error> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.as_text().and_then(|text| text.parse().ok()).filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(refused(key, value, format!("an integer from {} to {}", range.start(), range.end()))),
        }
    }

    /// A finite number in `range`, bare or quoted.
    ///
    /// # Errors
    /// [`Error::Argument`] for anything else.
    pub fn number(&self, key: &str, range: RangeInclusive<f64>) -> Result<Option<f64>, Error> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.as_text().and_then(|text| text.parse().ok()).filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(refused(key, value, format!("a number from {} to {}", range.start(), range.end()))),
        }
    }

    /// `true` or `false`, bare or quoted.
    ///
    /// # Errors
    /// [`Error::Argument`] for anything else.
    pub fn boolean(&self, key: &str) -> Result<Option<bool>, Error> {
        self.one_of(key, &[("true", true), ("false", false)])
    }

    /// An array of strings; `None` when not given.
    ///
    /// # Errors
    /// [`Error::Argument`] for anything else.
    pub fn strings(&self, key: &str) -> Result<Option<Vec<String>>, Error> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let texts = match value {
            Value::Array(values) => {
                values.iter().map(|value| value.as_text().map(str::to_owned)).collect::<Option<_>>()
            }
            Value::Bare(_) | Value::Quoted(_) | Value::Object(_) => None,
        };
        texts.map(Some).ok_or_else(|| refused(key, value, "an array of strings, such as [ \"a\" \"b\" ]"))
    }

    /// An object as properties (`stream.props`); containers in it stay SPA-JSON text. Empty when not given.
    ///
    /// # Errors
    /// [`Error::Argument`] for anything that is not an object.
    pub fn properties(&self, key: &str) -> Result<Properties, Error> {
        match self.get(key) {
            None => Ok(Properties::new()),
            Some(Value::Object(entries)) => Ok(to_properties(entries)),
            Some(value) => Err(refused(key, value, "an object, such as { node.name = x }")),
        }
    }

    /// All arguments as properties; containers stay SPA-JSON text.
    pub fn to_properties(&self) -> Properties {
        to_properties(&self.entries)
    }
}

fn to_properties(entries: &[(String, Value)]) -> Properties {
    entries
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_text().map_or_else(|| value.to_string(), str::to_owned)))
        .collect()
}

fn refused(key: &str, value: &Value, expected: impl Into<String>) -> Error {
    Error::Argument { key: key.to_owned(), value: value.to_string(), expected: expected.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> Args {
        Args::parse("s = word n = 80 q = \"-5\" f = 0.5 t = true a = [ x \"y:1\" ] o = { k = [ 1 2 ] } z = null")
            .expect("valid")
    }

    #[test]
    fn gives_what_was_asked_for() {
        let args = args();
        assert_eq!(args.string("s").expect("a string"), Some("word"));
        assert_eq!(args.integer("n", 0..=100).expect("in range"), Some(80));
        assert_eq!(args.integer("q", -5..=5).expect("in range"), Some(-5));
        assert_eq!(args.number("f", 0.0..=1.0).expect("in range"), Some(0.5));
        assert_eq!(args.boolean("t").expect("a boolean"), Some(true));
        assert_eq!(args.strings("a").expect("strings"), Some(vec!["x".to_owned(), "y:1".to_owned()]));
        assert_eq!(args.properties("o").expect("an object").get("k"), Some("[ 1 2 ]"));
        assert_eq!(args.string("z").expect("null is nothing"), None);
        assert_eq!(args.one_of("s", &[("word", 1), ("other", 2)]).expect("known"), Some(1));
        assert_eq!(args.to_properties().get("a"), Some("[ x \"y:1\" ]"));
    }

    #[test]
    fn a_refusal_names_key_value_and_what_is_accepted() {
        let args = args();
        for (result, told) in [
            (args.integer("n", 0..=9).map(drop), "argument n = 80: expected an integer from 0 to 9"),
            (args.integer("s", 0..=9).map(drop), "argument s = word: expected an integer from 0 to 9"),
            (args.number("s", 0.0..=9.0).map(drop), "argument s = word: expected a number from 0 to 9"),
            (args.boolean("n").map(drop), "argument n = 80: expected true | false"),
            (args.string("a").map(drop), "argument a = [ x \"y:1\" ]: expected a string"),
            (args.strings("s").map(drop), "argument s = word: expected an array of strings, such as [ \"a\" \"b\" ]"),
            (args.properties("s").map(drop), "argument s = word: expected an object, such as { node.name = x }"),
            (args.only(&["s", "n"]), "unknown argument q; known are s, n"),
        ] {
            assert_eq!(result.expect_err(told).to_string(), told);
        }
    }

    #[test]
    fn not_a_number_is_no_number() {
        let args = Args::parse("x = NaN y = inf").expect("valid");
        assert!(args.number("x", 0.0..=1.0).is_err());
        assert!(args.number("y", 0.0..=f64::MAX).is_err());
    }
}
