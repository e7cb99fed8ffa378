//! Opens a PCM for a stream and settles format, period and buffer with it.

use alsa::pcm::{Access, HwParams, PCM, TstampType};
use alsa::{Direction, ValueOr};

use super::order::Order;
use super::sample::SampleFormat;
use super::server::server_behind;
use crate::config::AlsaConfig;
use crate::output::OutputError;

/// A PCM that is set up for the stream.
pub(super) struct Claimed {
    pub pcm: PCM,
    pub sample: SampleFormat,
    /// Frames between two wake-ups.
    pub period: usize,
    /// Frames the device's buffer holds.
    pub buffer: usize,
    /// Whether ALSA converts between stream and hardware.
    pub plugged: bool,
    /// Where the stream's channels go.
    pub order: Order,
}

/// What the stream asks for.
#[derive(Clone, Copy)]
struct Wanted {
    rate: u32,
    channels: u16,
    timing: AlsaConfig,
}

/// Claims `device`, as it is if it takes the stream, else inside of `plug`.
pub(super) fn claim(
    output: &str,
    device: &str,
    timing: AlsaConfig,
    rate: u32,
    channels: u16,
) -> Result<Claimed, OutputError> {
    let wanted = Wanted { rate, channels, timing };
    let failed = |action: &'static str, error: alsa::Error| error_for(output, action, error);

    let pcm = PCM::new(device, Direction::Playback, true).map_err(|error| failed("opening the device", error))?;
    if let Some(server) = server_behind(&pcm).map_err(|error| failed("asking where the device leads", error))? {
        return Err(OutputError::SoundServer { output: output.to_owned(), server });
    }
    let formats = formats_of(&pcm).map_err(|error| failed("asking the device for its formats", error))?;
    let refusal = match set_up(&pcm, wanted, &formats, false) {
        Ok(setup) => return Ok(setup.claim(pcm, false, channels)),
        Err(refusal) => refusal,
    };
    // Closed first: hardware takes one client at a time.
    drop(pcm);

    let wrapped = plug(device);
    let pcm = PCM::new(&wrapped, Direction::Playback, true)
        .map_err(|error| failed("opening the device with conversion", error))?;
    // In a format of the hardware, so that ours is the last rounding.
    let formats = if formats.is_empty() { SampleFormat::ALL.to_vec() } else { formats };
    match set_up(&pcm, wanted, &formats, true) {
        Ok(setup) => {
            tracing::info!(
                output,
                rate,
                channels,
                "the device refuses the stream ({refusal}): ALSA converts ({wrapped})"
            );
            Ok(setup.claim(pcm, true, channels))
        }
        Err(_) => Err(OutputError::Format { output: output.to_owned(), rate, channels, detail: refusal.to_string() }),
    }
}

/// The name of `device` inside of ALSA's converting plug-in.
fn plug(device: &str) -> String {
    format!("plug:SLAVE={}", quoted(device))
}

/// `text` as one argument of a PCM name, whatever characters it holds.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The formats a PCM takes without conversion by itself, best first.
fn formats_of(pcm: &PCM) -> Result<Vec<SampleFormat>, alsa::Error> {
    let hw = HwParams::any(pcm)?;
    Ok(SampleFormat::ALL.into_iter().filter(|format| hw.test_format(format.to_alsa()).is_ok()).collect())
}

/// What was settled.
struct Setup {
    sample: SampleFormat,
    period: usize,
    buffer: usize,
}

impl Setup {
    fn claim(self, pcm: PCM, plugged: bool, channels: u16) -> Claimed {
        let order = Order::settle(&pcm, channels);
        Claimed { pcm, sample: self.sample, period: self.period, buffer: self.buffer, plugged, order }
    }
}

fn set_up(pcm: &PCM, wanted: Wanted, formats: &[SampleFormat], resample: bool) -> Result<Setup, alsa::Error> {
    let hw = HwParams::any(pcm)?;
    hw.set_rate_resample(resample)?;
    hw.set_access(Access::RWInterleaved)?;
    hw.set_channels(u32::from(wanted.channels))?;
    hw.set_rate(wanted.rate, ValueOr::Nearest)?;
    let unsupported = alsa::Error::unsupported("snd_pcm_hw_params_set_format");
    let sample = formats.iter().copied().find(|format| hw.set_format(format.to_alsa()).is_ok()).ok_or(unsupported)?;
    let frames = |time: std::time::Duration| (time.as_secs_f64() * f64::from(wanted.rate)).round() as alsa::pcm::Frames;
    hw.set_period_size_near(frames(wanted.timing.period).max(1), ValueOr::Nearest)?;
    hw.set_buffer_size_near(frames(wanted.timing.buffer).max(2))?;
    pcm.hw_params(&hw)?;

    let period = hw.get_period_size()?.max(1);
    let buffer = hw.get_buffer_size()?.max(period);
    let sw = pcm.sw_params_current()?;
    // Wake up for whole periods, start when the buffer is full, and stop at an xrun: it must be seen, not papered over.
    sw.set_avail_min(period)?;
    sw.set_start_threshold(buffer)?;
    sw.set_stop_threshold(buffer)?;
    sw.set_tstamp_mode(true)?;
    // A PCM that refuses is stamped by ourselves; the card's look at its time stamps finds that out.
    let _ = sw.set_tstamp_type(TstampType::Monotonic);
    pcm.sw_params(&sw)?;
    Ok(Setup { sample, period: period as usize, buffer: buffer as usize })
}

fn error_for(output: &str, action: &'static str, error: alsa::Error) -> OutputError {
    let output = output.to_owned();
    match error.errno() {
        libc::ENOENT | libc::ENODEV | libc::ENXIO => {
            OutputError::NotFound { output, detail: error.to_string(), hint: "`aplay -L` lists the names" }
        }
        libc::EBUSY | libc::EAGAIN => OutputError::Busy { output },
        libc::EACCES | libc::EPERM => OutputError::Denied { output },
        _ => OutputError::Device { output, action, detail: error.to_string() },
    }
}
