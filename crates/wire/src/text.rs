//! Bounded text and lists of control messages: cut to size when written, refused beyond it when read.

use std::fmt;

use audera_clock::Span;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, SeqAccess, Visitor};
use serde::ser::Serializer;

/// Makes text of our own fit for the wire: control characters become spaces, and what exceeds `max` bytes is cut at a
/// character's boundary.
pub(crate) fn clip(text: &str, max: usize) -> String {
    let mut clipped = String::with_capacity(text.len().min(max));
    for character in text.chars() {
        let character = if character.is_control() { ' ' } else { character };
        if clipped.len() + character.len_utf8() > max {
            break;
        }
        clipped.push(character);
    }
    clipped
}

/// Reads text of at most `MAX` bytes without control characters.
pub(crate) fn text<'de, D: Deserializer<'de>, const MAX: usize>(deserializer: D) -> Result<String, D::Error> {
    Text { max: MAX }.deserialize(deserializer)
}

/// Reads text like [`text`]; null is `None`.
pub(crate) fn optional_text<'de, D: Deserializer<'de>, const MAX: usize>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    deserializer.deserialize_option(OptionalText { max: MAX })
}

/// Reads at most `COUNT` texts of at most `MAX` bytes each.
pub(crate) fn texts<'de, D: Deserializer<'de>, const COUNT: usize, const MAX: usize>(
    deserializer: D,
) -> Result<Vec<String>, D::Error> {
    deserializer.deserialize_seq(List { count: COUNT, element: || Text { max: MAX } })
}

/// Reads at most `COUNT` numbers.
pub(crate) fn numbers<'de, D: Deserializer<'de>, const COUNT: usize>(deserializer: D) -> Result<Vec<u16>, D::Error> {
    deserializer.deserialize_seq(List { count: COUNT, element: || std::marker::PhantomData::<u16> })
}

/// Reads a number that is absent, null or finite.
pub(crate) fn finite<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    match Option::<f64>::deserialize(deserializer)? {
        Some(number) if !number.is_finite() => Err(D::Error::custom(format_args!("{number} is not a finite number"))),
        number => Ok(number),
    }
}

/// Spans as whole microseconds.
pub(crate) mod micros {
    use super::{Deserialize, Deserializer, Serializer, Span};

    pub(crate) fn serialize<S: Serializer>(span: &Span, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(u32::try_from(span.as_nanos() / 1_000).unwrap_or(0))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        Ok(Span::from_nanos(i64::from(u32::deserialize(deserializer)?) * 1_000))
    }
}

struct Text {
    max: usize,
}

impl<'de> DeserializeSeed<'de> for Text {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Text {
    type Value = String;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "text of at most {} bytes without control characters", self.max)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        if text.len() > self.max {
            return Err(E::invalid_length(text.len(), &self));
        }
        if text.chars().any(char::is_control) {
            return Err(E::invalid_value(serde::de::Unexpected::Str(text), &self));
        }
        Ok(text.to_owned())
    }
}

struct OptionalText {
    max: usize,
}

impl<'de> Visitor<'de> for OptionalText {
    type Value = Option<String>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "null or text of at most {} bytes", self.max)
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        Text { max: self.max }.deserialize(deserializer).map(Some)
    }
}

/// A list that grows with what is really there, whatever length it announces.
struct List<F> {
    count: usize,
    element: F,
}

impl<'de, F, T> Visitor<'de> for List<F>
where
    F: Fn() -> T,
    T: DeserializeSeed<'de>,
{
    type Value = Vec<T::Value>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a list of at most {} entries", self.count)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while list.len() < self.count {
            match entries.next_element_seed((self.element)())? {
                Some(entry) => list.push(entry),
                None => return Ok(list),
            }
        }
        match entries.next_element::<IgnoredAny>()? {
            Some(IgnoredAny) => Err(A::Error::invalid_length(list.len() + 1, &self)),
            None => Ok(list),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::clip;

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(clip("Küche", 63), "Küche");
        assert_eq!(clip("Küche", 2), "K");
        assert_eq!(clip("Küche", 3), "Kü");
        assert_eq!(clip("a\nb\x1b[31m", 63), "a b [31m");
    }
}
