//! The feed against a simulated card under simulated time: the card's true play times are known, so the oracle is exact.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use assert_no_alloc::assert_no_alloc;

use super::*;

const RATE: u32 = 48_000;
const PERIOD: usize = 384;
const BUFFER: usize = 1536;

/// What goes wrong, and when.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    /// The thread is kept from running for so long.
    Freeze(Span),
    Suspend,
    Unplug,
    Hang,
}

struct World {
    now: PlayerTime,
    /// Frames per second of the card's crystal; infinite for a PCM without a clock.
    crystal: f64,
    /// Frames between the buffer and the ear.
    behind: i64,
    /// Largest error of a time stamp and lateness of a wake-up.
    jitter: Span,
    most_per_write: usize,
    faults: VecDeque<(PlayerTime, Fault)>,
    random: u64,

    state: CardState,
    gone: bool,
    hung: Option<f64>,
    suspended_for: u32,
    /// Whether it runs dry the moment it is started.
    brittle: bool,
    /// Frames written since the card was last prepared, and when the first was played.
    written: u64,
    started: PlayerTime,

    // What the probe saw.
    ats: Vec<(PlayerTime, Span)>,
    resets: u32,
    pulled: u64,
    pulls_left: u32,
    /// Values of the first channel that the card took, silence before the first sound left out.
    heard: Vec<f32>,
}

type Shared = Arc<Mutex<World>>;

fn world(crystal_ppm: f64, pulls: u32) -> World {
    World {
        now: PlayerTime::from_nanos(1_000_000_000),
        crystal: f64::from(RATE) * (1.0 + crystal_ppm * 1e-6),
        behind: 48,
        jitter: Span::from_micros(100),
        most_per_write: usize::MAX,
        faults: VecDeque::new(),
        random: 1,
        state: CardState::Stopped,
        gone: false,
        hung: None,
        suspended_for: 0,
        brittle: false,
        written: 0,
        started: PlayerTime::from_nanos(0),
        ats: Vec::with_capacity(pulls as usize),
        resets: 0,
        pulled: 0,
        pulls_left: pulls,
        heard: Vec::with_capacity((pulls as usize + 1) * PERIOD),
    }
}

impl World {
    /// Uniform in -1.0 to 1.0.
    fn noise(&mut self) -> f64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }

    fn jitter(&mut self) -> Span {
        Span::from_secs_f64(self.jitter.as_secs_f64() * self.noise())
    }

    /// Frames that have left the buffer.
    fn played(&self) -> f64 {
        match (self.state, self.hung) {
            (_, Some(position)) => position,
            (CardState::Running, None) => ((self.now - self.started).as_secs_f64() * self.crystal).max(0.0),
            _ => 0.0,
        }
    }

    fn delay(&self) -> i64 {
        self.written as i64 - self.played() as i64
    }

    fn avail(&self) -> usize {
        if self.crystal.is_infinite() { BUFFER } else { (BUFFER as i64 - self.delay()).max(0) as usize }
    }

    fn advance(&mut self, span: Span) {
        self.now += span;
        if self.faults.front().is_some_and(|(when, _)| *when <= self.now) {
            match self.faults.pop_front().map(|(_, fault)| fault) {
                Some(Fault::Freeze(span)) => self.now += span,
                Some(Fault::Suspend) => (self.state, self.suspended_for) = (CardState::Suspended, 3),
                Some(Fault::Unplug) => self.gone = true,
                Some(Fault::Hang) => self.hung = Some(self.played()),
                None => {}
            }
        }
        if self.state == CardState::Running && self.crystal.is_finite() && (self.brittle || self.delay() <= 0) {
            self.state = CardState::Xrun;
        }
    }

    fn usable(&self) -> Result<(), Errno> {
        match self.state {
            _ if self.gone => Err(libc::ENODEV),
            CardState::Xrun => Err(libc::EPIPE),
            CardState::Suspended => Err(libc::ESTRPIPE),
            CardState::Stopped => Err(libc::EBADFD),
            _ => Ok(()),
        }
    }

    /// When the next frame written is really heard.
    fn truth(&self) -> PlayerTime {
        if self.crystal.is_infinite() {
            return self.now;
        }
        self.started + Span::from_secs_f64((self.written as i64 + self.behind) as f64 / self.crystal)
    }
}

struct SimCard(Shared);

impl SimCard {
    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }
}

impl Card for SimCard {
    fn now(&self) -> PlayerTime {
        self.world().now
    }

    fn sleep_until(&mut self, wake: PlayerTime) {
        let mut world = self.world();
        let span = (wake - world.now).max(Span::ZERO) + world.jitter().abs();
        world.advance(span);
    }

    fn wait(&mut self, milliseconds: u32) -> Result<bool, Errno> {
        let mut world = self.world();
        for _ in 0..milliseconds * 10 {
            world.usable()?;
            if world.avail() >= PERIOD {
                let late = world.jitter().abs();
                world.advance(late);
                world.usable()?;
                return Ok(true);
            }
            world.advance(Span::from_micros(100));
        }
        Ok(false)
    }

    fn snapshot(&mut self) -> Result<Snapshot, Errno> {
        let mut world = self.world();
        world.advance(Span::from_micros(3));
        if world.gone {
            return Err(libc::ENODEV);
        }
        let at = world.now + world.jitter();
        Ok(Snapshot { state: world.state, avail: world.avail(), delay: world.delay() + world.behind, at })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        let mut world = self.world();
        world.advance(Span::from_micros(10));
        world.usable()?;
        let taken = (bytes.len() / 8).min(world.avail()).min(world.most_per_write);
        world.written += taken as u64;
        for frame in bytes.chunks(8).take(taken) {
            let value = f32::from_ne_bytes([frame[0], frame[1], frame[2], frame[3]]);
            if value != 0.0 {
                world.heard.push(value);
            }
        }
        if world.written >= BUFFER as u64 && world.state == CardState::Prepared {
            world.state = CardState::Running;
            world.started = world.now;
        }
        Ok(taken)
    }

    fn prepare(&mut self) -> Result<(), Errno> {
        let mut world = self.world();
        if world.gone {
            return Err(libc::ENODEV);
        }
        if world.state == CardState::Running {
            return Err(libc::EBUSY);
        }
        world.state = CardState::Prepared;
        world.written = 0;
        Ok(())
    }

    fn start(&mut self) -> Result<(), Errno> {
        let mut world = self.world();
        world.state = CardState::Running;
        world.started = world.now;
        Ok(())
    }

    fn stop(&mut self) -> Result<(), Errno> {
        self.world().state = CardState::Stopped;
        Ok(())
    }

    fn resume(&mut self) -> Result<(), Errno> {
        let mut world = self.world();
        if world.suspended_for > 0 {
            world.suspended_for -= 1;
            return Err(libc::EAGAIN);
        }
        world.state = CardState::Running;
        Ok(())
    }
}

/// Plays a ramp, and compares each `at` with the truth.
struct Probe(Shared, Arc<AtomicBool>);

impl Pull for Probe {
    fn pull(&mut self, at: PlayerTime, out: &mut [f32]) {
        let mut world = self.0.lock().unwrap();
        let error = at - world.truth();
        world.ats.push((at, error));
        for frame in out.chunks_mut(2) {
            world.pulled += 1;
            frame.fill((world.pulled % 1_000_000) as f32 / 2_000_000.0);
        }
        world.pulls_left -= 1;
        if world.pulls_left == 0 {
            self.1.store(true, Ordering::Release);
        }
    }

    fn device_reset(&mut self) {
        self.0.lock().unwrap().resets += 1;
    }
}

/// Runs the feed until the probe has had enough; the guard sees to it that nothing is allocated on the way.
fn run(world: World) -> (World, Result<(), Failure>, u64) {
    let shared: Shared = Arc::new(Mutex::new(world));
    let stop = Arc::new(AtomicBool::new(false));
    let format = DeviceFormat { rate: RATE, channels: 2, max_pull: PERIOD, latency: Span::ZERO };
    let health = Arc::new(Health::default());
    let probe = Probe(shared.clone(), stop.clone());
    let mut feed = Feed::new(SimCard(shared.clone()), probe, SampleFormat::F32, format, BUFFER, health.clone());
    let end = assert_no_alloc(|| feed.run(&stop));
    drop(feed);
    let world = Arc::into_inner(shared).unwrap().into_inner().unwrap();
    (world, end, crate::output::Playing::new(format, health, ()).xruns())
}

fn worst(errors: &[(PlayerTime, Span)]) -> Span {
    errors.iter().map(|(_, error)| error.abs()).max().unwrap()
}

/// The card tells whole frames, which at 48 kHz would be 10 us on average.
#[test]
fn whole_frames_are_no_bias() {
    for ppm in [-80.0, 0.3, 60.0] {
        let (world, ..) = run(world(ppm, 2500));
        let errors: Vec<f64> = world.ats[1000..].iter().map(|(_, error)| error.as_secs_f64()).collect();
        let mean = errors.iter().sum::<f64>() / errors.len() as f64;
        assert!(mean.abs() < 3e-6, "{:.1} us at {ppm} ppm", mean * 1e6);
    }
}

#[test]
fn the_play_time_is_right_whatever_the_crystal_and_the_jitter() {
    for ppm in [-100.0, 0.0, 80.0] {
        let (world, end, xruns) = run(world(ppm, 7500));
        assert_eq!((end, xruns, world.resets), (Ok(()), 0, 0));
        // Two seconds for the clock to settle, 58 to be held to it. The stamps are wrong by up to 100 us, positions by a frame.
        let settled = worst(&world.ats[250..]);
        assert!(settled < Span::from_micros(40), "{settled} at {ppm} ppm");
    }
}

#[test]
fn every_frame_reaches_the_card_once_and_in_order() {
    for most_per_write in [usize::MAX, 100, 7] {
        let (world, end, _) = run(World { most_per_write, ..world(50.0, 200) });
        assert_eq!(end, Ok(()));
        assert!(world.heard.len() >= 199 * PERIOD);
        for (index, value) in world.heard.iter().enumerate() {
            assert_eq!(*value, (index + 1) as f32 / 2_000_000.0, "frame {index}");
        }
    }
}

#[test]
fn after_an_xrun_the_play_time_is_right_again() {
    let mut world = world(60.0, 2000);
    world.faults.push_back((PlayerTime::from_nanos(6_000_000_000), Fault::Freeze(Span::from_millis(120))));
    let (world, end, xruns) = run(world);
    assert_eq!((end, xruns, world.resets), (Ok(()), 1, 1));
    let after = world.ats.iter().position(|(at, _)| *at > PlayerTime::from_nanos(6_200_000_000)).unwrap();
    // At once within what one stamp can tell; settled as before.
    assert!(worst(&world.ats[after..]) < Span::from_micros(200), "{}", worst(&world.ats[after..]));
    assert!(worst(&world.ats[after + 250..]) < Span::from_micros(40), "{}", worst(&world.ats[after + 250..]));
}

#[test]
fn a_machine_that_slept_goes_on_playing() {
    let mut world = world(0.0, 1000);
    world.faults.push_back((PlayerTime::from_nanos(3_000_000_000), Fault::Suspend));
    let (world, end, xruns) = run(world);
    assert_eq!((end, xruns, world.resets), (Ok(()), 1, 1));
    assert!(worst(&world.ats[900..]) < Span::from_micros(60));
}

#[test]
fn an_unplugged_or_hung_device_is_given_up() {
    for (fault, expected) in [(Fault::Unplug, Failure::Gone), (Fault::Hang, Failure::Stalled)] {
        let mut world = world(0.0, 1000);
        world.faults.push_back((PlayerTime::from_nanos(3_000_000_000), fault));
        let (world, end, _) = run(world);
        assert_eq!(end, Err(expected));
        assert!(world.now < PlayerTime::from_nanos(6_000_000_000), "noticed at {:?}", world.now);
    }
}

#[test]
fn a_pcm_without_a_clock_is_paced_by_the_monotonic_one() {
    let (world, end, xruns) = run(World { crystal: f64::INFINITY, ..world(0.0, 1000) });
    assert_eq!((end, xruns, world.resets), (Ok(()), 0, 0));
    let first = world.ats[0].0;
    for (index, (at, error)) in world.ats.iter().enumerate() {
        assert_eq!(*at - first, Span::from_frames((index * PERIOD) as i64, RATE));
        assert!(error.abs() <= Span::from_micros(200), "pulled {error} from its time");
    }
}

#[test]
fn a_device_that_always_runs_dry_is_given_up_without_a_spin() {
    let (world, end, _) = run(World { brittle: true, ..world(0.0, 1000) });
    assert_eq!(end, Err(Failure::Device(libc::EPIPE)));
    let tried_for = world.now - PlayerTime::from_nanos(1_000_000_000);
    assert!(
        tried_for >= Span::from_frames(i64::from(MOST_STUMBLES - 1) * PERIOD as i64, RATE),
        "gave up after {tried_for}"
    );
}
