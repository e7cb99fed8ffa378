//! The hosts of a scenario with their clocks, cables and cards: all that is the same whatever plays.

use std::time::Duration;

use audera_testkit::{
    Network, Session, cable,
    card::{Card as Model, Played, RunningAlsaCard, RunningCard, Wander},
    home::Product,
};

use crate::{
    failure::Failure,
    scenario::{Card, Event, Kind, Net, Scenario},
};

/// The card beside the application.
pub(crate) const DESK: &str = "Desk";
/// A card that rooms may play to besides their own. Of those it drives.
const DECK: &str = "Deck";
/// By how much it is fast.
const DECK_PPM: f64 = -40.0;
/// The desk's cycle, in frames: by so many its sound is later than the application's cycle.
pub(crate) const DESK_QUANTUM: u32 = 512;
/// Cables and wandering crystals have neighbours of this, each its own.
const SEED: u64 = 20_260_601;

/// All that runs. Dropping it ends all of it.
#[derive(Debug)]
pub(crate) struct Stage {
    // Dropped in this order: what uses a session before the session.
    desk: RunningCard,
    rooms: Vec<RoomCard>,
    _deck: Option<RunningCard>,
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
        let deck = match scenario.event {
            Event::Driver => {
                let host = scenario.rooms.last().map_or(0, |room| room.host);
                Some(sessions[host].card(&Model::new(DECK).ppm(DECK_PPM).priority(3_000))?)
            }
            _ => None,
        };
        Ok(Self { desk, rooms, _deck: deck, sessions, product })
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

    /// Has whatever plays to a room's card play to the deck as well, or no longer.
    pub fn give_driver(&self, scenario: &Scenario, room: usize, deck: bool) -> Result<(), Failure> {
        let plan = &scenario.rooms[room];
        let session = &self.sessions[plan.host];
        let links = session.run("pw-link", &["-l", "-i"])?;
        for side in ["FL", "FR"] {
            let to_deck = format!("{DECK}:playback_{side}");
            for from in linked_to(&links, &format!("{}:playback_{side}", plan.name)) {
                if deck {
                    session.link(from, &to_deck)?;
                } else {
                    session.run("pw-link", &["-d", from, &to_deck])?;
                }
            }
        }
        Ok(())
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

/// The ports that a port is linked from, by what `pw-link -l -i` prints.
fn linked_to<'a>(links: &'a str, port: &str) -> Vec<&'a str> {
    let mut lines = links.lines().skip_while(|line| line.trim() != port);
    // The port itself, then its links.
    lines.next();
    lines.map_while(|line| line.trim().strip_prefix("|<- ")).map(str::trim).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_read() {
        let printed = "Bath:playback_FL\n  |<- player:output_FL\n  |<- bell:output_MONO\nBath:playback_FR\n  |<- player:output_FR\nDesk:playback_FL\n";
        assert_eq!(linked_to(printed, "Bath:playback_FL"), ["player:output_FL", "bell:output_MONO"]);
        assert_eq!(linked_to(printed, "Bath:playback_FR"), ["player:output_FR"]);
        assert!(linked_to(printed, "Desk:playback_FL").is_empty());
        assert!(linked_to(printed, "Deck:playback_FL").is_empty());
    }
}
