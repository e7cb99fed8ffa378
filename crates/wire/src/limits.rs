//! Every bound of the protocol in one place; each is checked before memory is taken for what it bounds.

use std::ops::RangeInclusive;

use audera_clock::Span;

use crate::audio::AUDIO_HEADER_LEN;

/// Largest coded audio in one packet, bytes: 4096 frames of 8 channels in 32 bits.
pub const MAX_AUDIO: usize = 4096 * 8 * 4;

/// Largest payload of any frame, bytes.
pub const MAX_PAYLOAD: usize = AUDIO_HEADER_LEN + MAX_AUDIO;

/// Largest payload of a control frame (CBOR) or of an extension frame, bytes.
pub const MAX_CONTROL: usize = 4096;

/// Deepest nesting of arrays, maps and tags in a control message.
pub const MAX_NESTING: usize = 8;

/// Longest name of a room, group, sender or source in bytes of UTF-8: that of a DNS-SD label.
pub const MAX_NAME: usize = 63;

/// Longest software name with version, bytes.
pub const MAX_SOFTWARE: usize = 64;

/// Longest title of a stream, bytes.
pub const MAX_TITLE: usize = 256;

/// Longest reason in a refusal or a bye, bytes.
pub const MAX_REASON: usize = 256;

/// Longest name of a player's output, bytes.
pub const MAX_OUTPUT: usize = 128;

/// Most groups of one player.
pub const MAX_GROUPS: usize = 32;

/// Most entries in the lists of versions and codings.
pub const MAX_CHOICES: usize = 32;

/// Most streams started and not yet over on one connection.
pub const MAX_STREAMS: usize = 16;

/// Largest Opus packet with one frame, bytes (RFC 6716, section 3.2: one TOC byte and at most 1275 bytes).
pub const MAX_OPUS_PACKET: usize = 1276;

/// Smallest and largest latency of a stream.
pub const MIN_LATENCY: Span = Span::from_millis(1);
/// See [`MIN_LATENCY`].
pub const MAX_LATENCY: Span = Span::from_millis(2_000);

/// Latencies that a user may choose for a stream, ms: up to [`MAX_LATENCY`]; with less than this there is no time left for a network.
pub const CHOSEN_LATENCIES: RangeInclusive<i64> = 20..=2_000;

/// Time within which the peer's hello has to arrive.
pub const HELLO_LIMIT: Span = Span::from_millis(5_000);

/// Time without a byte from the peer after which a session closes.
pub const IDLE_LIMIT: Span = Span::from_millis(8_000);

/// Time within which a player that is heard answers a change of the room; then the sender goes on to the next.
pub const SET_LIMIT: Span = Span::from_millis(10_000);

/// A peer that is silent for so long while a stream is accepted has something in its way: a player tells its status once a second, and
/// asks for the time in-band every two seconds.
pub const MISSED_STREAMING: Span = Span::from_millis(2_500);

/// The same while no stream is accepted, when in-band exchanges are all there is; one of them may be late.
pub const MISSED_IDLE: Span = Span::from_millis(5_000);

/// Control bytes that may wait for a peer which does not read; beyond it the session closes.
pub const MAX_QUEUED: usize = 64 * 1024;

/// Time requests a player remembers, and a sender keeps to answer; older ones are forgotten.
pub const MAX_TIME_PENDING: usize = 16;

/// Largest time stamp on the wire, ns; stamps are 0 or more. Differences of two stamps thus never overflow.
pub const MAX_STAMP: i64 = (1 << 62) - 1;

/// Time requests in datagrams that a player remembers: those of two and a half seconds at the quickest pace, so that a path with such a
/// round trip still counts as open.
pub const MAX_DATAGRAMS_PENDING: usize = 256;

/// Datagrams with time requests that a sender answers on one connection: so many at once...
pub const DATAGRAM_ALLOWANCE: u8 = 64;

/// ... and so many in a second on average.
pub const DATAGRAM_RATE: i64 = 120;
