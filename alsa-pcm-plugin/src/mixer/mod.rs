//! The mixer of a room, or of several: "Master Playback Volume" and "Master Playback Switch", which are the room's own volume and mute.
//!
//! The slider is in percent, as everywhere in Audera. Its decibels are those of the cubic law in steps of ten, with straight lines in between:
//! alsa-lib reads no more of a curve. From 30 % on they are right to 0.3 dB, from 60 % on to 0.1 dB.

mod desk;

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use audera_alsa_plugin::{CardInfo, Decibels, Element, Errno, Kind, Mixer, OpenError, ctl};
use audera_sender::{Target, Volume};
use rustix::event::{EventfdFlags, eventfd};

use crate::house::{House, Subscription, Visit};
use crate::options::Settings;
use crate::rooms;
use desk::{Control, Desk, MOST};

/// So much longer than for the rooms is what they are set to waited for.
pub(crate) const TELLING: Duration = Duration::from_millis(150);
/// Between two looks where nothing changes.
const PAUSE: Duration = Duration::from_millis(50);

/// How loud value 0 would be if it were not silence, in hundredths of a dB: so that the line up to 10 % is close to the curve where
/// there is something to be heard.
const LEAST: i32 = -10_000;

/// A mixer that an application has open.
pub(crate) struct Room {
    // Ends before the house is left.
    _events: Subscription,
    shared: Arc<Shared>,
    _visit: Option<Visit>,
    house: Arc<House>,
}

/// What the network thread writes to.
struct Shared {
    desk: Mutex<Desk>,
    /// Readable while there is news.
    event: OwnedFd,
    /// Nobody moves the rooms any more.
    is_over: AtomicBool,
}

impl Shared {
    fn new(target: Target) -> std::io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { desk: Mutex::new(Desk::new(target)), event, is_over: AtomicBool::new(false) })
    }

    /// Hears what the network thread tells, until what this returns is dropped.
    fn listen_to(self: &Arc<Self>, house: &House) -> Subscription {
        let shared = self.clone();
        house.subscribe(Box::new(move |event| match event {
            Some(event) => shared.with_desk(|desk| desk.hear(event)),
            None => shared.end(),
        }))
    }

    /// Works with the desk, and has the application woken if there is news then, and not if there is none.
    fn with_desk<T>(&self, work: impl FnOnce(&mut Desk) -> T) -> T {
        let mut desk = self.lock();
        let had_news = desk.has_news();
        let outcome = work(&mut desk);
        match (had_news, desk.has_news()) {
            // Neither blocks; and whether it is readable is all that counts.
            (false, true) => drop(rustix::io::write(&self.event, &1_u64.to_ne_bytes())),
            // Once it is over it stays so.
            (true, false) if !self.is_over.load(Ordering::SeqCst) => {
                let _ = rustix::io::read(&self.event, &mut [0_u8; 8]);
            }
            _ => {}
        }
        outcome
    }

    /// The network thread has ended. Has the application woken, which is told that this is no mixer any more.
    fn end(&self) {
        // Under the lock, so that no reading of news takes the ring away.
        let _desk = self.lock();
        self.is_over.store(true, Ordering::SeqCst);
        // It does not block.
        let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
    }

    /// What a panic has left behind are maps and numbers: whole, at worst without the last change.
    fn lock(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mixer for Room {
    const NAME: &'static CStr = c"Audera";

    fn open(request: &mut ctl::Request) -> Result<(Self, CardInfo, Vec<Element>), OpenError> {
        let begun = Instant::now();
        let settings = Settings::read(&mut request.options, &mut request.defaults)?;
        let until = begun + settings.search();
        let house = House::enter(&settings.network)?;
        let (meant, visit) = rooms::find(&house, settings.player.as_deref(), until)?;
        let shared = Shared::new(meant.target)
            .map_err(|error| OpenError::refused(error.into(), "there is no eventfd to be had"))?;
        let shared = Arc::new(shared);
        let events = shared.listen_to(&house);
        // The subscription is there before what was told earlier is looked at, so that nothing is missed in between.
        let known = house.wait(until + TELLING, PAUSE, |seen| {
            let mut desk = shared.lock();
            desk.catch_up(seen.players.values(), seen.rooms.iter().map(|(key, (state, _))| (key, state)));
            desk.is_known().then_some(())
        });
        if known.is_none() {
            let reason = format!("\"{}\" does not tell its volume: is its audera-player older than this?", meant.name);
            return Err(OpenError::refused(Errno::NODEV, reason));
        }
        let info = CardInfo {
            id: "Audera".to_owned(),
            driver: "Audera".to_owned(),
            long_name: format!("{} (Audera)", meant.name),
            name: meant.name,
            mixer: "Audera".to_owned(),
        };
        Ok((Self { _events: events, shared, _visit: visit, house }, info, elements()))
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.shared.event.as_fd()
    }

    fn read(&mut self, element: usize, values: &mut [i64]) -> Result<(), Errno> {
        self.still_there()?;
        let value = self.shared.lock().value(control(element)?);
        values.fill(value);
        Ok(())
    }

    fn write(&mut self, element: usize, values: &[i64]) -> Result<bool, Errno> {
        self.still_there()?;
        let (control, value) = (control(element)?, *values.first().ok_or(Errno::INVAL)?);
        let changes = self.shared.with_desk(|desk| desk.set(control, value));
        let changes = changes.map_err(|_away| Errno::new(libc::EHOSTUNREACH))?;
        let changed = !changes.is_empty();
        for (key, change) in changes {
            self.house.hub().set(key, change);
        }
        Ok(changed)
    }

    fn subscribe(&mut self, wanted: bool) {
        self.shared.with_desk(|desk| desk.listen(wanted));
    }

    fn event(&mut self) -> Result<Option<usize>, Errno> {
        self.still_there()?;
        Ok(self.shared.with_desk(Desk::news).map(|control| control as usize))
    }
}

impl Room {
    /// `-ENODEV` once the network thread has ended.
    fn still_there(&self) -> Result<(), Errno> {
        if self.house.hub().has_ended() { Err(Errno::NODEV) } else { Ok(()) }
    }
}

fn control(element: usize) -> Result<Control, Errno> {
    Control::ALL.get(element).copied().ok_or(Errno::NOENT)
}

/// Slider and switch, by the names that make one control "Master" of them; in the order of [`Control::ALL`].
fn elements() -> Vec<Element> {
    let element = |name: &str, kind| Element { name: name.to_owned(), index: 0, kind, channels: 1, writable: true };
    let volume = Kind::Volume { most: MOST as u32, decibels: Some(decibels()) };
    vec![element("Master Playback Volume", volume), element("Master Playback Switch", Kind::Switch)]
}

/// The cubic law, every ten percent.
fn decibels() -> Decibels {
    let louder = (10..=MOST as u32).step_by(10).map(|percent| {
        let decibels = Volume::nearest(f64::from(percent)).decibels();
        (percent, (decibels * 100.0).round() as i32)
    });
    Decibels::Curve { points: [(0, LEAST)].into_iter().chain(louder).collect(), mutes: true }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::time::Timespec;

    use super::*;
    use crate::options::Network;

    #[test]
    fn a_mixer_whose_network_thread_has_ended_is_no_device() {
        let dir = tempfile::tempdir().unwrap();
        let network = Network { discover: false, players: Vec::new(), state_dir: dir.path().to_owned() };
        let house = House::enter(&network).unwrap();
        let shared = Arc::new(Shared::new(Target::Everywhere).unwrap());
        let mut room = Room { _events: shared.listen_to(&house), shared, _visit: None, house };
        assert_eq!((room.read(0, &mut [0]), room.event()), (Ok(()), Ok(None)));
        room.house.hub().run(|_| -> std::future::Ready<()> { panic!("on purpose") });
        // A program that listens is woken, by the thread in its last moment.
        let descriptor = room.descriptor();
        let patience = Timespec { tv_sec: 60, tv_nsec: 0 };
        assert_eq!(poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&patience)), Ok(1));
        while !room.house.hub().has_ended() {
            std::thread::yield_now();
        }
        let gone = Err(Errno::NODEV);
        assert_eq!((room.read(0, &mut [0]), room.write(0, &[7]).map(drop), room.event().map(drop)), (gone, gone, gone));
    }

    /// alsamixer takes the decibels to draw its bar, 60 dB to a factor of ten, which is the same law: what it draws is what others show.
    #[test]
    fn the_scale_is_close_to_the_law() {
        let Decibels::Curve { points, .. } = decibels() else { panic!("a curve") };
        assert_eq!((points.len(), points.last()), (ctl::MOST_POINTS, Some(&(100, 0))));
        for percent in 1..=100_u32 {
            let pair = points.windows(2).find(|pair| percent <= pair[1].0).unwrap();
            let share = f64::from(percent - pair[0].0) / f64::from(pair[1].0 - pair[0].0);
            let told = (f64::from(pair[0].1) + share * f64::from(pair[1].1 - pair[0].1)) / 100.0;
            let law = Volume::nearest(f64::from(percent)).decibels();
            let bound = match percent {
                60.. => 0.1,
                30.. => 0.3,
                20.. => 0.6,
                10.. => 1.6,
                _ => 25.0,
            };
            assert!((told - law).abs() <= bound, "{percent} %: {told} dB told, {law} dB by the law");
            let drawn = 10_f64.powf(told / 60.0) * 100.0;
            assert!((drawn - f64::from(percent)).abs() < 1.6, "{percent} % is drawn as {drawn} %");
        }
    }
}
