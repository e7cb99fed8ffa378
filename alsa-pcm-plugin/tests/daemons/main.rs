//! Programs from the distribution that a user would use play to a room: what is heard there is compared with what they were given.

mod heard;
mod mpd;
mod mpg123;
mod sox;
mod squeezelite;

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use audera_testkit::home::{Product, player_port};
use audera_testkit::wav::{Samples, Sound};
use audera_testkit::{Daemon, Process, Session, or_skip, sound};

const RATE: u32 = 48_000;
/// Where sound begins or ends it is faded for some milliseconds, in which nothing is like anything, and looked at in windows of 20 ms.
const FADED: usize = RATE as usize / 25;

/// A session with a room that plays into a file.
struct Home {
    kitchen: Process,
    session: Session,
    product: Product,
}

impl Home {
    fn start() -> Option<Self> {
        let product = Product::find().unwrap();
        let session = or_skip(product.session("home").daemons(&Daemon::DISCOVERY).start())?;
        session.alsa_plugin().unwrap();
        // As a user sets it once. With latency enough that a busy machine is no gap, and every sample as it was.
        let settings = session.config_dir().join("audera");
        std::fs::create_dir_all(&settings).unwrap();
        std::fs::write(settings.join("alsa.toml"), "codec = \"pcm\"\nlatency = 600\nwait = 20000\n").unwrap();
        let output = format!("file:{}", session.dir().join("kitchen.wav").display());
        let kitchen = product.player(&session, "Kitchen", &["--access", "open", "--output", &output]).unwrap();
        let mut home = Home { kitchen, session, product };
        home.wait_for(1, "announced");
        Some(home)
    }

    /// Waits until the room has told something so many times.
    fn wait_for(&mut self, times: usize, words: &str) {
        let log = self.kitchen.log().to_owned();
        let told = || (std::fs::read_to_string(&log).ok()?.matches(words).count() >= times).then_some(());
        self.kitchen.wait_until(words, told).unwrap();
    }

    /// What the room says of itself, as another peer of it.
    fn told(&self) -> String {
        let address = format!("localhost:{}", player_port(&self.kitchen).unwrap());
        self.product.told_by(&self.session, &address).unwrap()
    }

    /// Music of its own for each seed, as a file of a CD's sample format; its left channel.
    fn music(&self, name: &str, seconds: f64, seed: u64) -> (PathBuf, Vec<f32>) {
        let file = self.session.dir().join("music").join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        // Smooth, so that it is found at the nearest whole frame.
        const SMOOTH: usize = 8;
        let noise = sound::noise(RATE, 1, seconds + 0.01, 1.0, seed).channels.remove(0);
        let frames = (seconds * f64::from(RATE)) as usize;
        let music: Vec<f32> =
            noise.windows(SMOOTH).take(frames).map(|window| window.iter().sum::<f32>() / 6.0).collect();
        Sound { rate: RATE, channels: vec![music.clone(), music.clone()] }.write(&file, Samples::S16).unwrap();
        (file, music)
    }

    /// Ends the room; all that it has played, in one format, its left channel.
    fn finish(self) -> Vec<f32> {
        let mut formats = self.finish_all();
        assert_eq!(formats.len(), 1, "it was asked for several formats");
        left(formats.remove(0))
    }

    /// The same, in the last of several formats.
    fn finish_last(self) -> Vec<f32> {
        left(self.finish_all().pop().unwrap())
    }

    /// Ends the room; what it has played in each of its formats, which have a file each.
    fn finish_all(self) -> Vec<Sound> {
        let Home { kitchen, session, .. } = self;
        println!("{}", kitchen.output());
        kitchen.stop().unwrap();
        let further = (2..).map(|number| session.dir().join(format!("kitchen-{number}.wav")));
        let files = [session.dir().join("kitchen.wav")].into_iter().chain(further.take_while(|file| file.exists()));
        files.map(|file| Sound::read(file).unwrap()).collect()
    }
}

/// The left channel of what was played.
fn left(mut played: Sound) -> Vec<f32> {
    assert_eq!(played.rate, RATE);
    played.channels.remove(0)
}

/// Runs a program to its end, which has to be a good one.
fn run(mut command: Command) -> String {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
    let told = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{command:?}: {status}\n{told}");
    told
}
