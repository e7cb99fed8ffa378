//! Audera on D-Bus: one definition of each interface, typed proxies for those who ask, and the exporter for those who answer.
//!
//! - [`player`], [`group`], [`manager`], [`sink`] and [`source`] have an interface each: its [`Definition`], what an exporter shows and what
//!   it is told to do as plain types, and the proxy. `interfaces/` has the same as introspection XML, which a test compares.
//! - [`Exporter`] serves objects with these interfaces on a bus: properties, introspection, the object manager, named errors.
//! - [`names`] has names and paths.
//!
//! The exporter is our own and not that of `zbus`, which cannot give errors of properties a name, holds a lock over all objects while a
//! property is being set, and begins a task for each call, however many wait.

mod definition;
mod error;
pub mod export;
pub mod group;
pub mod manager;
pub mod names;
pub mod player;
pub mod sink;
pub mod source;
mod values;

pub use audera_wire::CHOSEN_LATENCIES;
pub use definition::{Access, Argument, Definition, Method, Property};
pub use error::Error;
pub use export::{Bus, Call, Exporter, Reply, Request};
pub use values::{Dict, Values};

/// All interfaces.
pub const ALL: [&Definition; 5] =
    [&player::DEFINITION, &group::DEFINITION, &manager::DEFINITION, &sink::DEFINITION, &source::DEFINITION];
