//! Oracle of the payloads of datagrams.

use audera_wire::{DATAGRAM_LEN, Datagram, DatagramError};

use super::script::Script;

/// The bytes as they are, and payloads made after them: what is understood is written the same again, so that no byte is without a
/// meaning, and nothing is understood that no peer may send.
pub fn any(bytes: &[u8]) {
    one(bytes);
    let mut padded = bytes.to_vec();
    padded.resize(DATAGRAM_LEN, 0);
    one(&padded);
    let mut script = Script::new(bytes);
    let (at, change) = (usize::from(script.byte()) % DATAGRAM_LEN, script.byte());
    let mut made = script.datagram();
    if let Some(byte) = made.get_mut(at) {
        *byte ^= change;
    }
    one(&made);
}

fn one(bytes: &[u8]) {
    match Datagram::decode(bytes) {
        Ok(datagram) => {
            assert_eq!(datagram.encode(), bytes, "a payload changed on its way");
            if let Datagram::Reply(reply) = datagram {
                assert!(reply.received <= reply.replied);
            }
        }
        Err(error) => assert_eq!(matches!(error, DatagramError::Length { .. }), bytes.len() != DATAGRAM_LEN),
    }
}
