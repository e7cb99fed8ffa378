//! One stream as the network thread holds it: its pump, and its players while it plays.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use audera_clock::{SenderTime, Span};
use audera_wire::{MAX_LATENCY, PlayerStatus, StreamFormat, StreamId};

use crate::demand::{Demand, Told};
use crate::paced::LEAD;
use crate::pump::Pump;
use crate::types::{Latency, Member, MemberState, PlayerKey, StreamConfig, StreamKey, StreamStatus};

/// A player of a playing stream.
#[derive(Debug)]
pub(crate) struct Membership {
    pub(crate) room: String,
    pub(crate) state: MemberState,
    /// Preempted by another stream of this hub: it may have the player back when that one ends.
    pub(crate) by_own: bool,
    /// Preempted, and the player has gone since: it is not there, see [`crate::taken`].
    pub(crate) away: bool,
    pub(crate) format: Option<StreamFormat>,
    pub(crate) status: Option<PlayerStatus>,
    /// The most latency that it can hold.
    pub(crate) max_latency: Span,
    /// The stream's delay when it told its status last.
    pub(crate) given: Span,
    /// The player's count of dropped packets when it joined.
    pub(crate) dropped_before: u64,
    pub(crate) dropped: u64,
}

impl Membership {
    /// Whether packets are for it.
    pub(crate) fn listens(&self) -> bool {
        matches!(self.state, MemberState::Starting | MemberState::Playing)
    }
}

/// The time between a stream's begin and end; each has an id of its own on the wire.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) id: StreamId,
    pub(crate) members: BTreeMap<PlayerKey, Membership>,
}

/// One stream.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) key: StreamKey,
    pub(crate) config: RefCell<StreamConfig>,
    pub(crate) pump: RefCell<Pump>,
    /// What its players need of the latency.
    pub(crate) demand: RefCell<Demand>,
    pub(crate) run: RefCell<Option<Run>>,
    /// Why it must not play, if so.
    pub(crate) forbidden: RefCell<Option<String>>,
    /// Begun by its owner (streams without a gate) or by the signal.
    pub(crate) wanted: Cell<bool>,
    /// When it ends, if nothing comes from the application until then.
    pub(crate) lingers_until: Cell<Option<SenderTime>>,
}

impl Stream {
    pub(crate) fn new(key: StreamKey, config: StreamConfig, pump: Pump) -> Stream {
        let demand = RefCell::new(Demand::new(pump.target()));
        Stream {
            key,
            demand,
            config: RefCell::new(config),
            pump: RefCell::new(pump),
            run: RefCell::default(),
            forbidden: RefCell::default(),
            wanted: Cell::new(false),
            lingers_until: Cell::new(None),
        }
    }

    /// When it is next to be looked at, if nobody rings.
    pub(crate) fn next_due(&self) -> Option<SenderTime> {
        let lingers_until = self.lingers_until.get();
        self.pump.borrow().next_due().into_iter().chain(lingers_until).min()
    }

    /// Whether any player takes what is sent.
    pub(crate) fn is_heard(&self) -> bool {
        self.run.borrow().as_ref().is_some_and(|run| run.members.values().any(Membership::listens))
    }

    /// Has its owner know, who is to be told of every change of the members, whether the first frames after a start have to wait for a room's
    /// device: those that played may have been lost, or taken by another sender, while the application paused.
    pub(crate) fn heed_listeners(&self, now: SenderTime) {
        self.pump.borrow_mut().heed_listeners(self.is_heard(), now + LEAD);
    }

    /// Whether the present run is the one called `id` on the wire.
    pub(crate) fn runs(&self, id: StreamId) -> bool {
        self.run.borrow().as_ref().is_some_and(|run| run.id == id)
    }

    /// Changes the membership of a player in the present run, if it is the one called `id`.
    pub(crate) fn member(&self, id: StreamId, key: &PlayerKey, change: impl FnOnce(&mut Membership)) {
        let mut run = self.run.borrow_mut();
        if let Some(member) = run.as_mut().filter(|run| run.id == id).and_then(|run| run.members.get_mut(key)) {
            change(member);
        }
    }

    /// A player's room is called so now.
    pub(crate) fn called(&self, key: &PlayerKey, room: &str) {
        if let Some(member) = self.run.borrow_mut().as_mut().and_then(|run| run.members.get_mut(key)) {
            room.clone_into(&mut member.room);
        }
    }

    /// Why a player cannot play at the latency that the stream has, or is coming to; `None` if it can.
    pub(crate) fn too_late_for(&self, max_latency: Span) -> Option<String> {
        let pump = self.pump.borrow();
        let latency = pump.target().max(pump.delay());
        let ms = |span: Span| span.as_nanos() / 1_000_000;
        (latency > max_latency).then(|| {
            let (latency, most) = (ms(latency), ms(max_latency));
            format!("the stream has a latency of {latency} ms, more than the {most} ms that this player can hold")
        })
    }

    /// Takes what a player of the present run tells of itself. Lets the latency follow what it needs, if it is to; tells the players that
    /// cannot follow it there, which are members no longer and to be told so.
    pub(crate) fn told(&self, now: SenderTime, id: StreamId, key: &PlayerKey, status: PlayerStatus) -> Vec<PlayerKey> {
        let raised = self.heed(now, id, key, status);
        if raised { self.leave_out_late() } else { Vec::new() }
    }

    /// Has the latency be another one from now on: a fixed one, or what its players need. Rooms glide there. Tells the players that cannot
    /// follow, which are members no longer and to be told so.
    pub(crate) fn set_latency(&self, latency: Latency) -> Vec<PlayerKey> {
        let mut config = self.config.borrow_mut();
        config.latency = latency;
        let base = latency.initial() + config.gate.map_or(Span::ZERO, |gate| gate.preroll);
        drop(config);
        // What was needed of late is known, and not to be learned once more by doing without.
        let needed = self.demand.borrow_mut().restart(base);
        let target = if latency == Latency::Auto { needed } else { base };
        self.pump.borrow_mut().steer(target);
        self.leave_out_late()
    }

    /// Makes those members no longer that cannot hold the latency that the stream has now, or is coming to.
    fn leave_out_late(&self) -> Vec<PlayerKey> {
        let mut run = self.run.borrow_mut();
        let mut left = Vec::new();
        let members = run.iter_mut().flat_map(|run| &mut run.members);
        for (key, member) in members.filter(|(_, member)| member.listens()) {
            if let Some(reason) = self.too_late_for(member.max_latency) {
                tracing::warn!(room = member.room, "is left out: {reason}");
                member.state = MemberState::Refused(reason);
                left.push(key.clone());
            }
        }
        left
    }

    /// Lets the latency follow what a player tells. Tells whether it has another aim now.
    fn heed(&self, now: SenderTime, id: StreamId, key: &PlayerKey, status: PlayerStatus) -> bool {
        let mut run = self.run.borrow_mut();
        let Some(run) = run.as_mut().filter(|run| run.id == id) else { return false };
        let Some(member) = run.members.get_mut(key) else { return false };
        let mut pump = self.pump.borrow_mut();
        let spare = status.spare_ms.map(|ms| Span::from_secs_f64(ms * 1e-3));
        member.status = Some(status);
        // Its worst moment may have been before the delay came to what it is, or after: the smaller need is what is certain.
        let given = std::mem::replace(&mut member.given, pump.delay()).min(pump.delay());
        let Some(spare) = spare else { return false };
        let mut demand = self.demand.borrow_mut();
        let told = Told { given, spare, excused: pump.excused(now), most: member.max_latency };
        let wanted = demand.tell(now, key, told);
        let room = member.room.clone();
        let most = run.members.values().filter(|member| member.listens()).map(|member| member.max_latency).min();
        pump.set_bearable(demand.recent().map(|least| (least, most.unwrap_or(MAX_LATENCY))));
        let Some((target, slope)) = wanted.filter(|_| self.config.borrow().latency == Latency::Auto) else {
            return false;
        };
        let other = target != pump.target();
        if other {
            tracing::info!(room, %spare, "the latency glides from {} to {target}", pump.target());
        }
        pump.glide(target, slope);
        other
    }

    pub(crate) fn status(&self) -> StreamStatus {
        let run = self.run.borrow();
        let there = run.iter().flat_map(|run| &run.members).filter(|(_, member)| !member.away);
        let members = there.map(|(key, member)| Member {
            key: key.clone(),
            room: member.room.clone(),
            state: member.state.clone(),
            format: member.format,
            status: member.status.clone(),
            dropped_packets: member.dropped.saturating_sub(member.dropped_before),
        });
        StreamStatus {
            key: self.key,
            active: run.is_some(),
            latency: self.pump.borrow().delay(),
            latency_target: self.pump.borrow().target(),
            members: members.collect(),
            discarded_frames: self.pump.borrow().discarded(),
        }
    }
}

#[cfg(test)]
mod tests {
    use audera_wire::Coding;

    use super::*;
    use crate::pump::Turn;
    use crate::tap::{Tap, tap};
    use crate::types::{Encoding, Target};

    const RATE: u32 = 48_000;
    const ID: StreamId = StreamId(7);
    const MS: fn(i64) -> Span = Span::from_millis;

    /// A stream under simulated time, whose players tell once a second, or at once when they lack.
    struct House {
        stream: Stream,
        tap: Tap,
        now: SenderTime,
        /// Until then this process stands still.
        stalled: SenderTime,
        /// When a player has told last, what it had to spare at least since, and what a packet takes to it.
        rooms: Vec<(PlayerKey, SenderTime, Option<Span>, Span)>,
        left: Vec<PlayerKey>,
    }

    /// A cycle of the graph.
    const CYCLE: usize = 480;

    impl House {
        /// Rooms that need so much of the latency and can hold so much.
        fn new(rooms: &[(i64, i64)]) -> House {
            let (tap, outflow) = tap(1, RATE as usize, RATE).unwrap();
            let config = StreamConfig {
                title: String::new(),
                rate: RATE,
                channels: 1,
                latency: Latency::Auto,
                encoding: Encoding::default(),
                target: Target::Everywhere,
                gate: None,
            };
            let mut pump = Pump::new(crate::pump::Inflow::Tap(outflow), RATE, config.latency.initial(), None);
            pump.begin(SenderTime::from_nanos(0));
            let format = StreamFormat { coding: Coding::PcmS16le, rate: RATE, channels: 1, frames: 960 };
            pump.add_format(format, 160_000).unwrap();
            let stream = Stream::new(StreamKey(1), config, pump);
            let now = SenderTime::from_nanos(1_000_000_000);
            let mut members = BTreeMap::new();
            let mut told = Vec::new();
            for (number, (need, most)) in rooms.iter().enumerate() {
                let key = PlayerKey::Discovered(format!("room {number}"));
                let member = Membership {
                    room: key.to_string(),
                    state: MemberState::Playing,
                    by_own: false,
                    away: false,
                    format: Some(format),
                    status: None,
                    max_latency: MS(*most),
                    given: stream.pump.borrow().delay(),
                    dropped_before: 0,
                    dropped: 0,
                };
                members.insert(key.clone(), member);
                told.push((key, now, None, MS(*need)));
            }
            stream.run.replace(Some(Run { id: ID, members }));
            House { stream, tap, now, stalled: now, rooms: told, left: Vec::new() }
        }

        fn play(&mut self, seconds: f64) {
            let until = self.now + Span::from_secs_f64(seconds);
            while self.now < until {
                self.tap.push(self.now, &[0.1; CYCLE]);
                if self.now >= self.stalled {
                    self.send();
                    self.listen();
                }
                self.now += Span::from_frames(CYCLE as i64, RATE);
            }
        }

        /// Sends what has waited. What a packet needs is what it takes to the room and what it was late by.
        fn send(&mut self) {
            let mut pump = self.stream.pump.borrow_mut();
            while pump.pull(self.now) == Some(Turn::Play) {
                pump.encode(ID, |_, packet| {
                    // A packet is two cycles, and sent right away when the second is there.
                    let left = packet.useless_after - MS(20) - self.now;
                    for (_, _, least, need) in &mut self.rooms {
                        let spare = left + MS(10) - *need;
                        *least = Some(least.map_or(spare, |before| before.min(spare)));
                    }
                });
            }
        }

        fn listen(&mut self) {
            for (key, told, least, _) in &mut self.rooms {
                let Some(spare) = *least else { continue };
                let since = self.now - *told;
                if since < MS(1_000) && !(spare.is_negative() && since >= MS(100)) {
                    continue;
                }
                (*told, *least) = (self.now, None);
                let status = PlayerStatus { spare_ms: Some(spare.as_secs_f64() * 1e3), ..PlayerStatus::default() };
                self.left.extend(self.stream.told(self.now, ID, key, status));
            }
        }

        fn target(&self) -> Span {
            self.stream.pump.borrow().target()
        }

        fn state(&self, room: usize) -> MemberState {
            let run = self.stream.run.borrow();
            run.as_ref().unwrap().members[&self.rooms[room].0].state.clone()
        }
    }

    #[test]
    fn what_this_process_was_late_by_is_not_the_fault_of_the_network() {
        for rooms in [&[(50, 2_000)][..], &[(50, 2_000), (60, 2_000), (55, 2_000)]] {
            let mut house = House::new(rooms);
            house.play(20.0);
            for stall in [150, 400] {
                house.stalled = house.now + MS(stall);
                house.play(60.0);
                assert_eq!(house.target(), MS(80), "a stall of {stall} ms");
            }
            // The network takes longer from now on: that is told of as ever, be there a stall or not.
            house.rooms[0].3 = MS(150);
            house.stalled = house.now + MS(100);
            house.play(10.0);
            assert!((house.target() - MS(158)).abs() < MS(2), "{}", house.target());
        }
    }

    #[test]
    fn a_machine_that_stalls_again_and_again_is_given_the_latency_that_takes() {
        let mut house = House::new(&[(50, 2_000), (60, 2_000)]);
        for _ in 0..6 {
            house.stalled = house.now + MS(100);
            house.play(5.0);
        }
        assert!(house.target() > MS(140), "{}", house.target());
    }

    #[test]
    fn a_player_that_cannot_hold_what_others_need_is_left_out_and_told_why() {
        let mut house = House::new(&[(50, 2_000), (50, 100)]);
        house.play(10.0);
        assert_eq!((house.left.len(), house.stream.too_late_for(MS(100))), (0, None));
        house.rooms[0].3 = MS(200);
        house.play(20.0);
        assert!((house.target() - MS(208)).abs() < MS(2), "nobody waits for it: {}", house.target());
        assert_eq!(house.left, [house.rooms[1].0.clone()]);
        let MemberState::Refused(reason) = house.state(1) else { panic!("{:?}", house.state(1)) };
        assert!(reason.contains("208") && reason.contains("the 100 ms"), "{reason}");
        assert_eq!(house.stream.too_late_for(MS(100)), Some(reason));
        assert_eq!(house.state(0), MemberState::Playing);
    }

    #[test]
    fn a_player_that_cannot_hold_what_it_needs_itself_changes_nothing_for_the_others() {
        let mut house = House::new(&[(50, 2_000), (150, 100)]);
        house.play(60.0);
        assert_eq!((house.target(), house.left.len()), (MS(80), 0));
        // Up to what it holds it is waited for.
        let mut house = House::new(&[(50, 2_000), (97, 100)]);
        house.play(60.0);
        assert_eq!((house.target(), house.left.len()), (MS(100), 0));
    }

    #[test]
    fn a_need_in_a_long_descent_does_not_hasten_it() {
        let mut house = House::new(&[(50, 2_000), (500, 2_000)]);
        house.play(40.0);
        assert!((house.target() - MS(508)).abs() < MS(2));
        house.rooms[1].3 = MS(50);
        house.play(220.0);
        let before = house.stream.pump.borrow().delay();
        assert!(house.target() == MS(80) && before > MS(400), "{before}");
        // More than the descent is aimed at, and far less than there still is.
        house.rooms[0].3 = MS(120);
        house.play(10.0);
        let fell = before - house.stream.pump.borrow().delay();
        assert!((house.target() - MS(128)).abs() < MS(2), "{}", house.target());
        assert!((fell - MS(5)).abs() < MS(1), "{fell} in 10 s");
    }

    #[test]
    fn a_latency_that_is_asked_for_is_glided_to_and_the_needs_are_remembered_meanwhile() {
        let mut house = House::new(&[(50, 2_000), (150, 400)]);
        house.play(30.0);
        assert!((house.target() - MS(158)).abs() < MS(2), "{}", house.target());
        let delay = |house: &House| house.stream.pump.borrow().delay();
        assert_eq!(house.stream.set_latency(Latency::Fixed(MS(100))), []);
        let before = delay(&house);
        house.play(1.0);
        // 0.5 %, and no step.
        assert!((before - delay(&house) - MS(5)).abs() < MS(1), "{}", delay(&house));
        house.play(20.0);
        assert_eq!((delay(&house), house.target()), (MS(100), MS(100)), "whatever a room needs");
        assert_eq!(house.stream.set_latency(Latency::Auto), []);
        assert!((house.target() - MS(158)).abs() < MS(2), "{}", house.target());
        let left = house.stream.set_latency(Latency::Fixed(MS(500)));
        assert_eq!(left, [house.rooms[1].0.clone()], "it cannot hold that");
        assert!(matches!(house.state(1), MemberState::Refused(_)) && house.state(0) == MemberState::Playing);
    }
}
