//! `org.audera.Manager1`: `auderad` itself.

use zbus::zvariant::{ObjectPath, OwnedObjectPath, Value};

use crate::definition::{Definition, arg, fixed, method, read, set};
use crate::error::Error;
use crate::export::Request;
use crate::values::Values;

/// The interface.
pub const DEFINITION: Definition = Definition {
    name: "org.audera.Manager1",
    methods: &[
        method("CreateGroup", &[arg("name", "s"), arg("members", "ao")], &[arg("group", "o")]),
        method("DeleteGroup", &[arg("group", "o")], &[]),
        method("AddAddress", &[arg("address", "s")], &[arg("player", "o")]),
        method("RemoveAddress", &[arg("address", "s")], &[]),
    ],
    properties: &[
        fixed("Version", "s"),
        fixed("Id", "s"),
        fixed("StateDirectory", "s"),
        read("Addresses", "as"),
        set("Discover", "b"),
    ],
};

/// What `auderad` shows of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Manager {
    /// `Version`.
    pub version: String,
    /// `Id`.
    pub id: String,
    /// `StateDirectory`.
    pub state_directory: String,
    /// `Addresses`.
    pub addresses: Vec<String>,
    /// `Discover`.
    pub discover: bool,
}

impl Manager {
    /// All properties.
    #[must_use]
    pub fn values(&self) -> Values {
        Values::from([
            ("Version", Value::from(self.version.clone())),
            ("Id", Value::from(self.id.clone())),
            ("StateDirectory", Value::from(self.state_directory.clone())),
            ("Addresses", Value::from(self.addresses.clone())),
            ("Discover", Value::from(self.discover)),
        ])
    }
}

/// What `auderad` is told to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Order {
    /// `CreateGroup`, which is answered with the group's path.
    CreateGroup(String, Vec<OwnedObjectPath>),
    /// `DeleteGroup`.
    DeleteGroup(OwnedObjectPath),
    /// `AddAddress`, which is answered with the room's path.
    AddAddress(String),
    /// `RemoveAddress`.
    RemoveAddress(String),
    /// To look for rooms, or no longer.
    Discover(bool),
}

impl Order {
    /// What a call asks for.
    ///
    /// # Errors
    /// Arguments that cannot be read.
    pub fn read(request: &Request) -> Result<Self, Error> {
        match request {
            Request::Call { method: "CreateGroup", arguments } => {
                let (name, members) = arguments.read()?;
                Ok(Self::CreateGroup(name, members))
            }
            Request::Call { method: "DeleteGroup", arguments } => Ok(Self::DeleteGroup(arguments.read()?)),
            Request::Call { method: "AddAddress", arguments } => Ok(Self::AddAddress(arguments.read()?)),
            Request::Call { method: "RemoveAddress", arguments } => Ok(Self::RemoveAddress(arguments.read()?)),
            Request::Set { property: "Discover", value } => Ok(Self::Discover(value.downcast_ref()?)),
            other => Err(Error::NotSupported(format!("{} is not known here", other.member()))),
        }
    }
}

/// `auderad`, for those who ask.
#[zbus::proxy(
    interface = "org.audera.Manager1",
    default_service = "org.audera.Audera1",
    default_path = "/org/audera/Audera1",
    gen_blocking = false
)]
pub trait Manager1 {
    /// Makes a group of these rooms, and gives its object.
    fn create_group(&self, name: &str, members: &[ObjectPath<'_>]) -> Result<OwnedObjectPath, Error>;
    /// Takes all rooms out of a group.
    fn delete_group(&self, group: &ObjectPath<'_>) -> Result<(), Error>;
    /// Has this user's programs use the room at an address, and gives its object.
    fn add_address(&self, address: &str) -> Result<OwnedObjectPath, Error>;
    /// Gives an address up.
    fn remove_address(&self, address: &str) -> Result<(), Error>;

    /// Of `auderad`.
    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> zbus::Result<String>;
    /// The identity of this user on this host.
    #[zbus(property(emits_changed_signal = "const"))]
    fn id(&self) -> zbus::Result<String>;
    /// Where state is kept.
    #[zbus(property(emits_changed_signal = "const"))]
    fn state_directory(&self) -> zbus::Result<String>;
    /// The addresses that were added.
    #[zbus(property)]
    fn addresses(&self) -> zbus::Result<Vec<String>>;
    /// Whether this user's programs may look for rooms.
    #[zbus(property)]
    fn discover(&self) -> zbus::Result<bool>;
    /// Lets them look for rooms, or keeps them from it.
    #[zbus(property)]
    fn set_discover(&self, discover: bool) -> Result<(), Error>;
}
