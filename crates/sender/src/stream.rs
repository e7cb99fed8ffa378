//! One stream as the network thread holds it: its pump, and its players while it plays.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use audera_clock::{SenderTime, Span};
use audera_wire::{MAX_LATENCY, PlayerStatus, StreamFormat, StreamId};

use crate::demand::Demand;
use crate::pump::Pump;
use crate::types::{Latency, Member, MemberState, PlayerKey, StreamConfig, StreamKey, StreamStatus};

/// A player of a playing stream.
#[derive(Debug)]
pub(crate) struct Membership {
    pub(crate) room: String,
    pub(crate) state: MemberState,
    /// Preempted by another stream of this hub: it may have the player back when that one ends.
    pub(crate) by_own: bool,
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

    /// Takes what a player of the present run tells of itself. Lets the latency follow what it needs, if it is to.
    pub(crate) fn told(&self, now: SenderTime, id: StreamId, key: &PlayerKey, status: PlayerStatus) {
        let mut run = self.run.borrow_mut();
        let Some(run) = run.as_mut().filter(|run| run.id == id) else { return };
        let most = run.members.values().filter(|member| member.listens()).map(|member| member.max_latency).min();
        let Some(member) = run.members.get_mut(key) else { return };
        let mut pump = self.pump.borrow_mut();
        let spare = status.spare_ms.map(|ms| Span::from_secs_f64(ms * 1e-3));
        member.status = Some(status);
        // Its worst moment may have been before the delay came to what it is, or after: the smaller need is what is certain.
        let given = std::mem::replace(&mut member.given, pump.delay()).min(pump.delay());
        let Some(spare) = spare else { return };
        let mut demand = self.demand.borrow_mut();
        let most = most.unwrap_or(MAX_LATENCY);
        let wanted = demand.tell(now, key, given, spare, most);
        pump.set_bearable(demand.recent().map(|least| (least, most)));
        if let Some((target, slope)) = wanted.filter(|_| self.config.borrow().latency == Latency::Auto) {
            if target != pump.target() {
                tracing::info!(room = member.room, %spare, "the latency glides from {} to {target}", pump.target());
            }
            pump.glide(target, slope);
        }
    }

    pub(crate) fn status(&self) -> StreamStatus {
        let run = self.run.borrow();
        let members = run.iter().flat_map(|run| &run.members).map(|(key, member)| Member {
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
