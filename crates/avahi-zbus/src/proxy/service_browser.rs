//! `org.freedesktop.Avahi.ServiceBrowser`: a search for instances.
#![expect(missing_docs, reason = "the proxy macro leaves the argument structs it generates without")]

use zbus::proxy;

/// A running search for instances of one type.
#[proxy(
    interface = "org.freedesktop.Avahi.ServiceBrowser",
    default_service = "org.freedesktop.Avahi",
    gen_blocking = false
)]
pub trait ServiceBrowser {
    /// Ends the search.
    fn free(&self) -> zbus::Result<()>;
    /// An instance was seen on one interface and protocol.
    #[zbus(signal)]
    fn item_new(
        &self,
        interface: i32,
        protocol: i32,
        name: &str,
        type_: &str,
        domain: &str,
        flags: u32,
    ) -> zbus::Result<()>;
    /// An instance has gone from one interface and protocol.
    #[zbus(signal)]
    fn item_remove(
        &self,
        interface: i32,
        protocol: i32,
        name: &str,
        type_: &str,
        domain: &str,
        flags: u32,
    ) -> zbus::Result<()>;
    /// What is there now has probably been told.
    #[zbus(signal)]
    fn all_for_now(&self) -> zbus::Result<()>;
    /// What was in the cache has been told.
    #[zbus(signal)]
    fn cache_exhausted(&self) -> zbus::Result<()>;
    /// The search has ended with an error.
    #[zbus(signal)]
    fn failure(&self, error: &str) -> zbus::Result<()>;
}
