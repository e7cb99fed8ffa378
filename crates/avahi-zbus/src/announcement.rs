//! What a publisher announces.

use crate::{Error, ServiceType, Txt};

/// A service to be announced on all interfaces of this host, under this host's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    pub(crate) name: String,
    pub(crate) service_type: ServiceType,
    pub(crate) port: u16,
    pub(crate) txt: Txt,
    pub(crate) subtypes: Vec<String>,
}

impl Announcement {
    /// A service called `name` (1 to 63 bytes of UTF-8, for people to read) at `port`, without TXT or subtypes.
    pub fn new(name: impl Into<String>, service_type: ServiceType, port: u16) -> Self {
        Self { name: name.into(), service_type, port, txt: Txt::new(), subtypes: Vec::new() }
    }

    /// Gives it a TXT record.
    #[must_use]
    pub fn txt(mut self, txt: Txt) -> Self {
        self.txt = txt;
        self
    }

    /// Adds a subtype, given as its label alone: `_printer`.
    #[must_use]
    pub fn subtype(mut self, label: impl Into<String>) -> Self {
        self.subtypes.push(label.into());
        self
    }

    /// The subtype as Avahi wants it.
    pub(crate) fn full_subtype(&self, label: &str) -> String {
        format!("{label}._sub.{}", self.service_type)
    }

    /// Refuses what could never be announced.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.name.is_empty() || self.name.len() > 63 || self.name.chars().any(char::is_control) {
            return Err(Error::InstanceName { given: self.name.clone() });
        }
        for label in &self.subtypes {
            if !label.starts_with('_') || label.contains('.') || !(2..=63).contains(&label.len()) {
                return Err(Error::Subtype { given: label.clone() });
            }
        }
        self.txt.to_wire().map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Announcement {
        Announcement::new(name, ServiceType::new("_ipp._tcp").unwrap(), 1)
    }

    #[test]
    fn names_are_bounded_in_bytes() {
        assert!(named("K\u{fc}che").check().is_ok());
        assert!(named(&"x".repeat(63)).check().is_ok());
        assert!(matches!(named(&"\u{fc}".repeat(32)).check(), Err(Error::InstanceName { .. })));
        assert!(matches!(named("").check(), Err(Error::InstanceName { .. })));
        assert!(matches!(named("a\nb").check(), Err(Error::InstanceName { .. })));
    }

    #[test]
    fn subtypes_are_labels() {
        let kitchen = named("Kitchen").subtype("_lamp");
        assert!(kitchen.check().is_ok());
        assert_eq!(kitchen.full_subtype("_lamp"), "_lamp._sub._ipp._tcp");
        for label in ["lamp", "_", "_a.b"] {
            assert!(matches!(named("Kitchen").subtype(label).check(), Err(Error::Subtype { .. })), "{label}");
        }
    }
}
