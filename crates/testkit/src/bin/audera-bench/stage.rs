//! The hosts of a scenario with their clocks, cables and cards: all that is the same whatever plays.

use std::time::Duration;

use audera_testkit::{
    Network, Session, cable,
    card::{Card as Model, Played, RunningAlsaCard, RunningCard, Wander},
    home::Product,
};

use crate::{
    failure::Failure,
    scenario::{Card, Kind, Net, Scenario},
};

/// The card beside the application.
pub(crate) const DESK: &str = "Desk";
/// Its cycle, in frames: by so many its sound is later than the application's cycle.
pub(crate) const DESK_QUANTUM: u32 = 512;
/// Cables and wandering crystals have neighbours of this, each its own.
const SEED: u64 = 20_260_601;

/// All that runs. Dropping it ends all of it.
#[derive(Debug)]
pub(crate) struct Stage {
    // Dropped in this order: what uses a session before the session.
    desk: RunningCard,
    rooms: Vec<RoomCard>,
    pub sessions: Vec<Session>,
    pub product: Product,
}

/// The card of a room.
#[derive(Debug)]
enum RoomCard {
    PipeWire(RunningCard),
    Alsa(RunningAlsaCard),
}

impl Stage {
    pub fn build(scenario: &Scenario) -> Result<Self, Failure> {
        let product = Product::find()?;
        let network = Network::new()?;
        let mut sessions = Vec::new();
        for (n, plan) in scenario.hosts.iter().enumerate() {
            let mut builder = product.session(&format!("host-{}", n + 1)).on(&network);
            if scenario.hosts.len() > 1 {
                // Hosts have not been switched on at the same time.
                builder = builder.clock(plan.clock_ppm, Duration::from_secs(1_000 * (n as u64 + 1)));
            }
            let profile = match plan.net {
                Net::Wired => None,
                Net::Jitter => Some(cable::Scenario::JITTER),
                Net::WiFi => Some(cable::Scenario::WIFI),
            };
            if let Some(profile) = profile {
                builder = builder.cable(profile.cable(SEED + n as u64));
            }
            sessions.push(builder.start()?);
        }
        let mut rooms = Vec::new();
        for (n, plan) in scenario.rooms.iter().enumerate() {
            let model = Model::new(plan.name);
            let model = match plan.card {
                Card::Constant(ppm) => model.ppm(ppm),
                Card::Wandering { ppm, swing_ppm, period_s } => {
                    model.ppm(ppm).wander(Wander { ppm: swing_ppm, seconds: period_s, seed: SEED + n as u64 })
                }
            };
            let session = &sessions[plan.host];
            rooms.push(match plan.kind {
                Kind::PipeWire => RoomCard::PipeWire(session.card(&model)?),
                Kind::Alsa => RoomCard::Alsa(session.alsa_card(&model)?),
            });
        }
        let desk = sessions[0].card(&Model::new(DESK).quantum(DESK_QUANTUM).priority(2_000))?;
        Ok(Self { desk, rooms, sessions, product })
    }

    /// The host with the application and the sender.
    pub fn sender(&self) -> &Session {
        &self.sessions[0]
    }

    /// The PCM by which a room's program plays straight to its card; `None` if it plays to a sink that is called as the
    /// room.
    pub fn pcm(&self, room: usize) -> Option<&str> {
        match &self.rooms[room] {
            RoomCard::PipeWire(_) => None,
            RoomCard::Alsa(card) => Some(card.pcm()),
        }
    }

    /// Has a room's card stand still for a moment; one of ALSA, which has no program of its own, does not.
    pub fn xrun(&self, room: usize) {
        if let RoomCard::PipeWire(card) = &self.rooms[room] {
            card.xrun();
        }
    }

    /// Ends the cards and gives what they have played: the one beside the application, and the rooms.
    pub fn finish(self) -> Result<(Played, Vec<Played>), Failure> {
        let finish = |card| match card {
            RoomCard::PipeWire(card) => card.finish(),
            RoomCard::Alsa(card) => card.finish(),
        };
        let rooms: Result<Vec<Played>, _> = self.rooms.into_iter().map(finish).collect();
        Ok((self.desk.finish()?, rooms?))
    }
}
