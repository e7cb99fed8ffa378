//! Which source is meant: by its name, or by its address.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use audera_wire::{PORT, label_fault};

/// A source as a user names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The source announced under this DNS-SD instance name.
    Named(String),
    /// The source at a fixed address; works without Avahi.
    Address {
        /// Host name or address, without brackets.
        host: String,
        /// TCP port, not 0.
        port: u16,
    },
}

/// Why a text names no source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SourceError(pub String);

impl Source {
    /// What is accepted, for error texts.
    pub const ACCEPTED: &'static str = "the name of a source, \"host:port\" or \"[address]:port\"";
}

impl FromStr for Source {
    type Err = SourceError;

    /// A text that ends in a colon and digits, with nothing but the characters of a host name before, is an address;
    /// any other text is a name.
    fn from_str(text: &str) -> Result<Self, SourceError> {
        if text.parse::<Ipv6Addr>().is_ok() {
            return Err(SourceError(format!("it has no port (did you mean \"[{text}]:{PORT}\"?)")));
        }
        if let Some((host, digits)) = text.rsplit_once(':') {
            let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            let named = || host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'));
            let host = match bracketed {
                Some(inner) => Some(inner),
                None if !host.is_empty() && named() => Some(host),
                None => None,
            };
            if let (Some(host), true) = (host, !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())) {
                return match digits.parse::<u16>() {
                    Ok(port) if port != 0 => Ok(Self::Address { host: host.to_owned(), port }),
                    _ => Err(SourceError(format!("port {digits} is not in 1 to 65535"))),
                };
            }
        }
        match label_fault(text) {
            None => Ok(Self::Named(text.to_owned())),
            Some(why) => Err(SourceError(why)),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::Address { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Address { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_makes_an_address_and_all_else_is_a_name() {
        let address = |host: &str, port| Ok(Source::Address { host: host.to_owned(), port });
        assert_eq!("tv.local:6529".parse(), address("tv.local", 6529));
        assert_eq!("[fe80::1]:6529".parse(), address("fe80::1", 6529));
        for name in ["Turntable", "Radio: Jazz", "Living Room:2", "a:b"] {
            assert_eq!(name.parse(), Ok(Source::Named(name.to_owned())));
        }
        for wrong in ["", "tv:0", "tv:70000", "fe80::1", " Radio"] {
            assert!(wrong.parse::<Source>().is_err(), "{wrong:?}");
        }
        for text in ["Turntable", "tv.local:6529", "[fe80::1]:6529"] {
            assert_eq!(text.parse::<Source>().unwrap().to_string(), text);
        }
    }
}
