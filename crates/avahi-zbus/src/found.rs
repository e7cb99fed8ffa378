//! What a browser finds.

use std::{fmt, net::SocketAddr};

use crate::Txt;

/// What tells one instance from all others.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceKey {
    /// The instance name, for people to read.
    pub name: String,
    /// The service type, `_ipp._tcp`.
    pub service_type: String,
    /// The domain, as a rule `local`.
    pub domain: String,
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}.{})", self.name, self.service_type, self.domain)
    }
}

/// A resolved instance, merged over all interfaces and protocols on which it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Service {
    /// The instance name, for people to read.
    pub name: String,
    /// The service type, `_ipp._tcp`.
    pub service_type: String,
    /// The domain, as a rule `local`.
    pub domain: String,
    /// The host it runs on, `kitchen.local`.
    pub host: String,
    /// Where to reach it, the best first, each once; never empty. Routable addresses come before link-local ones and those
    /// before loopback, IPv4 before IPv6 among equals. A link-local IPv6 address carries its scope id.
    pub addresses: Vec<SocketAddr>,
    /// The port, the same as in [`addresses`](Self::addresses).
    pub port: u16,
    /// The TXT record.
    pub txt: Txt,
    /// Whether the service is on this very host.
    pub local: bool,
}

impl Service {
    /// The instance's key.
    #[must_use]
    pub fn key(&self) -> ServiceKey {
        ServiceKey { name: self.name.clone(), service_type: self.service_type.clone(), domain: self.domain.clone() }
    }
}
