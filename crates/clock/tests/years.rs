//! Years of drift in seconds: random crystals that wander with the days, random noise, and clocks that have run for ten years.

mod noise;

use audera_clock::{ClockFilter, Exchange, FrameClock, Observed, Player, PlayerTime, SenderTime, Verdict};
use noise::Noise;

const DAY: f64 = 86_400.0;
const TEN_YEARS: i64 = 10 * 365 * 86_400 * 1_000_000_000;

/// A crystal off by so many ppm that swings by so many more with the days.
struct Crystal {
    ppm: f64,
    swing_ppm: f64,
    phase: f64,
}

impl Crystal {
    /// Off by up to so many ppm.
    fn random(noise: &mut Noise, most: f64) -> Self {
        let ppm = noise.between(-most, most);
        Self { ppm, swing_ppm: noise.between(0.0, 5.0), phase: noise.between(0.0, std::f64::consts::TAU) }
    }

    /// By how much it is ahead of a perfect one, in seconds, at `at` seconds.
    fn gained(&self, at: f64) -> f64 {
        let angular = std::f64::consts::TAU / DAY;
        let swung = (self.phase.cos() - (angular * at + self.phase).cos()) / angular;
        (self.ppm * at + self.swing_ppm * swung) * 1e-6
    }
}

#[test]
fn a_device_is_followed_for_years() {
    for seed in 1..5 {
        let mut noise = Noise::new(seed);
        let card = Crystal::random(&mut noise, 200.0);
        let jitter = noise.between(1e-6, 60e-6);
        let mut clock = FrameClock::<Player>::new(48_000);
        // Ten seconds a cycle, so that a year is three million of them.
        let (mut position, mut worst, mut at) = (0_u64, 0.0_f64, 0.0);
        while at < 365.0 * DAY {
            position += 480_000;
            // The card counts `position` when its own time is that much; two rounds are exact to the picosecond.
            let own = position as f64 / 48_000.0;
            at = (0..3).fold(own, |at, _| own - card.gained(at));
            let told = at + noise.between(-jitter, jitter);
            let observed = clock.observe(position, PlayerTime::from_nanos(TEN_YEARS + (told * 1e9).round() as i64));
            assert!(!matches!(observed, Observed::Reanchored { .. }), "seed {seed}: {observed:?} at {at} s");
            if at > 600.0 {
                let believed = clock.time_of(position).expect("it was observed");
                let off = (believed - PlayerTime::from_nanos(TEN_YEARS + (at * 1e9).round() as i64)).as_secs_f64();
                worst = worst.max(off.abs());
            }
        }
        println!("seed {seed}: {:.0} ppm, jitter {:.0} us: {:.1} us at most", card.ppm, jitter * 1e6, worst * 1e6);
        // What it is told is never averaged to something much worse, however rarely that is.
        assert!(worst <= 1.25 * jitter + 5e-6, "seed {seed}: {worst}");
    }
}

#[test]
fn another_host_is_followed_for_hours() {
    for seed in 1..5 {
        let mut noise = Noise::new(100 + seed);
        let host = Crystal::random(&mut noise, 100.0);
        let (up, down) = (noise.between(1e-6, 2e-3), noise.between(1e-6, 2e-3));
        let sender = |at: f64| SenderTime::from_nanos(TEN_YEARS + ((at + host.gained(at)) * 1e9).round() as i64);
        let player = |at: f64| PlayerTime::from_nanos((at * 1e9).round() as i64);
        let mut filter = ClockFilter::new();
        let (mut at, mut beyond, mut doubted, mut updates) = (0.0, 0, 0, 0);
        while at < 0.25 * DAY {
            let received = at + 1e-4 + noise.between(0.0, up);
            let returned = received + 1e-4 + noise.between(0.0, down);
            let (received, replied) = (sender(received), sender(received));
            let verdict = filter.update(Exchange { sent: player(at), received, replied, returned: player(returned) });
            // One that is doubted is a freak as long as the next is not.
            assert!(matches!(verdict, Verdict::Accepted | Verdict::Suspect), "seed {seed}: {verdict:?} at {at} s");
            doubted += u64::from(verdict == Verdict::Suspect);
            let estimate = filter.estimate().expect("there was an exchange");
            let off = estimate.map.to_sender(player(returned)) - sender(returned);
            updates += 1;
            beyond += u64::from(off.abs() > estimate.bound);
            // As often as an idle connection asks.
            at += noise.between(1.5, 2.5);
        }
        println!("seed {seed}: {:.0} ppm, {:.0}/{:.0} us: {beyond} of {updates}", host.ppm, up * 1e6, down * 1e6);
        assert!((beyond + doubted) * 1_000 <= updates, "seed {seed}: {beyond} beyond the bound, {doubted} doubted");
    }
}
