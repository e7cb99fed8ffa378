//! Oracle of two sessions joined by a link that delays and cuts as it likes, whose callers keep the rules: nothing may
//! fail, and once the link is quiet both ends agree.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use audera_clock::{PlayerTime, SenderTime, Span};
use audera_wire::{
    CloseCode, DATAGRAM_LEN, PlayerEvent, PlayerHello, PlayerSession, RoomChange, RoomRefusal, RoomState, SenderEvent,
    SenderHello, SenderSession, StreamId, encode_audio,
};

use super::script::Script;

/// What the sender's clock shows when the player's shows zero, ns.
const OFFSET: i64 = 77_000_000_000;

struct Pair {
    /// Common time, ns.
    now: i64,
    /// When the link was last quiet, ns.
    quiet: i64,
    sender: SenderSession,
    player: PlayerSession,
    to_player: VecDeque<u8>,
    to_sender: VecDeque<u8>,
    /// Datagrams under way, which are lost, doubled and overtaken.
    datagrams_to_player: Vec<[u8; DATAGRAM_LEN]>,
    datagrams_to_sender: Vec<[u8; DATAGRAM_LEN]>,
    /// Bytes of each packet of a stream, by its format.
    payload_len: HashMap<StreamId, usize>,
    sent_audio: u64,
    got_audio: u64,
    next_seq: u32,
    last_seq: Option<u32>,
    /// The state of the room, its revision, and what the sender was told of it.
    room: (u64, RoomState),
    room_told: Option<(u64, RoomState, bool)>,
    /// A bye was said on purpose, by whom does not matter.
    closing: bool,
    sender_closed: Option<(CloseCode, String)>,
    player_closed: Option<(CloseCode, String)>,
}

/// Runs the pair through what the bytes say.
pub fn pair(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let mut pair = Pair {
        now: 0,
        quiet: 0,
        sender: SenderSession::new(
            SenderHello { datagrams: true, ..SenderHello::new("desk", "fuzz") },
            SenderTime::from_nanos(OFFSET),
        ),
        player: PlayerSession::new(
            PlayerHello { datagrams: script.below(4) != 0, ..PlayerHello::new("Kitchen", "fuzz") },
            PlayerTime::from_nanos(0),
        ),
        to_player: VecDeque::new(),
        to_sender: VecDeque::new(),
        datagrams_to_player: Vec::new(),
        datagrams_to_sender: Vec::new(),
        payload_len: HashMap::new(),
        sent_audio: 0,
        got_audio: 0,
        next_seq: 0,
        last_seq: None,
        room: (0, RoomState::new("Kitchen")),
        room_told: None,
        closing: false,
        sender_closed: None,
        player_closed: None,
    };
    pair.player.room(0, Arc::new(pair.room.1.clone()));
    while !script.is_over() {
        pair.step(&mut script);
    }
    pair.settle();
    pair.agree();
}

impl Pair {
    fn step(&mut self, script: &mut Script<'_>) {
        match script.below(19) {
            16 => {
                let (sender_now, player_now) = (self.sender_now(), self.player_now());
                self.datagrams_to_player.extend(std::iter::from_fn(|| self.sender.poll_datagram(sender_now)));
                self.datagrams_to_sender.extend(std::iter::from_fn(|| self.player.poll_datagram(player_now)));
            }
            17 => {
                if let Some(datagram) = taken(&mut self.datagrams_to_player, script) {
                    self.player.receive_datagram(self.player_now(), &datagram);
                }
            }
            18 => {
                if let Some(datagram) = taken(&mut self.datagrams_to_sender, script) {
                    self.sender.receive_datagram(self.sender_now(), &datagram);
                }
            }
            0 => self.pass(i64::from(script.short()) * 15_000),
            1 => {
                let len = usize::from(script.byte());
                self.deliver_to_player(len);
            }
            2 => {
                let len = usize::from(script.byte());
                self.deliver_to_sender(len);
            }
            3 | 4 => self.write_sender(),
            5 | 6 => self.write_player(),
            7 => {
                let id = script.id();
                let start = script.start(id);
                let len = start.format.max_payload();
                // Where it is not legal the session says so, and nothing is sent.
                if self.sender.start(start).is_ok() {
                    self.payload_len.insert(id, len);
                }
            }
            8 => {
                let id = script.id();
                self.sender.stop(id);
            }
            9 | 10 => self.play(script.id()),
            11 => {
                let id = script.id();
                self.player.accept(id);
            }
            12 => {
                let id = script.id();
                self.player.preempt(id, &script.text());
            }
            13 => {
                let id = script.id();
                self.player.refuse(id, &script.text());
            }
            14 => self.player.status(script.status()),
            _ => match script.below(33) {
                16..=27 => {
                    // What would have to be cut is refused at once.
                    let _ = self.sender.set(script.change());
                }
                28..=31 => {
                    // Somebody else has changed it.
                    let change = script.change();
                    let _ = self.change(&change);
                }
                32 => {
                    self.sender.watch(script.below(2) == 0);
                }
                0 => {
                    self.closing = true;
                    self.sender.close(CloseCode::Shutdown, "sender ends");
                }
                1 => {
                    self.closing = true;
                    self.player.close(CloseCode::Replaced, "player ends");
                }
                _ => self.settle(),
            },
        }
        self.gather();
    }

    /// Changes the room as its player does; whether that was possible.
    fn change(&mut self, change: &RoomChange) -> Result<(), RoomRefusal> {
        self.room = (self.room.0 + 1, self.room.1.changed(change)?);
        self.player.room(self.room.0, Arc::new(self.room.1.clone()));
        Ok(())
    }

    fn sender_now(&self) -> SenderTime {
        SenderTime::from_nanos(self.now + OFFSET)
    }

    fn player_now(&self) -> PlayerTime {
        PlayerTime::from_nanos(self.now)
    }

    /// Lets up to 983 ms pass. An honest network delivers within two seconds.
    fn pass(&mut self, span: i64) {
        if self.now + span > self.quiet + 2_000_000_000 {
            self.settle();
        }
        self.now += span;
        self.sender.handle_timeout(self.sender_now()).expect("nothing is late at the sender");
        self.player.handle_timeout(self.player_now()).expect("nothing is late at the player");
    }

    /// Audio as a caller writes it: after the control bytes, and only of streams that are open.
    fn play(&mut self, id: StreamId) {
        self.write_sender();
        if !self.sender.is_streaming(id) {
            return;
        }
        let len = self.payload_len[&id];
        let mut bytes = Vec::new();
        let stamp = self.sender_now() + Span::from_millis(80);
        encode_audio(id, self.next_seq, stamp, Span::ZERO, &vec![0x55; len], &mut bytes).expect("a legal packet");
        self.next_seq = self.next_seq.wrapping_add(1);
        self.sent_audio += 1;
        self.to_player.extend(bytes);
    }

    fn write_sender(&mut self) {
        let mut bytes = Vec::new();
        self.sender.poll_transmit(self.sender_now(), &mut bytes);
        self.to_player.extend(bytes);
    }

    fn write_player(&mut self) {
        let mut bytes = Vec::new();
        self.player.poll_transmit(self.player_now(), &mut bytes);
        self.to_sender.extend(bytes);
    }

    fn deliver_to_player(&mut self, len: usize) {
        let bytes: Vec<u8> = self.to_player.drain(..len.min(self.to_player.len())).collect();
        self.player.receive(self.player_now(), &bytes).expect("an honest sender is understood");
    }

    fn deliver_to_sender(&mut self, len: usize) {
        let bytes: Vec<u8> = self.to_sender.drain(..len.min(self.to_sender.len())).collect();
        self.sender.receive(self.sender_now(), &bytes).expect("an honest player is understood");
    }

    /// Writes and delivers everything until nothing is under way.
    fn settle(&mut self) {
        loop {
            self.write_sender();
            self.write_player();
            if self.to_player.is_empty() && self.to_sender.is_empty() {
                break;
            }
            self.deliver_to_player(usize::MAX);
            self.deliver_to_sender(usize::MAX);
            // What the player answers is under way as well.
            self.gather();
        }
        self.quiet = self.now;
        self.gather();
    }

    fn gather(&mut self) {
        while let Some(event) = self.sender.poll_event() {
            assert_eq!(self.sender_closed, None, "an event after the end");
            if let SenderEvent::Room { revision, state, settled } = &event {
                let before = self.room_told.replace((*revision, state.clone(), *settled));
                assert!(before.is_none_or(|(before, ..)| before <= *revision), "the state went back");
            }
            if let SenderEvent::Closed { code, reason } = event {
                assert!(self.closing, "nobody wanted to close: {code} {reason}");
                self.sender_closed = Some((code, reason));
            }
        }
        while let Some(event) = self.player.poll_event() {
            assert_eq!(self.player_closed, None, "an event after the end");
            match event {
                PlayerEvent::Closed { code, reason } => {
                    assert!(self.closing, "nobody wanted to close: {code} {reason}");
                    self.player_closed = Some((code, reason));
                }
                PlayerEvent::Audio { seq, .. } => {
                    assert!(self.last_seq.is_none_or(|last| last < seq), "audio went back");
                    self.last_seq = Some(seq);
                    self.got_audio += 1;
                }
                PlayerEvent::Exchange(exchange) => {
                    let ns = |time: SenderTime| time.as_nanos() - OFFSET;
                    let order = [
                        exchange.sent.as_nanos(),
                        ns(exchange.received),
                        ns(exchange.replied),
                        exchange.returned.as_nanos(),
                    ];
                    assert!(order.is_sorted(), "an effect before its cause: {order:?}");
                }
                PlayerEvent::Set { number, change } => match self.change(&change) {
                    Ok(()) => self.player.changed(number),
                    Err(refusal) => self.player.not_changed(number, refusal),
                },
                PlayerEvent::SenderReady(_)
                | PlayerEvent::Start(_)
                | PlayerEvent::Stop(_)
                | PlayerEvent::Watch(_)
                | PlayerEvent::Identify
                | PlayerEvent::TimePath(_) => {}
            }
        }
    }

    fn agree(&self) {
        assert_eq!(self.sender_closed.is_some(), self.closing);
        assert_eq!(self.player_closed.is_some(), self.closing);
        for id in (0..4).map(StreamId) {
            assert_eq!(
                self.sender.is_streaming(id),
                self.player.is_streaming(id),
                "the ends disagree about stream {id}"
            );
        }
        if !self.closing {
            let ignored = self.player.counters().ignored_audio;
            assert_eq!(self.sent_audio, self.got_audio + ignored, "audio was lost between two ends");
            let (revision, state) = self.room.clone();
            let told = self.room_told.as_ref().map(|(revision, state, _)| (*revision, state.clone()));
            assert_eq!(told, Some((revision, state)), "the ends disagree about the room");
        }
    }
}

/// Any of the datagrams under way: it arrives, arrives and will do so again, or is lost.
fn taken(under_way: &mut Vec<[u8; DATAGRAM_LEN]>, script: &mut Script<'_>) -> Option<[u8; DATAGRAM_LEN]> {
    let index = usize::from(script.byte()).checked_rem(under_way.len())?;
    match script.below(4) {
        0 => {
            under_way.remove(index);
            None
        }
        1 => Some(under_way[index]),
        _ => Some(under_way.remove(index)),
    }
}
