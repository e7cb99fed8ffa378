//! A PipeWire module with one sink that records what is played to it: the smallest use of `audera_pw::module!`, and
//! what the tests load.
//!
//! ```text
//! context.modules = [ { name = libpipewire-module-audera-probe-sink
//!     args = { probe.dir = "/some/where"   # samples.f32 and cycles.csv at unload, events as they come
//!              probe.node = audera.probe  probe.latency.msec = 80  probe.panic-after = 0 } } ]
//! ```

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use audera_pw::{
    Args, Connect, Cycle, Direction, Error, Module, ModuleHost, Offer, Process, Properties, Stream, Timing, WakeSource,
};

audera_pw::module!(topic: c"mod.audera-probe-sink", init: init);

/// Five minutes: the real-time half never grows its memory.
const MAX_SAMPLES: usize = 5 * 60 * 48_000 * 2;
const MAX_CYCLES: usize = 60_000;

struct Probe {
    _stream: Stream,
    _wakes: WakeSource,
    dir: PathBuf,
}

impl Module for Probe {}

impl Drop for Probe {
    fn drop(&mut self) {
        note(&self.dir, "unloaded");
    }
}

fn note(dir: &std::path::Path, line: &str) {
    let file = OpenOptions::new().create(true).append(true).open(dir.join("events"));
    let _written = file.and_then(|mut file| writeln!(file, "{line}"));
}

struct Recorder {
    samples: Vec<f32>,
    cycles: Vec<(Timing, usize)>,
    panic_after: usize,
    waker: audera_pw::Waker,
    dir: PathBuf,
}

impl Process for Recorder {
    fn process(&mut self, cycle: Cycle<'_>) {
        if self.cycles.is_empty() {
            self.waker.wake();
        }
        let room = MAX_SAMPLES - self.samples.len();
        let input = cycle.input();
        self.samples.extend_from_slice(&input[..input.len().min(room)]);
        if self.cycles.len() < MAX_CYCLES {
            self.cycles.push((*cycle.timing(), cycle.frames()));
        }
        assert!(self.panic_after == 0 || self.cycles.len() < self.panic_after, "asked to panic");
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let write = || -> std::io::Result<()> {
            let bytes: Vec<u8> = self.samples.iter().flat_map(|sample| sample.to_ne_bytes()).collect();
            std::fs::write(self.dir.join("samples.f32"), bytes)?;
            let mut file = File::create(self.dir.join("cycles.csv"))?;
            writeln!(
                file,
                "frames,now,ticks,ticks_rate,delay,queued,buffered,clock,time,next,position,duration,clock_delay,rate_diff,broken"
            )?;
            for (timing, frames) in &self.cycles {
                write!(
                    file,
                    "{frames},{},{},{},{},{},{},",
                    timing.now.as_nanos(),
                    timing.ticks,
                    timing.ticks_rate,
                    timing.delay,
                    timing.queued,
                    timing.buffered
                )?;
                match timing.clock {
                    None => write!(file, ",,,,,,,")?,
                    Some(clock) => write!(
                        file,
                        "{},{},{},{},{},{},{},",
                        clock.id,
                        clock.time.as_nanos(),
                        clock.next.as_nanos(),
                        clock.position,
                        clock.duration,
                        clock.delay,
                        clock.rate_diff
                    )?,
                }
                writeln!(file, "{}", timing.discontinuous)?;
            }
            Ok(())
        };
        if let Err(error) = write() {
            note(&self.dir, &format!("not written: {error}"));
        }
    }
}

fn init(host: ModuleHost, args: Args) -> Result<Box<dyn Module>, Error> {
    args.only(&["probe.dir", "probe.node", "probe.latency.msec", "probe.panic-after", "probe.panic-in-init"])?;
    assert!(args.boolean("probe.panic-in-init")? != Some(true), "asked to panic");
    let dir = PathBuf::from(args.string("probe.dir")?.ok_or_else(|| Error::module("probe.dir is missing"))?);
    let node = args.string("probe.node")?.unwrap_or("audera.probe").to_owned();
    let latency = args.integer("probe.latency.msec", 0..=10_000)?.unwrap_or(80).unsigned_abs();
    let panic_after = usize::try_from(args.integer("probe.panic-after", 0..=i64::MAX)?.unwrap_or(0)).unwrap_or(0);

    host.update_properties(
        &Properties::new()
            .with("module.description", "Audera's probe")
            .with("module.version", env!("CARGO_PKG_VERSION")),
    )?;
    let core = host.core({
        let dir = dir.clone();
        move |event| note(&dir, &format!("core {event:?}"))
    })?;
    let (wakes, waker) = host.main_loop().on_wake({
        let dir = dir.clone();
        move || note(&dir, "first cycle")
    })?;
    let recorder = Recorder {
        samples: Vec::with_capacity(MAX_SAMPLES),
        cycles: Vec::with_capacity(MAX_CYCLES),
        panic_after,
        waker,
        dir: dir.clone(),
    };
    let properties: Properties = [
        ("media.class", "Audio/Sink"),
        ("node.name", node.as_str()),
        ("node.description", "Audera Probe"),
        ("node.virtual", "false"),
        ("node.network", "true"),
    ]
    .into_iter()
    .collect();
    let log = host.log();
    let stream = Stream::new(&core, "Audera Probe", Direction::Input, &properties, recorder, {
        let dir = dir.clone();
        move |event| {
            log.info(format_args!("{event:?}"));
            note(&dir, &format!("{event:?}"));
        }
    })?;
    stream.connect(&Connect {
        latency: Some(Duration::from_millis(latency).into()),
        ..Connect::new(Offer::stereo(48_000))
    })?;
    note(&dir, "loaded");
    Ok(Box::new(Probe { _stream: stream, _wakes: wakes, dir }))
}
