//! What a cable does to packets: when each comes out, or that it does not. Pure and seeded, so that one definition serves both
//! the cables between simulated hosts and simulated time. Times are nanoseconds from where the caller likes; the weather, as
//! stalls and outages, begins at nought.

use std::time::Duration;

use crate::sim::Random;

/// One direction of a cable, as it is meant to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// How long every packet takes.
    pub delay: Duration,
    /// The most that comes on top, evenly distributed from nought.
    pub jitter: Duration,
    /// When nothing comes out: what has gone in comes at once when it is over, as from a radio link.
    pub stalls: Option<Spells>,
    /// When all that goes in is lost.
    pub outages: Option<Spells>,
    /// Share of packets lost at random, 0 to 1.
    pub loss: f64,
    /// What passes in a time, if that is limited.
    pub rate: Option<Rate>,
    /// Whether packets may overtake each other, where jitter lets them.
    pub reorders: bool,
}

/// Times that come and go at random.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spells {
    /// From the end of one to the beginning of the next, in the mean of an exponential distribution.
    pub every: Duration,
    /// How long one lasts at least.
    pub shortest: Duration,
    /// How long one lasts at most; evenly distributed between the two.
    pub longest: Duration,
}

/// A limit on what passes in a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Bits per second, counting whole Ethernet frames.
    pub bits_per_second: u64,
    /// What would have to wait longer than this for those before it is lost.
    pub queue: Duration,
}

/// Both directions, and the seed of their chance. Two cables behave differently if they have different seeds.
#[derive(Clone, Debug, PartialEq)]
pub struct Cable {
    /// From the host into the network.
    pub up: Profile,
    /// From the network to the host.
    pub down: Profile,
    /// Equal seeds, equal chance.
    pub seed: u64,
}

/// A cable by name, for tables of what was tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// From the host into the network.
    pub up: Profile,
    /// From the network to the host.
    pub down: Profile,
}

impl Profile {
    /// A tenth of a millisecond, and nothing else: a wired network.
    pub const CLEAN: Self = Self {
        delay: Duration::from_micros(100),
        jitter: Duration::ZERO,
        stalls: None,
        outages: None,
        loss: 0.0,
        rate: None,
        reorders: false,
    };

    const fn delayed(delay_us: u64, jitter_us: u64) -> Self {
        Self { delay: Duration::from_micros(delay_us), jitter: Duration::from_micros(jitter_us), ..Self::CLEAN }
    }
}

const fn spells(every_ms: u64, shortest_ms: u64, longest_ms: u64) -> Option<Spells> {
    let ms = Duration::from_millis;
    Some(Spells { every: ms(every_ms), shortest: ms(shortest_ms), longest: ms(longest_ms) })
}

impl Scenario {
    /// A wired network.
    pub const CLEAN: Self = Self { name: "clean", up: Profile::CLEAN, down: Profile::CLEAN };

    /// Jitter of 0 to 5 ms from the host and 0 to 20 ms to it.
    pub const JITTER: Self =
        Self { name: "jitter", up: Profile::delayed(500, 5_000), down: Profile::delayed(500, 20_000) };

    /// A radio link: 30 to 100 ms of nothing every two seconds or so, both ways at once, and 1% loss.
    pub const WIFI: Self = Self { name: "wifi", up: Self::RADIO, down: Self::RADIO };

    const RADIO: Profile = Profile { stalls: spells(2_000, 30, 100), loss: 0.01, ..Profile::delayed(1_000, 2_000) };

    /// 1% random loss, and every five seconds or so all is lost for 20 to 60 ms.
    pub const LOSSY: Self = Self { name: "lossy", up: Self::LEAKY, down: Self::LEAKY };

    const LEAKY: Profile = Profile { outages: spells(5_000, 20, 60), loss: 0.01, ..Profile::delayed(300, 200) };

    /// 2 Mbit/s each way with 100 ms of queue: enough for a few rooms' Opus, not for PCM.
    pub const NARROW: Self = Self { name: "narrow", up: Self::THIN, down: Self::THIN };

    const THIN: Profile = Profile {
        rate: Some(Rate { bits_per_second: 2_000_000, queue: Duration::from_millis(100) }),
        ..Profile::delayed(300, 0)
    };

    /// 0 to 3 ms of jitter, and packets overtake each other.
    pub const REORDERING: Self = Self { name: "reordering", up: Self::SHUFFLING, down: Self::SHUFFLING };

    const SHUFFLING: Profile = Profile { reorders: true, ..Profile::delayed(300, 3_000) };

    /// All of them.
    pub const ALL: [Self; 6] = [Self::CLEAN, Self::JITTER, Self::WIFI, Self::LOSSY, Self::NARROW, Self::REORDERING];

    /// The cable of this name and seed.
    #[must_use]
    pub fn cable(&self, seed: u64) -> Cable {
        Cable { up: self.up.clone(), down: self.down.clone(), seed }
    }
}

impl Cable {
    /// The same profile both ways.
    #[must_use]
    pub fn symmetric(profile: &Profile, seed: u64) -> Self {
        Self { up: profile.clone(), down: profile.clone(), seed }
    }

    /// What it does to packets from the host.
    #[must_use]
    pub fn up_line(&self) -> Line {
        Line::new(&self.up, Random::new(self.seed).bits(), self.seed)
    }

    /// What it does to packets to the host. Stalls and outages are those of the other direction, if the profiles have the same: a
    /// radio link that is disturbed is so for both.
    #[must_use]
    pub fn down_line(&self) -> Line {
        Line::new(&self.down, Random::new(!self.seed).bits(), self.seed)
    }
}

/// One direction of a cable at work: tells of each packet when it comes out.
#[derive(Clone, Debug)]
pub struct Line {
    profile: Profile,
    jitter: Random,
    loss: Random,
    stalls: Weather,
    outages: Weather,
    /// Until when the packets before take up a limited rate.
    busy: i64,
    /// When the last one comes out.
    latest: i64,
}

impl Line {
    /// A line whose jitter and random loss come from one seed, its stalls and outages from another.
    #[must_use]
    pub fn new(profile: &Profile, chance: u64, weather: u64) -> Self {
        // A source of chance for each, so that changing one property leaves the others' as they were.
        let mut chances = Random::new(chance);
        let mut weathers = Random::new(weather);
        let jitter = Random::new(chances.bits());
        let loss = Random::new(chances.bits());
        let stalls = Weather::new(profile.stalls, weathers.bits());
        let outages = Weather::new(profile.outages, weathers.bits());
        Self { profile: profile.clone(), jitter, loss, stalls, outages, busy: i64::MIN, latest: i64::MIN }
    }

    /// Lets time pass to `now`: costs what the spells until then cost to draw, and nothing afterwards.
    pub fn skip_to(&mut self, now: i64) {
        self.outages.ends(now);
        self.stalls.ends(now);
    }

    /// When a packet of so many bytes, which goes in at `now`, comes out; `None` when it is lost. Time must not go back.
    pub fn carry(&mut self, now: i64, bytes: usize) -> Option<i64> {
        let profile = &self.profile;
        // Drawn in any case, so that a loss does not change what happens to others.
        let jitter = (self.jitter.unit() * nanos(profile.jitter) as f64) as i64;
        let lost = self.loss.happens(profile.loss);
        let out = self.outages.ends(now).is_some();
        if lost || out {
            return None;
        }
        let stalled = self.stalls.ends(now);
        let mut free = stalled.unwrap_or(now);
        if let Some(rate) = profile.rate {
            let begin = free.max(self.busy);
            if begin - free > nanos(rate.queue) {
                return None;
            }
            let bits = bytes as f64 * 8.0;
            free = begin.saturating_add((bits * 1e9 / rate.bits_per_second.max(1) as f64) as i64);
            self.busy = free;
        }
        // What was held up comes at once.
        let jitter = if stalled.is_some() { 0 } else { jitter };
        let mut comes = free.saturating_add(nanos(profile.delay)).saturating_add(jitter);
        if !profile.reorders {
            comes = comes.max(self.latest);
        }
        self.latest = self.latest.max(comes);
        Some(comes)
    }
}

/// Where in its spells a line is.
#[derive(Clone, Debug)]
struct Weather {
    spells: Option<Spells>,
    random: Random,
    begin: i64,
    end: i64,
}

impl Weather {
    fn new(spells: Option<Spells>, seed: u64) -> Self {
        let mut weather = Self { spells, random: Random::new(seed), begin: 0, end: 0 };
        weather.go_on();
        weather
    }

    /// Draws the next spell.
    fn go_on(&mut self) {
        let Some(spells) = self.spells else { return };
        let wait = -(1.0 - self.random.unit()).ln() * nanos(spells.every) as f64;
        let spread = nanos(spells.longest) - nanos(spells.shortest);
        let length = nanos(spells.shortest) + (self.random.unit() * spread as f64) as i64;
        self.begin = self.end.saturating_add(wait as i64).saturating_add(1);
        // At least a nanosecond, so that time goes on with spells of no length.
        self.end = self.begin.saturating_add(length.max(1));
    }

    /// When the spell that is on at `now` ends; `None` when none is.
    fn ends(&mut self, now: i64) -> Option<i64> {
        self.spells?;
        while self.end <= now {
            self.go_on();
        }
        (self.begin <= now).then_some(self.end)
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    fn line(profile: &Profile) -> Line {
        Cable::symmetric(profile, 7).up_line()
    }

    /// What comes of packets of 100 bytes, one each millisecond.
    fn each_ms(profile: &Profile, count: i64) -> Vec<(i64, Option<i64>)> {
        let mut line = line(profile);
        (0..count).map(|n| (n * MS, line.carry(n * MS, 100))).collect()
    }

    #[test]
    fn a_clean_line_takes_the_same_time_for_all() {
        assert!(each_ms(&Profile::CLEAN, 100).iter().all(|&(sent, comes)| comes == Some(sent + 100_000)));
    }

    #[test]
    fn jitter_is_spread_evenly_and_keeps_the_order() {
        let profile = Profile { reorders: true, ..Profile::delayed(500, 20_000) };
        let mut delays: Vec<i64> =
            each_ms(&profile, 10_000).iter().map(|&(sent, comes)| comes.unwrap() - sent).collect();
        delays.sort_unstable();
        assert!(delays[0] >= 500_000 && delays[9_999] <= 20_500_000);
        for (share, expected) in [(0.1, 2.5), (0.5, 10.5), (0.9, 18.5)] {
            let delay = delays[(share * 10_000.0) as usize] as f64 / 1e6;
            assert!((delay - expected).abs() < 0.5, "{share}: {delay} ms");
        }
        let kept = each_ms(&Profile { reorders: false, ..profile }, 10_000);
        assert!(kept.is_sorted_by_key(|&(_, comes)| comes));
    }

    #[test]
    fn after_a_stall_all_comes_at_once() {
        let profile = Profile { stalls: spells(2_000, 30, 100), ..Profile::CLEAN };
        let sent = each_ms(&profile, 600_000);
        let held: Vec<_> = sent.iter().filter(|&&(sent, comes)| comes.unwrap() - sent > 100_000).collect();
        let mut ends: Vec<i64> = held.iter().map(|(_, comes)| comes.unwrap()).collect();
        ends.dedup();
        // Ten minutes in steps of 2 s + 65 ms: 290, give or take 17 (one sigma).
        assert!((220..360).contains(&ends.len()), "{} stalls", ends.len());
        let longest = held.iter().map(|(sent, comes)| comes.unwrap() - sent).max().unwrap();
        assert!((95 * MS..=101 * MS).contains(&longest), "{longest}");
        assert!(held.len() > 10 * ends.len(), "several packets come at once");
    }

    #[test]
    fn both_directions_stall_at_once() {
        let cable = Scenario::WIFI.cable(3);
        let (mut up, mut down) = (cable.up_line(), cable.down_line());
        let (mut stalled, mut jitters) = (0, 0);
        for now in (0..60_000).map(|n| n * MS) {
            match (up.stalls.ends(now), down.stalls.ends(now)) {
                (None, None) => jitters += i32::from(up.jitter.unit() != down.jitter.unit()),
                (one, other) => {
                    stalled += 1;
                    assert_eq!(one, other);
                }
            }
        }
        assert!(stalled > 500, "{stalled}");
        assert!(jitters > 50_000, "all else is independent");
    }

    #[test]
    fn loss_is_as_frequent_as_asked_and_outages_lose_all() {
        let lost = |profile: &Profile| {
            each_ms(profile, 100_000).iter().map(|(_, comes)| comes.is_none()).collect::<Vec<bool>>()
        };
        let random = lost(&Profile { loss: 0.1, ..Profile::CLEAN });
        let count = random.iter().filter(|lost| **lost).count();
        assert!((9_500..10_500).contains(&count), "{count}");
        let bursts = lost(&Profile { outages: spells(1_000, 20, 60), ..Profile::CLEAN });
        let runs: Vec<usize> = bursts.chunk_by(|a, b| a == b).filter(|run| run[0]).map(<[bool]>::len).collect();
        // 100 s in steps of 1.04 s: 96, give or take 10.
        assert!((60..140).contains(&runs.len()), "{} outages", runs.len());
        assert!(runs.iter().all(|run| (19..=61).contains(run)), "{runs:?}");
    }

    #[test]
    fn a_narrow_line_passes_its_rate_and_loses_the_rest() {
        let rate = Rate { bits_per_second: 1_000_000, queue: Duration::from_millis(50) };
        let mut line = line(&Profile { rate: Some(rate), ..Profile::CLEAN });
        // 1000 bytes a millisecond are 8 Mbit/s.
        let comes: Vec<i64> = (0..10_000).filter_map(|n| line.carry(n * MS, 1000)).collect();
        let passed = comes.len() as f64 * 8_000.0 / 10.0;
        assert!((passed / 1e6 - 1.0).abs() < 0.02, "{passed} bit/s");
        assert!(comes.windows(2).skip(10).all(|pair| pair[1] - pair[0] >= 8 * MS));
    }

    #[test]
    fn equal_seeds_give_equal_lines() {
        for scenario in Scenario::ALL {
            let run = |seed| {
                let mut line = scenario.cable(seed).down_line();
                (0..5_000).map(|n| line.carry(n * MS, 1000)).collect::<Vec<_>>()
            };
            assert_eq!(run(5), run(5));
            let chance = scenario.down.jitter > Duration::ZERO || scenario.down.loss > 0.0;
            assert_eq!(run(5) != run(6), chance, "{}", scenario.name);
        }
    }
}
