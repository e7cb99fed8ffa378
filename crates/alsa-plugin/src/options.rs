//! What the definition of a PCM says about it: typed, and nothing that is not asked for.

use std::{
    ffi::{CStr, CString, c_char},
    ops::RangeInclusive,
    ptr,
};

use alsa_sys::snd_config_t;

/// A value in a definition.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Real(f64),
    /// Text, quoted or not.
    Text(String),
    /// A block in braces, or something that is no value.
    Block,
}

impl Value {
    fn said(&self) -> String {
        match self {
            Self::Integer(number) => number.to_string(),
            Self::Real(number) => number.to_string(),
            Self::Text(text) => format!("\"{text}\""),
            Self::Block => "a block".to_owned(),
        }
    }
}

/// What is wrong with a definition.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum OptionError {
    /// A key that has no meaning.
    #[error("there is no option \"{key}\": take it out of the definition; known are {known}")]
    Unknown {
        /// The key.
        key: String,
        /// Those that would be accepted.
        known: String,
    },
    /// A value that is not acceptable.
    #[error("the option \"{key}\" is {value}, but should be {expected}")]
    Wrong {
        /// The key.
        key: String,
        /// What it is.
        value: String,
        /// What it could be.
        expected: String,
    },
    /// Defaults that are no block of options.
    #[error("{key} is {value}, but should be options of their own, each by its name: {key}.OPTION VALUE")]
    NoOptions {
        /// Where they are.
        key: String,
        /// What is there.
        value: String,
    },
    /// Something that must be said is not.
    #[error("the option \"{key}\" is missing: add it to the definition")]
    Missing {
        /// The key.
        key: String,
    },
}

/// The options of a definition. What was not asked for when it is [`finish`](Self::finish)ed is refused.
#[derive(Clone, Debug, Default)]
pub struct Options {
    left: Vec<(String, Value)>,
    known: Vec<String>,
}

/// What every definition may hold beside its options.
const NO_OPTIONS: [&str; 3] = ["comment", "type", "hint"];

impl FromIterator<(String, Value)> for Options {
    fn from_iter<T: IntoIterator<Item = (String, Value)>>(values: T) -> Self {
        let left = values.into_iter().filter(|(key, _)| !NO_OPTIONS.contains(&key.as_str())).collect();
        Self { left, known: Vec::new() }
    }
}

impl Options {
    /// Those of a definition.
    ///
    /// # Safety
    /// `definition` is null or a live node that nobody changes meanwhile.
    pub(crate) unsafe fn read(definition: *const snd_config_t) -> Self {
        // SAFETY: the caller vouches for the node.
        let is_block = !definition.is_null()
            && unsafe { alsa_sys::snd_config_get_type(definition) } == alsa_sys::SND_CONFIG_TYPE_COMPOUND;
        let mut values = Vec::new();
        if is_block {
            // SAFETY: a live compound node; an iterator is valid until it equals the end, and is only used before.
            unsafe {
                let end = alsa_sys::snd_config_iterator_end(definition);
                let mut at = alsa_sys::snd_config_iterator_first(definition);
                while at != end {
                    let node = alsa_sys::snd_config_iterator_entry(at);
                    values.extend(key_of(node).map(|key| (key, value_of(node))));
                    at = alsa_sys::snd_config_iterator_next(at);
                }
            }
        }
        values.into_iter().collect()
    }

    /// What the configuration `root` has as `defaults.TYPE` for the plugins of the type that `definition` names: the user's own, as a rule.
    ///
    /// # Errors
    /// [`OptionError::NoOptions`] when a value is there in place of options.
    ///
    /// # Safety
    /// Both are null or live nodes that nobody changes meanwhile.
    pub(crate) unsafe fn defaults(root: *mut snd_config_t, definition: *mut snd_config_t) -> Result<Self, OptionError> {
        if root.is_null() || definition.is_null() {
            return Ok(Self::default());
        }
        let (mut kind, mut called, mut found) = (std::ptr::null_mut(), std::ptr::null(), std::ptr::null_mut());
        // SAFETY: live nodes and places for what is found, which is part of them.
        unsafe {
            let named = alsa_sys::snd_config_search(definition, c"type".as_ptr(), &raw mut kind) >= 0
                && alsa_sys::snd_config_get_string(kind, &raw mut called) >= 0;
            if !named {
                return Ok(Self::default());
            }
            // Not by a function in the definition: those follow a text as if it were the name of something else.
            let Ok(key) = CString::new([&b"defaults."[..], CStr::from_ptr(called).to_bytes()].concat()) else {
                return Ok(Self::default());
            };
            if alsa_sys::snd_config_search(root, key.as_ptr(), &raw mut found) < 0 {
                return Ok(Self::default());
            }
            match value_of(found) {
                Value::Block => Ok(Self::read(found)),
                value => Err(OptionError::NoOptions { key: key.to_string_lossy().into_owned(), value: value.said() }),
            }
        }
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        self.known.push(key.to_owned());
        let at = self.left.iter().position(|(name, _)| name == key)?;
        Some(self.left.remove(at).1)
    }

    /// Text; a number counts as text as well.
    ///
    /// # Errors
    /// [`OptionError::Wrong`] when it is a block.
    pub fn text(&mut self, key: &str) -> Result<Option<String>, OptionError> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(Value::Integer(number)) => Ok(Some(number.to_string())),
            Some(Value::Real(number)) => Ok(Some(number.to_string())),
            Some(other) => Err(wrong(key, &other, "text")),
        }
    }

    /// A whole number; text that is one counts as well, as arguments of a PCM's name come as text.
    ///
    /// # Errors
    /// [`OptionError::Wrong`] when it is none, or not in the range.
    pub fn integer(&mut self, key: &str, range: RangeInclusive<i64>) -> Result<Option<i64>, OptionError> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let number = match &value {
            Value::Integer(number) => Some(*number),
            Value::Text(text) => text.trim().parse().ok(),
            _ => None,
        };
        let expected = || format!("a whole number from {} to {}", range.start(), range.end());
        number.filter(|number| range.contains(number)).map(Some).ok_or_else(|| wrong(key, &value, &expected()))
    }

    /// A number; text that is one counts as well.
    ///
    /// # Errors
    /// [`OptionError::Wrong`] when it is none, or not in the range.
    pub fn real(&mut self, key: &str, range: RangeInclusive<f64>) -> Result<Option<f64>, OptionError> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let number = match &value {
            Value::Integer(number) => Some(*number as f64),
            Value::Real(number) => Some(*number),
            Value::Text(text) => text.trim().parse().ok(),
            Value::Block => None,
        };
        let expected = || format!("a number from {} to {}", range.start(), range.end());
        number.filter(|number| range.contains(number)).map(Some).ok_or_else(|| wrong(key, &value, &expected()))
    }

    /// Yes or no, in all the words that alsa-lib takes for them.
    ///
    /// # Errors
    /// [`OptionError::Wrong`] when it is neither.
    pub fn boolean(&mut self, key: &str) -> Result<Option<bool>, OptionError> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let word = match &value {
            Value::Integer(number) => number.to_string(),
            Value::Text(text) => text.to_ascii_lowercase(),
            _ => String::new(),
        };
        match word.as_str() {
            "1" | "true" | "yes" | "on" | "t" | "y" => Ok(Some(true)),
            "0" | "false" | "no" | "off" | "f" | "n" => Ok(Some(false)),
            _ => Err(wrong(key, &value, "yes or no")),
        }
    }

    /// Refuses what has not been asked for.
    ///
    /// # Errors
    /// [`OptionError::Unknown`] names the first such key, and all that are known.
    pub fn finish(self) -> Result<(), OptionError> {
        match self.left.into_iter().next() {
            None => Ok(()),
            Some((key, _)) => Err(OptionError::Unknown { key, known: self.known.join(", ") }),
        }
    }
}

fn wrong(key: &str, value: &Value, expected: &str) -> OptionError {
    OptionError::Wrong { key: key.to_owned(), value: value.said(), expected: expected.to_owned() }
}

/// # Safety
/// A live node.
unsafe fn key_of(node: *const snd_config_t) -> Option<String> {
    let mut key: *const c_char = ptr::null();
    // SAFETY: the caller's node, and a place for its key, which belongs to the node.
    unsafe {
        let found = alsa_sys::snd_config_get_id(node, &raw mut key) >= 0 && !key.is_null();
        found.then(|| CStr::from_ptr(key).to_string_lossy().into_owned())
    }
}

/// # Safety
/// A live node.
#[expect(clippy::useless_conversion, reason = "a C long is 32 bits wide on some targets")]
unsafe fn value_of(node: *const snd_config_t) -> Value {
    let (mut long, mut integer, mut real) = (0, 0, 0.0);
    let mut text: *const c_char = ptr::null();
    // SAFETY: the caller's node, and places for the values, of which each call writes the one of its type. A text belongs
    // to the node and ends with a NUL.
    unsafe {
        match alsa_sys::snd_config_get_type(node) {
            alsa_sys::SND_CONFIG_TYPE_INTEGER if alsa_sys::snd_config_get_integer(node, &raw mut long) >= 0 => {
                Value::Integer(long.into())
            }
            alsa_sys::SND_CONFIG_TYPE_INTEGER64 if alsa_sys::snd_config_get_integer64(node, &raw mut integer) >= 0 => {
                Value::Integer(integer)
            }
            alsa_sys::SND_CONFIG_TYPE_REAL if alsa_sys::snd_config_get_real(node, &raw mut real) >= 0 => {
                Value::Real(real)
            }
            alsa_sys::SND_CONFIG_TYPE_STRING
                if alsa_sys::snd_config_get_string(node, &raw mut text) >= 0 && !text.is_null() =>
            {
                Value::Text(CStr::from_ptr(text).to_string_lossy().into_owned())
            }
            _ => Value::Block,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(values: &[(&str, Value)]) -> Options {
        values.iter().cloned().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    #[test]
    fn values_are_taken_by_type() {
        let mut options = options(&[
            ("type", Value::Text("audera".to_owned())),
            ("player", Value::Integer(42)),
            ("latency", Value::Text("80".to_owned())),
            ("ppm", Value::Integer(-60)),
            ("mute", Value::Text("Off".to_owned())),
        ]);
        assert_eq!(options.text("player"), Ok(Some("42".to_owned())));
        assert_eq!(options.integer("latency", 10..=2000), Ok(Some(80)));
        assert_eq!(options.real("ppm", -100.0..=100.0), Ok(Some(-60.0)));
        assert_eq!(options.boolean("mute"), Ok(Some(false)));
        assert_eq!(options.text("codec"), Ok(None));
        assert_eq!(options.finish(), Ok(()));
    }

    #[test]
    fn what_is_refused_is_named() {
        let mut options = options(&[("latency", Value::Integer(5)), ("colour", Value::Block)]);
        let error = options.integer("latency", 10..=2000).unwrap_err();
        assert_eq!(error.to_string(), "the option \"latency\" is 5, but should be a whole number from 10 to 2000");
        let error = options.finish().unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no option \"colour\": take it out of the definition; known are latency"
        );
    }

    #[test]
    fn no_number_is_not_one() {
        let mut options =
            options(&[("ppm", Value::Real(f64::NAN)), ("rate", Value::Real(1.5)), ("mute", Value::Block)]);
        assert!(options.real("ppm", -1.0..=1.0).is_err());
        assert!(options.integer("rate", 0..=9).is_err());
        assert!(options.boolean("mute").is_err());
    }
}
