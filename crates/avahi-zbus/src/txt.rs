//! The TXT record as a map (RFC 6763, section 6).

use std::{collections::BTreeMap, fmt};

use crate::Error;

/// Key/value attributes of a service.
///
/// Keys are compared without regard to ASCII case and kept in lower case. A value is bytes, or nothing at all (`flag` as
/// opposed to `flag=`). Two records are equal when they say the same, whatever the order on the wire.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Txt(BTreeMap<String, Option<Vec<u8>>>);

impl Txt {
    /// The largest record, in bytes with one length byte per entry, that is accepted for publishing: what RFC 6763 gives as
    /// the size which still fits a single multicast packet on Ethernet.
    pub const MAX_LENGTH: usize = 1300;

    /// An empty record.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `key=value` and hands the record on.
    #[must_use]
    pub fn with(mut self, key: impl AsRef<str>, value: impl AsRef<[u8]>) -> Self {
        self.insert(key, value);
        self
    }

    /// Sets `key=value`, replacing what `key` had. Whether key and value fit is checked when the record is published.
    pub fn insert(&mut self, key: impl AsRef<str>, value: impl AsRef<[u8]>) {
        self.0.insert(key.as_ref().to_ascii_lowercase(), Some(value.as_ref().to_vec()));
    }

    /// Sets `key` without a value: present, and that is all there is to say.
    pub fn insert_flag(&mut self, key: impl AsRef<str>) {
        self.0.insert(key.as_ref().to_ascii_lowercase(), None);
    }

    /// Takes `key` out; says whether it was there.
    pub fn remove(&mut self, key: &str) -> bool {
        self.0.remove(&key.to_ascii_lowercase()).is_some()
    }

    /// Whether `key` is present, with a value or without.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        self.0.contains_key(&key.to_ascii_lowercase())
    }

    /// The value of `key` as bytes; `None` when absent or without a value.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.0.get(&key.to_ascii_lowercase())?.as_deref()
    }

    /// The value of `key` as text; `None` when absent, without a value, or not UTF-8.
    #[must_use]
    pub fn get_str(&self, key: &str) -> Option<&str> {
        std::str::from_utf8(self.get(key)?).ok()
    }

    /// All entries in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_deref()))
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads the strings of a record off the wire. As the RFC asks, the first of several equal keys counts and a string
    /// without a key is passed over.
    pub(crate) fn from_wire(strings: &[Vec<u8>]) -> Self {
        let mut map = BTreeMap::new();
        for string in strings {
            let (key, value) = match string.iter().position(|&b| b == b'=') {
                Some(at) => (&string[..at], Some(string[at + 1..].to_vec())),
                None => (&string[..], None),
            };
            if key.is_empty() {
                continue;
            }
            let key = String::from_utf8_lossy(key).to_ascii_lowercase();
            map.entry(key).or_insert(value);
        }
        Self(map)
    }

    /// The strings as they go on the wire.
    pub(crate) fn to_wire(&self) -> Result<Vec<Vec<u8>>, Error> {
        let mut strings = Vec::with_capacity(self.0.len());
        let mut total = 0;
        for (key, value) in &self.0 {
            if key.is_empty() || !key.bytes().all(|b| (0x20..=0x7e).contains(&b) && b != b'=') {
                return Err(Error::TxtKey { given: key.clone() });
            }
            let mut string = key.as_bytes().to_vec();
            if let Some(value) = value {
                string.push(b'=');
                string.extend_from_slice(value);
            }
            if string.len() > 255 {
                return Err(Error::TxtEntry { key: key.clone(), length: string.len() });
            }
            total += 1 + string.len();
            strings.push(string);
        }
        if total > Self::MAX_LENGTH {
            return Err(Error::TxtRecord { length: total, limit: Self::MAX_LENGTH });
        }
        Ok(strings)
    }
}

impl fmt::Debug for Txt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |value: &Option<Vec<u8>>| value.as_ref().map(|v| v.escape_ascii().to_string());
        f.debug_map().entries(self.0.iter().map(|(key, value)| (key, text(value)))).finish()
    }
}

impl<K: AsRef<str>, V: AsRef<[u8]>> FromIterator<(K, V)> for Txt {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        entries.into_iter().fold(Self::new(), |txt, (key, value)| txt.with(key, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(strings: &[&str]) -> Vec<Vec<u8>> {
        strings.iter().map(|s| s.as_bytes().to_vec()).collect()
    }

    #[test]
    fn reads_as_the_rfc_asks() {
        let txt = Txt::from_wire(&wire(&["V=1", "v=2", "flag", "empty=", "=nameless", "", "url=a=b"]));
        assert_eq!(txt.len(), 4);
        assert_eq!(txt.get_str("v"), Some("1"));
        assert!(txt.contains("FLAG"));
        assert_eq!(txt.get("flag"), None);
        assert_eq!(txt.get("empty"), Some(&b""[..]));
        assert_eq!(txt.get_str("url"), Some("a=b"));
    }

    #[test]
    fn order_on_the_wire_does_not_matter() {
        assert_eq!(Txt::from_wire(&wire(&["a=1", "b=2"])), Txt::from_wire(&wire(&["B=2", "A=1"])));
        assert_ne!(Txt::from_wire(&wire(&["a"])), Txt::from_wire(&wire(&["a="])));
    }

    #[test]
    fn goes_there_and_back() {
        let mut txt = Txt::new().with("id", [0, 255, b'=']).with("Groups", "up,down");
        txt.insert_flag("open");
        assert_eq!(Txt::from_wire(&txt.to_wire().unwrap()), txt);
    }

    #[test]
    fn limits_are_those_of_the_wire() {
        assert!(Txt::new().with("k", vec![b'x'; 253]).to_wire().is_ok());
        assert!(matches!(Txt::new().with("k", vec![b'x'; 254]).to_wire(), Err(Error::TxtEntry { length: 256, .. })));
        assert!(matches!(Txt::new().with("a=b", "").to_wire(), Err(Error::TxtKey { .. })));
        assert!(matches!(Txt::new().with("", "x").to_wire(), Err(Error::TxtKey { .. })));
        let big: Txt = (0..6).map(|i| (format!("k{i}"), vec![b'x'; 250])).collect();
        assert!(matches!(big.to_wire(), Err(Error::TxtRecord { length: 1524, limit: 1300 })));
    }
}
