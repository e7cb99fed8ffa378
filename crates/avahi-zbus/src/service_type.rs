//! The type of a service, checked once: `_name._tcp` or `_name._udp`.

use std::{fmt, str::FromStr};

use crate::Error;

/// A DNS-SD service type such as `_ipp._tcp` (RFC 6763, section 7; names as in RFC 6335, section 5.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceType(String);

impl ServiceType {
    /// Checks `text` and keeps it.
    ///
    /// The name is 1 to 15 characters: ASCII letters, digits and single hyphens, at least one letter, no hyphen at an end.
    ///
    /// # Errors
    /// [`Error::ServiceType`] names the rule which `text` breaks.
    pub fn new(text: impl Into<String>) -> Result<Self, Error> {
        let text = text.into();
        match fault(&text) {
            None => Ok(Self(text)),
            Some(reason) => Err(Error::ServiceType { given: text, reason }),
        }
    }

    /// The type as it stands in DNS, without a domain.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn fault(text: &str) -> Option<&'static str> {
    let Some((name, protocol)) = text.split_once('.') else {
        return Some("there is no dot between name and protocol");
    };
    if protocol != "_tcp" && protocol != "_udp" {
        return Some("the protocol is neither \"_tcp\" nor \"_udp\"");
    }
    let Some(name) = name.strip_prefix('_') else {
        return Some("the name does not start with an underscore");
    };
    if name.is_empty() || name.len() > 15 {
        return Some("the name is not 1 to 15 characters long");
    }
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Some("the name has a character other than ASCII letters, digits and hyphens");
    }
    if !name.bytes().any(|b| b.is_ascii_alphabetic()) {
        return Some("the name has no letter");
    }
    if name.starts_with('-') || name.ends_with('-') || name.contains("--") {
        return Some("a hyphen stands at an end of the name or beside another");
    }
    None
}

impl fmt::Display for ServiceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ServiceType {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_types_are_taken() {
        for text in ["_audera._tcp", "_audera-source._tcp", "_sleep-proxy._udp", "_a._tcp", "_abcdefghijklmno._udp"] {
            assert_eq!(ServiceType::new(text).map(|t| t.to_string()).ok().as_deref(), Some(text));
        }
    }

    #[test]
    fn every_broken_rule_is_told() {
        let broken = [
            ("", "no dot"),
            ("_ipp", "no dot"),
            ("_ipp._sctp", "neither"),
            ("_ipp._tcp.local", "neither"),
            ("ipp._tcp", "underscore"),
            ("_._tcp", "1 to 15"),
            ("_abcdefghijklmnop._tcp", "1 to 15"),
            ("_ab_c._tcp", "other than"),
            ("_k\u{fc}che._tcp", "other than"),
            ("_42._tcp", "no letter"),
            ("_-a._tcp", "hyphen"),
            ("_a--b._tcp", "hyphen"),
        ];
        for (text, part) in broken {
            let Err(Error::ServiceType { reason, .. }) = ServiceType::new(text) else {
                panic!("{text:?} was accepted");
            };
            assert!(reason.contains(part), "{text:?}: {reason}");
        }
    }
}
