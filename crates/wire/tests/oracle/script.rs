//! Reads choices, numbers and messages from the bytes of a fuzzer.

use audera_clock::{PlayerTime, SenderTime, Span};
use audera_wire::{
    AudioPacket, Bye, CloseCode, Coding, Datagram, Hello, Message, PlayerHello, PlayerStatus, RoomChange, RoomRefusal,
    RoomState, SenderHello, Start, StreamFormat, StreamId, TimeReply, TimeRequest,
};

/// What is left of the bytes; reads zeros at the end.
pub struct Script<'a> {
    rest: &'a [u8],
}

impl<'a> Script<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub fn is_over(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        match self.rest.split_first() {
            Some((byte, rest)) => {
                self.rest = rest;
                *byte
            }
            None => 0,
        }
    }

    pub fn below(&mut self, bound: u8) -> u8 {
        self.byte() % bound
    }

    pub fn short(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    pub fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (bytes, rest) = self.rest.split_at(len.min(self.rest.len()));
        self.rest = rest;
        bytes
    }

    pub fn text(&mut self) -> String {
        let len = usize::from(self.below(24)) * usize::from(self.below(16));
        String::from_utf8_lossy(self.bytes(len)).into_owned()
    }

    pub fn format(&mut self) -> StreamFormat {
        match self.below(4) {
            0 => StreamFormat { coding: Coding::Opus, rate: 48_000, channels: 2, frames: 480 },
            1 => StreamFormat { coding: Coding::PcmS16le, rate: 44_100, channels: 1, frames: 32 },
            2 => StreamFormat { coding: Coding::PcmS24le, rate: 96_000, channels: 2, frames: 32 },
            _ => StreamFormat {
                coding: Coding::ALL[usize::from(self.below(4))],
                rate: u32::from(self.short()) * 3,
                channels: self.byte(),
                frames: self.short(),
            },
        }
    }

    pub fn start(&mut self, id: StreamId) -> Start {
        Start {
            id,
            format: self.format(),
            latency: Span::from_micros(i64::from(self.short()) * 32),
            title: self.text(),
        }
    }

    pub fn id(&mut self) -> StreamId {
        StreamId(u32::from(self.below(4)))
    }

    fn number(&mut self) -> u32 {
        match self.below(8) {
            0 => u32::from(self.short()) << 16,
            small => u32::from(small - 1),
        }
    }

    fn stamp(&mut self) -> i64 {
        i64::from(self.short()) << self.below(48)
    }

    /// Mostly within what a packet may glide by.
    fn glide(&mut self) -> Span {
        let ns = (i64::from(self.short()) - (1 << 15)) << self.below(4);
        if self.below(8) == 0 { Span::from_nanos(ns << 10) } else { Span::from_nanos(ns / 2) }
    }

    pub fn status(&mut self) -> PlayerStatus {
        PlayerStatus {
            room: self.text(),
            output: self.text(),
            stream: (self.below(2) == 0).then(|| self.id()),
            codec: (self.below(2) == 0).then_some(Coding::Opus),
            sync_error_us: (self.below(2) == 0).then(|| f64::from(self.short()) / f64::from(self.below(3))),
            title: (self.below(2) == 0).then(|| self.text()),
            buffered_ms: self.number(),
            xruns: u64::from(self.number()) << self.below(32),
            ..PlayerStatus::default()
        }
    }

    pub fn sender_hello(&mut self) -> SenderHello {
        let source = (self.below(2) == 0).then(|| self.text());
        SenderHello { source, datagrams: self.below(2) == 0, ..SenderHello::new(&self.text(), "fuzz") }
    }

    pub fn player_hello(&mut self) -> PlayerHello {
        let groups = (0..self.below(48)).map(|_| self.text()).collect();
        PlayerHello { groups, datagrams: self.below(2) == 0, ..PlayerHello::new(&self.text(), "fuzz") }
    }

    fn request(&mut self) -> TimeRequest {
        TimeRequest { number: self.number(), sent: PlayerTime::from_nanos(self.stamp()) }
    }

    fn reply(&mut self) -> TimeReply {
        let (sent, received) = (PlayerTime::from_nanos(self.stamp()), SenderTime::from_nanos(self.stamp()));
        let replied = received + Span::from_micros(i64::from(self.short()));
        TimeReply { number: self.number(), sent, received, replied }
    }

    /// The payload of a datagram, or something like one.
    pub fn datagram(&mut self) -> Vec<u8> {
        match self.below(4) {
            0 => Datagram::Request(self.request()).encode().to_vec(),
            1 => Datagram::Reply(self.reply()).encode().to_vec(),
            2 => Datagram::Here.encode().to_vec(),
            _ => {
                let len = usize::from(self.below(64));
                self.bytes(len).to_vec()
            }
        }
    }

    /// A change of the room, often one that is refused.
    pub fn change(&mut self) -> RoomChange {
        let mut change = RoomChange::default();
        match self.below(9) {
            0 => change.volume = Some(f64::from(self.byte())),
            1 => change.volume_step = Some(f64::from(self.byte()) - 128.0),
            2 => change.mute = Some(self.below(2) == 0),
            3 => change.name = Some(self.text()),
            4 => change.groups = Some(vec![self.text(), "Up".to_owned()]),
            5 => change.volume_step_db = Some(f64::from(self.byte()) - 128.0),
            6 => change.audible_volume = Some(f64::from(self.byte())),
            7 => (change.remove_groups, change.add_groups) = (vec!["Up".to_owned()], vec![self.text()]),
            _ => change.max_volume = Some(f64::from(self.byte())),
        }
        change
    }

    /// Any message, encoded; not necessarily legal where it comes.
    pub fn message(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        let payload;
        let message = match self.below(21) {
            0 => Message::Hello(Hello::Sender(self.sender_hello())),
            1 => Message::Hello(Hello::Player(self.player_hello())),
            2 => Message::Bye(Bye { code: CloseCode::Shutdown, reason: self.text() }),
            3 | 4 => {
                let id = self.id();
                Message::Start { run: self.number(), start: self.start(id) }
            }
            5 => Message::Stop { id: self.id(), run: self.number() },
            6 => Message::Accept { id: self.id(), run: self.number() },
            7 => Message::Refuse { id: self.id(), run: self.number(), reason: self.text() },
            8 => Message::Preempt { id: self.id(), run: self.number(), by: self.text() },
            9 => Message::Status(self.status()),
            10..=12 => {
                payload = vec![0; [20, 64, 192, 1][usize::from(self.below(4))]];
                let (id, seq) = (self.id(), self.number());
                let stamp = SenderTime::from_nanos(self.stamp());
                Message::Audio(AudioPacket { id, seq, stamp, glide: self.glide(), payload: &payload })
            }
            13 => Message::TimeRequest(self.request()),
            14 => Message::TimeReply(self.reply()),
            15 => Message::Watch { on: self.below(2) == 0 },
            16 => {
                let state = RoomState::new(self.text());
                Message::Room { revision: self.number().into(), answers: Some(u32::from(self.below(4))), state }
            }
            19 => Message::Identify,
            17 => Message::Set { number: u32::from(self.below(3)), change: self.change() },
            18 => {
                let refusal = RoomRefusal { key: self.text(), value: self.text(), accepted: self.text() };
                Message::SetRefused { number: u32::from(self.below(3)), refusal }
            }
            _ => {
                let len = usize::from(self.byte());
                Message::Extension { byte: 0x80 | self.byte(), payload: self.bytes(len) }
            }
        };
        message.encode(&mut out);
        out
    }
}
