//! A plugin under the real alsa-lib: a deck that moves only when the test says so.

use std::{
    ffi::{CStr, c_int},
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    ptr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU64, Ordering::SeqCst},
    },
    thread,
};

use alsa_sys as raw;
use audera_alsa_plugin::{
    Allowed, ChannelMap, ChannelMapKind, Constraints, Errno, Format, Io, OpenError, Pcm, Position, Request, Setup,
    State, Stream,
};

/// What the test and the deck share. The deck finds it by its number, which is an option.
struct Hand {
    position: AtomicU64,
    wake_at: AtomicU64,
    gone: AtomicBool,
    suspended: AtomicBool,
    /// What a try to resume gives.
    resumes: AtomicI32,
    panics: AtomicBool,
    /// Where the application has moved to by itself.
    moves: Mutex<Vec<u64>>,
    stops: AtomicU64,
    began: AtomicI64,
    heard: Mutex<Vec<u8>>,
    event: OwnedFd,
}

static HANDS: Mutex<Vec<Arc<Hand>>> = Mutex::new(Vec::new());

impl Hand {
    /// A new one, and its number.
    fn new() -> (Arc<Self>, usize) {
        // SAFETY: takes no pointers; the descriptor is new.
        let event = unsafe { OwnedFd::from_raw_fd(libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK)) };
        let hand = Arc::new(Self {
            position: AtomicU64::new(0),
            wake_at: AtomicU64::new(0),
            gone: AtomicBool::new(false),
            suspended: AtomicBool::new(false),
            resumes: AtomicI32::new(0),
            moves: Mutex::new(Vec::new()),
            panics: AtomicBool::new(false),
            stops: AtomicU64::new(0),
            began: AtomicI64::new(-1),
            heard: Mutex::new(Vec::new()),
            event,
        });
        let mut hands = HANDS.lock().unwrap();
        hands.push(hand.clone());
        (hand, hands.len() - 1)
    }

    fn kick(&self) {
        // SAFETY: eight bytes, as an eventfd takes them.
        unsafe { libc::write(self.event.as_raw_fd(), (&raw const ONE).cast(), 8) };
    }

    /// Plays up to there.
    fn move_to(&self, position: u64) {
        self.position.store(position, SeqCst);
        if position >= self.wake_at.load(SeqCst) {
            self.kick();
        }
    }

    /// The machine sleeps, and wakes up again.
    fn suspend(&self) {
        self.suspended.store(true, SeqCst);
        self.kick();
    }

    fn unplug(&self) {
        self.gone.store(true, SeqCst);
        self.kick();
    }
}

static ONE: u64 = 1;

struct Deck<const RESUMES: bool = false> {
    hand: Arc<Hand>,
    map: Vec<u32>,
}

impl<const RESUMES: bool> Pcm for Deck<RESUMES> {
    const NAME: &'static CStr = c"deck";
    const CAN_PAUSE: bool = true;
    const CAN_RESUME: bool = RESUMES;

    fn open(request: &mut Request) -> Result<(Self, Constraints), OpenError> {
        let hand = request.options.integer("hand", 0..=1000)?.unwrap_or(-1);
        let hand = usize::try_from(hand).ok().and_then(|hand| HANDS.lock().unwrap().get(hand).cloned());
        let hand = hand.ok_or_else(|| OpenError::refused(Errno::NODEV, "there is no such hand"))?;
        let constraints = Constraints {
            formats: vec![Format::S16, Format::F32],
            channels: (1..=2).into(),
            rates: Allowed::List(vec![44_100, 48_000]),
            period_bytes: (64..=65_536).into(),
            buffer_bytes: (128..=131_072).into(),
            periods: None,
        };
        Ok((Self { hand, map: Vec::new() }, constraints))
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.hand.event.as_fd()
    }

    fn describe(&self) -> String {
        "A deck turned by hand".to_owned()
    }

    fn set_up(&mut self, setup: &Setup) -> Result<(), Errno> {
        self.map = vec![raw::SND_CHMAP_FL, raw::SND_CHMAP_FR];
        self.map.truncate(setup.channels);
        Ok(())
    }

    fn prepare(&mut self) -> Result<(), Errno> {
        self.hand.suspended.store(false, SeqCst);
        self.hand.position.store(0, SeqCst);
        Ok(())
    }

    fn start(&mut self, io: &Io) -> Result<(), Errno> {
        self.hand.began.store(io.applied as i64, SeqCst);
        Ok(())
    }

    fn stop(&mut self, _io: &Io) {
        self.hand.stops.fetch_add(1, SeqCst);
    }

    fn position(&mut self, _io: &Io) -> Position {
        match (self.hand.gone.load(SeqCst), self.hand.suspended.load(SeqCst)) {
            (true, _) => Position::Gone,
            (_, true) => Position::Suspended,
            _ => Position::At(self.hand.position.load(SeqCst)),
        }
    }

    fn moved(&mut self, io: &Io) {
        self.hand.moves.lock().unwrap().push(io.applied);
    }

    fn resume(&mut self, _io: &Io) -> Result<(), Errno> {
        match self.hand.resumes.load(SeqCst) {
            0 => self.hand.suspended.store(false, SeqCst),
            refused => return Err(Errno::new(refused)),
        }
        Ok(())
    }

    fn play(&mut self, _io: &Io, frames: &[u8]) -> Result<(), Errno> {
        assert!(!self.hand.panics.load(SeqCst), "on purpose");
        self.hand.heard.lock().unwrap().extend(frames);
        Ok(())
    }

    fn record(&mut self, io: &Io, frames: &mut [u8]) -> Result<(), Errno> {
        for (n, sample) in frames.chunks_exact_mut(2).enumerate() {
            sample.copy_from_slice(&((io.applied as usize * 2 + n) as u16).to_le_bytes());
        }
        Ok(())
    }

    fn delay(&mut self, io: &Io, stream: Stream) -> i64 {
        io.waiting(stream) + 1000
    }

    fn wake_at(&mut self, position: u64) {
        self.hand.wake_at.store(position, SeqCst);
        let mut count = 0_u64;
        // SAFETY: eight bytes, as an eventfd gives them; it does not block.
        unsafe { libc::read(self.hand.event.as_raw_fd(), (&raw mut count).cast(), 8) };
        if self.hand.gone.load(SeqCst)
            || self.hand.suspended.load(SeqCst)
            || self.hand.position.load(SeqCst) >= position
        {
            self.hand.kick();
        }
    }

    fn pause(&mut self, _io: &Io, _hold: bool) -> Result<(), Errno> {
        Ok(())
    }

    fn channel_maps(&self) -> Vec<ChannelMap> {
        vec![ChannelMap { kind: ChannelMapKind::Fixed, positions: self.map.clone() }]
    }

    fn channel_map(&self) -> Option<Vec<u32>> {
        (!self.map.is_empty()).then(|| self.map.clone())
    }
}

/// A PCM as an application has it.
struct Opened(*mut raw::snd_pcm_t);

// SAFETY: alsa-lib locks a PCM; the tests that share one mean to.
unsafe impl Send for Opened {}
// SAFETY: as above.
unsafe impl Sync for Opened {}

impl Drop for Opened {
    fn drop(&mut self) {
        // SAFETY: open.
        unsafe { raw::snd_pcm_close(self.0) };
    }
}

const PERIOD: u64 = 100;
const BUFFER: u64 = 450;

fn open(definition: &str, stream: u32, mode: u32) -> Result<Opened, c_int> {
    open_as::<Deck>(definition, stream, mode)
}

fn open_as<P: Pcm>(definition: &str, stream: u32, mode: u32) -> Result<Opened, c_int> {
    let text = format!("{definition}\n");
    let mut pcm = ptr::null_mut();
    // SAFETY: each is given places for what it makes, and the text is as long as it is said to be.
    let result = unsafe {
        let (mut config, mut input) = (ptr::null_mut(), ptr::null_mut());
        assert_eq!(raw::snd_config_top(&raw mut config), 0);
        let length = text.len() as libc::ssize_t;
        assert_eq!(raw::snd_input_buffer_open(&raw mut input, text.as_ptr().cast(), length), 0);
        assert_eq!(raw::snd_config_load(config, input), 0);
        raw::snd_input_close(input);
        let (open, mode) = (audera_alsa_plugin::pcm::open::<P>, mode as c_int);
        let result = open(&raw mut pcm, c"test".as_ptr(), ptr::null_mut(), config, stream, mode);
        raw::snd_config_delete(config);
        result
    };
    if result < 0 { Err(result) } else { Ok(Opened(pcm)) }
}

impl Opened {
    /// Sets it up for 16 bits, stereo.
    fn set_up(stream: u32, mode: u32, access: u32) -> (Self, Arc<Hand>) {
        Self::set_up_as::<Deck>(stream, mode, access)
    }

    fn set_up_as<P: Pcm>(stream: u32, mode: u32, access: u32) -> (Self, Arc<Hand>) {
        let (hand, number) = Hand::new();
        let pcm = open_as::<P>(&format!("type deck\nhand {number}"), stream, mode).unwrap();
        let (mut hw, mut sw) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: an open PCM and parameters that are freed at the end.
        unsafe {
            raw::snd_pcm_hw_params_malloc(&raw mut hw);
            assert!(raw::snd_pcm_hw_params_any(pcm.0, hw) >= 0);
            assert_eq!(raw::snd_pcm_hw_params_set_access(pcm.0, hw, access), 0);
            assert_eq!(raw::snd_pcm_hw_params_set_format(pcm.0, hw, raw::SND_PCM_FORMAT_S16_LE), 0);
            assert_eq!(raw::snd_pcm_hw_params_set_channels(pcm.0, hw, 2), 0);
            assert_eq!(raw::snd_pcm_hw_params_set_rate(pcm.0, hw, 48_000, 0), 0);
            assert!(raw::snd_pcm_hw_params_set_rate(pcm.0, hw, 32_000, 0) < 0);
            assert_eq!(raw::snd_pcm_hw_params_set_period_size(pcm.0, hw, PERIOD, 0), 0);
            assert_eq!(raw::snd_pcm_hw_params_set_buffer_size(pcm.0, hw, BUFFER), 0);
            assert_eq!(raw::snd_pcm_hw_params(pcm.0, hw), 0);
            raw::snd_pcm_hw_params_free(hw);
            raw::snd_pcm_sw_params_malloc(&raw mut sw);
            assert_eq!(raw::snd_pcm_sw_params_current(pcm.0, sw), 0);
            assert_eq!(raw::snd_pcm_sw_params_set_avail_min(pcm.0, sw, PERIOD), 0);
            assert_eq!(raw::snd_pcm_sw_params_set_start_threshold(pcm.0, sw, 2 * PERIOD), 0);
            assert_eq!(raw::snd_pcm_sw_params(pcm.0, sw), 0);
            raw::snd_pcm_sw_params_free(sw);
        }
        (pcm, hand)
    }

    fn playback(mode: u32) -> (Self, Arc<Hand>) {
        Self::set_up(raw::SND_PCM_STREAM_PLAYBACK, mode, raw::SND_PCM_ACCESS_RW_INTERLEAVED)
    }

    fn write(&self, samples: &[u16]) -> i64 {
        // SAFETY: an open PCM, and as many frames as there are.
        unsafe { raw::snd_pcm_writei(self.0, samples.as_ptr().cast(), samples.len() as u64 / 2) }
    }

    fn read(&self, samples: &mut [u16]) -> i64 {
        // SAFETY: an open PCM, and room for as many frames.
        unsafe { raw::snd_pcm_readi(self.0, samples.as_mut_ptr().cast(), samples.len() as u64 / 2) }
    }

    fn state(&self) -> State {
        // SAFETY: an open PCM.
        match unsafe { raw::snd_pcm_state(self.0) } {
            raw::SND_PCM_STATE_SETUP => State::Setup,
            raw::SND_PCM_STATE_PREPARED => State::Prepared,
            raw::SND_PCM_STATE_RUNNING => State::Running,
            raw::SND_PCM_STATE_XRUN => State::Xrun,
            raw::SND_PCM_STATE_DRAINING => State::Draining,
            raw::SND_PCM_STATE_PAUSED => State::Paused,
            raw::SND_PCM_STATE_SUSPENDED => State::Suspended,
            _ => State::Disconnected,
        }
    }

    fn call(&self, function: unsafe extern "C" fn(*mut raw::snd_pcm_t) -> c_int) -> c_int {
        // SAFETY: a function of an open PCM.
        unsafe { function(self.0) }
    }

    fn delay(&self) -> i64 {
        self.try_delay().unwrap()
    }

    fn try_delay(&self) -> Result<i64, c_int> {
        let mut delay = 0;
        // SAFETY: an open PCM and a place for the delay.
        match unsafe { raw::snd_pcm_delay(self.0, &raw mut delay) } {
            0 => Ok(delay),
            error => Err(error),
        }
    }

    fn available(&self) -> i64 {
        // SAFETY: an open PCM.
        unsafe { raw::snd_pcm_avail_update(self.0) }
    }

    /// Runs on when there is nothing left.
    fn never_stop(&self) {
        let (mut sw, mut boundary) = (ptr::null_mut(), 0);
        // SAFETY: an open PCM and parameters that are freed at the end.
        unsafe {
            raw::snd_pcm_sw_params_malloc(&raw mut sw);
            assert_eq!(raw::snd_pcm_sw_params_current(self.0, sw), 0);
            assert_eq!(raw::snd_pcm_sw_params_get_boundary(sw, &raw mut boundary), 0);
            assert_eq!(raw::snd_pcm_sw_params_set_stop_threshold(self.0, sw, boundary), 0);
            assert_eq!(raw::snd_pcm_sw_params(self.0, sw), 0);
            raw::snd_pcm_sw_params_free(sw);
        }
    }

    /// What a poll that does not wait gives, as an application does it.
    fn polled(&self) -> i16 {
        let mut poll = libc::pollfd { fd: -1, events: 0, revents: 0 };
        let mut means = 0_u16;
        // SAFETY: an open PCM with one descriptor, and places for what is asked.
        unsafe {
            assert_eq!(raw::snd_pcm_poll_descriptors_count(self.0), 1);
            assert_eq!(raw::snd_pcm_poll_descriptors(self.0, (&raw mut poll).cast(), 1), 1);
            assert!(libc::poll(&raw mut poll, 1, 0) >= 0, "{}", io::Error::last_os_error());
            assert_eq!(raw::snd_pcm_poll_descriptors_revents(self.0, (&raw mut poll).cast(), 1, &raw mut means), 0);
        }
        means as i16
    }
}

fn samples(frames: u64) -> Vec<u16> {
    (0..frames as u16 * 2).collect()
}

fn bytes(samples: &[u16]) -> Vec<u8> {
    samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

const NONBLOCK: u32 = raw::SND_PCM_NONBLOCK;

#[test]
fn an_application_is_paced_by_the_plugin() {
    let (pcm, hand) = Opened::playback(NONBLOCK);
    assert_eq!(pcm.polled(), libc::POLLOUT);
    let sound = samples(1000);
    assert_eq!(pcm.write(&sound[..200]), 100);
    assert_eq!(pcm.state(), State::Prepared);
    assert_eq!(pcm.write(&sound[200..]), 350, "as much as there is room for");
    assert_eq!((pcm.state(), hand.began.load(SeqCst)), (State::Running, 450));
    assert_eq!((pcm.polled(), pcm.write(&sound[900..])), (0, i64::from(-libc::EAGAIN)));
    assert_eq!(pcm.delay(), 450 + 1000);
    hand.move_to(99);
    assert_eq!(pcm.polled(), 0);
    hand.move_to(130);
    assert_eq!(pcm.polled(), libc::POLLOUT);
    assert_eq!(pcm.write(&sound[900..]), 130);
    assert_eq!(pcm.polled(), 0);
    assert_eq!(*hand.heard.lock().unwrap(), bytes(&sound[..2 * 580]));
    // Many buffers later.
    for period in 1..300 {
        hand.move_to(130 + period * PERIOD);
        assert_eq!(pcm.polled(), libc::POLLOUT, "period {period}");
        assert!(pcm.write(&sound[..2 * PERIOD as usize]) > 0);
        assert_eq!(pcm.polled(), 0, "period {period}");
    }
}

#[test]
fn one_that_is_late_gets_an_xrun_and_can_go_on() {
    let (pcm, hand) = Opened::playback(NONBLOCK);
    assert_eq!(pcm.write(&samples(300)), 300);
    hand.move_to(299);
    assert_eq!(pcm.polled(), libc::POLLOUT);
    assert_eq!(hand.stops.load(SeqCst), 0);
    hand.move_to(300);
    assert_eq!(pcm.polled(), libc::POLLOUT | libc::POLLERR);
    assert_eq!((pcm.state(), hand.stops.load(SeqCst)), (State::Xrun, 1));
    assert_eq!(pcm.write(&samples(10)), i64::from(-libc::EPIPE));
    assert_eq!(pcm.call(raw::snd_pcm_prepare), 0);
    assert_eq!(pcm.polled(), libc::POLLOUT);
    assert_eq!(pcm.write(&samples(300)), 300);
    assert_eq!(pcm.state(), State::Running);
}

#[test]
fn a_drain_lasts_until_all_is_played() {
    let (pcm, hand) = Opened::playback(NONBLOCK);
    // Too little to start by itself.
    assert_eq!(pcm.write(&samples(150)), 150);
    assert_eq!(pcm.call(raw::snd_pcm_drain), -libc::EAGAIN);
    assert_eq!((pcm.state(), hand.began.load(SeqCst)), (State::Draining, 150));
    hand.move_to(149);
    assert_eq!((pcm.polled(), pcm.call(raw::snd_pcm_drain)), (0, -libc::EAGAIN));
    hand.move_to(170);
    assert_eq!(pcm.polled(), libc::POLLOUT);
    assert_eq!((pcm.call(raw::snd_pcm_drain), pcm.state()), (0, State::Setup));
}

/// Plays until the PCM has noticed that it is drained of, from a thread.
fn in_a_drain(end: impl FnOnce(&Opened, &Hand)) -> c_int {
    let (pcm, hand) = Opened::playback(0);
    assert_eq!(pcm.write(&samples(250)), 250);
    thread::scope(|scope| {
        let drain = scope.spawn(|| pcm.call(raw::snd_pcm_drain));
        while pcm.state() != State::Draining {
            thread::yield_now();
        }
        end(&pcm, &hand);
        drain.join().unwrap()
    })
}

#[test]
fn an_application_that_waits_for_a_drain_is_woken() {
    assert_eq!(in_a_drain(|_, hand| hand.move_to(250)), 0);
    assert_eq!(in_a_drain(|_, hand| hand.unplug()), -libc::ENODEV, "not all was played");
    assert_eq!(in_a_drain(|pcm, _| assert_eq!(pcm.call(raw::snd_pcm_drop), 0)), 0);
}

#[test]
fn a_drain_that_is_polled_for_tells_of_a_device_that_is_gone() {
    let (pcm, hand) = Opened::playback(NONBLOCK);
    assert_eq!(pcm.write(&samples(250)), 250);
    assert_eq!(pcm.call(raw::snd_pcm_drain), -libc::EAGAIN);
    hand.unplug();
    assert_eq!((pcm.call(raw::snd_pcm_drain), pcm.state()), (-libc::ENODEV, State::Disconnected));
    // What was taken back before is not waited for, and nothing is not waited for at all.
    let (pcm, hand) = Opened::playback(0);
    assert_eq!(pcm.write(&samples(150)), 150);
    // SAFETY: an open PCM.
    assert_eq!(unsafe { raw::snd_pcm_rewind(pcm.0, 150) }, 150);
    assert_eq!((pcm.call(raw::snd_pcm_drain), pcm.state()), (0, State::Setup));
    assert_eq!(hand.position.load(SeqCst), 0);
}

#[test]
fn one_that_waits_for_room_is_woken() {
    let (pcm, hand) = Opened::playback(0);
    assert_eq!(pcm.write(&samples(450)), 450);
    thread::scope(|scope| {
        let writer = scope.spawn(|| pcm.write(&samples(200)));
        hand.move_to(120);
        hand.move_to(240);
        assert_eq!(writer.join().unwrap(), 200);
    });
}

#[test]
fn what_is_unplugged_is_no_device() {
    let (pcm, hand) = Opened::playback(NONBLOCK);
    assert_eq!(pcm.write(&samples(450)), 450);
    hand.unplug();
    assert_eq!(pcm.polled(), libc::POLLOUT | libc::POLLERR);
    assert_eq!(pcm.state(), State::Disconnected);
    assert_eq!(pcm.write(&samples(10)), i64::from(-libc::ENODEV));
    // SAFETY: an open PCM.
    assert_eq!(unsafe { raw::snd_pcm_wait(pcm.0, 1000) }, -libc::ENODEV);
}

#[test]
fn what_is_unplugged_takes_nothing() {
    let (pcm, hand) = Opened::playback(NONBLOCK);
    assert_eq!(pcm.write(&samples(300)), 300);
    hand.unplug();
    assert_eq!((pcm.write(&samples(10)), pcm.state()), (i64::from(-libc::ENODEV), State::Disconnected));
    assert_eq!(*hand.heard.lock().unwrap(), bytes(&samples(300)));
}

#[test]
fn after_the_machine_slept_an_application_prepares() {
    let (pcm, hand) = Opened::playback(NONBLOCK);
    assert_eq!(pcm.write(&samples(450)), 450);
    hand.suspend();
    assert_eq!(pcm.polled(), libc::POLLOUT | libc::POLLERR);
    assert_eq!((pcm.state(), pcm.write(&samples(10))), (State::Xrun, i64::from(-libc::EPIPE)));
    assert_eq!(pcm.call(raw::snd_pcm_prepare), 0);
    assert_eq!((pcm.write(&samples(450)), pcm.state()), (450, State::Running));
    // The same where nobody has polled.
    hand.suspend();
    assert_eq!((pcm.available(), pcm.state()), (i64::from(-libc::EPIPE), State::Xrun));
}

#[test]
fn a_plugin_that_can_resume_does() {
    let access = raw::SND_PCM_ACCESS_RW_INTERLEAVED;
    let (pcm, hand) = Opened::set_up_as::<Deck<true>>(raw::SND_PCM_STREAM_PLAYBACK, NONBLOCK, access);
    assert_eq!(pcm.write(&samples(450)), 450);
    hand.suspend();
    assert_eq!((pcm.polled(), pcm.state()), (libc::POLLOUT | libc::POLLERR, State::Suspended));
    assert_eq!(pcm.write(&samples(10)), i64::from(-libc::ESTRPIPE));
    hand.resumes.store(libc::EAGAIN, SeqCst);
    pcm.call(raw::snd_pcm_resume);
    assert_eq!(pcm.state(), State::Suspended);
    hand.resumes.store(0, SeqCst);
    assert_eq!((pcm.call(raw::snd_pcm_resume), pcm.state()), (0, State::Running));
    hand.move_to(100);
    assert_eq!(pcm.polled(), libc::POLLOUT);
    // alsa-lib says that it has gone well whatever the plugin says: an application that believes it has to find out.
    hand.suspend();
    hand.resumes.store(libc::EIO, SeqCst);
    assert_eq!(pcm.write(&samples(10)), i64::from(-libc::ESTRPIPE));
    assert_eq!((pcm.call(raw::snd_pcm_resume), pcm.state()), (0, State::Xrun));
    assert_eq!(pcm.write(&samples(10)), i64::from(-libc::EPIPE));
}

#[test]
fn an_xrun_that_the_delay_shows_is_one() {
    let (pcm, hand) = Opened::playback(NONBLOCK);
    assert_eq!(pcm.write(&samples(300)), 300);
    hand.move_to(300);
    // It is told as of the last position for a while.
    let refused = loop {
        match pcm.try_delay() {
            Ok(delay) => assert_eq!(delay, 300 + 1000),
            Err(refused) => break refused,
        }
    };
    assert_eq!((refused, pcm.state(), hand.stops.load(SeqCst)), (-libc::EPIPE, State::Xrun, 1));
    assert_eq!(pcm.try_delay(), Err(-libc::EPIPE), "nothing is on its way to be heard");
}

#[test]
fn what_does_not_go_on_has_no_delay() {
    let access = raw::SND_PCM_ACCESS_RW_INTERLEAVED;
    let (pcm, _hand) = Opened::playback(NONBLOCK);
    assert_eq!(pcm.try_delay(), Ok(1000));
    assert_eq!((pcm.call(raw::snd_pcm_drop), pcm.state()), (0, State::Setup));
    assert_eq!(pcm.try_delay(), Err(-libc::EBADFD), "as a card");
    let (pcm, hand) = Opened::set_up_as::<Deck<true>>(raw::SND_PCM_STREAM_PLAYBACK, NONBLOCK, access);
    assert_eq!(pcm.write(&samples(450)), 450);
    hand.suspend();
    assert_eq!((pcm.polled(), pcm.state()), (libc::POLLOUT | libc::POLLERR, State::Suspended));
    assert_eq!(pcm.try_delay(), Err(-libc::ESTRPIPE));
    hand.unplug();
    let (pcm, hand) = Opened::playback(NONBLOCK);
    assert_eq!(pcm.write(&samples(450)), 450);
    hand.unplug();
    assert_eq!((pcm.polled(), pcm.state()), (libc::POLLOUT | libc::POLLERR, State::Disconnected));
    assert_eq!(pcm.try_delay(), Err(-libc::ENODEV));
}

#[test]
fn what_is_taken_back_is_noticed() {
    let (pcm, hand) = Opened::playback(NONBLOCK);
    assert_eq!(pcm.write(&samples(450)), 450);
    hand.move_to(50);
    assert_eq!((pcm.available(), pcm.polled()), (50, 0));
    // SAFETY: an open PCM.
    assert_eq!(unsafe { raw::snd_pcm_rewind(pcm.0, 100) }, 100);
    assert_eq!((pcm.available(), pcm.polled()), (150, libc::POLLOUT));
    assert_eq!(*hand.moves.lock().unwrap(), [350]);
    assert_eq!(pcm.write(&samples(60)), 60);
    assert_eq!((pcm.available(), pcm.delay()), (90, 360 + 1000));
    // SAFETY: an open PCM.
    assert_eq!(unsafe { raw::snd_pcm_forward(pcm.0, 20) }, 20);
    assert_eq!(pcm.write(&samples(10)), 10);
    assert_eq!((pcm.available(), pcm.delay()), (60, 390 + 1000));
    assert_eq!(*hand.moves.lock().unwrap(), [350, 430]);
}

#[test]
fn counts_that_are_set_to_nought_go_on_from_there() {
    let (pcm, hand) = Opened::playback(NONBLOCK);
    pcm.never_stop();
    assert_eq!(pcm.write(&samples(450)), 450);
    hand.move_to(100);
    assert_eq!(pcm.available(), 100);
    assert_eq!(pcm.call(raw::snd_pcm_reset), 0);
    assert_eq!(pcm.available(), BUFFER as i64, "all of the buffer is free");
    assert_eq!(*hand.moves.lock().unwrap(), [100]);
    assert_eq!(pcm.write(&samples(300)), 300);
    hand.move_to(150);
    assert_eq!(pcm.available(), 200);
    assert_eq!((pcm.delay(), pcm.state()), (250 + 1000, State::Running));
    assert_eq!(*hand.moves.lock().unwrap(), [100]);
}

#[test]
fn one_that_runs_stumbles_when_its_counts_are_set_to_nought() {
    let (pcm, hand) = Opened::playback(NONBLOCK);
    assert_eq!(pcm.write(&samples(450)), 450);
    hand.move_to(100);
    assert_eq!(pcm.available(), 100);
    assert_eq!(pcm.call(raw::snd_pcm_reset), 0);
    // As a card: there is nothing left to be played.
    assert_eq!((pcm.write(&samples(10)), pcm.state()), (i64::from(-libc::EPIPE), State::Xrun));
}

unsafe extern "C" {
    fn pthread_setcancelstate(state: c_int, before: *mut c_int) -> c_int;
}

#[test]
fn a_thread_is_not_cancelled_within_the_plugin() {
    let (pcm, _hand) = Opened::playback(NONBLOCK);
    thread::scope(|scope| {
        let cancelled = scope.spawn(|| {
            let mut disabled = 0;
            // SAFETY: this very thread, which is to be cancelled at the next point for it; the deck comes by one, its read.
            unsafe { libc::pthread_cancel(libc::pthread_self()) };
            let written = pcm.write(&samples(440));
            // SAFETY: a place for what was; from here on it is not to be cancelled.
            unsafe { pthread_setcancelstate(1, &raw mut disabled) };
            (written, disabled)
        });
        assert_eq!(cancelled.join().unwrap(), (440, 0), "written, and free to be cancelled again");
    });
}

#[test]
fn a_panic_is_as_if_unplugged() {
    let (pcm, hand) = Opened::playback(NONBLOCK);
    hand.panics.store(true, SeqCst);
    assert_eq!(pcm.write(&samples(10)), i64::from(-libc::ENODEV));
    assert_eq!(pcm.state(), State::Disconnected);
    assert_eq!(pcm.call(raw::snd_pcm_prepare), -libc::ENODEV);
}

#[test]
fn a_forked_process_gets_no_device() {
    let (pcm, _hand) = Opened::playback(NONBLOCK);
    assert_eq!(pcm.write(&samples(10)), 10);
    // SAFETY: the child calls alsa-lib's plain functions and ends at once, without unwinding or running destructors.
    let child = unsafe {
        match libc::fork() {
            0 => {
                let refused = raw::snd_pcm_writei(pcm.0, [0_u16; 20].as_ptr().cast(), 10);
                libc::_exit(i32::from(refused != i64::from(-libc::ENODEV)))
            }
            child => child,
        }
    };
    let mut status = -1;
    // SAFETY: our own child, and a place for how it ended.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0);
    assert_eq!(pcm.write(&samples(10)), 10, "the parent plays on");
}

#[test]
fn a_paused_pcm_is_released() {
    let (pcm, hand) = Opened::playback(NONBLOCK);
    assert_eq!(pcm.write(&samples(450)), 450);
    // SAFETY: an open PCM.
    unsafe {
        assert_eq!(raw::snd_pcm_pause(pcm.0, 1), 0);
        assert_eq!((pcm.state(), pcm.polled()), (State::Paused, 0));
        assert_eq!(raw::snd_pcm_pause(pcm.0, 0), 0);
    }
    hand.move_to(100);
    assert_eq!((pcm.state(), pcm.polled()), (State::Running, libc::POLLOUT));
}

#[test]
fn mmap_is_as_good_as_writing() {
    let access = raw::SND_PCM_ACCESS_MMAP_INTERLEAVED;
    let (pcm, hand) = Opened::set_up(raw::SND_PCM_STREAM_PLAYBACK, NONBLOCK, access);
    let sound = samples(700);
    // SAFETY: an open PCM, and as many frames as are said.
    let write =
        |frames: &[u16]| unsafe { raw::snd_pcm_mmap_writei(pcm.0, frames.as_ptr().cast(), frames.len() as u64 / 2) };
    assert_eq!(write(&sound[..800]), 400);
    hand.move_to(300);
    assert_eq!(write(&sound[800..]), 300, "across the end of the buffer");
    assert_eq!(*hand.heard.lock().unwrap(), bytes(&sound));
}

#[test]
fn a_recording_is_read_in_order() {
    let access = raw::SND_PCM_ACCESS_RW_INTERLEAVED;
    let (pcm, hand) = Opened::set_up(raw::SND_PCM_STREAM_CAPTURE, NONBLOCK, access);
    assert_eq!(pcm.call(raw::snd_pcm_start), 0);
    assert_eq!(pcm.polled(), 0);
    let mut got = vec![0; 800];
    hand.move_to(250);
    assert_eq!(pcm.polled(), libc::POLLIN);
    assert_eq!(pcm.read(&mut got[..300]), 150);
    assert_eq!(pcm.read(&mut got[300..]), 100);
    assert_eq!(got[..500], samples(250));
    assert_eq!(pcm.polled(), 0);
    hand.move_to(250 + BUFFER);
    assert_eq!(pcm.read(&mut got), i64::from(-libc::EPIPE));
}

#[test]
fn a_recording_through_mmap_begins_with_nothing_and_goes_across_the_end_of_the_buffer() {
    let access = raw::SND_PCM_ACCESS_MMAP_INTERLEAVED;
    let (pcm, hand) = Opened::set_up(raw::SND_PCM_STREAM_CAPTURE, NONBLOCK, access);
    let (mut areas, mut offset, mut frames) = (ptr::null(), 0, 100);
    // SAFETY: an open PCM, and places for what it gives.
    let begun = unsafe { raw::snd_pcm_mmap_begin(pcm.0, &raw mut areas, &raw mut offset, &raw mut frames) };
    assert_eq!((begun, frames), (0, 0), "nothing has been recorded");
    assert_eq!(pcm.call(raw::snd_pcm_start), 0);
    let mut got = vec![0; 2 * 700];
    let read = |got: &mut [u16]| {
        // SAFETY: an open PCM, and room for as many frames as are said.
        unsafe { raw::snd_pcm_mmap_readi(pcm.0, got.as_mut_ptr().cast(), got.len() as u64 / 2) }
    };
    hand.move_to(400);
    assert_eq!(read(&mut got[..800]), 400);
    hand.move_to(700);
    assert_eq!(read(&mut got[800..]), 300, "across the end of the buffer");
    assert_eq!(got, samples(700));
}

#[test]
fn a_recording_that_is_drained_wakes_once_at_its_end() {
    let access = raw::SND_PCM_ACCESS_RW_INTERLEAVED;
    let (pcm, hand) = Opened::set_up(raw::SND_PCM_STREAM_CAPTURE, NONBLOCK, access);
    assert_eq!(pcm.call(raw::snd_pcm_start), 0);
    hand.move_to(250);
    assert_eq!(pcm.polled(), libc::POLLIN);
    assert_eq!((pcm.call(raw::snd_pcm_drain), pcm.state()), (-libc::EAGAIN, State::Draining));
    assert_eq!(pcm.polled(), 0);
    assert_eq!(hand.wake_at.load(SeqCst), BUFFER);
    hand.move_to(BUFFER);
    assert_eq!(pcm.polled(), libc::POLLIN);
    assert_eq!((pcm.call(raw::snd_pcm_drain), pcm.state()), (0, State::Setup));
}

#[test]
fn definitions_are_read_strictly() {
    let (_hand, number) = Hand::new();
    let tried = |options: &str| open(&format!("type deck\n{options}"), raw::SND_PCM_STREAM_PLAYBACK, 0).err();
    assert_eq!(tried(&format!("hand {number}\ncomment \"left\"\nhint {{ show on }}")), None);
    assert_eq!(tried(&format!("hand \"{number}\"")), None);
    assert_eq!(tried(&format!("hand {number}\nfoot 1")), Some(-libc::EINVAL));
    assert_eq!(tried("hand { left 1 }"), Some(-libc::EINVAL));
    assert_eq!(tried("hand 999"), Some(-libc::ENODEV));
}

#[test]
fn it_says_what_it_is_and_what_its_channels_are() {
    let (pcm, _hand) = Opened::playback(0);
    let (mut out, mut text) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: an open PCM, and an output that is closed after what it holds was copied; maps are freed as alsa-lib says.
    let said = unsafe {
        assert_eq!(raw::snd_output_buffer_open(&raw mut out), 0);
        raw::snd_pcm_dump(pcm.0, out);
        let length = raw::snd_output_buffer_string(out, &raw mut text);
        let said = String::from_utf8_lossy(std::slice::from_raw_parts(text.cast(), length as usize)).into_owned();
        raw::snd_output_close(out);
        let map = raw::snd_pcm_get_chmap(pcm.0);
        assert_eq!((*map).channels, 2);
        libc::free(map.cast());
        let maps = raw::snd_pcm_query_chmaps(pcm.0);
        assert!(!(*maps).is_null() && (*maps.add(1)).is_null());
        raw::snd_pcm_free_chmaps(maps);
        said
    };
    assert!(said.starts_with("A deck turned by hand\nIts setup is:\n"), "{said}");
}
