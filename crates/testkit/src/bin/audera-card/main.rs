//! A virtual sound card for PipeWire: a sink that drives its graph by a crystal of its own and records what was heard, and when
//! in true time. See `audera_testkit::card` for the model and the files.

mod arguments;
mod device;
mod host_clock;

use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{self, Sender},
    },
    thread,
    time::Duration,
};

use audera_pw::{
    Connect, Context, CoreEvent, Direction, Latency, Offer, Properties, State, Stream, StreamEvent, Thread,
};
use audera_testkit::card::{Converter, Report, SampleClock, Tape, TrueTime, TrueTimer, Wander};
use clap::Parser as _;
use tokio::signal::unix::{SignalKind, signal};

use arguments::Arguments;
use device::{Device, Word};

/// Why the card is taken away.
#[derive(Debug)]
enum End {
    Asked,
    Failed(String),
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Recording(#[from] audera_testkit::Error),
    #[error("{0}")]
    PipeWire(#[from] audera_pw::Error),
    #[error("the timer: {0}")]
    Timer(std::io::Error),
    #[error("signals: {0}")]
    Signals(std::io::Error),
    #[error("{0}")]
    Ended(String),
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("audera-card: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (ends, end) = mpsc::channel();
    let word = Arc::new(Word::default());
    listen(ends.clone(), word.clone(), arguments.rate / 1000 * XRUN_MS)?;
    let wander = arguments.wander.map(|wander| Wander { seed: arguments.seed, ..wander });
    let clock = SampleClock::new(arguments.rate, TrueTime::now(), arguments.ppm);
    let clock = wander.map_or(clock, |wander| clock.wandering(wander));
    let report = Report {
        name: arguments.name.clone(),
        rate: arguments.rate,
        channels: 2,
        ppm: arguments.ppm,
        wander_ppm: wander.map_or(0.0, |wander| wander.ppm),
        wander_seconds: wander.map_or(0.0, |wander| wander.seconds),
        seed: arguments.seed,
        started_ns: clock.start().as_nanos(),
        ..Report::default()
    };
    let (recording, tape) = Tape::start(&arguments.out, report, clock)?;
    let timer = TrueTimer::new().map_err(Failure::Timer)?;
    let device = Device::new(Converter::new(clock), recording, timer.clone(), word.clone());
    let properties = Properties::new()
        .with("application.name", "audera-card")
        // Gives the data loop real-time priority where the machine permits it.
        .with("config.name", "client-rt.conf");
    let node = node_properties(arguments);
    let rate = arguments.rate;
    let thread = Thread::spawn("audera-card-pw", properties, move |context| {
        sink(context, &node, rate, device, &timer, word, &ends)
    })?;
    let why = end.recv().unwrap_or_else(|_| End::Failed("the thread of PipeWire has ended".to_owned()));
    drop(thread);
    tape.finish()?;
    match why {
        End::Asked => Ok(()),
        End::Failed(why) => Err(Failure::Ended(why)),
    }
}

/// How long the device stands still at SIGUSR1, in milliseconds.
const XRUN_MS: u32 = 20;

/// Hears of SIGTERM and SIGINT, which then end nothing by themselves, and of SIGUSR1, an xrun of so many frames.
fn listen(ends: Sender<End>, word: Arc<Word>, xrun: u32) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::Signals)?;
    let watch = {
        let _inside = runtime.enter();
        let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::user_defined1()];
        kinds.map(|kind| signal(kind).map_err(Failure::Signals))
    };
    let [terminate, interrupt, stumble] = watch;
    let (mut terminate, mut interrupt, mut stumble) = (terminate?, interrupt?, stumble?);
    thread::spawn(move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = terminate.recv() => return,
                    _ = interrupt.recv() => return,
                    _ = stumble.recv() => word.xrun.store(xrun, Ordering::Relaxed),
                }
            }
        });
        // The main thread is ending already if it does not hear of this.
        let _unheard = ends.send(End::Asked).is_err();
    });
    Ok(())
}

fn node_properties(arguments: &Arguments) -> Properties {
    let name = arguments.name.as_str();
    let properties = Properties::new()
        .with("media.class", "Audio/Sink")
        .with("node.name", name)
        .with("node.description", name)
        .with("device.class", "sound")
        .with("node.virtual", "false")
        .with("priority.driver", arguments.priority.to_string())
        .with("priority.session", arguments.priority.to_string())
        // What comes is recorded as it comes.
        .with("state.restore-props", "false")
        .with("channelmix.normalize", "false");
    match arguments.quantum {
        Some(frames) => properties.with("node.force-quantum", frames.to_string()),
        None => properties,
    }
}

/// The sink and the watch on it, for as long as it is kept.
struct Sink {
    _stream: Stream,
    _watch: audera_pw::Timer,
}

fn sink(
    context: &Context,
    node: &Properties,
    rate: u32,
    device: Device,
    timer: &TrueTimer,
    word: Arc<Word>,
    ends: &Sender<End>,
) -> Result<Sink, audera_pw::Error> {
    let tell = |ends: &Sender<End>, why: String| {
        // Nobody listens any more once the end has begun.
        let _unheard = ends.send(End::Failed(why)).is_err();
    };
    let core = context.connect(&Properties::new(), {
        let ends = ends.clone();
        move |event| {
            if event == CoreEvent::Lost {
                tell(&ends, "PipeWire has ended".to_owned());
            }
        }
    })?;
    let descriptor = timer.descriptor();
    let stream = Stream::new(&core, "Audera card", Direction::Input, node, device, {
        let (timer, ends) = (timer.clone(), ends.clone());
        move |event| match event {
            // The first cycle; from then on each sets the timer for the next.
            StreamEvent::State { new: State::Streaming, .. } | StreamEvent::Driving(true) => {
                timer.arm(TrueTime::now());
            }
            StreamEvent::State { new: State::Error, error, .. } => {
                tell(&ends, error.unwrap_or_else(|| "the stream failed".to_owned()));
            }
            StreamEvent::ProcessPanicked => tell(&ends, "the card's cycle panicked; please report this".to_owned()),
            StreamEvent::Destroyed => tell(&ends, "PipeWire has ended the stream".to_owned()),
            _ => {}
        }
    })?;
    stream.drive_on(descriptor)?;
    stream.connect(&Connect {
        driver: true,
        // A cycle is heard one cycle later, whatever its length.
        latency: Some(Latency { cycles: 1, ..Latency::default() }),
        ..Connect::new(Offer::stereo(rate))
    })?;
    let watch = context.main_loop().timer({
        let ends = ends.clone();
        move || {
            let graph = word.foreign_rate.load(Ordering::Relaxed);
            if graph != 0 {
                tell(
                    &ends,
                    format!("the graph runs at {graph} Hz, this card at {rate} Hz: give one of them the other's rate"),
                );
            }
        }
    })?;
    watch.arm_every(Duration::from_millis(200))?;
    Ok(Sink { _stream: stream, _watch: watch })
}
