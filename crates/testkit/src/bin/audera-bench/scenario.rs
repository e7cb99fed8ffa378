//! The table of what is tried: hosts, cards, networks and what happens meanwhile, as data.

/// One line of the table. The sender and the application are on the first host.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scenario {
    /// For the command line and for files.
    pub name: &'static str,
    /// For readers.
    pub title: &'static str,
    pub hosts: &'static [HostPlan],
    pub rooms: &'static [RoomPlan],
    /// From the application to the loudspeaker, as Audera is told, in ms. Snapcast keeps its default, 1000.
    pub latency_ms: u32,
    /// What Audera sends: `auto`, which is Opus here, or `pcm`. Snapcast sends FLAC always.
    pub codec: &'static str,
    pub event: Event,
    pub target: Target,
}

/// A host: its clock, and the cable that joins it to the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct HostPlan {
    /// By how much its monotonic clock is fast.
    pub clock_ppm: f64,
    pub net: Net,
}

/// What lies between a host and the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Net {
    /// 0.1 ms and nothing else.
    Wired,
    /// 0 to 5 ms to the others, 0 to 20 ms from them.
    Jitter,
    /// 30 to 100 ms of nothing every two seconds or so, 1% loss.
    WiFi,
}

/// A room: which host it is on, and its card.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RoomPlan {
    pub name: &'static str,
    pub host: usize,
    pub card: Card,
    pub kind: Kind,
}

/// By which way the room's program plays to its card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Through the host's sound server.
    PipeWire,
    /// Straight to ALSA.
    Alsa,
}

/// The speed of a card.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Card {
    /// By this many ppm fast, always.
    Constant(f64),
    /// About this many ppm fast, wandering by up to so many more either way, there and back in so many seconds.
    Wandering { ppm: f64, swing_ppm: f64, period_s: f64 },
}

/// What happens in the middle of the run; to the last room, where it is about one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Nothing.
    None,
    /// The room is started only then.
    Joins,
    /// The room's program is killed and started anew.
    Restarts,
    /// The room's host is cut off for 5 s.
    Cut,
    /// The room's card stands still for 20 ms.
    Xrun,
    /// Every graph is given a quantum of 2048 frames, and later its own choice again.
    Quantum,
    /// The room plays to a second card as well, which drives the graph from then on while the room's own follows it; and later to its
    /// own only again.
    Driver,
}

/// What is to be reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Target {
    /// Sync between undisturbed rooms, p99 in us.
    pub p99_us: f64,
    /// Within 100 us for good, this many seconds after the stream starts.
    pub settled_s: Option<f64>,
    /// The disturbed room within 100 us for good, this many seconds after it can be.
    pub back_s: Option<f64>,
    /// Whether there may be no gap.
    pub no_gap: bool,
    /// What may be left of the difference between what was sent and what was played, in dB below 18 kHz.
    pub residual_db: Option<f64>,
}

impl Event {
    /// Whether it concerns the last room only, so that the others ought not to notice.
    pub fn hits_last_room(self) -> bool {
        matches!(self, Self::Joins | Self::Restarts | Self::Cut | Self::Xrun | Self::Driver)
    }
}

impl Scenario {
    /// The rooms that nothing happens to, by their places.
    pub fn undisturbed(&self) -> std::ops::Range<usize> {
        0..self.rooms.len() - usize::from(self.event.hits_last_room())
    }
}

const TRUE_CLOCK: HostPlan = HostPlan { clock_ppm: 0.0, net: Net::Wired };

const fn host(clock_ppm: f64, net: Net) -> HostPlan {
    HostPlan { clock_ppm, net }
}

const fn room(name: &'static str, host: usize, ppm: f64) -> RoomPlan {
    RoomPlan { name, host, card: Card::Constant(ppm), kind: Kind::PipeWire }
}

const fn wandering(name: &'static str, ppm: f64, swing_ppm: f64, period_s: f64) -> RoomPlan {
    RoomPlan { name, host: 0, card: Card::Wandering { ppm, swing_ppm, period_s }, kind: Kind::PipeWire }
}

const fn alsa(name: &'static str, host: usize, ppm: f64) -> RoomPlan {
    RoomPlan { name, host, card: Card::Constant(ppm), kind: Kind::Alsa }
}

const KITCHEN: &str = "Kitchen";
const LIVING_ROOM: &str = "Living Room";
const BATH: &str = "Bath";

const TWO_CARDS: &[RoomPlan] = &[room(KITCHEN, 0, 80.0), room(LIVING_ROOM, 0, -60.0)];
const THREE_CARDS: &[RoomPlan] = &[room(KITCHEN, 0, 80.0), room(LIVING_ROOM, 0, -60.0), room(BATH, 0, 30.0)];
const TWO_HOSTS: &[RoomPlan] = &[room(KITCHEN, 0, 100.0), room(LIVING_ROOM, 1, -100.0)];

/// The latency that a stream begins with if nobody asks for another, in ms.
pub(crate) const DEFAULT: u32 = 80;

const STRICT: Target = Target { p99_us: 25.0, settled_s: None, back_s: None, no_gap: false, residual_db: None };

/// All of them, in the order in which they are run.
pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "cards",
        title: "one host, cards +80/-60 ppm",
        hosts: &[TRUE_CLOCK],
        rooms: TWO_CARDS,
        latency_ms: DEFAULT,
        codec: "auto",
        event: Event::None,
        target: Target { settled_s: Some(2.0), ..STRICT },
    },
    Scenario {
        name: "waveform",
        title: "one host, cards +80/-60 ppm, PCM",
        hosts: &[TRUE_CLOCK],
        rooms: TWO_CARDS,
        latency_ms: DEFAULT,
        codec: "pcm",
        event: Event::None,
        target: Target { residual_db: Some(-90.0), ..STRICT },
    },
    Scenario {
        name: "hosts",
        title: "two hosts, clocks +50/-50 ppm, cards +100/-100 ppm",
        hosts: &[host(50.0, Net::Wired), host(-50.0, Net::Wired)],
        rooms: TWO_HOSTS,
        latency_ms: DEFAULT,
        codec: "auto",
        event: Event::None,
        target: STRICT,
    },
    Scenario {
        name: "wandering",
        title: "cards wandering by 5 ppm over 10 minutes",
        hosts: &[TRUE_CLOCK],
        rooms: &[wandering(KITCHEN, 20.0, 5.0, 600.0), wandering(LIVING_ROOM, -20.0, 5.0, 600.0)],
        latency_ms: DEFAULT,
        codec: "auto",
        event: Event::None,
        target: STRICT,
    },
    Scenario {
        name: "jitter",
        title: "jitter 0-5 ms up, 0-20 ms down, host clocks 50 ppm apart",
        hosts: &[host(0.0, Net::Wired), host(50.0, Net::Jitter)],
        rooms: &[room(KITCHEN, 0, 20.0), room(LIVING_ROOM, 1, -20.0)],
        latency_ms: DEFAULT,
        codec: "auto",
        event: Event::None,
        target: Target { p99_us: 250.0, ..STRICT },
    },
    Scenario {
        name: "wifi",
        title: "Wi-Fi-like bursts of 30-100 ms, 1% loss, latency 250 ms",
        hosts: &[host(0.0, Net::Wired), host(20.0, Net::WiFi)],
        rooms: &[room(KITCHEN, 0, 20.0), room(LIVING_ROOM, 1, -20.0)],
        latency_ms: 250,
        codec: "auto",
        event: Event::None,
        target: Target { p99_us: 250.0, no_gap: true, ..STRICT },
    },
    Scenario {
        name: "join",
        title: "a third room joins",
        hosts: &[TRUE_CLOCK],
        rooms: THREE_CARDS,
        latency_ms: DEFAULT,
        codec: "auto",
        event: Event::Joins,
        target: Target { back_s: Some(3.0), ..STRICT },
    },
    Scenario {
        name: "restart",
        title: "the third room's player is killed and restarted",
        hosts: &[TRUE_CLOCK],
        rooms: THREE_CARDS,
        latency_ms: DEFAULT,
        codec: "auto",
        event: Event::Restarts,
        target: Target { back_s: Some(3.0), ..STRICT },
    },
    Scenario {
        name: "cut",
        title: "the third room's network is cut for 5 s",
        hosts: &[TRUE_CLOCK, host(0.0, Net::Wired)],
        rooms: &[room(KITCHEN, 0, 80.0), room(LIVING_ROOM, 0, -60.0), room(BATH, 1, 30.0)],
        latency_ms: DEFAULT,
        codec: "auto",
        event: Event::Cut,
        target: Target { back_s: Some(3.0), ..STRICT },
    },
    Scenario {
        name: "xrun",
        title: "the third room's card has an xrun of 20 ms",
        hosts: &[TRUE_CLOCK],
        rooms: THREE_CARDS,
        latency_ms: DEFAULT,
        codec: "auto",
        event: Event::Xrun,
        target: Target { back_s: Some(1.0), ..STRICT },
    },
    Scenario {
        name: "quantum",
        title: "the graphs' quantum goes to 2048 and back",
        hosts: &[TRUE_CLOCK],
        rooms: TWO_CARDS,
        latency_ms: DEFAULT,
        codec: "auto",
        event: Event::Quantum,
        target: Target { back_s: Some(1.0), ..STRICT },
    },
    Scenario {
        name: "driver",
        title: "another card drives the third room's graph, and then its own again",
        hosts: &[TRUE_CLOCK],
        rooms: THREE_CARDS,
        latency_ms: DEFAULT,
        codec: "auto",
        event: Event::Driver,
        target: Target { back_s: Some(1.0), ..STRICT },
    },
    Scenario {
        name: "short",
        title: "latency 40 ms, two hosts, wired",
        hosts: &[TRUE_CLOCK, host(0.0, Net::Wired)],
        rooms: &[room(KITCHEN, 0, 20.0), room(LIVING_ROOM, 1, -20.0)],
        latency_ms: 40,
        codec: "auto",
        event: Event::None,
        target: Target { no_gap: true, ..STRICT },
    },
    Scenario {
        name: "alsa",
        title: "straight to ALSA cards of +80/-60 ppm",
        hosts: &[TRUE_CLOCK],
        rooms: &[alsa(KITCHEN, 0, 80.0), alsa(LIVING_ROOM, 0, -60.0)],
        latency_ms: DEFAULT,
        codec: "auto",
        event: Event::None,
        target: Target { settled_s: Some(2.0), ..STRICT },
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sound() {
        let mut names: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SCENARIOS.len(), "names are file names");
        for scenario in SCENARIOS {
            assert!(scenario.undisturbed().len() >= 2, "{}: sync is between two rooms", scenario.name);
            assert!(scenario.rooms.iter().all(|room| room.host < scenario.hosts.len()), "{}", scenario.name);
            assert_eq!(scenario.target.back_s.is_some(), scenario.event != Event::None, "{}", scenario.name);
            let apart = |room: &RoomPlan| room.host != 0;
            let last = scenario.rooms.last().unwrap();
            assert!(scenario.event != Event::Cut || apart(last), "{}: only another host can be cut off", scenario.name);
            let through_pipewire = last.kind == Kind::PipeWire;
            assert!(scenario.event != Event::Xrun || through_pipewire, "{}: no ALSA card stumbles", scenario.name);
        }
    }
}
