//! The clock filter under simulated time: crystals with skew, networks with jitter, hosts that are suspended.

mod noise;

use audera_clock::{ClockFilter, Exchange, PlayerTime, SenderTime, Span, Verdict};
use noise::Noise;

/// Two hosts and the network between them. Times are true seconds.
struct Hosts {
    now: f64,
    /// Sender's clock minus player's at time zero, in seconds; a suspended host adds to it.
    offset: f64,
    player_ppm: f64,
    sender_ppm: f64,
    /// Delay of either way, in seconds.
    floor: f64,
    outward_jitter: f64,
    homeward_jitter: f64,
    noise: Noise,
}

impl Hosts {
    fn new(player_ppm: f64, sender_ppm: f64, outward_jitter: f64, homeward_jitter: f64, seed: u64) -> Self {
        let noise = Noise::new(seed);
        let (now, offset, floor) = (0.0, 71_234.567_891, 80e-6);
        Self { now, offset, player_ppm, sender_ppm, floor, outward_jitter, homeward_jitter, noise }
    }

    fn player(&self, at: f64) -> PlayerTime {
        PlayerTime::from_nanos((at * (1.0 + self.player_ppm * 1e-6) * 1e9).round() as i64)
    }

    fn sender(&self, at: f64) -> SenderTime {
        let seconds = at * (1.0 + self.sender_ppm * 1e-6) + self.offset;
        SenderTime::from_nanos((seconds * 1e9).round() as i64)
    }

    fn exchange(&mut self) -> Exchange {
        let received = self.now + self.floor + self.noise.between(0.0, self.outward_jitter);
        let replied = received + self.noise.between(10e-6, 200e-6);
        let returned = replied + self.floor + self.noise.between(0.0, self.homeward_jitter);
        let exchange = Exchange {
            sent: self.player(self.now),
            received: self.sender(received),
            replied: self.sender(replied),
            returned: self.player(returned),
        };
        self.now = returned;
        exchange
    }

    /// Error of the filter's map at this moment, in microseconds.
    fn error_us(&self, filter: &ClockFilter) -> f64 {
        let Some(estimate) = filter.estimate() else { return f64::INFINITY };
        (estimate.map.to_sender(self.player(self.now)) - self.sender(self.now)).as_nanos() as f64 * 1e-3
    }

    fn step(&mut self, filter: &mut ClockFilter, interval: f64) -> Verdict {
        let due = self.now + interval;
        let exchange = self.exchange();
        let verdict = filter.update(exchange);
        self.now = self.now.max(due);
        verdict
    }

    /// The opening burst: 8 exchanges in 160 ms.
    fn burst(&mut self, filter: &mut ClockFilter) {
        for _ in 0..8 {
            self.step(filter, 0.02);
        }
    }
}

fn percentile(mut values: Vec<f64>, part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * part) as usize]
}

/// Runs `minutes` at two exchanges a second; returns the absolute errors in us after `skip` seconds, over `seeds` runs.
fn errors_of(hosts: impl Fn(u64) -> Hosts, seeds: u64, skip: f64, minutes: f64) -> Vec<f64> {
    let mut errors = Vec::new();
    for seed in 1..=seeds {
        let mut hosts = hosts(seed);
        let mut filter = ClockFilter::new();
        hosts.burst(&mut filter);
        while hosts.now < minutes * 60.0 {
            assert_eq!(hosts.step(&mut filter, 0.5), Verdict::Accepted, "seed {seed} at {}", hosts.now);
            let error = hosts.error_us(&filter).abs();
            let bound = filter.estimate().map_or(0.0, |estimate| estimate.bound.as_nanos() as f64 * 1e-3);
            assert!(error <= bound, "seed {seed} at {:.1} s: {error} us beyond the bound of {bound} us", hosts.now);
            if hosts.now > skip {
                errors.push(error);
            }
        }
    }
    errors
}

#[test]
fn a_wired_network_is_known_to_microseconds_after_two_seconds() {
    let errors = errors_of(|seed| Hosts::new(-40.0, 60.0, 60e-6, 60e-6, seed), 10, 2.0, 5.0);
    let (p50, p99) = (percentile(errors.clone(), 0.5), percentile(errors, 0.99));
    println!("wired: p50 {p50:.1} us, p99 {p99:.1} us");
    assert!(p99 < 12.0, "{p99}");
}

#[test]
fn the_opening_burst_alone_is_good_for_a_start() {
    for seed in 1..200 {
        let mut hosts = Hosts::new(50.0, -50.0, 100e-6, 100e-6, seed);
        let mut filter = ClockFilter::new();
        hosts.burst(&mut filter);
        assert!(hosts.error_us(&filter).abs() < 60.0, "seed {seed}: {}", hosts.error_us(&filter));
    }
}

#[test]
fn symmetric_jitter_of_ten_milliseconds() {
    let errors = errors_of(|seed| Hosts::new(0.0, 50.0, 10e-3, 10e-3, seed), 8, 120.0, 10.0);
    let (p50, p99) = (percentile(errors.clone(), 0.5), percentile(errors, 0.99));
    println!("0-10/0-10 ms: p50 {p50:.1} us, p99 {p99:.1} us");
    assert!(p99 < 250.0, "{p99}");
}

#[test]
fn asymmetric_jitter_with_skew() {
    for (outward, homeward) in [(5e-3, 20e-3), (20e-3, 5e-3)] {
        let errors = errors_of(|seed| Hosts::new(25.0, -25.0, outward, homeward, seed), 8, 60.0, 10.0);
        let early = errors_of(|seed| Hosts::new(25.0, -25.0, outward, homeward, seed), 60, 2.0, 0.2);
        println!("{outward}/{homeward} s, seconds 2 to 12: p99 {:.0} us", percentile(early, 0.99));
        let (p50, p99) = (percentile(errors.clone(), 0.5), percentile(errors, 0.99));
        println!("{outward}/{homeward} s: p50 {p50:.1} us, p99 {p99:.1} us");
        assert!(p99 < 250.0, "{p99}");
    }
}

#[test]
fn skew_is_learned() {
    let mut hosts = Hosts::new(-30.0, 70.0, 300e-6, 300e-6, 3);
    let mut filter = ClockFilter::new();
    hosts.burst(&mut filter);
    while hosts.now < 120.0 {
        hosts.step(&mut filter, 0.5);
    }
    let skew = filter.estimate().map_or(0.0, |estimate| estimate.skew_ppm);
    assert!((skew - 100.0).abs() < 0.3, "{skew}");
    // And so the map still holds after a minute without an exchange.
    hosts.now += 60.0;
    assert!(hosts.error_us(&filter).abs() < 40.0, "{}", hosts.error_us(&filter));
}

#[test]
fn a_suspended_host_is_noticed_by_the_second_exchange() {
    for step in [10.0, -0.25, 0.02] {
        let mut hosts = Hosts::new(20.0, -20.0, 2e-3, 2e-3, 9);
        let mut filter = ClockFilter::new();
        hosts.burst(&mut filter);
        while hosts.now < 60.0 {
            hosts.step(&mut filter, 0.5);
        }
        hosts.offset += step;
        assert_eq!(hosts.step(&mut filter, 0.5), Verdict::Suspect);
        assert_eq!(hosts.step(&mut filter, 0.5), Verdict::Restarted);
        hosts.burst(&mut filter);
        assert!(hosts.error_us(&filter).abs() < 1_000.0, "{step}: {}", hosts.error_us(&filter));
    }
}

#[test]
fn a_small_step_is_forgotten_with_the_past() {
    // Too small to contradict the bound at once, but no straight line goes through before and after.
    let mut hosts = Hosts::new(0.0, 10.0, 100e-6, 100e-6, 4);
    let mut filter = ClockFilter::new();
    while hosts.now < 60.0 {
        hosts.step(&mut filter, 0.5);
    }
    hosts.offset += 400e-6;
    while hosts.now < 64.0 {
        hosts.step(&mut filter, 0.5);
    }
    assert!(hosts.error_us(&filter).abs() < 60.0, "{}", hosts.error_us(&filter));
}

#[test]
fn one_freak_exchange_does_no_harm() {
    let mut hosts = Hosts::new(20.0, -20.0, 100e-6, 100e-6, 5);
    let mut filter = ClockFilter::new();
    while hosts.now < 30.0 {
        hosts.step(&mut filter, 0.5);
    }
    let mut freak = hosts.exchange();
    freak.received += Span::from_secs(3);
    freak.replied += Span::from_secs(3);
    assert_eq!(filter.update(freak), Verdict::Suspect);
    assert_eq!(hosts.step(&mut filter, 0.5), Verdict::Accepted);
    assert!(hosts.error_us(&filter).abs() < 30.0);

    let mut impossible = hosts.exchange();
    impossible.replied += Span::from_secs(1);
    assert_eq!(filter.update(impossible), Verdict::Impossible);
}

#[test]
fn hostile_numbers_do_no_harm() {
    let mut noise = Noise::new(77);
    let mut filter = ClockFilter::new();
    let extremes = [i64::MIN, i64::MAX, 0, -1, 1, i64::MAX / 2, i64::MIN / 2];
    for _ in 0..3_000 {
        let mut pick = || extremes[(noise.unit() * extremes.len() as f64) as usize];
        let exchange = Exchange {
            sent: PlayerTime::from_nanos(pick()),
            received: SenderTime::from_nanos(pick()),
            replied: SenderTime::from_nanos(pick()),
            returned: PlayerTime::from_nanos(pick()),
        };
        filter.update(exchange);
        if let Some(estimate) = filter.estimate() {
            assert!(estimate.skew_ppm.is_finite() && !estimate.bound.is_negative());
        }
    }
}

#[test]
fn a_network_thread_may_be_gone_for_hours() {
    let mut hosts = Hosts::new(-100.0, 100.0, 200e-6, 200e-6, 6);
    let mut filter = ClockFilter::new();
    for _ in 0..5 {
        hosts.burst(&mut filter);
        hosts.now += 3.0 * 3600.0;
    }
    hosts.burst(&mut filter);
    assert!(hosts.error_us(&filter).abs() < 150.0, "{}", hosts.error_us(&filter));
}
