//! The card's mixer, as alsa-lib sees it: a volume with its decibels, and maybe a switch.

use std::{
    ffi::CStr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use audera_alsa_plugin::{CardInfo, Decibels, Element, Errno, Kind, Mixer, OpenError, OptionError, ctl};
use audera_testkit::card::{CardMixer, Knobs, Setting, calm};

audera_alsa_plugin::ctl_plugin!(
    Desk,
    entry: "_snd_ctl_audera_card_open",
    version: "__snd_ctl_audera_card_open_dlsym_control_001",
);

/// Places in the list of elements.
const VOLUME: usize = 0;
const SWITCH: usize = 1;

/// A mixer that a program has open.
struct Desk {
    knobs: Knobs,
    watch: OwnedFd,
    subscribed: bool,
    /// What the program was told last.
    told: Setting,
    events: Vec<usize>,
}

impl Mixer for Desk {
    const NAME: &'static CStr = c"Audera virtual card";

    fn open(request: &mut ctl::Request) -> Result<(Self, CardInfo, Vec<Element>), OpenError> {
        let folder = request.options.text("folder")?;
        let folder = folder.ok_or_else(|| OptionError::Missing { key: "folder".to_owned() })?;
        let failed = |error: std::io::Error| OpenError::refused(Errno::NODEV, format!("{folder}: {error}"));
        let knobs = Knobs::open(Path::new(&folder)).map_err(failed)?;
        let knobs =
            knobs.ok_or_else(|| OpenError::refused(Errno::NODEV, format!("{folder}: the card has no mixer")))?;
        let watch = knobs.watch().map_err(failed)?;
        let elements = elements(knobs.mixer());
        let info = CardInfo { id: "Card".into(), name: "Audera virtual card".into(), ..CardInfo::default() };
        let told = knobs.setting();
        Ok((Self { knobs, watch, subscribed: false, told, events: Vec::new() }, info, elements))
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }

    fn read(&mut self, element: usize, values: &mut [i64]) -> Result<(), Errno> {
        let Setting { volume, on } = self.knobs.read(|_, _| {}).map_err(|_gone| Errno::NODEV)?;
        let now = if element == VOLUME { volume.map(i64::from) } else { on.map(i64::from) };
        values.iter_mut().zip(now).for_each(|(place, value)| *place = value);
        Ok(())
    }

    fn write(&mut self, element: usize, values: &[i64]) -> Result<bool, Errno> {
        let turned = self.knobs.turn(|setting| {
            for (channel, value) in values.iter().enumerate().take(2) {
                match element {
                    VOLUME => setting.volume[channel] = u32::try_from(*value).unwrap_or_default(),
                    _ => setting.on[channel] = *value != 0,
                }
            }
        });
        turned.map_err(|_gone| Errno::NODEV)
    }

    fn subscribe(&mut self, wanted: bool) {
        self.subscribed = wanted;
    }

    fn event(&mut self) -> Result<Option<usize>, Errno> {
        if self.events.is_empty() {
            // In this order, so that what is turned in between is an event again.
            calm(&self.watch);
            let now = self.knobs.read(|_, _| {}).map_err(|_gone| Errno::NODEV)?;
            let before = std::mem::replace(&mut self.told, now);
            if self.subscribed {
                self.events.extend((now.on != before.on && self.knobs.mixer().switch).then_some(SWITCH));
                self.events.extend((now.volume != before.volume).then_some(VOLUME));
            }
        }
        Ok(self.events.pop())
    }
}

fn elements(mixer: &CardMixer) -> Vec<Element> {
    let CardMixer { most, least_millibels: least, step_millibels: step, mutes, .. } = *mixer;
    let decibels = mixer.tells.then_some(Decibels::Steps { least, step, mutes });
    let element = |what: &str, kind| Element {
        name: format!("{} Playback {what}", mixer.element),
        index: 0,
        kind,
        channels: 2,
        writable: true,
    };
    let switch = mixer.switch.then(|| element("Switch", Kind::Switch));
    [element("Volume", Kind::Volume { most, decibels })].into_iter().chain(switch).collect()
}
