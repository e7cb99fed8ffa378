//! The clock filter's bound is honest: over random hosts and networks the truth lies beyond it in less than a thousandth
//! of the updates.

mod noise;

use audera_clock::{ClockFilter, Exchange, PlayerTime, SenderTime, Span};
use noise::Noise;

/// How the delays above a floor are distributed.
#[derive(Clone, Copy, Debug)]
enum Shape {
    Even,
    Exponential,
    /// Mostly next to nothing, now and then all.
    Bursts,
}

#[derive(Clone, Copy, Debug)]
struct Way {
    floor: f64,
    jitter: f64,
    shape: Shape,
}

impl Way {
    fn random(noise: &mut Noise) -> Self {
        // Evenly distributed in the logarithm.
        let floor = 10f64.powf(noise.between(-4.7, -2.3));
        let jitter = 10f64.powf(noise.between(-5.3, -1.6));
        let shape = match (noise.unit() * 3.0) as u8 {
            0 => Shape::Even,
            1 => Shape::Exponential,
            _ => Shape::Bursts,
        };
        Self { floor, jitter, shape }
    }

    fn delay(&self, noise: &mut Noise) -> f64 {
        let share = match self.shape {
            Shape::Even => noise.unit(),
            Shape::Exponential => -(1.0 - noise.unit()).ln(),
            Shape::Bursts if noise.unit() < 0.9 => 0.02 * noise.unit(),
            Shape::Bursts => noise.unit(),
        };
        self.floor + self.jitter * share
    }
}

#[test]
fn the_truth_lies_within_the_bound() {
    let (mut updates, mut beyond) = (0_u64, 0_u64);
    for seed in 1..=300 {
        let mut noise = Noise::new(seed);
        let skew = noise.between(-200e-6, 200e-6);
        let wander = noise.between(-1e-9, 1e-9);
        let (up, down) = (Way::random(&mut noise), Way::random(&mut noise));
        let loss = noise.between(0.0, 0.2);
        let sender = |at: f64| {
            let gained = at * skew + 0.5 * wander * at * at;
            SenderTime::from_nanos(77_000_000_000 + ((at + gained) * 1e9).round() as i64)
        };
        let player = |at: f64| PlayerTime::from_nanos((at * 1e9).round() as i64);
        let mut filter = ClockFilter::new();
        let mut now = 0.0;
        let mut missed = 0;
        while now < 90.0 {
            let received = now + up.delay(&mut noise);
            let replied = received + noise.between(10e-6, 300e-6);
            let returned = replied + down.delay(&mut noise);
            if noise.unit() > loss {
                let exchange = Exchange {
                    sent: player(now),
                    received: sender(received),
                    replied: sender(replied),
                    returned: player(returned),
                };
                let _ = filter.update(exchange);
                let estimate = filter.estimate().expect("one exchange suffices");
                let off = estimate.map.to_sender(player(returned)) - sender(returned);
                updates += 1;
                missed += u64::from(off.abs() > estimate.bound);
            }
            now += filter.pace(Span::from_secs_f64(now)).as_secs_f64().max(returned - now);
        }
        if missed > 0 {
            println!("seed {seed}: {missed} beyond; skew {:.0} ppm, {up:?}, {down:?}", skew * 1e6);
        }
        beyond += missed;
    }
    println!("{beyond} of {updates} updates beyond the bound");
    assert!(beyond * 1_000 <= updates, "{beyond} of {updates}");
}

#[test]
fn exchanges_become_rare_where_there_is_nothing_left_to_learn() {
    let mut noise = Noise::new(5);
    let (mut filter, mut now, mut count) = (ClockFilter::new(), 0.0, 0);
    let (mut at_five, mut at_sixty) = (0, 0);
    while now < 120.0 {
        let received = now + 70e-6 + noise.between(0.0, 50e-6);
        let returned = received + 70e-6 + noise.between(0.0, 50e-6);
        let at = |at: f64| (at * 1e9) as i64;
        let exchange = Exchange {
            sent: PlayerTime::from_nanos(at(now)),
            received: SenderTime::from_nanos(at(received)),
            replied: SenderTime::from_nanos(at(received)),
            returned: PlayerTime::from_nanos(at(returned)),
        };
        let _ = filter.update(exchange);
        now += filter.pace(Span::from_secs_f64(now)).as_secs_f64();
        count += 1;
        at_five = if now < 5.0 { count } else { at_five };
        at_sixty = if now < 60.0 { count } else { at_sixty };
    }
    let (then, later) = (at_sixty - at_five, count - at_sixty);
    println!("{at_five} exchanges in the first 5 s, {then} in the next 55, {later} in the minute after that");
    assert!(at_five < 450 && then < 600 && later <= 240);
}
