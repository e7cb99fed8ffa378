//! Typed proxies of the Avahi interfaces used here, one module each with its signals; object paths come from
//! [`ServerProxy`]'s `*_new` methods.
//!
//! These are the interfaces which every Avahi since 0.6 has. The younger `Server2` with its `*Prepare` and `Start` methods exists
//! so that no early signal is lost; a match rule set up before the object is created does the same and works with both.

pub mod entry_group;
pub mod server;
pub mod service_browser;
pub mod service_resolver;

pub use entry_group::EntryGroupProxy;
pub use server::ServerProxy;
pub use service_browser::ServiceBrowserProxy;
pub use service_resolver::ServiceResolverProxy;

/// Any network interface.
pub const ANY_INTERFACE: i32 = -1;
/// IPv4 and IPv6.
pub const ANY_PROTOCOL: i32 = -1;
/// IPv4.
pub const IPV4: i32 = 0;
/// IPv6.
pub const IPV6: i32 = 1;
