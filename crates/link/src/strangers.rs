//! Which strangers have been logged already: their number is no concern of theirs.

use std::collections::BTreeSet;

use crate::PeerId;

/// Remembers strangers, so that each is worth one line, and no more than [`Strangers::MOST`] are: identities cost nothing to make.
#[derive(Debug, Default)]
pub struct Strangers(BTreeSet<PeerId>);

impl Strangers {
    /// Strangers that are told of.
    pub const MOST: usize = 64;

    /// Whether this one is worth a line.
    pub fn is_new(&mut self, id: &PeerId) -> bool {
        self.0.len() < Self::MOST && self.0.insert(*id)
    }

    /// Forgets them all, as when the list of trusted peers has changed.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stranger_is_new_once_and_few_are_at_all() {
        let id = |n: u8| format!("{n:02x}").repeat(32).parse::<PeerId>().unwrap();
        let mut strangers = Strangers::default();
        assert!(strangers.is_new(&id(0)));
        assert!(!strangers.is_new(&id(0)));
        let told = (1..=200).filter(|&n| strangers.is_new(&id(n))).count();
        assert_eq!(told, Strangers::MOST - 1);
        strangers.clear();
        assert!(strangers.is_new(&id(0)));
    }
}
