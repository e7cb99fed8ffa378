//! What is made of a call: an answer at once, or work for the owner of the object.

use zbus::message::Message;
use zbus::zvariant::{OwnedObjectPath, OwnedValue, Value};
use zbus::{Error as BusError, fdo};

use super::Exporter;
use super::call::{Arguments, Call, Reply, Request};
use super::tree::Exported;
use crate::definition::{Access, Definition};
use crate::error::Error;
use crate::names::ROOT;

/// No call that makes sense is longer, bytes.
const LONGEST: usize = 64 * 1024;

const PEER: &str = "org.freedesktop.DBus.Peer";
const INTROSPECTABLE: &str = "org.freedesktop.DBus.Introspectable";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const OBJECT_MANAGER: &str = "org.freedesktop.DBus.ObjectManager";

impl Exporter {
    /// Answers a call, or gives it to the owner.
    pub(super) fn dispatch(&mut self, message: Message) -> Option<Call> {
        match self.take(&message) {
            Ok(None) => None,
            Ok(Some((interface, request))) => {
                let header = message.header();
                let caller = header.sender().map_or_else(String::new, |sender| sender.to_string());
                let path = header.path().map(|path| OwnedObjectPath::from(path.to_owned()))?;
                match self.places.take(&caller) {
                    Ok(place) => {
                        let reply = Reply::new(message.clone(), self.outbox.clone(), place);
                        Some(Call { path, interface, request, reply })
                    }
                    Err(busy) => {
                        self.outbox.answer::<()>(&message, Err(busy));
                        None
                    }
                }
            }
            Err(error) => {
                self.outbox.answer::<()>(&message, Err(Error::Bus(BusError::FDO(Box::new(error)))));
                None
            }
        }
    }

    /// What the owner has to do; `None` when the call is answered already.
    fn take(&self, message: &Message) -> Result<Option<(&'static Definition, Request)>, fdo::Error> {
        let header = message.header();
        if message.body().len() > LONGEST {
            return Err(fdo::Error::LimitsExceeded(format!(
                "a call of {} bytes; {LONGEST} are accepted",
                message.body().len()
            )));
        }
        let path = header.path().map_or("/", |path| path.as_str());
        let member = header.member().map_or("", |member| member.as_str());
        let interface = header.interface().map(|interface| interface.as_str());
        if !self.tree.is_known(path) && interface != Some(PEER) {
            return Err(fdo::Error::UnknownObject(format!("there is no object {path}")));
        }
        match (interface, member) {
            (Some(PEER) | None, "Ping") => self.answer(message, ()),
            (Some(PEER) | None, "GetMachineId") => self.answer(message, machine_id()?),
            (Some(INTROSPECTABLE) | None, "Introspect") => self.answer(message, self.tree.introspect(path)),
            (Some(OBJECT_MANAGER) | None, "GetManagedObjects") if path == ROOT => {
                self.answer(message, self.tree.managed())
            }
            (Some(PROPERTIES), "Get") => {
                let body = message.body();
                let (interface, property): (&str, &str) = read(&body, "ss")?;
                let exported = self.exported(path, interface)?;
                match exported.values.get(property) {
                    Some(value) => self.answer(message, value.try_clone().map_err(failed)?),
                    None => Err(unknown_property(interface, property)),
                }
            }
            (Some(PROPERTIES), "GetAll") => {
                let body = message.body();
                self.answer(message, &self.exported(path, read(&body, "s")?)?.values)
            }
            (Some(PROPERTIES), "Set") => self.set(message, path).map(Some),
            (Some(PEER | INTROSPECTABLE | PROPERTIES), _) => {
                Err(fdo::Error::UnknownMethod(format!("there is no method {member}")))
            }
            (interface, member) => self.method(message, path, interface, member).map(Some),
        }
    }

    fn answer<T: serde::Serialize + zbus::zvariant::DynamicType, N>(
        &self,
        message: &Message,
        value: T,
    ) -> Result<Option<N>, fdo::Error> {
        self.outbox.answer(message, Ok(value));
        Ok(None)
    }

    fn set(&self, message: &Message, path: &str) -> Result<(&'static Definition, Request), fdo::Error> {
        let body = message.body();
        let (interface, property, value): (&str, &str, Value<'_>) = read(&body, "ssv")?;
        let definition = self.exported(path, interface)?.definition;
        let known = definition.property(property).ok_or_else(|| unknown_property(interface, property))?;
        if known.access != Access::ReadWrite {
            return Err(fdo::Error::PropertyReadOnly(format!("{property} of {interface} can only be read")));
        }
        if value.value_signature().to_string() != known.signature {
            return Err(fdo::Error::InvalidArgs(format!(
                "{property} has type {}, not {}",
                known.signature,
                value.value_signature()
            )));
        }
        let value = OwnedValue::try_from(value).map_err(failed)?;
        Ok((definition, Request::Set { property: known.name, value }))
    }

    fn method(
        &self,
        message: &Message,
        path: &str,
        interface: Option<&str>,
        member: &str,
    ) -> Result<(&'static Definition, Request), fdo::Error> {
        let mut interfaces = self.tree.interfaces(path).unwrap_or_default().iter().map(|exported| exported.definition);
        let (definition, method) = match interface {
            Some(interface) => {
                let definition = interfaces.find(|known| known.name == interface);
                let definition = definition
                    .ok_or_else(|| fdo::Error::UnknownInterface(format!("{path} has no interface {interface}")))?;
                (definition, definition.method(member))
            }
            // Who does not say which one means the one that has it.
            None => match interfaces.find_map(|known| Some((known, known.method(member)?))) {
                Some((definition, method)) => (definition, Some(method)),
                None => return Err(fdo::Error::UnknownMethod(format!("{path} has no method {member}"))),
            },
        };
        let method =
            method.ok_or_else(|| fdo::Error::UnknownMethod(format!("{} has no method {member}", definition.name)))?;
        check(&message.body(), &method.signature())?;
        Ok((definition, Request::Call { method: method.name, arguments: Arguments(message.body()) }))
    }

    fn exported(&self, path: &str, interface: &str) -> Result<&Exported, fdo::Error> {
        let interfaces = self.tree.interfaces(path).unwrap_or_default();
        let known = interfaces.iter().find(|exported| exported.definition.name == interface);
        known.ok_or_else(|| fdo::Error::UnknownInterface(format!("{path} has no properties of {interface}")))
    }
}

/// Reads the arguments of a call of D-Bus itself.
fn read<'a, T: zbus::zvariant::DynamicDeserialize<'a>>(
    body: &'a zbus::message::Body,
    signature: &str,
) -> Result<T, fdo::Error> {
    check(body, signature)?;
    body.deserialize().map_err(|error| fdo::Error::InvalidArgs(error.to_string()))
}

fn check(body: &zbus::message::Body, signature: &str) -> Result<(), fdo::Error> {
    let given = body.signature().to_string_no_parens();
    if given == signature {
        return Ok(());
    }
    Err(fdo::Error::InvalidArgs(format!("the arguments have type \"{given}\"; accepted is \"{signature}\"")))
}

fn unknown_property(interface: &str, property: &str) -> fdo::Error {
    fdo::Error::UnknownProperty(format!("{interface} has no property {property}"))
}

fn failed(error: zbus::zvariant::Error) -> fdo::Error {
    fdo::Error::Failed(error.to_string())
}

fn machine_id() -> Result<String, fdo::Error> {
    let read =
        ["/etc/machine-id", "/var/lib/dbus/machine-id"].into_iter().find_map(|file| std::fs::read_to_string(file).ok());
    read.map(|id| id.trim().to_owned()).ok_or_else(|| fdo::Error::Failed("this machine has no id".to_owned()))
}
