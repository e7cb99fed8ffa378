//! DNS-SD through Avahi's D-Bus interface, as two things which outlive the daemon they talk to: a [`Browser`], which is a
//! stream of what is found, and a [`Publisher`], whose [`Publication`]s are announced for as long as they are held.
//!
//! # Finding services
//!
//! ```no_run
//! use avahi_zbus::{Browser, Event, ServiceType};
//! use futures_util::StreamExt;
//!
//! # async fn example() -> Result<(), avahi_zbus::Error> {
//! let mut browser = Browser::new(ServiceType::new("_ipp._tcp")?);
//! while let Some(event) = browser.next().await {
//!     match event {
//!         Event::Added(service) | Event::Changed(service) => {
//!             println!("{} at {:?}, TXT {:?}", service.name, service.addresses, service.txt);
//!         }
//!         Event::Removed(key) => println!("{} has gone", key.name),
//!         Event::Lost => println!("Avahi is not reachable: what was found so far is kept"),
//!         Event::Restored => println!("Avahi is back"),
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Avahi reports an instance once per interface and protocol. A browser merges those into one [`Service`], resolves it, and
//! keeps the resolvers open: a changed TXT record, port or address arrives as [`Event::Changed`].
//!
//! # Announcing services
//!
//! ```no_run
//! use avahi_zbus::{Announcement, Publisher, ServiceType, Txt};
//!
//! # async fn example() -> Result<(), avahi_zbus::Error> {
//! let announcement = Announcement::new("Kitchen", ServiceType::new("_example._tcp")?, 4711)
//!     .txt(Txt::new().with("v", "1"));
//! let publication = Publisher::new().publish(announcement)?;
//! println!("announced as {}", publication.established().await?); // "Kitchen", or "Kitchen #2" if that was taken
//! publication.update_txt(Txt::new().with("v", "2"))?;
//! publication.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! # When Avahi or the bus is not there
//!
//! Neither type fails because of it, and neither starts Avahi by D-Bus activation: an administrator who has stopped it is
//! obeyed. Avahi's coming and going is learnt from the bus (`NameOwnerChanged`), without polling. Only when **the bus itself**
//! cannot be reached there is nothing to wait for; then the connection is tried again after [`Bus::FIRST_RETRY`], doubling up
//! to [`Bus::LONGEST_RETRY`]. The same interval is used when Avahi refuses a request (too many objects, say).
//! A [`zbus::Connection`] given by the caller cannot be made anew here: when it closes, browser and publications end.
//!
//! # Runtime
//!
//! Tokio. [`Browser`] and [`Publication`] each run one task on the runtime they are made in (a current-thread runtime will
//! do), and unless given a connection each has one of its own to the bus, which lives and dies with it.
//!
//! The typed [`proxy`] layer is public for whatever the two do not cover. Avahi 0.6.32 to 0.9 speak these interfaces.

mod announcement;
mod browser;
mod bus;
mod entry;
mod error;
mod found;
mod merge;
pub mod proxy;
mod publisher;
mod search;
mod service_type;
mod txt;

pub use announcement::Announcement;
pub use browser::{Browser, Event};
pub use bus::Bus;
pub use error::Error;
pub use found::{Service, ServiceKey};
pub use publisher::{Publication, PublicationState, Publisher};
pub use service_type::ServiceType;
pub use txt::Txt;
pub use zbus;
