//! A call that the owner of an object has to answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use zbus::message::{Body, Flags, Message};
use zbus::zvariant::{DynamicDeserialize, DynamicType, OwnedObjectPath, OwnedValue};
use zbus::{DBusError, fdo};

use super::outbox::Outbox;
use crate::definition::Definition;
use crate::error::Error;

/// Calls that may wait for their answers, of one program on the bus...
const MOST_OF_ONE: usize = 32;
/// ... and of all.
const MOST: usize = 128;

/// A call: names and types are those of the interface.
#[derive(Debug)]
pub struct Call {
    /// The object.
    pub path: OwnedObjectPath,
    /// The interface.
    pub interface: &'static Definition,
    /// What is asked.
    pub request: Request,
    /// To be answered.
    pub reply: Reply,
}

/// What is asked of an object.
#[derive(Debug)]
pub enum Request {
    /// To set a property.
    Set {
        /// Its name.
        property: &'static str,
        /// The value, which has the property's type.
        value: OwnedValue,
    },
    /// A method.
    Call {
        /// Its name.
        method: &'static str,
        /// What it is given, which has the method's types.
        arguments: Arguments,
    },
}

impl Request {
    /// The name of the property or method.
    #[must_use]
    pub fn member(&self) -> &'static str {
        match self {
            Self::Set { property, .. } => property,
            Self::Call { method, .. } => method,
        }
    }
}

/// What a method is given.
#[derive(Debug)]
pub struct Arguments(pub(super) Body);

impl Arguments {
    /// Reads them: one as itself, several as a tuple.
    ///
    /// # Errors
    /// They are of another type.
    pub fn read<'a, T: DynamicDeserialize<'a>>(&'a self) -> Result<T, Error> {
        Ok(self.0.deserialize()?)
    }
}

/// The place of an answer. Dropped without one, it answers that the call was given up.
#[derive(Debug)]
pub struct Reply {
    /// `None` once it is answered.
    to: Option<Message>,
    outbox: Outbox,
    _place: Place,
}

impl Reply {
    pub(super) fn new(to: Message, outbox: Outbox, place: Place) -> Self {
        Reply { to: Some(to), outbox, _place: place }
    }

    /// Answers: with nothing (`()`), a value, or an error.
    pub fn answer<T: Serialize + DynamicType>(mut self, result: Result<T, Error>) {
        if let Some(call) = self.to.take() {
            self.outbox.answer(&call, result);
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(call) = self.to.take() {
            self.outbox.answer::<()>(&call, Err(Error::Failed("the call was given up".to_owned())));
        }
    }
}

impl Outbox {
    /// Sends the answer to a call, unless the caller wants none.
    pub(super) fn answer<T: Serialize + DynamicType>(&self, call: &Message, result: Result<T, Error>) {
        let header = call.header();
        if header.primary().flags().contains(Flags::NoReplyExpected) {
            return;
        }
        let reply = match result {
            Ok(value) => Message::method_return(&header).and_then(|reply| reply.build(&value)),
            // An error of D-Bus itself keeps the name that it has there.
            Err(Error::Bus(zbus::Error::FDO(error))) => error.create_reply(&header),
            Err(Error::Bus(error)) => fdo::Error::Failed(error.to_string()).create_reply(&header),
            Err(error) => error.create_reply(&header),
        };
        match reply {
            Ok(reply) => self.send(reply),
            Err(error) => tracing::debug!("an answer cannot be sent: {error}"),
        }
    }
}

/// How many calls wait for their answers, by their callers.
#[derive(Debug, Clone, Default)]
pub(super) struct Places(Arc<Mutex<HashMap<String, usize>>>);

/// One of them; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    caller: String,
}

impl Places {
    /// A place for a call of `caller`, if there is one.
    pub(super) fn take(&self, caller: &str) -> Result<Place, Error> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_one = waiting.get(caller).copied().unwrap_or(0);
        if of_one >= MOST_OF_ONE || waiting.values().sum::<usize>() >= MOST {
            return Err(Error::Busy(
                "too many calls wait to be answered: wait for some of them, then try again".to_owned(),
            ));
        }
        waiting.insert(caller.to_owned(), of_one + 1);
        Ok(Place { places: self.clone(), caller: caller.to_owned() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiting = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        match waiting.get_mut(&self.caller) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(waiting.remove(&self.caller)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_cannot_take_all_places() {
        let places = Places::default();
        let greedy: Vec<Place> = (0..MOST_OF_ONE).map(|_| places.take(":1.1").unwrap()).collect();
        assert!(matches!(places.take(":1.1"), Err(Error::Busy(_))));
        assert!(places.take(":1.2").is_ok());
        drop(greedy);
        assert!(places.take(":1.1").is_ok());
        assert!(places.0.lock().unwrap().is_empty(), "nothing is kept of who does not wait");
    }
}
