//! `org.freedesktop.Avahi.ServiceResolver`: a look-up of one instance.
#![expect(missing_docs, reason = "the proxy macro leaves the argument structs it generates without")]

use zbus::proxy;

/// Bits of the flags which come with what was found.
pub mod lookup_flags {
    /// The service runs on this host.
    pub const LOCAL: u32 = 8;
}

/// A running look-up of one instance's host, address, port and TXT record.
#[proxy(
    interface = "org.freedesktop.Avahi.ServiceResolver",
    default_service = "org.freedesktop.Avahi",
    gen_blocking = false
)]
pub trait ServiceResolver {
    /// Ends the look-up.
    fn free(&self) -> zbus::Result<()>;
    /// All records are known, or one of them has changed.
    #[zbus(signal)]
    fn found(
        &self,
        interface: i32,
        protocol: i32,
        name: &str,
        type_: &str,
        domain: &str,
        host: &str,
        address_protocol: i32,
        address: &str,
        port: u16,
        txt: Vec<Vec<u8>>,
        flags: u32,
    ) -> zbus::Result<()>;
    /// The records did not come in time.
    #[zbus(signal)]
    fn failure(&self, error: &str) -> zbus::Result<()>;
}
