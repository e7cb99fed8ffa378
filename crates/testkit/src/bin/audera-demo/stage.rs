//! The private session with its two rooms, and the sender's modules.

use std::{
    fs,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Instant,
};

use audera_testkit::{Error, NullSink, Process, Session, home::Product, record::Recorder};

use crate::{arguments::Arguments, failure::Failure, interrupt::Interrupt, screen::Screen};

/// A channel of the recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channel {
    KitchenLeft,
    KitchenRight,
    LivingRoomLeft,
    LivingRoomRight,
    /// What the application plays.
    Application,
    /// What is tapped.
    Turntable,
    /// Only drives the graph: a sink that drives plays a cycle off the others, so none of those does.
    Metronome,
}

impl Channel {
    const ALL: [Self; 7] = [
        Self::KitchenLeft,
        Self::KitchenRight,
        Self::LivingRoomLeft,
        Self::LivingRoomRight,
        Self::Application,
        Self::Turntable,
        Self::Metronome,
    ];

    /// The port it is recorded from. A room that plays on the machine's real output is not recorded, as others may be heard
    /// there too: its channels stay silent.
    fn port(self, both: bool) -> String {
        let (sink, side) = match self {
            Self::KitchenLeft => (KITCHEN, "FL"),
            Self::KitchenRight => (KITCHEN, "FR"),
            Self::LivingRoomLeft if both => (LIVING_ROOM, "FL"),
            Self::LivingRoomRight if both => (LIVING_ROOM, "FR"),
            Self::Application => (APPLICATION, "FL"),
            Self::Turntable => (TURNTABLE, "FL"),
            Self::LivingRoomLeft | Self::LivingRoomRight | Self::Metronome => (METRONOME, "FL"),
        };
        format!("{sink}:monitor_{side}")
    }
}

pub(crate) const KITCHEN: &str = "Kitchen";
pub(crate) const LIVING_ROOM: &str = "Living Room";
pub(crate) const TURNTABLE: &str = "Turntable";
/// A sink that hears what the application plays, beside the rooms. The rooms' own sink also has a monitor, but whoever listens
/// to that keeps it playing, and the rooms with it.
pub(crate) const APPLICATION: &str = "Application";
const METRONOME: &str = "Metronome";
pub(crate) const EVERYWHERE: &str = "audera.Everywhere";

/// What of the recording belongs to which room.
pub(crate) const RECORDED: [(&str, [Channel; 2]); 2] = [
    (KITCHEN, [Channel::KitchenLeft, Channel::KitchenRight]),
    (LIVING_ROOM, [Channel::LivingRoomLeft, Channel::LivingRoomRight]),
];

/// All that runs. Dropping it ends all of it.
#[derive(Debug)]
pub(crate) struct Stage {
    // Dropped in this order: what uses the session before the session.
    rooms: Vec<(&'static str, Process)>,
    sinks: Process,
    source: Option<Process>,
    session: Session,
    product: Product,
    both_recorded: bool,
}

impl Stage {
    /// Starts the session, the rooms and the sink module, and waits until the sinks are there.
    pub fn build(arguments: &Arguments, screen: &mut Screen, interrupt: &mut Interrupt) -> Result<Self, Failure> {
        let product = Product::find()?;
        let real = arguments.output.as_deref().map(RealOutput::find).transpose()?;
        let mut step = Step::begin(screen, "private session: D-Bus, Avahi, PipeWire, WirePlumber")?;
        let session = product.session("audera-demo").start()?;
        interrupt.check()?;
        session.null_sink(&NullSink::new(METRONOME).driver())?;
        session.null_sink(&NullSink::new(APPLICATION))?;
        session.null_sink(&NullSink::new(TURNTABLE))?;
        interrupt.check()?;
        step.done("")?;

        let mut step = Step::begin(screen, "rooms \"Kitchen\" and \"Living Room\"")?;
        let begin = Instant::now();
        // Whatever this machine's own player is configured to be, it is not meant here.
        let settings = session.dir().join("player.toml");
        fs::write(&settings, "").map_err(|source| Error::File { path: settings.clone(), source })?;
        let settings = settings.display().to_string();
        let args = ["--config", settings.as_str()];
        let mut rooms = vec![(KITCHEN, product.room(&session, &NullSink::new(KITCHEN), KITCHEN, &args)?)];
        interrupt.check()?;
        rooms.push(match &real {
            None => (LIVING_ROOM, product.room(&session, &NullSink::new(LIVING_ROOM), LIVING_ROOM, &args)?),
            Some(real) => (LIVING_ROOM, real.player(&product, &session, &args)?),
        });
        interrupt.check()?;
        step.done("")?;

        let mut step = Step::begin(screen, "sink \"Audera Everywhere\", of a PipeWire process of its own")?;
        let sinks = product.module(&session, "sink", "")?;
        session.sink_port(EVERYWHERE, "FL")?;
        interrupt.check()?;
        step.done(&format!("after {:.1} s", begin.elapsed().as_secs_f64()))?;
        Ok(Self { rooms, sinks, source: None, session, product, both_recorded: real.is_none() })
    }

    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Starts the source module, which taps what is played to the sink "Turntable".
    pub fn tap(&mut self) -> Result<(), Failure> {
        let args = format!(
            "audera.name = \"{TURNTABLE}\" audera.rooms = [ \"Everywhere\" ] audera.listen = \"[::]:0\" \
             stream.props = {{ target.object = \"{TURNTABLE}\" stream.capture.sink = true }}"
        );
        self.source = Some(self.product.module(&self.session, "source", &args)?);
        // The source's own name for its capture is also that of its ports.
        Ok(self.session.wait_for_ports(&[format!("audera-source.{TURNTABLE}:input_FL")])?)
    }

    /// Lets the rooms' sink have what an application plays to the sink "Application". In this order, since a graph that is joined
    /// with another while it runs makes its clock jump: to the rooms the stream begins here, and nothing changes afterwards.
    pub fn lead_to_rooms(&self, playing: &mut Process) -> Result<(), Failure> {
        let outputs = playing.wait_until("pw-play playing beside the rooms", || {
            let graph = self.session.graph().ok()?;
            (graph.plays_to("pw-play") == [APPLICATION]).then_some(())?;
            let ports = self.session.run("pw-link", &["-o"]).ok()?;
            let ports = ports.lines().map(str::trim).filter(|port| port.starts_with("pw-play:output_"));
            Some(ports.map(str::to_owned).collect::<Vec<_>>())
        })?;
        for side in ["FL", "FR"] {
            let input = self.session.sink_port(EVERYWHERE, side)?;
            // What has no sides is for both.
            let of_side = outputs.iter().find(|port| port.ends_with(&format!("_{side}")));
            if let Some(output) = of_side.or(outputs.first()) {
                self.session.link(output, &input)?;
            }
        }
        Ok(())
    }

    /// Ends the source module.
    pub fn untap(&mut self) {
        self.source = None;
    }

    /// The product's processes, by what they are called in the table.
    pub fn processes(&self) -> impl Iterator<Item = (&'static str, &Process)> {
        let rooms = self.rooms.iter().map(|(room, process)| (*room, process));
        let source = self.source.iter().map(|process| ("source module", process));
        rooms.chain([("sink module", &self.sinks)]).chain(source)
    }

    /// Whether the second room is recorded too.
    pub fn both_recorded(&self) -> bool {
        self.both_recorded
    }

    /// Begins the recording, in the order of [`Channel::ALL`].
    pub fn record(&self) -> Result<Recorder, Failure> {
        let ports = Channel::ALL.map(|channel| channel.port(self.both_recorded));
        Ok(self.session.record(&ports.each_ref().map(String::as_str))?)
    }
}

/// An output of the user's own PipeWire session.
#[derive(Debug)]
struct RealOutput {
    runtime: PathBuf,
    output: String,
}

impl RealOutput {
    fn find(output: &str) -> Result<Self, Failure> {
        let remote = std::env::var("PIPEWIRE_REMOTE").unwrap_or_else(|_| "pipewire-0".to_owned());
        let folder = ["PIPEWIRE_RUNTIME_DIR", "XDG_RUNTIME_DIR"].iter().find_map(std::env::var_os);
        let runtime = folder.map_or_else(|| PathBuf::from("/run/user/0"), PathBuf::from);
        let socket = runtime.join(&remote);
        UnixStream::connect(&socket).map_err(|_| Failure::NoSession { socket })?;
        let output = if output == "default" { "pipewire".to_owned() } else { format!("pipewire:{output}") };
        Ok(Self { runtime, output })
    }

    /// A player on the session's network which plays to the user's PipeWire.
    fn player(&self, product: &Product, session: &Session, args: &[&str]) -> Result<Process, Error> {
        let all: Vec<&str> = ["--access", "open", "--output", &self.output].iter().chain(args).copied().collect();
        let inside = product.player_command(session, LIVING_ROOM, &all);
        let mut command = session.host().command_beside(inside.get_program());
        command.args(inside.get_args());
        // Announced on the session's network, all else is the user's.
        command.env("DBUS_SYSTEM_BUS_ADDRESS", session.system_bus()).env("XDG_RUNTIME_DIR", &self.runtime);
        let mut player = session.spawn(command)?;
        let log = player.log().to_owned();
        let ready = |log: &Path| fs::read_to_string(log).ok().filter(|text| text.contains(" ready "));
        player.wait_until("readiness of the player", || ready(&log).map(drop))?;
        Ok(player)
    }
}

/// Something that takes its time, and is shown to.
struct Step<'a> {
    screen: &'a mut Screen,
    what: &'static str,
    begin: Instant,
}

impl<'a> Step<'a> {
    fn begin(screen: &'a mut Screen, what: &'static str) -> Result<Self, Failure> {
        screen.begin(&format!("  {what} ..."))?;
        Ok(Self { screen, what, begin: Instant::now() })
    }

    fn done(&mut self, remark: &str) -> Result<(), Failure> {
        let took = format!("{:.1} s", self.begin.elapsed().as_secs_f64());
        let remark = if remark.is_empty() { &took } else { remark };
        self.screen.end(&format!("  {}: {remark}", self.what))
    }
}
