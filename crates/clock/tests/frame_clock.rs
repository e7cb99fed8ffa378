//! The frame clock under simulated time: crystals, late wake-ups, quantum changes, jumps.

mod noise;

use audera_clock::{FrameClock, Observed, Sender, SenderTime, Span};
use noise::Noise;

const RATE: f64 = 48_000.0;

/// A card whose crystal is off, observed with jitter.
struct Card {
    clock: FrameClock<Sender>,
    position: u64,
    seconds: f64,
    ppm: f64,
    jitter: f64,
    noise: Noise,
}

impl Card {
    fn new(ppm: f64, jitter: f64, seed: u64) -> Self {
        Self { clock: FrameClock::new(48_000), position: 7_777, seconds: 1_000.0, ppm, jitter, noise: Noise::new(seed) }
    }

    fn at(&self, seconds: f64) -> SenderTime {
        SenderTime::from_nanos((seconds * 1e9).round() as i64)
    }

    /// Goes on by a cycle and observes it `late` seconds late.
    fn cycle(&mut self, quantum: u64, late: f64) -> Observed {
        self.position += quantum;
        self.seconds += quantum as f64 / (RATE * (1.0 + self.ppm * 1e-6));
        let jitter = self.noise.between(-self.jitter, self.jitter);
        self.clock.observe(self.position, self.at(self.seconds + jitter + late))
    }

    /// Error of the map at the present frame, in microseconds.
    fn error_us(&self) -> f64 {
        let Some(time) = self.clock.time_of(self.position) else { return f64::INFINITY };
        (time - self.at(self.seconds)).as_nanos() as f64 * 1e-3
    }
}

#[test]
fn the_first_observation_is_exact() {
    let mut clock = FrameClock::<Sender>::new(44_100);
    assert_eq!(clock.time_of(0), None);
    assert_eq!(clock.observe(500, SenderTime::from_nanos(123_456_789)), Observed::Steady);
    assert_eq!(clock.time_of(500), Some(SenderTime::from_nanos(123_456_789)));
    assert_eq!(clock.time_of(500 + 44_100), Some(SenderTime::from_nanos(1_123_456_789)));
    assert_eq!(clock.time_of(500 - 441), Some(SenderTime::from_nanos(113_456_789)));
}

#[test]
fn locks_within_a_second_at_every_quantum() {
    for quantum in [64, 256, 480, 1024, 2048] {
        for ppm in [-100.0, 0.0, 100.0] {
            let mut worst: f64 = 0.0;
            for seed in 1..20 {
                let mut card = Card::new(ppm, 50e-6, seed);
                while card.seconds < 1_001.0 {
                    card.cycle(quantum, 0.0);
                }
                while card.seconds < 1_020.0 {
                    card.cycle(quantum, 0.0);
                    worst = worst.max(card.error_us().abs());
                }
                assert!((card.clock.rate_ppm() - ppm).abs() < 4.0, "{}", card.clock.rate_ppm());
            }
            println!("quantum {quantum}, {ppm} ppm: worst {worst:.1} us after 1 s");
            assert!(worst < 40.0, "quantum {quantum}, {ppm} ppm: {worst}");
        }
    }
}

#[test]
fn settled_it_averages_jitter_away() {
    let mut card = Card::new(60.0, 50e-6, 1);
    let mut worst: f64 = 0.0;
    while card.seconds < 1_300.0 {
        card.cycle(480, 0.0);
        if card.seconds > 1_015.0 {
            worst = worst.max(card.error_us().abs());
        }
    }
    assert!(worst < 8.0, "{worst}");
}

#[test]
fn stamps_of_successive_cycles_are_smooth() {
    let mut card = Card::new(-80.0, 50e-6, 2);
    let mut before: Option<(SenderTime, u64)> = None;
    while card.seconds < 1_060.0 {
        let quantum = if (card.seconds as u64 / 7) % 2 == 0 { 256 } else { 1024 };
        assert_eq!(card.cycle(quantum, 0.0), Observed::Steady);
        let Some(stamp) = card.clock.time_of(card.position) else { panic!("no stamp") };
        if let Some((last, position)) = before.filter(|_| card.seconds > 1_003.0) {
            let off = (stamp - last) - Span::from_frames((card.position - position) as i64, 48_000);
            assert!(off.abs() < Span::from_micros(6), "{off} at {}", card.seconds);
        }
        before = Some((stamp, card.position));
    }
}

#[test]
fn late_wake_ups_now_and_then_do_not_disturb() {
    let mut card = Card::new(40.0, 30e-6, 3);
    let mut worst: f64 = 0.0;
    let mut cycles = 0_u64;
    while card.seconds < 1_120.0 {
        cycles += 1;
        let late = match cycles % 50 {
            13 => 0.003,
            31 => 0.0007,
            40 if cycles % 150 == 40 => 0.030,
            _ => 0.0,
        };
        assert_eq!(card.cycle(480, late), Observed::Steady);
        if card.seconds > 1_005.0 {
            worst = worst.max(card.error_us().abs());
        }
    }
    assert!(worst < 15.0, "{worst}");
}

#[test]
fn a_jump_is_reported_with_its_size() {
    for (jump, cycles) in [(0.25, 1), (-0.25, 1), (0.02, 3), (-0.02, 2)] {
        let mut card = Card::new(40.0, 20e-6, 4);
        while card.seconds < 1_010.0 {
            card.cycle(480, 0.0);
        }
        card.seconds += jump;
        for _ in 1..cycles {
            assert_eq!(card.cycle(480, 0.0), Observed::Steady);
        }
        let Observed::Reanchored { jump: seen } = card.cycle(480, 0.0) else { panic!("{jump} went unseen") };
        assert!((seen.as_secs_f64() - jump).abs() < 100e-6, "{seen}");
        assert!(card.error_us().abs() < 25.0);
        let rate = card.clock.rate_ppm();
        assert!((rate - 40.0).abs() < 5.0, "the rate of the crystal is kept: {rate}");
    }
}

#[test]
fn a_position_that_goes_back_starts_anew() {
    let mut card = Card::new(0.0, 0.0, 5);
    for _ in 0..200 {
        card.cycle(480, 0.0);
    }
    card.position = 0;
    assert_eq!(card.cycle(480, 0.0), Observed::Reanchored { jump: Span::ZERO });
    assert!(card.error_us().abs() < 1.0);
}

#[test]
fn a_lasting_shift_below_a_jump_is_followed() {
    let mut card = Card::new(0.0, 20e-6, 6);
    while card.seconds < 1_010.0 {
        card.cycle(480, 0.0);
    }
    card.seconds += 0.002;
    for _ in 0..40 {
        assert_eq!(card.cycle(480, 0.0), Observed::Steady);
    }
    assert!(card.error_us().abs() < 30.0, "{}", card.error_us());
}

#[test]
fn a_reset_takes_the_next_observation_as_it_is() {
    let mut card = Card::new(70.0, 0.0, 7);
    while card.seconds < 1_010.0 {
        card.cycle(480, 0.0);
    }
    card.clock.reset();
    assert_eq!(card.clock.time_of(card.position), None);
    card.seconds += 17.3;
    card.position = 3;
    assert_eq!(card.cycle(480, 0.0), Observed::Steady);
    assert!(card.error_us().abs() < 0.01);
    card.cycle(48_000, 0.0);
    assert!(card.error_us().abs() < 2.0, "the rate was kept: {}", card.error_us());
}

#[test]
fn a_late_wake_up_at_the_very_start_does_not_last() {
    for late in [0.0005, 0.004, 0.03] {
        let mut card = Card::new(-50.0, 30e-6, 8);
        card.cycle(480, late);
        assert!(!card.clock.is_sure(), "one observation may be anything");
        let mut cycles = 0;
        while !card.clock.is_sure() {
            card.cycle(480, 0.0);
            cycles += 1;
        }
        assert!(cycles <= 2, "{cycles}");
        assert!(card.error_us().abs() < 60.0, "{late}: {}", card.error_us());
    }
}

#[test]
fn a_time_told_wrongly_once_is_not_relied_on() {
    let mut card = Card::new(30.0, 20e-6, 9);
    // The first cycle after a driver change, told early by half a cycle of 2048 frames.
    card.cycle(2_048, -0.02);
    for _ in 0..6 {
        card.cycle(2_048, 0.0);
    }
    assert!(card.clock.is_sure());
    assert!(card.error_us().abs() < 100.0, "{}", card.error_us());
}

#[test]
fn a_thread_held_up_for_some_cycles_is_no_jump() {
    let mut card = Card::new(30.0, 20e-6, 10);
    while card.seconds < 1_010.0 {
        card.cycle(240, 0.0);
    }
    // What was held up comes out in a row, each a cycle less late than the one before; and two that are late by chance.
    for late in [0.030, 0.025, 0.020, 0.015, 0.010, 0.005, 0.0, 0.0, 0.012, 0.0122, 0.0] {
        assert_eq!(card.cycle(240, late), Observed::Steady);
    }
    assert!(card.error_us().abs() < 20.0, "{}", card.error_us());
}

#[test]
fn it_says_how_well_it_knows() {
    for seed in 1..6 {
        let mut card = Card::new(80.0, 50e-6, 10 + seed);
        assert_eq!(card.clock.deviation(), Span::MAX);
        let (mut beyond, mut cycles) = (0, 0);
        while card.seconds < 1_030.0 {
            card.cycle(480, 0.0);
            cycles += 1;
            let rate_off = (card.clock.rate_ppm() - 80.0).abs();
            let time_off = card.error_us().abs() * 1e3;
            let wrong = rate_off > 3.0 * card.clock.rate_deviation_ppm()
                || time_off > 3.0 * card.clock.deviation().as_nanos() as f64;
            beyond += i32::from(wrong);
        }
        assert!(beyond * 50 < cycles, "{beyond} of {cycles}");
    }
}

/// Devices that tell their position in steps, or with much noise, are no devices that jump.
#[test]
fn coarse_devices_do_not_jump() {
    let told = |card: &mut Card, quantum: u64, step: u64| {
        card.position += quantum;
        card.seconds += quantum as f64 / RATE;
        // Its position was true when the step was begun.
        let late = (card.position % step) as f64 / RATE;
        let noise = card.noise.between(-card.jitter, card.jitter);
        card.clock.observe(card.position, card.at(card.seconds + late + noise))
    };
    for (quantum, step, jitter) in
        [(480, 128, 0.0), (512, 48, 0.0), (480, 1, 500e-6), (480, 1, 1e-3), (4096, 1, 300e-6), (480, 16, 0.0)]
    {
        for seed in 1..10 {
            let mut card = Card::new(0.0, jitter, seed);
            let (mut jumps, mut corrections) = (0, 0);
            let mut last = 0.0;
            while card.seconds < 1_020.0 {
                match told(&mut card, quantum, step) {
                    Observed::Steady => {}
                    Observed::Corrected => {
                        corrections += 1;
                        last = card.seconds - 1_000.0;
                    }
                    Observed::Reanchored { .. } => jumps += 1,
                }
            }
            assert_eq!(jumps, 0, "quantum {quantum}, steps of {step}, {jitter} s");
            assert!(corrections < 16 && last < 20.0 * quantum as f64 / RATE, "{corrections} until {last} s");
            assert!(card.clock.is_sure() && card.error_us().abs() < 3_000.0, "{}", card.error_us());
        }
    }
}
