//! Two sessions under a virtual clock, joined by a link with delay.

use std::collections::VecDeque;
use std::sync::Arc;

use audera_clock::{Exchange, PlayerTime, SenderTime, Span};
use audera_wire::{
    Bye, CloseCode, Coding, PlayerEvent, PlayerHello, PlayerSession, PlayerState, PlayerStatus, RoomChange, RoomState,
    SenderEvent, SenderHello, SenderSession, SessionError, SetError, Start, StreamFormat, StreamId, encode_audio,
};

const MS: i64 = 1_000_000;
/// What the sender's clock shows when the player's shows zero.
const OFFSET: i64 = 5_000_000 * MS;

type Flight = VecDeque<(i64, Vec<u8>)>;

struct Pair {
    now: i64,
    delay: i64,
    cut: bool,
    /// Until then the sender's transport takes no bytes.
    blocked_until: i64,
    sender: SenderSession,
    player: PlayerSession,
    to_sender: Flight,
    to_player: Flight,
    sender_events: Vec<(i64, SenderEvent)>,
    player_events: Vec<(i64, PlayerEvent)>,
    errors: Vec<(i64, SessionError)>,
}

impl Pair {
    fn new(delay: i64) -> Self {
        Self {
            now: 0,
            delay,
            cut: false,
            blocked_until: 0,
            sender: SenderSession::new(SenderHello::new("desk", "test 1"), SenderTime::from_nanos(OFFSET)),
            player: PlayerSession::new(PlayerHello::new("Kitchen", "test 1"), PlayerTime::from_nanos(0)),
            to_sender: Flight::new(),
            to_player: Flight::new(),
            sender_events: Vec::new(),
            player_events: Vec::new(),
            errors: Vec::new(),
        }
    }

    fn sender_now(&self) -> SenderTime {
        SenderTime::from_nanos(self.now + OFFSET)
    }

    fn player_now(&self) -> PlayerTime {
        PlayerTime::from_nanos(self.now)
    }

    /// Writes what is due and gathers events.
    fn settle(&mut self) {
        let mut bytes = Vec::new();
        if self.now >= self.blocked_until && self.sender.poll_transmit(self.sender_now(), &mut bytes) && !self.cut {
            self.to_player.push_back((self.now + self.delay, bytes));
        }
        let mut bytes = Vec::new();
        if self.player.poll_transmit(self.player_now(), &mut bytes) && !self.cut {
            self.to_sender.push_back((self.now + self.delay, bytes));
        }
        while let Some(event) = self.sender.poll_event() {
            self.sender_events.push((self.now, event));
        }
        while let Some(event) = self.player.poll_event() {
            self.player_events.push((self.now, event));
        }
    }

    fn run_until(&mut self, end: i64) {
        self.settle();
        let mut steps = 0;
        loop {
            let next = [
                self.to_player.front().map(|(at, _)| *at),
                self.to_sender.front().map(|(at, _)| *at),
                self.sender.next_timeout().map(|at| at.as_nanos() - OFFSET),
                self.player.next_timeout().map(|at| at.as_nanos()),
                (self.blocked_until > self.now).then_some(self.blocked_until),
            ];
            let next = next.into_iter().flatten().min().filter(|at| *at <= end);
            let Some(next) = next else { break };
            steps = if next > self.now { 0 } else { steps + 1 };
            assert!(steps < 100, "time stands still at {} ns: a deadline is not served", self.now);
            self.now = self.now.max(next);
            let mut results = Vec::new();
            while let Some(bytes) = arrived(&mut self.to_player, self.now) {
                results.push(self.player.receive(self.player_now(), &bytes));
            }
            while let Some(bytes) = arrived(&mut self.to_sender, self.now) {
                results.push(self.sender.receive(self.sender_now(), &bytes));
            }
            results.push(self.sender.handle_timeout(self.sender_now()));
            results.push(self.player.handle_timeout(self.player_now()));
            self.errors.extend(results.into_iter().filter_map(Result::err).map(|error| (self.now, error)));
            self.settle();
        }
        self.now = end;
        self.settle();
    }

    fn run_for(&mut self, span: i64) {
        self.run_until(self.now + span);
    }

    /// The caller's part of sending audio: control first, then packets of the streams that are open.
    fn play(&mut self, id: StreamId, seq: u32) {
        self.settle();
        if self.sender.is_streaming(id) {
            let mut bytes = Vec::new();
            let stamp = self.sender_now() + Span::from_millis(80);
            encode_audio(id, seq, stamp, Span::ZERO, &[7; 20], &mut bytes).unwrap();
            self.to_player.push_back((self.now + self.delay, bytes));
        }
    }

    fn exchanges(&self) -> Vec<(i64, Exchange)> {
        self.player_events
            .iter()
            .filter_map(|(at, event)| match event {
                PlayerEvent::Exchange(exchange) => Some((*at, *exchange)),
                _ => None,
            })
            .collect()
    }

    fn audio(&self) -> Vec<u32> {
        self.player_events
            .iter()
            .filter_map(|(_, event)| match event {
                PlayerEvent::Audio { seq, .. } => Some(*seq),
                _ => None,
            })
            .collect()
    }

    fn sender_said(&mut self) -> Vec<SenderEvent> {
        self.sender_events.drain(..).map(|(_, event)| event).collect()
    }

    /// Events of the player but time exchanges.
    fn player_said(&mut self) -> Vec<PlayerEvent> {
        let events = self.player_events.drain(..).map(|(_, event)| event);
        events.filter(|event| !matches!(event, PlayerEvent::Exchange(_))).collect()
    }
}

/// The next bytes that have arrived by `now`.
fn arrived(flight: &mut Flight, now: i64) -> Option<Vec<u8>> {
    flight.front().is_some_and(|(at, _)| *at <= now).then(|| flight.pop_front()).flatten().map(|(_, bytes)| bytes)
}

fn opus(id: u32) -> Start {
    let format = StreamFormat { coding: Coding::Opus, rate: 48_000, channels: 2, frames: 480 };
    Start { id: StreamId(id), format, latency: Span::from_millis(80), title: "radio".into() }
}

/// A pair with stream 1 accepted.
fn playing(delay: i64) -> Pair {
    let mut pair = Pair::new(delay);
    pair.run_for(1_000 * MS);
    pair.sender.start(opus(1)).unwrap();
    pair.run_for(2 * delay);
    assert!(pair.player.accept(StreamId(1)));
    pair.run_for(2 * delay);
    assert!(pair.sender.is_streaming(StreamId(1)));
    pair.sender_said();
    pair.player_said();
    pair
}

#[test]
fn hellos_cross_and_the_clock_is_asked_in_a_burst() {
    let mut pair = Pair::new(3 * MS);
    pair.run_until(160 * MS);
    assert_eq!(pair.sender_events[0], (3 * MS, SenderEvent::PlayerReady(PlayerHello::new("Kitchen", "test 1"))));
    assert_eq!(pair.player_events[0], (3 * MS, PlayerEvent::SenderReady(SenderHello::new("desk", "test 1"))));
    assert_eq!((pair.sender.version(), pair.player.version()), (Some(1), Some(1)));
    let exchanges = pair.exchanges();
    let times: Vec<i64> = exchanges.iter().map(|(at, _)| at / MS).collect();
    assert_eq!(times, [9, 29, 49, 69, 89, 109, 129, 149]);
    for (at, exchange) in exchanges {
        assert_eq!(exchange.sent, PlayerTime::from_nanos(at - 6 * MS));
        assert_eq!(exchange.received, SenderTime::from_nanos(at - 3 * MS + OFFSET));
        assert_eq!(exchange.replied, exchange.received);
        assert_eq!(exchange.returned, PlayerTime::from_nanos(at));
    }
}

#[test]
fn an_idle_session_lives_on_with_one_exchange_in_two_seconds() {
    let mut pair = Pair::new(20 * MS);
    pair.run_until(3_600_000 * MS);
    assert_eq!(pair.errors, []);
    assert!(!pair.sender.is_closed() && !pair.player.is_closed());
    let idle = pair.exchanges().len() - 8;
    assert!((1_798..=1_800).contains(&idle), "{idle} exchanges in an hour");
}

#[test]
fn a_streaming_session_asks_eight_times_a_second() {
    let mut pair = playing(MS);
    pair.player_events.clear();
    pair.run_for(60_000 * MS);
    let count = pair.exchanges().len();
    assert!((479..=488).contains(&count), "{count} exchanges in a minute");
    pair.sender.stop(StreamId(1));
    pair.run_for(10 * MS);
    pair.player_events.clear();
    pair.run_for(60_000 * MS);
    let count = pair.exchanges().len();
    assert!((29..=31).contains(&count), "{count} exchanges in a minute after the end");
}

#[test]
fn a_reply_is_stamped_when_it_leaves() {
    let mut pair = Pair::new(2 * MS);
    pair.run_until(1_000 * MS);
    pair.player_events.clear();
    pair.blocked_until = 2_500 * MS;
    pair.run_until(2_600 * MS);
    let exchanges = pair.exchanges();
    assert_eq!(exchanges.len(), 1);
    let (at, exchange) = exchanges[0];
    assert_eq!(at, 2_502 * MS);
    assert_eq!(exchange.replied, SenderTime::from_nanos(2_500 * MS + OFFSET));
    assert!(exchange.replied - exchange.received > Span::from_millis(300), "the request waited at the sender");
    assert_eq!(exchange.round_trip(), Span::from_millis(4), "and the wait is no part of the round trip");
}

#[test]
fn a_stream_is_started_played_and_stopped() {
    let mut pair = Pair::new(5 * MS);
    pair.run_until(1_000 * MS);
    pair.player_said();
    pair.sender_said();
    pair.sender.start(opus(1)).unwrap();
    pair.play(StreamId(1), 0);
    pair.run_for(5 * MS);
    assert_eq!(pair.player_said(), [PlayerEvent::Start(opus(1))]);
    assert!(pair.player.accept(StreamId(1)));
    assert!(!pair.player.accept(StreamId(1)), "once is enough");
    pair.run_for(5 * MS);
    assert_eq!(pair.sender_said(), [SenderEvent::Accepted(StreamId(1))]);
    for seq in 10..20 {
        pair.play(StreamId(1), seq);
        pair.run_for(10 * MS);
    }
    let status = PlayerStatus {
        state: PlayerState::Playing,
        room: "Kitchen".into(),
        stream: Some(StreamId(1)),
        spare_ms: Some(-20.0),
        ..PlayerStatus::default()
    };
    pair.player.status(PlayerStatus { spare_ms: Some(-30.0), ..PlayerStatus::default() });
    pair.player.status(PlayerStatus { spare_ms: Some(-20.0), ..status.clone() });
    pair.player.status(PlayerStatus { spare_ms: Some(15.0), ..status.clone() });
    pair.player.status(PlayerStatus { spare_ms: None, ..status.clone() });
    pair.play(StreamId(1), 20);
    pair.settle();
    pair.sender.stop(StreamId(1));
    assert!(!pair.sender.is_streaming(StreamId(1)));
    pair.run_for(5 * MS);
    assert_eq!(pair.audio(), (10..=20).collect::<Vec<_>>());
    assert_eq!(pair.player_said().last(), Some(&PlayerEvent::Stop(StreamId(1))));
    assert_eq!(
        pair.sender_said(),
        [SenderEvent::Status(status)],
        "the newest is sent, with the least spare of the stream"
    );
    assert_eq!(pair.player.counters().ignored_audio, 0);
}

#[test]
fn who_watches_is_told_without_a_stream() {
    let mut pair = Pair::new(5 * MS);
    assert!(!pair.sender.watch(true), "not before the player's hello");
    pair.run_until(100 * MS);
    pair.player_said();
    pair.sender_said();
    assert!(pair.sender.watch(true));
    pair.run_for(5 * MS);
    assert_eq!(pair.player_said(), [PlayerEvent::Watch(true)]);
    let status = PlayerStatus { sender: Some("tablet".into()), ..PlayerStatus::default() };
    pair.player.status(status.clone());
    pair.run_for(5 * MS);
    assert_eq!(pair.sender_said(), [SenderEvent::Status(status)]);
    assert!(pair.sender.watch(false));
    pair.run_for(5 * MS);
    assert_eq!(pair.player_said(), [PlayerEvent::Watch(false)]);
}

#[test]
fn whoever_is_let_in_may_have_the_room_be_heard() {
    let mut pair = Pair::new(5 * MS);
    assert!(!pair.sender.identify(), "not before the player's hello");
    pair.run_until(100 * MS);
    pair.player_said();
    assert!(pair.sender.identify());
    pair.run_for(5 * MS);
    assert_eq!(pair.player_said(), [PlayerEvent::Identify]);
}

/// Two senders at one player, which keeps its room as the player does.
struct Household {
    pairs: [Pair; 2],
    revision: u64,
    room: RoomState,
}

impl Household {
    fn new(delays: [i64; 2]) -> Self {
        let mut household = Household { pairs: delays.map(Pair::new), revision: 0, room: RoomState::new("Kitchen") };
        household.tell();
        household.run_for(100 * MS);
        household
    }

    fn tell(&mut self) {
        for pair in &mut self.pairs {
            pair.player.room(self.revision, Arc::new(self.room.clone()));
        }
    }

    /// In steps of a millisecond, as the changes of one are to be told to the other.
    fn run_for(&mut self, span: i64) {
        for _ in 0..span / MS {
            for index in 0..self.pairs.len() {
                self.pairs[index].run_for(MS);
                for event in self.pairs[index].player_said() {
                    let PlayerEvent::Set { number, change } = event else { continue };
                    match self.room.changed(&change) {
                        Ok(room) => {
                            (self.revision, self.room) = (self.revision + 1, room);
                            self.tell();
                            self.pairs[index].player.changed(number);
                        }
                        Err(refusal) => self.pairs[index].player.not_changed(number, refusal),
                    }
                }
            }
        }
    }

    /// What a sender was told since it was asked last: volumes, and whether its own changes were all in.
    fn told(&mut self, index: usize) -> Vec<(f64, bool)> {
        let said = self.pairs[index].sender_said();
        said.into_iter()
            .filter_map(|event| match event {
                SenderEvent::Room { state, settled, .. } => Some((state.volume.percent(), settled)),
                _ => None,
            })
            .collect()
    }
}

#[test]
fn the_room_is_told_at_the_beginning_and_what_one_changes_the_other_sees() {
    let mut household = Household::new([5 * MS, 20 * MS]);
    assert_eq!([household.told(0), household.told(1)], [vec![(100.0, true)], vec![(100.0, true)]]);
    household.pairs[0].sender.set(RoomChange::volume(40.0)).unwrap();
    household.run_for(40 * MS);
    assert_eq!([household.told(0), household.told(1)], [vec![(40.0, true)], vec![(40.0, true)]]);
}

#[test]
fn nothing_is_set_before_the_room_is_known() {
    let mut pair = Pair::new(5 * MS);
    assert_eq!(pair.sender.set(RoomChange::volume(40.0)), Err(SetError::NotReady));
    pair.run_until(100 * MS);
    let set = pair.sender.set(RoomChange::volume(40.0));
    assert_eq!(set, Err(SetError::NotReady), "a player that has no room to tell of");
    pair.sender.close(CloseCode::Shutdown, "");
    assert_eq!(pair.sender.set(RoomChange::volume(40.0)), Err(SetError::Closed));
}

#[test]
fn two_sliders_at_once_end_alike_and_nobody_sees_an_echo_of_itself() {
    let mut household = Household::new([3 * MS, 25 * MS]);
    household.told(0);
    household.told(1);
    // Both are drawn for a second, a hundred times each.
    for step in 0..100 {
        for (index, begin) in [20.0, 60.0].into_iter().enumerate() {
            let set = household.pairs[index].sender.set(RoomChange::volume(begin + f64::from(step) / 10.0));
            assert_eq!(set, Ok(()));
        }
        household.run_for(10 * MS);
    }
    household.run_for(200 * MS);
    let (near, far) = (household.told(0), household.told(1));
    let end = household.room.volume.percent();
    assert!([29.9, 69.9].contains(&end), "{end} is what neither has set last");
    assert_eq!((near.last(), far.last()), (Some(&(end, true)), Some(&(end, true))));
    // The far one has at most one change under way: a round trip is 50 ms.
    let sets = household.revision;
    assert!(sets <= 200 && household.pairs[1].player.counters().stale == 0, "{sets} changes");
    // While a change of its own is under way, what a sender is told is not settled.
    assert!(far.iter().filter(|(_, settled)| *settled).count() <= 2, "{far:?}");
}

#[test]
fn a_flood_of_changes_becomes_few() {
    let mut household = Household::new([10 * MS, 10 * MS]);
    for change in 0..10_000 {
        household.pairs[0].sender.set(RoomChange::volume(f64::from(change % 100))).unwrap();
    }
    household.run_for(100 * MS);
    assert_eq!((household.revision, household.room.volume.percent()), (1, 99.0));
}

#[test]
fn a_refusal_comes_back_and_changes_nothing() {
    let mut household = Household::new([5 * MS, 5 * MS]);
    household.told(0);
    let too_loud = RoomChange { mute: Some(true), volume: Some(101.0), ..RoomChange::default() };
    household.pairs[0].sender.set(too_loud).unwrap();
    household.run_for(20 * MS);
    let said = household.pairs[0].sender_said();
    let refused = |event: &SenderEvent| matches!(event, SenderEvent::SetRefused(refusal) if refusal.key == "volume");
    assert!(said.iter().any(refused), "{said:?}");
    assert_eq!((household.revision, household.room.mute), (0, false));
    household.pairs[0].sender.set(RoomChange::mute(true)).unwrap();
    household.run_for(20 * MS);
    assert!(household.room.mute, "the next one is made");
    // What would have to be cut does not leave at all.
    let many = RoomChange { groups: Some((0..40).map(|group| group.to_string()).collect()), ..RoomChange::default() };
    let refused = household.pairs[0].sender.set(many).unwrap_err();
    assert!(matches!(&refused, SetError::Refused(refusal) if refusal.accepted == "at most 32 groups"), "{refused}");
}

#[test]
fn a_player_that_does_not_answer_is_not_waited_for_for_ever() {
    let mut pair = Pair::new(5 * MS);
    pair.player.room(0, Arc::new(RoomState::new("Kitchen")));
    pair.run_until(100 * MS);
    pair.sender.set(RoomChange::volume(40.0)).unwrap();
    pair.run_for(MS);
    pair.sender.set(RoomChange::mute(true)).unwrap();
    let unanswered = |event: &SenderEvent| matches!(event, SenderEvent::SetUnanswered(_));
    pair.run_for(9_900 * MS);
    assert!(!pair.sender_said().iter().any(unanswered) && !pair.sender.is_settled());
    pair.run_for(200 * MS);
    let said = pair.sender_said();
    assert!(said.contains(&SenderEvent::SetUnanswered(RoomChange::volume(40.0))), "{said:?}");
    let sets = |event: &PlayerEvent| matches!(event, PlayerEvent::Set { .. });
    assert_eq!(pair.player_said().iter().filter(|event| sets(event)).count(), 2, "the next one is on its way");
    // Both are answered in the end.
    pair.player.changed(0);
    pair.player.changed(1);
    pair.run_for(20 * MS);
    assert!(pair.sender.is_settled() && !pair.sender.is_closed());
}

#[test]
fn audio_under_way_when_the_stream_is_preempted_is_ignored() {
    let mut pair = playing(5 * MS);
    pair.play(StreamId(1), 0);
    pair.run_for(3 * MS);
    assert!(pair.player.preempt(StreamId(1), "tablet"));
    assert!(!pair.player.preempt(StreamId(1), "tablet"));
    pair.run_for(5 * MS);
    assert_eq!(pair.sender_said(), [SenderEvent::Preempted { id: StreamId(1), by: "tablet".into() }]);
    assert!(!pair.sender.is_streaming(StreamId(1)));
    assert_eq!(pair.audio(), []);
    assert_eq!(pair.player.counters().ignored_audio, 1);
    assert_eq!(pair.errors, []);
}

#[test]
fn a_preemption_that_crosses_a_restart_means_the_old_start() {
    let mut pair = playing(5 * MS);
    assert!(pair.player.preempt(StreamId(1), "tablet"));
    pair.sender.stop(StreamId(1));
    pair.sender.start(opus(1)).unwrap();
    pair.run_for(5 * MS);
    assert_eq!(pair.player_said(), [PlayerEvent::Start(opus(1))], "the stop was of no use any more");
    assert_eq!(pair.sender_said(), [], "and the preemption neither");
    assert!(pair.player.accept(StreamId(1)));
    pair.run_for(5 * MS);
    assert_eq!(pair.sender_said(), [SenderEvent::Accepted(StreamId(1))]);
    assert_eq!((pair.sender.counters().stale, pair.player.counters().stale), (1, 1));
    pair.play(StreamId(1), 0);
    pair.run_for(5 * MS);
    assert_eq!(pair.audio(), [0], "packets are numbered afresh");
}

#[test]
fn a_stream_that_the_player_cannot_take_is_refused_by_its_session() {
    let mut pair = Pair::new(MS);
    let mut hello = PlayerHello::new("Kitchen", "test 1");
    hello.formats.max_rate = 48_000;
    hello.max_latency = Span::from_millis(500);
    pair.player = PlayerSession::new(hello, PlayerTime::from_nanos(0));
    pair.run_until(500 * MS);
    let high = StreamFormat { coding: Coding::PcmF32le, rate: 96_000, channels: 2, frames: 480 };
    let error = pair.sender.start(Start { format: high, ..opus(1) }).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the player does not take f32le 96000 Hz 2 ch 480 frames, only f32le, s24le, s16le, opus up to 48000 Hz, 8 ch"
    );
    let error = pair.sender.start(Start { latency: Span::from_millis(501), ..opus(1) }).unwrap_err();
    assert_eq!(error.to_string(), "latency 501000 us is more than the 500000 us that the player can hold");
    let error = pair.sender.start(Start { latency: Span::from_millis(2_001), ..opus(1) }).unwrap_err();
    assert_eq!(error.to_string(), "latency 2001000 us is not accepted: use 1000 to 2000000");
    pair.sender.start(opus(1)).unwrap();
    assert_eq!(pair.sender.start(opus(1)).unwrap_err().to_string(), "stream 1 is started already: stop it first");
    pair.run_for(MS);
    assert!(pair.player.refuse(StreamId(1), "the output is busy"));
    pair.run_for(MS);
    let refused = SenderEvent::Refused { id: StreamId(1), reason: "the output is busy".into() };
    assert_eq!(pair.sender_said().last(), Some(&refused));
}

#[test]
fn a_bye_is_the_last_thing_on_both_ends() {
    let mut pair = playing(5 * MS);
    pair.player.close(CloseCode::Shutdown, "the player ends");
    pair.player.close(CloseCode::Internal, "too late");
    pair.player.status(PlayerStatus::default());
    pair.sender.stop(StreamId(1));
    pair.run_for(60_000 * MS);
    let (code, reason) = (CloseCode::Shutdown, "the player ends".to_owned());
    assert_eq!(pair.player_said(), [PlayerEvent::Closed { code, reason: reason.clone() }]);
    assert_eq!(pair.sender_said(), [SenderEvent::Closed { code, reason }]);
    assert_eq!((pair.sender.next_timeout(), pair.player.next_timeout()), (None, None));
    assert_eq!(pair.errors, []);
    assert!(pair.sender.start(opus(2)).is_err());
}

#[test]
fn a_peer_that_is_closed_before_anything_left_gets_the_bye_alone() {
    let mut pair = Pair::new(MS);
    let mut hello = Vec::new();
    pair.sender.poll_transmit(pair.sender_now(), &mut hello);
    pair.player.close(CloseCode::NotPaired, "unknown");
    assert_eq!(pair.player.receive(pair.player_now(), &hello), Ok(()));
    assert_eq!(pair.player.sender(), None, "a hello after the end is not read");
    let mut bytes = Vec::new();
    assert!(pair.player.poll_transmit(pair.player_now(), &mut bytes));
    let mut only_the_bye = Vec::new();
    Bye { code: CloseCode::NotPaired, reason: "unknown".to_owned() }.encode(&mut only_the_bye);
    assert_eq!(bytes, only_the_bye);
    assert!(!pair.player.poll_transmit(pair.player_now(), &mut bytes));

    // The peer understands it without a hello before it.
    assert_eq!(pair.sender.receive(pair.sender_now(), &bytes), Ok(()));
    let closed = SenderEvent::Closed { code: CloseCode::NotPaired, reason: "unknown".to_owned() };
    assert_eq!(pair.sender.poll_event(), Some(closed));
}

#[test]
fn a_cut_link_is_noticed_by_both_ends_after_the_idle_limit() {
    let mut pair = playing(MS);
    pair.run_until(10_000 * MS);
    pair.cut = true;
    let last = pair.exchanges().last().unwrap().0;
    pair.run_until(30_000 * MS);
    // Nothing was under way when the link went: the sender heard its last request one delay before the reply came.
    assert_eq!(pair.errors, [(last - MS + 8_000 * MS, SessionError::Idle), (last + 8_000 * MS, SessionError::Idle)]);
    assert!(matches!(pair.sender_events.last(), Some((_, SenderEvent::Closed { code: CloseCode::Idle, .. }))));
    assert!(matches!(pair.player_events.last(), Some((_, PlayerEvent::Closed { code: CloseCode::Idle, .. }))));
}

#[test]
fn a_hello_that_does_not_come_is_waited_for_five_seconds() {
    let mut pair = Pair::new(MS);
    pair.cut = true;
    pair.run_until(4_999 * MS);
    assert_eq!(pair.errors, []);
    pair.run_until(5_000 * MS);
    assert_eq!(pair.errors, [(5_000 * MS, SessionError::HelloTimeout), (5_000 * MS, SessionError::HelloTimeout)]);
}

#[test]
fn a_peer_that_does_not_read_costs_a_bounded_queue() {
    let mut pair = playing(MS);
    let mut hoarded = 0;
    for _ in 0..10_000 {
        pair.sender.stop(StreamId(1));
        let _ = pair.sender.start(opus(1));
        hoarded = hoarded.max(pair.sender.buffered());
    }
    assert!(pair.sender.is_closed());
    assert!(hoarded <= 64 * 1024, "{hoarded} bytes");
    pair.settle();
    assert!(matches!(pair.sender_events.last(), Some((_, SenderEvent::Closed { code: CloseCode::Slow, .. }))));
    let (_, last) = pair.to_player.pop_back().unwrap();
    assert_eq!(last[4], 0x02, "only the bye is left");
}
