//! What can go wrong, and what to do about it.

/// Why a request was refused or given up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The service type is not of the form DNS-SD asks for.
    #[error("service type \"{given}\" is refused: {reason}; give one like \"_ipp._tcp\"")]
    ServiceType {
        /// What was given.
        given: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// An instance name is empty or longer than DNS allows.
    #[error("instance name \"{given}\" is refused: give 1 to 63 bytes of UTF-8 without control characters")]
    InstanceName {
        /// What was given.
        given: String,
    },
    /// A subtype label is not usable.
    #[error("subtype \"{given}\" is refused: give a label like \"_printer\", 2 to 63 bytes, no dots")]
    Subtype {
        /// What was given.
        given: String,
    },
    /// A TXT key is empty, has characters other than printable ASCII, or contains `=`.
    #[error("TXT key \"{given}\" is refused: give printable ASCII without \"=\"")]
    TxtKey {
        /// What was given.
        given: String,
    },
    /// A TXT entry `key=value` is longer than its length byte can say.
    #[error("TXT entry \"{key}\" takes {length} bytes with its key: at most 255 fit, so shorten the value")]
    TxtEntry {
        /// The entry's key.
        key: String,
        /// Bytes of `key=value`.
        length: usize,
    },
    /// The whole TXT record is too big for one multicast packet.
    #[error("the TXT record takes {length} bytes: keep it within {limit} so that it fits one packet")]
    TxtRecord {
        /// Bytes of the whole record.
        length: usize,
        /// Most that is accepted.
        limit: usize,
    },
    /// The connection given by the caller has been closed, and with it the publication.
    #[error("the D-Bus connection is closed: open another one and publish again")]
    Closed,
    /// Avahi refuses the announcement for good; trying again would not help.
    #[error("Avahi refuses to announce \"{name}\": {reason}")]
    Refused {
        /// The instance name.
        name: String,
        /// Avahi's words.
        reason: String,
    },
}
