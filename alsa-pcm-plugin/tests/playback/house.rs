//! A session with rooms, and programs in it that play to them.

use std::ops::Range;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use audera_testkit::home::Product;
use audera_testkit::wav::Sound;
use audera_testkit::{Process, Session, or_skip, sound};

/// Programs that hang are not waited for longer.
const PATIENCE: Duration = Duration::from_secs(120);

/// A session in which PCMs `audera` (through `plug`) and `raw` are defined.
pub struct House {
    pub session: Session,
    pub product: Product,
    _alone: Option<RwLockWriteGuard<'static, ()>>,
    _among: Option<RwLockReadGuard<'static, ()>>,
}

/// Tests that measure time are alone; what the others look at bears company.
static PLACES: RwLock<()> = RwLock::new(());

impl House {
    /// With definitions that ask for half a second of latency unless that is given as a second argument: so a machine that holds a thread up is
    /// not heard. A third is the patience, a fourth the codec, which is PCM. `None` where sessions are not possible.
    pub fn start() -> Option<House> {
        House::among(None, Some(PLACES.read().unwrap_or_else(PoisonError::into_inner)))
    }

    /// The same, without other tests beside it.
    pub fn start_alone() -> Option<House> {
        House::among(Some(PLACES.write().unwrap_or_else(PoisonError::into_inner)), None)
    }

    fn among(
        alone: Option<RwLockWriteGuard<'static, ()>>,
        among: Option<RwLockReadGuard<'static, ()>>,
    ) -> Option<House> {
        let product = Product::find().unwrap();
        let session = or_skip(product.session("house").daemons(&audera_testkit::Daemon::DISCOVERY).start())?;
        let house = House { session, product, _alone: alone, _among: among };
        house.define();
        Some(house)
    }

    /// Has the definitions say what these tests need.
    fn define(&self) {
        self.session.alsa_plugin().unwrap();
        let defaults = [("PLAYER", ""), ("LATENCY", "500"), ("PATIENCE", "60"), ("CODEC", "pcm")];
        let args =
            defaults.map(|(name, value)| format!("@args.{name} {{ type string default \"{value}\" }}")).join(" ");
        let args = format!("@args [ PLAYER LATENCY PATIENCE CODEC ] {args}");
        let slave = "type audera player $PLAYER codec $CODEC latency $LATENCY patience $PATIENCE";
        let definitions = format!(
            "pcm.!audera {{ {args} type plug slave.pcm {{ {slave} }} }}\n\
             pcm.raw {{ {args} {slave} }}\n\
             pcm.elsewhere {{ {args} {slave} players \"127.0.0.1:9\" }}\n"
        );
        self.session.alsa_definitions(&definitions).unwrap();
    }

    /// A room that plays into a file.
    pub fn room(&self, name: &str, args: &[&str]) -> Room {
        let file = self.session.dir().join(format!("{name}.wav"));
        let output = format!("file:{}", file.display());
        let all = [&["--access", "open", "--output", &output][..], args].concat();
        let process = self.product.player(&self.session, name, &all).unwrap();
        self.wait_for(name);
        Room { process, file }
    }

    /// Waits until a room is announced, which Avahi takes its time for.
    pub fn wait_for(&self, name: &str) {
        let announced = || {
            let browsed = self.session.run("avahi-browse", &["-p", "-t", "_audera._tcp"]).ok()?;
            browsed.replace("\\032", " ").split([';', '\n']).any(|word| word == name).then_some(())
        };
        self.session.poll(&format!("the announcement of {name}"), announced).unwrap();
    }

    /// A program of these tests, which is this one once more: alsa-lib reads its configuration once in a process, and programs are on the
    /// session's host.
    pub fn program(&self, name: &str, variables: &[(&str, &str)]) -> Command {
        let mut command = self.session.command(std::env::current_exe().unwrap());
        command.args(["--exact", name, "--ignored", "--nocapture"]);
        command.envs(variables.iter().copied()).env("AUDERA_TEST", "1");
        command
    }

    /// Runs a command to its end; what it has said. Panics if it has failed.
    pub fn run(&self, command: Command) -> String {
        let what = format!("{command:?}");
        let mut process = self.session.spawn(command).unwrap();
        let ended = process.wait(PATIENCE).unwrap();
        assert!(ended.is_some_and(|ended| ended.success()), "{what} {ended:?}:\n{}", process.output());
        process.output()
    }
}

/// Whether a program of the tests is run by its test.
pub fn is_program() -> bool {
    std::env::var_os("AUDERA_TEST").is_some()
}

/// A room that plays into a file.
pub struct Room {
    pub process: Process,
    file: PathBuf,
}

impl Room {
    /// Everything it has played, one sound for each format, in order.
    pub fn finish(self) -> Vec<Sound> {
        let Room { process, file } = self;
        process.stop().unwrap();
        let numbered = |number: usize| match number {
            1 => file.clone(),
            _ => file.with_file_name(format!("{}-{number}.wav", file.file_stem().unwrap().to_str().unwrap())),
        };
        (1..).map(numbered).take_while(|file| file.exists()).map(|file| Sound::read(file).unwrap()).collect()
    }
}

/// Noise of its own for each seed and channel. Smooth, so that the best whole number of frames is a good place to compare it at.
pub fn clip(seed: u64, rate: u32, channels: usize, seconds: f64) -> Vec<Vec<f32>> {
    noise::<8>(seed, rate, channels, seconds, 1.0 / 6.0)
}

/// The same of low frequencies alone, of which Opus keeps the form.
pub fn low_clip(seed: u64, rate: u32, channels: usize, seconds: f64) -> Vec<Vec<f32>> {
    noise::<48>(seed, rate, channels, seconds, 1.0 / 16.0)
}

fn noise<const SMOOTH: usize>(seed: u64, rate: u32, channels: usize, seconds: f64, level: f32) -> Vec<Vec<f32>> {
    let noise = sound::decorrelated_noise(rate, channels, seconds + 0.01, 1.0, seed);
    let frames = (seconds * f64::from(rate)).round() as usize;
    let smooth = |channel: &Vec<f32>| {
        channel.windows(SMOOTH).take(frames).map(|window| window.iter().sum::<f32>() * level).collect::<Vec<f32>>()
    };
    noise.channels.iter().map(smooth).collect()
}

/// What became of a clip in a room.
#[derive(Clone, Copy, Debug)]
pub struct Heard {
    /// Where its first frame is in the recording.
    pub at: usize,
    /// How like the source its first 10 ms are, in which the player fades in.
    pub first: f64,
    /// The same of its other 10 ms, at the worst.
    pub worst: f64,
    /// By how many frames more than it has its end is later than its beginning.
    pub stretch: isize,
}

impl Heard {
    /// Whether all of it was heard. With the fade the likeness is 0.88 and more, without half of the first 10 ms it would be 0.7.
    pub fn is_whole(&self) -> bool {
        self.first > 0.8 && self.worst > 0.9 && self.stretch.abs() < 16
    }
}

/// Looks for one channel of a clip in a recording, where silence lies around it.
pub fn heard(recording: &[f32], source: &[f32], rate: u32) -> Option<Heard> {
    let like = |found: &Heard| found.worst.min(found.first);
    let sounds = sounds(recording, rate).into_iter();
    sounds.map(|sound| heard_at(recording, sound.start, source, rate)).max_by(|a, b| like(a).total_cmp(&like(b)))
}

/// Looks for one channel of a clip about where it should begin in a recording.
pub fn heard_at(recording: &[f32], begin: usize, source: &[f32], rate: u32) -> Heard {
    let window = (rate / 100) as usize;
    let alike = |place: isize, from: usize| {
        let to = (from + window).min(source.len());
        likeness(recording, place + from as isize, &source[from..to])
    };
    let best = |around: isize, reach: isize, from: usize| {
        let places = (-reach..=reach).map(|shift| (around + shift, alike(around + shift, from)));
        places.max_by(|a, b| a.1.total_cmp(&b.1)).unwrap()
    };
    // Going by the second window, which is not faded. The rate of a stream that has just begun is off by some hundred ppm: it is followed.
    let (first_place, _) = best(begin as isize, window as isize, window);
    let (mut place, mut worst) = (first_place, 1.0f64);
    for from in (window..=source.len() - window).step_by(window) {
        let (next, alike) = best(place, 2, from);
        (place, worst) = (next, worst.min(alike));
    }
    // And to the very last frame.
    let (place, last) = best(place, 2, source.len() - window);
    let first = best(first_place, 2, 0).1;
    Heard { at: first_place.max(0) as usize, first, worst: worst.min(last), stretch: place - first_place }
}

/// Where there is sound: stretches between silences of 30 ms and more.
pub fn sounds(recording: &[f32], rate: u32) -> Vec<Range<usize>> {
    let pause = (rate * 3 / 100) as usize;
    let mut sounds: Vec<Range<usize>> = Vec::new();
    for (n, _) in recording.iter().enumerate().filter(|(_, sample)| sample.abs() > 1e-4) {
        match sounds.last_mut() {
            Some(sound) if n - sound.end < pause => sound.end = n + 1,
            _ => sounds.push(n..n + 1),
        }
    }
    sounds
}

/// How like a piece of a recording is to a source, 1 at most, whatever the level.
pub fn likeness(recording: &[f32], at: isize, source: &[f32]) -> f64 {
    let piece = usize::try_from(at).ok().and_then(|at| recording.get(at..at + source.len()));
    let Some(piece) = piece else { return 0.0 };
    let dot = |a: &[f32], b: &[f32]| f64::from(a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>());
    let power = (dot(piece, piece) * dot(source, source)).sqrt();
    if power > 0.0 { dot(piece, source) / power } else { 0.0 }
}
