//! Counting of connections, in total and per address: a place is taken before the handshake and given back on drop.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Limits;

/// Who holds how many places.
#[derive(Debug, Default)]
struct Taken {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// The door of one listener.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    taken: Arc<Mutex<Taken>>,
    connections: usize,
    per_address: usize,
}

/// Why a newcomer finds no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    Connections,
    Address,
}

impl Door {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { taken: Arc::default(), connections: limits.connections, per_address: limits.per_address }
    }

    /// Takes a place for a connection from `address`.
    pub(crate) fn admit(&self, address: IpAddr) -> Result<Place, Full> {
        let mut taken = lock(&self.taken);
        if taken.total >= self.connections {
            return Err(Full::Connections);
        }
        let from_address = taken.by_address.get(&address).copied().unwrap_or(0);
        if from_address >= self.per_address {
            return Err(Full::Address);
        }
        taken.by_address.insert(address, from_address + 1);
        taken.total += 1;
        Ok(Place { taken: Arc::clone(&self.taken), address })
    }
}

/// A place held by one connection.
#[derive(Debug)]
pub(crate) struct Place {
    taken: Arc<Mutex<Taken>>,
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        taken.total -= 1;
        if let Some(count) = taken.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.by_address.remove(&self.address);
            }
        }
    }
}

/// The counts are consistent whenever the lock is free, so a panic elsewhere does not spoil them.
fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_come_back() {
        let door = Door::new(&Limits { connections: 3, per_address: 2, ..Limits::default() });
        let [a, b, c] = [1, 2, 3].map(|last| IpAddr::from([192, 0, 2, last]));
        let first = door.admit(a).unwrap();
        let _second = door.admit(a).unwrap();
        assert_eq!(door.admit(a).unwrap_err(), Full::Address);
        let _third = door.admit(b).unwrap();
        assert_eq!(door.admit(c).unwrap_err(), Full::Connections);
        drop(first);
        let fourth = door.admit(c).unwrap();
        assert_eq!(door.admit(a).unwrap_err(), Full::Connections);
        drop(fourth);
        let _fifth = door.admit(a).unwrap();
        assert_eq!(lock(&door.taken).by_address.len(), 2, "an address without connections is forgotten");
    }
}
