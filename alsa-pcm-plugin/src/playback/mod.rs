//! Playing to rooms: a PCM whose clock is that of the rooms.
//!
//! What the application writes waits in the buffer of an [`audera_sender::Paced`] until it is due; rooms play at exactly the nominal rate by
//! the monotonic clock of this host, so how far the PCM is follows from the time alone. A pause, a drop or a rewind acts on all that has not left
//! the buffer. What has left it is heard the latency later, which `snd_pcm_delay` includes, and which a drain waits for.
//!
//! The clock goes on when a room is gone, so that an application never hangs: it plays to nobody, for as long as the option `patience` says, and
//! the room comes in again by itself. It stands still while the machine is suspended, and the application does not notice. What was in the buffer
//! leaves it afterwards, when connections are likely to be dead: it is heard from when the room is connected again.

mod presence;
mod sample;

use std::ffi::CStr;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use audera_alsa_plugin::{
    Allowed, ChannelMap, Constraints, Errno, Format, Io, OpenError, Pcm, Position, Request, Setup, State,
    Stream as Direction,
};
use audera_clock::{SenderTime, Span};
use audera_sender::{CodecChoice, HubError, HubEvent, Paced, Stream, StreamConfig, Target};
use rustix::time::{ClockId, clock_gettime};

use crate::alarm::Alarm;
use crate::channels;
use crate::house::{House, Subscription, Visit, lock, program};
use crate::options::Settings;
use crate::rooms::{self, Meant};
use presence::Presence;

/// What the protocol carries.
const RATES: std::ops::RangeInclusive<u32> = 44_100..=192_000;
const MOST_CHANNELS: u8 = 8;
/// What of that can be Opus.
const OPUS_RATE: u32 = 48_000;
const OPUS_CHANNELS: u8 = 2;

/// Bytes in a period: some milliseconds of anything, but not so few that the application does nothing but wake up.
const PERIOD_BYTES: std::ops::RangeInclusive<u32> = 128..=1 << 20;
/// Bytes in the buffer: almost twelve seconds of a CD at most, a third of a second of 7.1 at 192 kHz.
const BUFFER_BYTES: std::ops::RangeInclusive<u32> = 256..=2 << 20;

/// A PCM that plays to rooms.
pub(crate) struct Playback {
    // Streams close before the house is left.
    playing: Option<Playing>,
    alarm: Alarm,
    settings: Settings,
    /// What the application has asked for, as it is called.
    name: String,
    target: Aim,
    /// Channels that an application may have, at most.
    max_channels: u8,
    _visit: Option<Visit>,
    house: Arc<House>,
}

/// What there is once format and buffer are settled.
struct Playing {
    paced: Paced,
    presence: Arc<Presence>,
    format: Format,
    rate: u32,
    /// What the application's channels are, and where each of the stream's is among them.
    map: channels::Map,
    /// What is left is played, and its end is when it is heard.
    draining: bool,
    _events: Subscription,
    _stream: Stream,
}

/// The rooms that are meant, from the open on: of one that gets another name, or is reached by another way, the application sets up its next
/// stream as well.
struct Aim {
    target: Arc<Mutex<Target>>,
    _renames: Subscription,
}

impl Aim {
    fn new(target: Target, house: &House) -> Aim {
        let target = Arc::new(Mutex::new(target));
        let renamed = target.clone();
        let renames = house.subscribe(Box::new(move |event| {
            if let Some(HubEvent::Renamed { was, now }) = event {
                lock(&renamed).rename(was, now);
            }
        }));
        Aim { target, _renames: renames }
    }

    fn now(&self) -> Target {
        lock(&self.target).clone()
    }
}

/// Rates and the most channels that can be sent to these rooms. What is something else alsa-lib's `plug` converts.
fn allowed(codec: CodecChoice, meant: &Meant) -> Result<(Allowed, u8), OpenError> {
    let refused = |why: String| Err(OpenError::refused(Errno::INVAL, format!("\"{}\" {why}", meant.name)));
    let (max_rate, max_channels) = (meant.max_rate.min(*RATES.end()), meant.max_channels.min(MOST_CHANNELS));
    if max_rate < *RATES.start() || max_channels == 0 {
        return refused(format!("takes nothing that can be sent: {max_rate} Hz at most"));
    }
    match codec {
        CodecChoice::Opus if max_rate < OPUS_RATE => refused(format!(
            "takes {max_rate} Hz at most, and Opus is {OPUS_RATE} Hz: set the option \"codec\" to \"auto\" or \"pcm\""
        )),
        CodecChoice::Opus => Ok((Allowed::only(OPUS_RATE), max_channels.min(OPUS_CHANNELS))),
        CodecChoice::Auto | CodecChoice::Pcm => Ok(((*RATES.start()..=max_rate).into(), max_channels)),
    }
}

/// The clock by which the rooms play.
fn now() -> SenderTime {
    let now = clock_gettime(ClockId::Monotonic);
    SenderTime::from_nanos(now.tv_sec * 1_000_000_000 + now.tv_nsec)
}

impl Pcm for Playback {
    const NAME: &'static CStr = c"Audera";
    const CAN_PAUSE: bool = true;

    fn open(request: &mut Request) -> Result<(Self, Constraints), OpenError> {
        let begun = Instant::now();
        let settings = Settings::read(&mut request.options, &mut request.defaults)?;
        let house = House::enter(&settings.network)?;
        let (meant, visit) = rooms::find(&house, settings.player.as_deref(), begun + settings.search())?;
        let (rates, max_channels) = allowed(settings.encoding.codec, &meant)?;
        let constraints = Constraints {
            formats: Format::ALL.to_vec(),
            channels: (1..=u32::from(max_channels)).into(),
            rates,
            period_bytes: PERIOD_BYTES.into(),
            buffer_bytes: BUFFER_BYTES.into(),
            periods: None,
        };
        let alarm = Alarm::new().map_err(|error| OpenError::refused(error.into(), "there is no timer to be had"))?;
        let (name, target) = (meant.name, Aim::new(meant.target, &house));
        Ok((Playback { playing: None, alarm, settings, name, target, max_channels, _visit: visit, house }, constraints))
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.alarm.descriptor()
    }

    fn describe(&self) -> String {
        format!("Audera to \"{}\"", self.name)
    }

    fn set_up(&mut self, setup: &Setup) -> Result<(), Errno> {
        self.playing = None;
        let invalid = |_| Errno::INVAL;
        let config = StreamConfig {
            title: program(),
            rate: setup.rate,
            channels: u8::try_from(setup.channels).map_err(invalid)?,
            latency: self.settings.latency,
            encoding: self.settings.encoding,
            target: self.target.now(),
            gate: None,
        };
        let buffer = usize::try_from(setup.buffer).map_err(invalid)?;
        let (paced, stream) = self.house.hub().open_paced(config, buffer).map_err(|error| {
            audera_alsa_plugin::log::error(&format!("{}: {error}", self.describe()));
            if matches!(error, HubError::Invalid { .. }) { Errno::INVAL } else { Errno::IO }
        })?;
        let presence = Arc::new(Presence::default());
        let events = self.house.subscribe(presence.listener(stream.key(), now));
        self.playing = Some(Playing {
            paced,
            presence,
            format: setup.format,
            rate: setup.rate,
            map: channels::Map::usual(setup.channels),
            draining: false,
            _events: events,
            _stream: stream,
        });
        Ok(())
    }

    fn free(&mut self) {
        self.playing = None;
        self.alarm.disarm();
    }

    fn prepare(&mut self) -> Result<(), Errno> {
        let playing = self.playing.as_mut().ok_or(Errno::BADFD)?;
        playing.draining = false;
        playing.paced.reset(now());
        Ok(())
    }

    fn start(&mut self, _io: &Io) -> Result<(), Errno> {
        self.playing.as_mut().ok_or(Errno::BADFD)?.paced.start(now());
        Ok(())
    }

    fn stop(&mut self, _io: &Io) {
        if let Some(playing) = &mut self.playing {
            playing.draining = false;
            playing.paced.hold(now());
        }
    }

    fn position(&mut self, io: &Io) -> Position {
        let Some(playing) = &mut self.playing else { return Position::At(0) };
        let now = now();
        if playing.presence.is_lost(now, self.settings.patience) {
            let why = playing.presence.why(&self.house, &self.target.now());
            audera_alsa_plugin::log::error(&format!("\"{}\" has been away for too long: {why}", self.name));
            return Position::Gone;
        }
        if playing.paced.is_abandoned() {
            let why = "its stream is not served any more: open it again";
            audera_alsa_plugin::log::error(&format!("\"{}\" is not played to any more: {why}", self.name));
            return Position::Gone;
        }
        playing.draining = io.state == State::Draining;
        Position::At(if playing.draining { playing.paced.heard(now) } else { playing.paced.position(now) })
    }

    fn play(&mut self, io: &Io, frames: &[u8]) -> Result<(), Errno> {
        let playing = self.playing.as_mut().ok_or(Errno::BADFD)?;
        let Playing { paced, format, map, .. } = playing;
        sample::read(*format, frames, map.order(), |samples| paced.write(io.applied, samples));
        Ok(())
    }

    fn moved(&mut self, io: &Io) {
        if let Some(playing) = &mut self.playing {
            playing.paced.move_to(io.applied);
        }
    }

    fn delay(&mut self, io: &Io, direction: Direction) -> i64 {
        let waiting = io.waiting(direction);
        let Some(playing) = &mut self.playing else { return waiting };
        let (paced, rate) = (&mut playing.paced, playing.rate);
        let frames = |span: Span| span.as_frames(rate).round() as i64;
        match io.state {
            State::Draining => frames(paced.until_heard(io.applied, now())),
            // Before the first frame leaves there may be time that the rooms need to open their devices, or that the last packet before a pause
            // lasts. While it is paused this is what it is once it is released.
            _ => waiting + frames(paced.lead(now()) + paced.latency_of(io.applied)),
        }
    }

    fn wake_at(&mut self, position: u64) {
        let Some(playing) = &mut self.playing else { return self.alarm.disarm() };
        let now = now();
        let (reached, due) = match playing.draining {
            true => (playing.paced.heard(now), playing.paced.heard_at(position)),
            false => (playing.paced.position(now), playing.paced.leaves_at(position)),
        };
        match due {
            _ if reached >= position => self.alarm.ring(),
            Some(due) => self.alarm.ring_in(due - now),
            // It stands still.
            None => self.alarm.disarm(),
        }
    }

    fn pause(&mut self, _io: &Io, hold: bool) -> Result<(), Errno> {
        let paced = &mut self.playing.as_mut().ok_or(Errno::BADFD)?.paced;
        if hold {
            paced.hold(now())
        } else {
            paced.start(now())
        }
        Ok(())
    }

    fn channel_maps(&self) -> Vec<ChannelMap> {
        channels::all(usize::from(self.max_channels))
    }

    fn channel_map(&self) -> Option<Vec<u32>> {
        self.playing.as_ref().map(|playing| playing.map.positions().to_vec())
    }

    fn set_channel_map(&mut self, positions: &[u32]) -> Result<(), Errno> {
        let playing = self.playing.as_mut().ok_or(Errno::BADFD)?;
        playing.map = channels::Map::new(positions, playing.map.positions().len()).ok_or(Errno::INVAL)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_rooms_take_can_be_played() {
        let meant = |max_rate, max_channels| Meant {
            target: Target::Everywhere,
            name: "Kitchen".to_owned(),
            max_rate,
            max_channels,
        };
        for (codec, rooms, rates, channels) in [
            (CodecChoice::Auto, meant(u32::MAX, u8::MAX), 44_100..=192_000, 8),
            (CodecChoice::Pcm, meant(44_100, 6), 44_100..=44_100, 6),
            (CodecChoice::Opus, meant(96_000, 6), 48_000..=48_000, 2),
            (CodecChoice::Opus, meant(48_000, 1), 48_000..=48_000, 1),
        ] {
            assert_eq!(allowed(codec, &rooms).unwrap(), (rates.into(), channels), "{codec:?} {rooms:?}");
        }
        for (codec, rooms, said) in [
            (CodecChoice::Opus, meant(44_100, 2), "44100 Hz at most, and Opus is 48000 Hz"),
            (CodecChoice::Auto, meant(32_000, 2), "32000 Hz at most"),
            (CodecChoice::Pcm, meant(48_000, 0), "nothing that can be sent"),
        ] {
            let refusal = allowed(codec, &rooms).unwrap_err().to_string();
            assert!(refusal.contains("\"Kitchen\"") && refusal.contains(said), "{refusal}");
        }
    }
}
