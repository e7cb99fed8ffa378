//! A mixer plugin under the real alsa-lib, asked as mixer programs ask: by its simple mixer, which finds slider and mute by
//! their names.

use std::{
    ffi::{CStr, c_int, c_long},
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    ptr,
    sync::{Arc, Mutex},
};

use alsa_sys as raw;
use audera_alsa_plugin::{CardInfo, Decibels, Element, Errno, Kind, Mixer, OpenError, ctl};

/// A room, as the test and the mixer see it.
struct Room {
    volume: [i64; 2],
    on: bool,
    changed: Vec<usize>,
    subscribed: bool,
    gone: bool,
}

/// One for each test, by number.
static ROOMS: Mutex<Vec<Arc<Mutex<Room>>>> = Mutex::new(Vec::new());

struct Desk {
    room: Arc<Mutex<Room>>,
    event: OwnedFd,
}

const VOLUME: usize = 0;
const SWITCH: usize = 1;

impl Mixer for Desk {
    const NAME: &'static CStr = c"desk";

    fn open(request: &mut ctl::Request) -> Result<(Self, CardInfo, Vec<Element>), OpenError> {
        let number = request.options.integer("room", 0..=1000)?.unwrap_or(-1);
        let room = usize::try_from(number).ok().and_then(|number| ROOMS.lock().unwrap().get(number).cloned());
        let room = room.ok_or_else(|| OpenError::refused(Errno::NODEV, "there is no such room"))?;
        // SAFETY: takes no pointers; the descriptor is new.
        let event = unsafe { OwnedFd::from_raw_fd(libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK)) };
        let info =
            CardInfo { id: "Desk".into(), name: "A desk with a name that is too long".into(), ..CardInfo::default() };
        let decibels = match request.options.text("scale")?.as_deref() {
            None => Decibels::Ends { least: -5_000, most: 0, mutes: true },
            Some("curve") => Decibels::Curve { points: vec![(0, -9_000), (50, -2_000), (100, 0)], mutes: true },
            Some(_) => Decibels::Curve { points: (0..=11).map(|n| (n, n as i32)).collect(), mutes: true },
        };
        let decibels = Some(decibels);
        let element =
            |name: &str, kind, channels| Element { name: name.into(), index: 0, kind, channels, writable: true };
        let elements = vec![
            element("Master Playback Volume", Kind::Volume { most: 100, decibels }, 2),
            element("Master Playback Switch", Kind::Switch, 1),
        ];
        Ok((Self { room, event }, info, elements))
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    fn read(&mut self, element: usize, values: &mut [i64]) -> Result<(), Errno> {
        let room = self.room.lock().unwrap();
        match element {
            _ if room.gone => return Err(Errno::NODEV),
            VOLUME => values.copy_from_slice(&room.volume),
            _ => values.copy_from_slice(&[room.on.into()]),
        }
        Ok(())
    }

    fn write(&mut self, element: usize, values: &[i64]) -> Result<bool, Errno> {
        let mut room = self.room.lock().unwrap();
        let before = (room.volume, room.on);
        match element {
            VOLUME => room.volume.copy_from_slice(values),
            _ => room.on = values == [1],
        }
        Ok(before != (room.volume, room.on))
    }

    fn subscribe(&mut self, wanted: bool) {
        self.room.lock().unwrap().subscribed = wanted;
        if wanted {
            // SAFETY: eight bytes, as an eventfd takes them.
            unsafe { libc::write(self.event.as_raw_fd(), (&raw const ONE).cast(), 8) };
        }
    }

    fn event(&mut self) -> Result<Option<usize>, Errno> {
        let changed = self.room.lock().unwrap().changed.pop();
        if changed.is_none() {
            let mut count = 0_u64;
            // SAFETY: eight bytes, as an eventfd gives them; it does not block.
            unsafe { libc::read(self.event.as_raw_fd(), (&raw mut count).cast(), 8) };
        }
        Ok(changed)
    }
}

static ONE: u64 = 1;

/// A room, and a mixer of it as an application has it.
fn open() -> (Arc<Mutex<Room>>, *mut raw::snd_ctl_t) {
    let (room, mixer) = try_open("");
    (room, mixer.unwrap())
}

fn try_open(options: &str) -> (Arc<Mutex<Room>>, Result<*mut raw::snd_ctl_t, c_int>) {
    let room = Room { volume: [50, 40], on: true, changed: Vec::new(), subscribed: false, gone: false };
    let room = Arc::new(Mutex::new(room));
    let number = {
        let mut rooms = ROOMS.lock().unwrap();
        rooms.push(room.clone());
        rooms.len() - 1
    };
    (room, open_as(&format!("type desk\nroom {number}\n{options}\n")))
}

fn open_as(definition: &str) -> Result<*mut raw::snd_ctl_t, c_int> {
    let (mut config, mut input, mut mixer) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
    // SAFETY: each is given places for what it makes, and the text is as long as it is said to be.
    let result = unsafe {
        assert_eq!(raw::snd_config_top(&raw mut config), 0);
        let length = definition.len() as libc::ssize_t;
        assert_eq!(raw::snd_input_buffer_open(&raw mut input, definition.as_ptr().cast(), length), 0);
        assert_eq!(raw::snd_config_load(config, input), 0);
        raw::snd_input_close(input);
        let result = ctl::open::<Desk>(&raw mut mixer, c"test".as_ptr(), ptr::null_mut(), config, 0);
        raw::snd_config_delete(config);
        result
    };
    if result < 0 { Err(result) } else { Ok(mixer) }
}

#[test]
fn mixer_programs_find_slider_and_mute() {
    let (room, mixer) = open();
    let (mut hctl, mut simple) = (ptr::null_mut(), ptr::null_mut());
    let (left, right) = (raw::SND_MIXER_SCHN_FRONT_LEFT, raw::SND_MIXER_SCHN_FRONT_RIGHT);
    let (mut least, mut most, mut value, mut on): (c_long, c_long, c_long, c_int) = (0, 0, 0, 0);
    // SAFETY: places for all that is asked; closing the simple mixer closes all that is attached to it.
    unsafe {
        assert_eq!(raw::snd_hctl_open_ctl(&raw mut hctl, mixer), 0);
        assert_eq!(raw::snd_mixer_open(&raw mut simple, 0), 0);
        assert_eq!(raw::snd_mixer_attach_hctl(simple, hctl), 0);
        assert_eq!(raw::snd_mixer_selem_register(simple, ptr::null_mut(), ptr::null_mut()), 0);
        assert_eq!(raw::snd_mixer_load(simple), 0);
        assert!(room.lock().unwrap().subscribed);
        let master = raw::snd_mixer_first_elem(simple);
        assert_eq!(CStr::from_ptr(raw::snd_mixer_selem_get_name(master)), c"Master");
        assert!(raw::snd_mixer_elem_next(master).is_null(), "both are one control");

        assert_eq!(raw::snd_mixer_selem_get_playback_volume_range(master, &raw mut least, &raw mut most), 0);
        assert_eq!((least, most), (0, 100));
        assert_eq!(raw::snd_mixer_selem_get_playback_dB_range(master, &raw mut least, &raw mut most), 0);
        assert_eq!((least, most), (raw::SND_CTL_TLV_DB_GAIN_MUTE.into(), 0));
        assert_eq!(raw::snd_mixer_selem_get_playback_volume(master, right, &raw mut value), 0);
        assert_eq!(value, 40);
        assert_eq!(raw::snd_mixer_selem_get_playback_dB(master, left, &raw mut value), 0);
        assert_eq!(value, -2_500);
        assert_eq!(raw::snd_mixer_selem_set_playback_volume_all(master, 75), 0);
        assert_eq!(raw::snd_mixer_selem_set_playback_dB(master, left, -1_000, 0), 0);
        assert_eq!(raw::snd_mixer_selem_set_playback_switch_all(master, 0), 0);
        let set = |room: &Room| (room.volume, room.on);
        assert_eq!(set(&room.lock().unwrap()), ([80, 75], false));

        // Somebody else turns it.
        room.lock().unwrap().volume = [10, 20];
        room.lock().unwrap().on = true;
        room.lock().unwrap().changed = vec![VOLUME, SWITCH];
        assert!(raw::snd_mixer_handle_events(simple) >= 1);
        assert_eq!(raw::snd_mixer_selem_get_playback_volume(master, left, &raw mut value), 0);
        assert_eq!(raw::snd_mixer_selem_get_playback_switch(master, left, &raw mut on), 0);
        assert_eq!((value, on), (10, 1));
        raw::snd_mixer_close(simple);
    }
    assert_eq!(Arc::strong_count(&room), 2, "the mixer still holds its room");
}

#[test]
fn a_curve_is_read_between_its_points() {
    let (_room, mixer) = try_open("scale curve");
    let (mut hctl, mut simple, mut value, mut most) = (ptr::null_mut(), ptr::null_mut(), 0, 0);
    // SAFETY: places for all that is asked; closing the simple mixer closes all that is attached to it.
    unsafe {
        assert_eq!(raw::snd_hctl_open_ctl(&raw mut hctl, mixer.unwrap()), 0);
        assert_eq!(raw::snd_mixer_open(&raw mut simple, 0), 0);
        assert_eq!(raw::snd_mixer_attach_hctl(simple, hctl), 0);
        assert_eq!(raw::snd_mixer_selem_register(simple, ptr::null_mut(), ptr::null_mut()), 0);
        assert_eq!(raw::snd_mixer_load(simple), 0);
        let master = raw::snd_mixer_first_elem(simple);
        let silence = c_long::from(raw::SND_CTL_TLV_DB_GAIN_MUTE);
        assert_eq!(raw::snd_mixer_selem_get_playback_dB_range(master, &raw mut value, &raw mut most), 0);
        assert_eq!((value, most), (silence, 0));
        for (volume, expected) in [(0, silence), (25, -5_500), (50, -2_000), (75, -1_000), (100, 0)] {
            assert_eq!(raw::snd_mixer_selem_ask_playback_vol_dB(master, volume, &raw mut value), 0);
            assert_eq!(value, expected);
            assert_eq!(raw::snd_mixer_selem_ask_playback_dB_vol(master, expected, 0, &raw mut value), 0);
            assert_eq!(value, volume);
        }
        raw::snd_mixer_close(simple);
    }
    assert_eq!(try_open("scale broken").1.err(), Some(-libc::EINVAL));
}

#[test]
fn events_tell_which_element_and_end() {
    let (room, mixer) = open();
    let mut event = ptr::null_mut();
    // SAFETY: an open mixer, and an event that is freed at the end.
    unsafe {
        assert_eq!(raw::snd_ctl_event_malloc(&raw mut event), 0);
        assert_eq!(raw::snd_ctl_subscribe_events(mixer, 1), 0);
        room.lock().unwrap().changed = vec![SWITCH];
        let mut poll = libc::pollfd { fd: -1, events: 0, revents: 0 };
        assert_eq!(raw::snd_ctl_poll_descriptors(mixer, (&raw mut poll).cast(), 1), 1);
        assert_eq!(libc::poll(&raw mut poll, 1, 0), 1);
        assert_eq!(raw::snd_ctl_read(mixer, event), 1);
        assert_eq!(CStr::from_ptr(raw::snd_ctl_event_elem_get_name(event)), c"Master Playback Switch");
        assert_eq!(raw::snd_ctl_event_elem_get_mask(event), raw::SND_CTL_EVENT_MASK_VALUE);
        assert_eq!(raw::snd_ctl_read(mixer, event), -libc::EAGAIN);
        assert_eq!(libc::poll(&raw mut poll, 1, 0), 0);
        raw::snd_ctl_event_free(event);
        raw::snd_ctl_close(mixer);
    }
}

#[test]
fn it_says_what_it_is_and_when_it_is_gone() {
    let (room, mixer) = open();
    let (mut info, mut value) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: an open mixer, and things that are freed at the end.
    unsafe {
        assert_eq!(raw::snd_ctl_card_info_malloc(&raw mut info), 0);
        assert_eq!(raw::snd_ctl_card_info(mixer, info), 0);
        assert_eq!(CStr::from_ptr(raw::snd_ctl_card_info_get_id(info)), c"Desk");
        assert_eq!(CStr::from_ptr(raw::snd_ctl_card_info_get_name(info)), c"A desk with a name that is too ");
        raw::snd_ctl_card_info_free(info);
        assert_eq!(raw::snd_ctl_elem_value_malloc(&raw mut value), 0);
        raw::snd_ctl_elem_value_set_numid(value, 1);
        assert_eq!(raw::snd_ctl_elem_read(mixer, value), 0);
        assert_eq!(raw::snd_ctl_elem_value_get_integer(value, 1), 40);
        raw::snd_ctl_elem_value_set_integer(value, 0, 1_000_000);
        assert_eq!(raw::snd_ctl_elem_write(mixer, value), 1);
        assert_eq!(raw::snd_ctl_elem_write(mixer, value), 0, "nothing has changed");
        assert_eq!(room.lock().unwrap().volume, [100, 40], "as loud as it goes");
        raw::snd_ctl_elem_value_set_numid(value, 3);
        assert_eq!(raw::snd_ctl_elem_read(mixer, value), -libc::ENOENT);
        room.lock().unwrap().gone = true;
        raw::snd_ctl_elem_value_set_numid(value, 1);
        assert_eq!(raw::snd_ctl_elem_read(mixer, value), -libc::ENODEV);
        raw::snd_ctl_elem_value_free(value);
        raw::snd_ctl_close(mixer);
    }
    assert_eq!(open_as("type desk\nroom 999\n").err(), Some(-libc::ENODEV));
    assert_eq!(open_as("type desk\nroom 0\nwindow 1\n").err(), Some(-libc::EINVAL));
}
