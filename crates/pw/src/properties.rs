//! Key-value properties, owned by Rust and lent to libpipewire for a call.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::marker::PhantomData;
use std::ptr::NonNull;

use libspa_sys as spa;
use pipewire_sys as pw;

/// An ordered set of string properties (`node.name`, `media.class` and so on).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties {
    entries: BTreeMap<String, String>,
}

impl Properties {
    /// No properties.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.entries.get(key).map(String::as_str)
    }

    /// Sets `key`; an empty value is a value too. NUL characters, which PipeWire cannot carry, are left out.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<String>) -> &mut Self {
        self.entries.insert(without_nul(key.into()), without_nul(value.into()));
        self
    }

    /// [`set`](Self::set) for building in one expression.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.set(key, value);
        self
    }

    /// Removes `key` and returns what it was.
    pub fn remove(&mut self, key: &str) -> Option<String> {
        self.entries.remove(key)
    }

    /// Puts all of `other` on top of these.
    pub fn merge(&mut self, other: &Self) {
        self.entries.extend(other.entries.iter().map(|(key, value)| (key.clone(), value.clone())));
    }

    /// All properties, ordered by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Copies a dictionary of libpipewire's. Text that is not UTF-8 is replaced where it is not.
    ///
    /// # Safety
    /// `dict` is NULL or points to a valid dictionary for the length of the call.
    pub(crate) unsafe fn from_dict(dict: *const spa::spa_dict) -> Self {
        let mut properties = Self::new();
        // SAFETY: NULL or valid by this function's contract.
        let Some(dict) = (unsafe { dict.as_ref() }) else { return properties };
        if dict.items.is_null() {
            return properties;
        }
        // SAFETY: a valid dictionary has `n_items` items at `items`.
        for item in unsafe { std::slice::from_raw_parts(dict.items, dict.n_items as usize) } {
            if item.key.is_null() || item.value.is_null() {
                continue;
            }
            // SAFETY: keys and values of a valid dictionary are NULL (handled above) or NUL-terminated strings.
            let (key, value) = unsafe { (CStr::from_ptr(item.key), CStr::from_ptr(item.value)) };
            properties.set(key.to_string_lossy(), value.to_string_lossy());
        }
        properties
    }

    /// A dictionary to lend to a call.
    pub(crate) fn lend(&self) -> LentDict<'_> {
        let text: Vec<(CString, CString)> = self
            .entries
            .iter()
            .filter_map(|(key, value)| Some((CString::new(key.as_str()).ok()?, CString::new(value.as_str()).ok()?)))
            .collect();
        let items: Vec<spa::spa_dict_item> =
            text.iter().map(|(key, value)| spa::spa_dict_item { key: key.as_ptr(), value: value.as_ptr() }).collect();
        let dict =
            spa::spa_dict { flags: 0, n_items: u32::try_from(items.len()).unwrap_or(u32::MAX), items: items.as_ptr() };
        LentDict { dict, _items: items, _text: text, _of: PhantomData }
    }

    /// A new `pw_properties` with these entries, for a call that takes ownership.
    pub(crate) fn to_raw(&self) -> Option<NonNull<pw::pw_properties>> {
        let dict = self.lend();
        // SAFETY: `dict` is a valid dictionary for the length of the call, which copies it.
        NonNull::new(unsafe { pw::pw_properties_new_dict(dict.as_ptr()) })
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Properties {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut properties = Self::new();
        for (key, value) in entries {
            properties.set(key, value);
        }
        properties
    }
}

/// A `spa_dict` and the memory it points into.
pub(crate) struct LentDict<'a> {
    dict: spa::spa_dict,
    // Moving the struct moves the vectors' headers, not the memory that `dict` and `_items` point to.
    _items: Vec<spa::spa_dict_item>,
    _text: Vec<(CString, CString)>,
    _of: PhantomData<&'a Properties>,
}

impl LentDict<'_> {
    pub(crate) fn as_ptr(&self) -> *const spa::spa_dict {
        &raw const self.dict
    }
}

fn without_nul(mut text: String) -> String {
    text.retain(|c| c != '\0');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_the_way_through_libpipewire() {
        let properties =
            Properties::new().with("node.name", "audera.kitchen").with("empty", "").with("nul\0key", "a\0b");
        let raw = properties.to_raw().expect("allocation");
        // SAFETY: `raw` is ours and valid until it is freed below.
        let back = unsafe { Properties::from_dict(&raw const (*raw.as_ptr()).dict) };
        // SAFETY: made by to_raw, freed once.
        unsafe { pw::pw_properties_free(raw.as_ptr()) };
        assert_eq!(back, properties);
        assert_eq!(back.get("nulkey"), Some("ab"));
        assert_eq!(back.len(), 3);
    }

    #[test]
    fn merge_puts_the_other_on_top() {
        let mut properties: Properties = [("a", "1"), ("b", "2")].into_iter().collect();
        properties.merge(&Properties::new().with("b", "3"));
        assert_eq!(properties.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "3")]);
        assert_eq!(properties.remove("a").as_deref(), Some("1"));
        assert!(properties.get("a").is_none());
    }

    #[test]
    fn no_dictionary_is_no_properties() {
        // SAFETY: NULL is allowed.
        assert!(unsafe { Properties::from_dict(std::ptr::null()) }.is_empty());
    }
}
