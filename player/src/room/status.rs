//! How the room fares: what is told of it, to whom and when.

use std::rc::Rc;
use std::time::Duration;

use audera_clock::Span;
use audera_playout::State;
use audera_wire::{PlayerState, PlayerStatus};
use tokio::time::Instant;

use super::Room;
use crate::connection::Connection;
use crate::monotonic;

/// Between two statuses while nothing changes.
const STATUS_PERIOD: Duration = Duration::from_secs(1);

impl Room {
    /// A peer wants to be told how the room fares, whoever plays; or no longer.
    pub fn watch(&self, connection: &Rc<Connection>, on: bool) {
        self.watchers.borrow_mut().retain(|watcher| !Rc::ptr_eq(watcher, connection));
        if on {
            self.watchers.borrow_mut().push(connection.clone());
            let mut status = self.status_for(connection);
            if self.now.borrow().as_ref().is_some_and(|now| Rc::ptr_eq(&now.connection, connection)) {
                // It has been told, and would take it for what the latency lacks by now.
                status.spare_ms = None;
            }
            connection.speak(|session| session.status(status));
        }
    }

    /// How the room fares.
    pub fn status(&self) -> PlayerStatus {
        let device = self.speaker.state().borrow().clone();
        let mut status = PlayerStatus {
            room: self.settings.state().name.clone(),
            output: device.name,
            xruns: device.xruns,
            ..PlayerStatus::default()
        };
        let now = self.now.borrow();
        let Some(now) = now.as_ref() else { return status };
        let stats = now.feeder.stats();
        status.state = match stats.state {
            State::Playing => PlayerState::Playing,
            State::Draining => PlayerState::Draining,
            State::Waiting | State::Drained => PlayerState::Waiting,
        };
        let micros = |span: Span| span.as_nanos() as f64 / 1e3;
        status.stream = Some(now.start.id);
        status.codec = Some(now.start.format.coding);
        let sounds = matches!(stats.state, State::Playing | State::Draining);
        status.sync_error_us = sounds.then(|| micros(stats.sync_error));
        status.sync_p99_us = stats.sync_p99.map(micros);
        status.ratio_ppm = Some(stats.ratio_ppm);
        if stats.card_deviation_ppm > 0.0 {
            status.card_ppm = Some(stats.card_ppm);
            status.card_deviation_ppm = Some(stats.card_deviation_ppm);
        }
        status.output_delay_ms = Some(self.settings.state().output_delay_ms);
        status.buffered_ms = (stats.buffered.as_nanos() / 1_000_000).max(0) as u32;
        status.played_frames = stats.played_frames;
        status.late_frames = stats.late_frames;
        status.lost_frames = stats.lost_frames;
        status.late_packets = stats.late_packets;
        status.lost_packets = now.lost_packets;
        status.underruns = stats.underruns;
        status.spare_ms = now.spare.map(|spare| spare.as_secs_f64() * 1e3);
        status.resyncs = stats.resyncs;
        status.time_path = Some(now.connection.session.borrow().time_path());
        if let Some(estimate) = now.connection.clock.borrow().estimate() {
            let here = monotonic::now();
            let there = estimate.map.to_sender(here);
            status.clock_offset_us = Some((there.as_nanos() - here.as_nanos()) as f64 / 1e3);
            status.clock_bound_us = Some(micros(estimate.bound));
            status.round_trip_us = Some(micros(estimate.round_trip));
            status.skew_ppm = Some(estimate.skew_ppm);
        }
        status
    }

    /// The status with what is news to all but the sender that plays: who it is, and what its stream is called. What the stream's number
    /// among the two is concerns nobody else.
    pub fn status_for_all(&self) -> PlayerStatus {
        let mut status = self.status();
        if let Some(now) = self.now.borrow().as_ref() {
            status.stream = None;
            status.sender = Some(now.connection.name.borrow().clone());
            status.title = Some(now.start.title.clone());
        }
        status
    }

    /// The status as a peer is told it.
    fn status_for(&self, connection: &Rc<Connection>) -> PlayerStatus {
        match self.now.borrow().as_ref() {
            Some(now) if Rc::ptr_eq(&now.connection, connection) => self.status(),
            _ => self.status_for_all(),
        }
    }

    /// Tells the sender, and who watches, how the room fares: once a second, and when its state or its stream has changed.
    pub(super) async fn report(self: Rc<Self>) {
        let mut second = tokio::time::interval(STATUS_PERIOD);
        loop {
            tokio::select! {
                _ = second.tick() => {
                    if let Some(now) = &mut *self.now.borrow_mut() {
                        now.feeder.close_second();
                    }
                }
                () = self.changed.notified() => {}
            }
            self.tell();
        }
    }

    /// Has it told when the stream or its state is another than was told last. Nobody wakes for that: it is looked at when something
    /// else has to be done, and something is with every packet.
    pub(super) fn look(&self) {
        let present = self.now.borrow().as_ref().map(|now| (now.attempt, now.feeder.state()));
        if present != self.told.get() {
            self.changed.notify_one();
        }
    }

    /// Tells everybody who is to know how the room fares.
    pub(super) fn tell(&self) {
        self.news.notify_one();
        self.told.set(self.now.borrow().as_ref().map(|now| (now.attempt, now.feeder.state())));
        let sender = self.now.borrow_mut().as_mut().map(|now| {
            now.told = Instant::now();
            now.spare = now.feeder.take_spare();
            now.connection.clone()
        });
        let mut peers = self.watchers.borrow().clone();
        let watches = |sender: &Rc<Connection>| peers.iter().any(|watcher| Rc::ptr_eq(watcher, sender));
        let sender = sender.filter(|sender| !watches(sender));
        peers.extend(sender);
        for peer in peers {
            let status = self.status_for(&peer);
            peer.speak(|session| session.status(status));
        }
    }
}
