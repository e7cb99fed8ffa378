//! `org.freedesktop.Avahi.EntryGroup`: what this host announces.
#![expect(missing_docs, reason = "the proxy macro leaves the argument structs it generates without")]

use zbus::proxy;

/// State of an entry group, as in `AvahiEntryGroupState`.
pub mod state {
    /// Nothing is committed.
    pub const UNCOMMITTED: i32 = 0;
    /// The entries are being probed and announced.
    pub const REGISTERING: i32 = 1;
    /// The entries stand.
    pub const ESTABLISHED: i32 = 2;
    /// A name is taken by another host.
    pub const COLLISION: i32 = 3;
    /// Registering has failed.
    pub const FAILURE: i32 = 4;
}

/// A set of records that are announced together.
#[proxy(
    interface = "org.freedesktop.Avahi.EntryGroup",
    default_service = "org.freedesktop.Avahi",
    gen_blocking = false
)]
pub trait EntryGroup {
    /// Withdraws the entries and ends the object.
    fn free(&self) -> zbus::Result<()>;
    /// Announces what was added.
    fn commit(&self) -> zbus::Result<()>;
    /// Withdraws and forgets all entries.
    fn reset(&self) -> zbus::Result<()>;
    /// One of [`state`].
    fn get_state(&self) -> zbus::Result<i32>;
    /// Whether nothing was added.
    fn is_empty(&self) -> zbus::Result<bool>;
    /// Adds a service; empty `domain` and `host` stand for this host's own.
    #[expect(clippy::too_many_arguments, reason = "this is the shape of the D-Bus method")]
    fn add_service(
        &self,
        interface: i32,
        protocol: i32,
        flags: u32,
        name: &str,
        type_: &str,
        domain: &str,
        host: &str,
        port: u16,
        txt: &[Vec<u8>],
    ) -> zbus::Result<()>;
    /// Adds a subtype, given in full as `_printer._sub._ipp._tcp`, to a service added before.
    #[expect(clippy::too_many_arguments, reason = "this is the shape of the D-Bus method")]
    fn add_service_subtype(
        &self,
        interface: i32,
        protocol: i32,
        flags: u32,
        name: &str,
        type_: &str,
        domain: &str,
        subtype: &str,
    ) -> zbus::Result<()>;
    /// Replaces the TXT record of a service added before; needs no commit.
    #[expect(clippy::too_many_arguments, reason = "this is the shape of the D-Bus method")]
    fn update_service_txt(
        &self,
        interface: i32,
        protocol: i32,
        flags: u32,
        name: &str,
        type_: &str,
        domain: &str,
        txt: &[Vec<u8>],
    ) -> zbus::Result<()>;
    /// The group's state has changed to one of [`state`].
    #[zbus(signal)]
    fn state_changed(&self, state: i32, error: &str) -> zbus::Result<()>;
}
