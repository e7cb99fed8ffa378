//! The network thread's part of a recording: finds the source, speaks with it as a player does, and puts what it streams onto the tape.

use std::cell::{Cell, RefCell};
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use audera_alsa_plugin::{Errno, OpenError};
use audera_clock::{ClockFilter, PlayerTime};
use audera_link::{Connection, Endpoint, MET_FILE, PeerId};
use audera_receiver::{Dialled, Source, Subscriber, announced, converse, now, subscribe};
use audera_sender::CodecChoice;
use audera_wire::{CloseCode, Coding, Formats, MAX_NAME, PlayerHello, SenderHello, Sound};
use tokio::sync::{oneshot, watch};
use tokio::task::spawn_local;
use tokio::time::{Instant, interval, sleep_until, timeout, timeout_at};

use super::answer::Answer;
use super::bell::Bell;
use super::choice::choose;
use super::conversation::Talk;
use super::pace::PaceCell;
use super::reel::{AHEAD, BEHIND, Reel};
use super::tape::{Reader, tape};
use crate::house::{SOFTWARE, program};
use crate::options::Network;

/// All that an open waits for: it is to fail within three seconds.
pub(super) const LIMIT: Duration = Duration::from_millis(2_700);
/// A source that streams says so at once. After this it is taken to be silent.
const SILENT: Duration = Duration::from_millis(250);
/// What a source streams unless it is told otherwise, and so what a silent one is expected to that does not say.
const USUAL: Sound = Sound { rate: 48_000, channels: 2 };
/// What the protocol carries.
const RATES: RangeInclusive<u32> = 44_100..=192_000;
const CHANNELS: RangeInclusive<u8> = 1..=8;
/// For a farewell.
const FAREWELL: Duration = Duration::from_millis(500);
const STATUS_PERIOD: Duration = Duration::from_secs(1);

/// What is to be recorded, and who wants to know.
pub(super) struct Order {
    /// The source as the user names it; `None` for the only one.
    pub wish: Option<String>,
    pub codec: CodecChoice,
    /// For how long a source may be away.
    pub patience: Duration,
    pub network: Network,
    /// Is told once.
    pub answer: Arc<Answer<Result<Opened, OpenError>>>,
    /// Ends the recording when the other end is dropped.
    pub closed: oneshot::Receiver<()>,
}

/// A recording that has begun.
#[derive(Debug)]
pub(super) struct Opened {
    pub source: String,
    pub rate: u32,
    pub channels: u8,
    pub tape: Reader,
    pub shared: Arc<Shared>,
}

/// What the network thread tells the application's besides sound.
#[derive(Debug)]
pub(super) struct Shared {
    pub pace: PaceCell,
    pub bell: Bell,
}

/// Records until the application closes the PCM, or the source is given up.
pub(super) async fn record(endpoint: Endpoint, order: Order) {
    let Order { wish, codec, patience, network, answer, mut closed } = order;
    let deadline = Instant::now() + LIMIT;
    let announced = network.discover.then(announced);
    let source = match choose(wish.as_deref(), announced.clone(), deadline).await {
        Ok(source) => source,
        Err(refusal) => return answer.give(Err(refusal)),
    };
    let recorder = Rc::new(Recorder::new(&source, codec));
    let _ends = Ends(recorder.clone());
    let dialler = Dialler(recorder.clone());
    let met = network.state_dir.join(MET_FILE);
    let recording = async {
        match recorder.open(&source, deadline).await {
            Ok(opened) => {
                answer.give(Ok(opened));
                recorder.go_on(patience).await;
            }
            Err(refusal) => answer.give(Err(refusal)),
        }
    };
    tokio::select! {
        () = subscribe(&dialler, &source, &endpoint, &met, announced) => {}
        () = recording => {}
        _ = &mut closed => {}
    }
    recorder.take_leave().await;
}

/// When this part ends, however that comes about, there is nothing to record any more, and nobody is left waiting.
struct Ends(Rc<Recorder>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

/// How far an open has come.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// The source has said hello.
    pub is_greeted: bool,
    /// What it streams, as it has told, or as a stream has that began meanwhile.
    pub sound: Option<Sound>,
    /// It does not take us.
    pub refusal: Option<String>,
    /// Why it is not reachable.
    trouble: Option<String>,
}

/// A recording, over all connections.
#[derive(Debug)]
pub(super) struct Recorder {
    name: String,
    source: Option<String>,
    formats: Formats,
    pub progress: watch::Sender<Progress>,
    /// `None` until it is known what is to be recorded.
    reel: RefCell<Option<Reel>>,
    shared: RefCell<Option<Arc<Shared>>>,
    /// Whose clock the reel goes by, and what is known of it while no connection is there.
    clock_of: Cell<Option<(PeerId, u64)>>,
    former: RefCell<Option<ClockFilter>>,
    /// Conversations that have not ended.
    talks: RefCell<Vec<Rc<Talk>>>,
    /// Since when no source is there that has said hello; `None` while one is.
    absent: watch::Sender<Option<Instant>>,
    /// What was last told of a stream that does not fit.
    pub complaint: RefCell<String>,
}

impl Recorder {
    fn new(source: &Source, codec: CodecChoice) -> Self {
        let codings = match codec {
            CodecChoice::Auto => Coding::ALL.to_vec(),
            CodecChoice::Pcm => Coding::ALL.into_iter().filter(|coding| *coding != Coding::Opus).collect(),
            CodecChoice::Opus => vec![Coding::Opus],
        };
        Self {
            name: own_name(),
            source: match source {
                Source::Named(name) => Some(name.clone()),
                Source::Address { .. } => None,
            },
            formats: Formats { codings, ..Formats::all() },
            progress: watch::Sender::default(),
            reel: RefCell::default(),
            shared: RefCell::default(),
            clock_of: Cell::new(None),
            former: RefCell::default(),
            talks: RefCell::default(),
            absent: watch::Sender::new(Some(Instant::now())),
            complaint: RefCell::default(),
        }
    }

    /// How the source shows this recording.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is said to a source.
    fn hello(&self, connection: &Connection, line: Option<u64>) -> PlayerHello {
        let mut hello = PlayerHello::new(&self.name, SOFTWARE);
        hello.formats = self.formats.clone();
        hello.source.clone_from(&self.source);
        hello.datagrams = connection.has_datagrams();
        hello.line = line;
        hello
    }

    /// Waits until the source is there, and finds out what it streams.
    async fn open(&self, source: &Source, deadline: Instant) -> Result<Opened, OpenError> {
        let mut progress = self.progress.subscribe();
        let answered = progress.wait_for(|progress| progress.is_greeted || progress.refusal.is_some());
        // An elapsed time and a sender that is gone are the same: what is known is looked at below.
        let _ = timeout_at(deadline, answered).await;
        let Progress { is_greeted, refusal, trouble, .. } = progress.borrow().clone();
        if let Some(why) = refusal {
            return Err(OpenError::refused(
                Errno::PERM,
                format!("the source \"{source}\" does not take this player: {why}"),
            ));
        }
        if !is_greeted {
            let why = trouble.unwrap_or_else(|| "it does not answer".to_owned());
            return Err(OpenError::refused(Errno::NODEV, format!("the source \"{source}\" cannot be reached: {why}")));
        }
        let known = timeout(SILENT, progress.wait_for(|progress| progress.sound.is_some())).await;
        let known = known.ok().and_then(|known| known.ok()?.sound);
        let Sound { rate, channels } = known.unwrap_or(USUAL);
        let bell = Bell::new().map_err(|error| OpenError::refused(error.into(), "there is no timer to be had"))?;
        let frames = (AHEAD + BEHIND).as_frames(rate) as usize + usize::from(u16::MAX);
        let (writer, reader) = tape(usize::from(channels), frames);
        let reel = Reel::new(writer, rate, now());
        let shared = Arc::new(Shared { pace: PaceCell::new(reel.pace()), bell });
        self.reel.replace(Some(reel));
        self.shared.replace(Some(shared.clone()));
        self.each_talk(Talk::consider);
        Ok(Opened { source: source.to_string(), rate, channels, tape: reader, shared })
    }

    /// Tells the source how the recording fares, until it has been away for longer than `patience`.
    async fn go_on(&self, patience: Duration) {
        let mut period = interval(STATUS_PERIOD);
        let mut absent = self.absent.subscribe();
        loop {
            let until = absent.borrow_and_update().map(|since| since + patience);
            tokio::select! {
                _ = period.tick() => self.each_talk(Talk::tell_status),
                Ok(()) = absent.changed() => {}
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => break,
            }
        }
        self.give_up();
    }

    /// There is nothing to record any more: the application is told.
    fn give_up(&self) {
        if let Some(shared) = &*self.shared.borrow() {
            shared.bell.give_up();
        }
    }

    /// Says farewell.
    async fn take_leave(&self) {
        self.each_talk(|talk| talk.close(CloseCode::Shutdown, "the recording has ended"));
        let mut absent = self.absent.subscribe();
        let all_gone = async {
            while !self.talks.borrow().is_empty() {
                // Fails only when the recorder is gone.
                let _ = absent.changed().await;
            }
        };
        // Who does not read in time sees the connection closed.
        let _ = timeout(FAREWELL, all_gone).await;
    }

    /// Without the list at hand, for its members may leave it when they are spoken to.
    fn each_talk(&self, act: impl Fn(&Talk)) {
        let talks = self.talks.borrow().clone();
        talks.iter().for_each(|talk| act(talk));
    }

    /// Works on the reel, if it is there, and lets the application know how it moves on.
    pub fn with_reel<R>(&self, work: impl FnOnce(&mut Reel) -> R) -> Option<R> {
        let mut reel = self.reel.borrow_mut();
        let reel = reel.as_mut()?;
        let outcome = work(reel);
        if let Some(shared) = &*self.shared.borrow() {
            shared.pace.set(reel.pace());
        }
        Some(outcome)
    }

    /// A source has told who it is: what is known of its clock, if it is the one that the reel goes by.
    pub fn greeted(&self, peer: PeerId, hello: &SenderHello, now: PlayerTime) -> Option<ClockFilter> {
        self.absent.send_replace(None);
        // A peer may tell anything.
        let sound = hello.sound.filter(|sound| RATES.contains(&sound.rate) && CHANNELS.contains(&sound.channels));
        self.progress.send_modify(|progress| {
            progress.is_greeted = true;
            progress.sound = sound.or(progress.sound);
        });
        let clock_of = hello.line.map(|line| (peer, line));
        let same = clock_of.is_some() && self.clock_of.replace(clock_of) == clock_of;
        let former = self.former.take().filter(|_| same);
        if !same {
            self.with_reel(|reel| reel.forget_clock(now));
        }
        former
    }

    /// A conversation has ended, however that came about.
    fn ended(&self, talk: &Rc<Talk>) {
        self.talks.borrow_mut().retain(|other| !Rc::ptr_eq(other, talk));
        if let Some(clock) = talk.clock.borrow_mut().take() {
            self.former.replace(Some(clock));
        }
        let anyone = self.talks.borrow().iter().any(|talk| talk.is_greeted());
        self.absent.send_modify(|absent| {
            if !anyone {
                absent.get_or_insert_with(Instant::now);
            }
        });
    }

    async fn speak(self: Rc<Self>, connection: Connection, talk: Rc<Talk>) -> Result<bool, String> {
        let address = connection.addr();
        self.talks.borrow_mut().push(talk.clone());
        let _entry = Entry { recorder: self, talk: talk.clone() };
        match converse(connection, &*talk).await {
            Ok(()) => tracing::debug!(%address, "disconnected"),
            Err(error) => tracing::info!(%address, "connection lost: {error}"),
        }
        match talk.take_refusal() {
            Some(refusal) => Err(refusal),
            None => Ok(talk.is_greeted()),
        }
    }
}

/// A conversation's place among the others.
struct Entry {
    recorder: Rc<Recorder>,
    talk: Rc<Talk>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.recorder.ended(&self.talk);
    }
}

/// Dials on behalf of a recorder.
struct Dialler(Rc<Recorder>);

impl Subscriber for Dialler {
    type Conversation = Talk;

    fn begin(&self, connection: Connection, line: Option<u64>) -> Dialled<Talk> {
        let hello = self.0.hello(&connection, line);
        let talk = Talk::new(self.0.clone(), connection.peer(), hello);
        let ended = spawn_local(self.0.clone().speak(connection, talk.clone()));
        Dialled { conversation: talk, ended }
    }

    fn trouble(&self, why: &str) {
        tracing::info!(source = self.0.source, "not reachable: {why}");
        self.0.progress.send_modify(|progress| progress.trouble = Some(why.to_owned()));
    }
}

/// The program on this host, as sources list it.
fn own_name() -> String {
    let mut name = format!("{} on {}", program(), rustix::system::uname().nodename().to_string_lossy());
    while name.len() > MAX_NAME {
        name.pop();
    }
    name
}
