//! Oracle of the frame parser and of the messages in the frames.

use audera_wire::{FrameError, FrameReader, FrameType, HEADER_LEN, MAX_PAYLOAD, Message};

use super::script::Script;

type Read = (Vec<(FrameType, Vec<u8>)>, Option<FrameError>);

/// The bytes as they are: how they are cut must not matter, memory is bounded, and what is understood survives being
/// written and read again.
pub fn raw(bytes: &[u8]) {
    let whole = read(bytes, |_| usize::MAX);
    let single = read(bytes, |_| 1);
    let varied = read(bytes, |at| usize::from(bytes[at] % 37) + 1);
    assert_eq!(whole, single, "the cuts of the stream made a difference");
    assert_eq!(whole, varied, "the cuts of the stream made a difference");
    let consumed: usize = whole.0.iter().map(|(_, payload)| HEADER_LEN + payload.len()).sum();
    assert!(consumed <= bytes.len(), "more was read than there is");
    for (kind, payload) in &whole.0 {
        let (min, max) = kind.payload_bounds();
        assert!((min..=max).contains(&payload.len()));
        survives(*kind, payload);
    }
}

/// Messages made after the bytes, one byte of them changed.
pub fn made(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let (at, change) = (usize::from(script.short()), script.byte());
    let mut stream = Vec::new();
    for _ in 0..16 {
        if script.is_over() {
            break;
        }
        stream.extend_from_slice(&script.message());
    }
    if change == 0 {
        let (frames, error) = read(&stream, |_| usize::MAX);
        assert_eq!(error, None, "frames of our own are frames");
        let total: usize = frames.iter().map(|(_, payload)| HEADER_LEN + payload.len()).sum();
        assert_eq!(total, stream.len(), "and nothing but frames");
    } else if !stream.is_empty() {
        let at = at % stream.len();
        stream[at] ^= change;
    }
    raw(&stream);
}

fn read(bytes: &[u8], size: impl Fn(usize) -> usize) -> Read {
    let mut reader = FrameReader::new();
    let mut frames = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let piece = &bytes[at..bytes.len().min(at.saturating_add(size(at)))];
        at += piece.len();
        reader.push(piece);
        loop {
            match reader.next() {
                Ok(Some(frame)) => frames.push((frame.kind, frame.payload.to_vec())),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(reader.next(), Err(error), "an error stays");
                    assert_eq!(reader.buffered(), 0);
                    return (frames, Some(error));
                }
            }
        }
        assert!(reader.buffered() < HEADER_LEN + MAX_PAYLOAD, "a whole frame was left in the reader");
    }
    (frames, None)
}

fn survives(kind: FrameType, payload: &[u8]) {
    let Ok(message) = Message::decode(audera_wire::Frame { kind, payload }) else { return };
    assert_eq!(message.kind(), kind);
    let mut again = Vec::new();
    message.encode(&mut again);
    let mut reader = FrameReader::new();
    reader.push(&again);
    let frame = reader.next().expect("own frames are frames").expect("and whole");
    assert_eq!(Message::decode(frame).as_ref(), Ok(&message), "a message changed on its way");
}
