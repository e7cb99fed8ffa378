//! `org.freedesktop.Avahi.Server`: states, names, and the makers of all other objects.
#![expect(missing_docs, reason = "the proxy macro leaves the argument structs it generates without")]

use zbus::{proxy, zvariant::OwnedObjectPath};

/// State of the daemon, as in `AvahiServerState`.
pub mod state {
    /// The host name is being registered.
    pub const REGISTERING: i32 = 1;
    /// All is well: entry groups may be added.
    pub const RUNNING: i32 = 2;
    /// The host name is taken by another host.
    pub const COLLISION: i32 = 3;
    /// The daemon has failed.
    pub const FAILURE: i32 = 4;
}

/// The daemon itself.
#[proxy(
    interface = "org.freedesktop.Avahi.Server",
    default_service = "org.freedesktop.Avahi",
    default_path = "/",
    gen_blocking = false
)]
pub trait Server {
    /// The daemon's name and version, `avahi 0.8`.
    fn get_version_string(&self) -> zbus::Result<String>;
    /// The host name without domain.
    fn get_host_name(&self) -> zbus::Result<String>;
    /// The host name with domain.
    fn get_host_name_fqdn(&self) -> zbus::Result<String>;
    /// Changes the host name until the daemon ends.
    fn set_host_name(&self, name: &str) -> zbus::Result<()>;
    /// One of [`state`].
    fn get_state(&self) -> zbus::Result<i32>;
    /// `Kitchen` -> `Kitchen #2` -> `Kitchen #3`.
    fn get_alternative_service_name(&self, name: &str) -> zbus::Result<String>;
    /// `2` -> `eth0`.
    fn get_network_interface_name_by_index(&self, index: i32) -> zbus::Result<String>;
    /// A new, empty entry group.
    fn entry_group_new(&self) -> zbus::Result<OwnedObjectPath>;
    /// A browser for instances of `type_`; it emits signals at once.
    fn service_browser_new(
        &self,
        interface: i32,
        protocol: i32,
        type_: &str,
        domain: &str,
        flags: u32,
    ) -> zbus::Result<OwnedObjectPath>;
    /// A resolver for one instance; it emits signals at once and whenever a record changes.
    #[expect(clippy::too_many_arguments, reason = "this is the shape of the D-Bus method")]
    fn service_resolver_new(
        &self,
        interface: i32,
        protocol: i32,
        name: &str,
        type_: &str,
        domain: &str,
        address_protocol: i32,
        flags: u32,
    ) -> zbus::Result<OwnedObjectPath>;
    /// The daemon's state has changed to one of [`state`].
    #[zbus(signal)]
    fn state_changed(&self, state: i32, error: &str) -> zbus::Result<()>;
}
