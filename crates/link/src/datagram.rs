//! Datagrams beside a connection, sealed with keys of its TLS session: bytes and numbers only, no socket.
//!
//! Both ends export the same 96 bytes from TLS (RFC 8446, section 7.5): an id by which a listening end tells its connections apart,
//! and for each direction a key and a base of nonces. A datagram is the id, its number, and the payload sealed with
//! ChaCha20-Poly1305 (RFC 8439) over both; the nonce is made of base and number as in TLS 1.3 itself (RFC 8446, section 5.3).
//! So nobody else can make one, change one or send one back, and what comes a second time is known by its number.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::error::Unspecified;

/// Bytes of the payload of every datagram.
pub const PAYLOAD_LEN: usize = 32;

/// Bytes of every datagram: id, number, payload and the seal.
pub(crate) const DATAGRAM_LEN: usize = ID_LEN + 8 + PAYLOAD_LEN + TAG_LEN;

/// The exporter's label; what begins like this needs no registration (RFC 5705, section 4).
pub(crate) const LABEL: &[u8] = b"EXPERIMENTAL audera/1 datagrams";

/// Bytes to export.
pub(crate) const SECRETS_LEN: usize = ID_LEN + 2 * (KEY_LEN + NONCE_LEN);

const ID_LEN: usize = 8;
const KEY_LEN: usize = 32;
const NONCE_LEN: usize = 12;
const TAG_LEN: usize = 16;
const HEADER_LEN: usize = ID_LEN + 8;

/// How far behind the newest a datagram may come and still be taken.
const WINDOW: u64 = 64;

/// What a listening end tells its connections apart by. It is no secret: what proves the sender is the seal.
pub(crate) type ChannelId = [u8; ID_LEN];

/// Which end of the connection this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The one that dialled.
    Dialler,
    /// The one that was dialled.
    Listener,
}

/// One connection's datagrams at one end.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) id: ChannelId,
    pub(crate) sealer: Sealer,
    pub(crate) opener: Opener,
}

/// Makes datagrams.
#[derive(Debug)]
pub(crate) struct Sealer {
    id: ChannelId,
    keys: Keys,
    next: u64,
}

/// Checks datagrams.
#[derive(Debug)]
pub(crate) struct Opener {
    keys: Keys,
    /// One more than the highest number that came.
    next: u64,
    /// Which of the [`WINDOW`] numbers below `next` have come; the lowest bit is the highest number.
    seen: u64,
}

/// A datagram that is the peer's and came for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) payload: [u8; PAYLOAD_LEN],
    /// It is newer than all before: the peer is where it came from.
    pub(crate) newest: bool,
}

#[derive(Debug)]
struct Keys {
    key: LessSafeKey,
    base: [u8; NONCE_LEN],
}

impl Channel {
    /// The channel of one end, from the bytes that both ends export.
    pub(crate) fn new(secrets: &[u8; SECRETS_LEN], end: End) -> Result<Self, Unspecified> {
        let (id, keys) = secrets.split_first_chunk::<ID_LEN>().ok_or(Unspecified)?;
        let (dialler, listener) = keys.split_at(KEY_LEN + NONCE_LEN);
        let (ours, theirs) = match end {
            End::Dialler => (dialler, listener),
            End::Listener => (listener, dialler),
        };
        let sealer = Sealer { id: *id, keys: Keys::new(ours)?, next: 0 };
        let opener = Opener { keys: Keys::new(theirs)?, next: 0, seen: 0 };
        Ok(Self { id: *id, sealer, opener })
    }
}

impl Keys {
    fn new(bytes: &[u8]) -> Result<Self, Unspecified> {
        let (key, base) = bytes.split_at(KEY_LEN);
        let key = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key)?);
        Ok(Self { key, base: base.try_into().map_err(|_| Unspecified)? })
    }

    fn nonce(&self, number: u64) -> Nonce {
        let mut nonce = self.base;
        nonce[NONCE_LEN - 8..].iter_mut().zip(number.to_be_bytes()).for_each(|(byte, number)| *byte ^= number);
        Nonce::assume_unique_for_key(nonce)
    }
}

impl Sealer {
    /// The next datagram. Fails when all numbers are used up, which takes longer than any connection lasts.
    pub(crate) fn seal(&mut self, payload: &[u8; PAYLOAD_LEN]) -> Result<[u8; DATAGRAM_LEN], Unspecified> {
        let number = self.next;
        self.next = number.checked_add(1).ok_or(Unspecified)?;
        let mut datagram = [0; DATAGRAM_LEN];
        let (header, body) = datagram.split_at_mut(HEADER_LEN);
        let (sealed, tag) = body.split_at_mut(PAYLOAD_LEN);
        header[..ID_LEN].copy_from_slice(&self.id);
        header[ID_LEN..].copy_from_slice(&number.to_be_bytes());
        sealed.copy_from_slice(payload);
        let made = self.keys.key.seal_in_place_separate_tag(self.keys.nonce(number), Aad::from(&*header), sealed)?;
        tag.copy_from_slice(made.as_ref());
        Ok(datagram)
    }
}

impl Opener {
    /// Opens a datagram with our id; `None` for what is not the peer's, came before, or is too old to tell.
    pub(crate) fn open(&mut self, datagram: &[u8; DATAGRAM_LEN]) -> Option<Opened> {
        let mut datagram = *datagram;
        let (header, body) = datagram.split_at_mut(HEADER_LEN);
        let number = u64::from_be_bytes(*header.last_chunk()?);
        // Looked at first, as it costs less than the seal; nothing is learned from it before that holds.
        if number == u64::MAX || !self.is_new(number) {
            return None;
        }
        let opened = self.keys.key.open_in_place(self.keys.nonce(number), Aad::from(&*header), body).ok()?;
        let payload = *opened.first_chunk()?;
        Some(Opened { payload, newest: self.note(number) })
    }

    fn is_new(&self, number: u64) -> bool {
        match self.next.checked_sub(number + 1) {
            None => true,
            Some(behind) => behind < WINDOW && self.seen & (1 << behind) == 0,
        }
    }

    /// Remembers a number that has come; whether it is the highest.
    fn note(&mut self, number: u64) -> bool {
        match self.next.checked_sub(number + 1) {
            Some(behind) => {
                self.seen |= 1 << behind;
                false
            }
            None => {
                let ahead = number + 1 - self.next;
                self.seen = if ahead < WINDOW { self.seen << ahead } else { 0 } | 1;
                self.next = number + 1;
                true
            }
        }
    }
}

/// The channel that a datagram claims to be of; `None` for what is none at all.
pub(crate) fn addressed(bytes: &[u8]) -> Option<(ChannelId, &[u8; DATAGRAM_LEN])> {
    let datagram: &[u8; DATAGRAM_LEN] = bytes.try_into().ok()?;
    Some((*datagram.first_chunk()?, datagram))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> [u8; SECRETS_LEN] {
        std::array::from_fn(|index| index as u8)
    }

    fn ends() -> (Channel, Channel) {
        (Channel::new(&secrets(), End::Dialler).unwrap(), Channel::new(&secrets(), End::Listener).unwrap())
    }

    fn payload(byte: u8) -> [u8; PAYLOAD_LEN] {
        [byte; PAYLOAD_LEN]
    }

    #[test]
    fn what_one_end_seals_the_other_opens_once() {
        let (mut dialler, mut listener) = ends();
        for byte in 0..200 {
            let datagram = dialler.sealer.seal(&payload(byte)).unwrap();
            assert_eq!(addressed(&datagram).unwrap().0, listener.id);
            let opened = listener.opener.open(&datagram);
            assert_eq!(opened, Some(Opened { payload: payload(byte), newest: true }));
            assert_eq!(listener.opener.open(&datagram), None, "a second time");
            let answer = listener.sealer.seal(&payload(!byte)).unwrap();
            assert_eq!(dialler.opener.open(&answer).unwrap().payload, payload(!byte));
        }
    }

    #[test]
    fn nothing_that_was_changed_is_opened() {
        let (mut dialler, mut listener) = ends();
        let datagram = dialler.sealer.seal(&payload(7)).unwrap();
        for bit in 0..8 * DATAGRAM_LEN {
            let mut forged = datagram;
            forged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(listener.opener.open(&forged), None, "bit {bit}");
        }
        assert!(listener.opener.open(&datagram).is_some(), "and forgeries have not used up its number");
    }

    #[test]
    fn nothing_is_opened_by_the_end_that_sealed_it_or_by_another_connection() {
        let (mut dialler, mut listener) = ends();
        let datagram = dialler.sealer.seal(&payload(1)).unwrap();
        assert_eq!(dialler.opener.open(&datagram), None, "reflected");
        let mut other = secrets();
        other[ID_LEN] ^= 1;
        assert_eq!(Channel::new(&other, End::Listener).unwrap().opener.open(&datagram), None);
        assert!(listener.opener.open(&datagram).is_some());
    }

    #[test]
    fn order_does_not_matter_within_the_window() {
        let (mut dialler, mut listener) = ends();
        let datagrams: Vec<_> = (0..=WINDOW).map(|_| dialler.sealer.seal(&payload(0)).unwrap()).collect();
        // The last one first: then all but the very oldest are taken, in any order, and none a second time.
        assert!(listener.opener.open(&datagrams[WINDOW as usize]).unwrap().newest);
        assert_eq!(listener.opener.open(&datagrams[0]), None, "too old to tell");
        for datagram in datagrams[1..WINDOW as usize].iter().rev() {
            assert!(!listener.opener.open(datagram).unwrap().newest);
        }
        for datagram in &datagrams {
            assert_eq!(listener.opener.open(datagram), None);
        }
        // A long loss.
        for _ in 0..1_000 {
            dialler.sealer.seal(&payload(0)).unwrap();
        }
        assert!(listener.opener.open(&dialler.sealer.seal(&payload(0)).unwrap()).unwrap().newest);
        for datagram in &datagrams {
            assert_eq!(listener.opener.open(datagram), None);
        }
    }

    #[test]
    fn any_bytes_are_refused() {
        let (mut dialler, mut listener) = ends();
        let mut state = 1_u64;
        let mut random = move || {
            // xorshift64*
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
        };
        for _ in 0..2_000 {
            let len = random() as usize % (2 * DATAGRAM_LEN);
            let bytes: Vec<u8> = (0..len).map(|_| random() as u8).collect();
            if let Some((_, datagram)) = addressed(&bytes) {
                assert_eq!(listener.opener.open(datagram), None);
            }
            assert_eq!(addressed(&bytes).is_some(), len == DATAGRAM_LEN);
            // With the right id, and a number of any size.
            let mut datagram: [u8; DATAGRAM_LEN] = std::array::from_fn(|_| random() as u8);
            datagram[..ID_LEN].copy_from_slice(&listener.id);
            datagram[ID_LEN..HEADER_LEN].copy_from_slice(&(random() << (random() % 40)).to_be_bytes());
            assert_eq!(listener.opener.open(&datagram), None);
        }
        let mut last = [0xff; DATAGRAM_LEN];
        last[..ID_LEN].copy_from_slice(&listener.id);
        assert_eq!(listener.opener.open(&last), None, "the highest number of all");
        let honest = dialler.sealer.seal(&payload(0)).unwrap();
        assert!(listener.opener.open(&honest).is_some(), "nothing was learned from them");
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The vectors of the protocol's page: the bytes 00, 01, 02... exported, and the payload 20, 21, 22...
    #[test]
    fn datagrams_have_the_bytes_of_the_vectors() {
        let (mut dialler, mut listener) = ends();
        let payload = std::array::from_fn(|index| 0x20 + index as u8);
        let first = hex(&dialler.sealer.seal(&payload).unwrap());
        listener.sealer.next = 0x0102_0304;
        let later = hex(&listener.sealer.seal(&payload).unwrap());
        let page = include_str!("../../../docs/protocol.md");
        for (name, made) in [("datagram of the dialling end", first), ("datagram of the listening end", later)] {
            let start =
                page.find(&format!("\n`{name}`")).unwrap_or_else(|| panic!("{name} is not in docs/protocol.md"));
            let listed = page[start..].split("```").nth(1).unwrap();
            let listed: String = listed.trim_start_matches("text").split_whitespace().collect();
            assert_eq!(listed, made, "{name} in docs/protocol.md");
        }
    }
}
