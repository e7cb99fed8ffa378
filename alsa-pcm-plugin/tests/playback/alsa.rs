//! alsa-lib as an application sees it, for programs of these tests: every function of it that they are about, and nothing hidden.

use std::ffi::{CString, c_int, c_short};
use std::ptr;

use alsa_sys as raw;

/// An error number, negative.
pub type Errno = c_int;

/// What an application asks for.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    pub access: u32,
    pub format: i32,
    pub channels: u32,
    pub rate: u32,
    pub period: u64,
    pub buffer: u64,
    /// Frames at which it starts; `None` for as many whole periods as there are in the buffer.
    pub start: Option<u64>,
}

pub const S16: i32 = raw::SND_PCM_FORMAT_S16_LE;
pub const S24: i32 = raw::SND_PCM_FORMAT_S24_LE;
pub const S24_3: i32 = raw::SND_PCM_FORMAT_S24_3LE;
pub const S32: i32 = raw::SND_PCM_FORMAT_S32_LE;
pub const FLOAT: i32 = raw::SND_PCM_FORMAT_FLOAT_LE;
pub const RW: u32 = raw::SND_PCM_ACCESS_RW_INTERLEAVED;
pub const RW_PLANES: u32 = raw::SND_PCM_ACCESS_RW_NONINTERLEAVED;
pub const MMAP: u32 = raw::SND_PCM_ACCESS_MMAP_INTERLEAVED;
pub const MMAP_PLANES: u32 = raw::SND_PCM_ACCESS_MMAP_NONINTERLEAVED;

impl Wish {
    pub const USUAL: Wish =
        Wish { access: RW, format: S16, channels: 2, rate: 48_000, period: 4_800, buffer: 48_000, start: None };

    pub fn width(&self) -> usize {
        match self.format {
            S16 => 2,
            S24_3 => 3,
            _ => 4,
        }
    }

    fn is_planar(&self) -> bool {
        matches!(self.access, RW_PLANES | MMAP_PLANES)
    }

    /// Samples as bytes: of all channels interleaved, or one channel after another.
    pub fn bytes(&self, channels: &[Vec<f32>]) -> Vec<Vec<u8>> {
        let sample = |value: f32| {
            let value = f64::from(value);
            let scaled = |bits: i32| (value * 2f64.powi(bits - 1)).round() as i64;
            match self.format {
                S16 => (scaled(16) as i16).to_le_bytes().to_vec(),
                S24 => (scaled(24) as i32).to_le_bytes().to_vec(),
                S24_3 => (scaled(24) as i32).to_le_bytes()[..3].to_vec(),
                S32 => (scaled(32) as i32).to_le_bytes().to_vec(),
                _ => (value as f32).to_le_bytes().to_vec(),
            }
        };
        if self.is_planar() {
            return channels.iter().map(|channel| channel.iter().flat_map(|value| sample(*value)).collect()).collect();
        }
        let frames = channels[0].len();
        vec![(0..frames).flat_map(|n| channels.iter().flat_map(move |channel| sample(channel[n]))).collect()]
    }
}

/// What one status tells.
#[derive(Clone, Copy, Debug)]
pub struct Status {
    pub state: u32,
    pub delay: i64,
    pub avail: u64,
    /// ns of the monotonic clock.
    pub stamp: i64,
}

/// An open PCM.
pub struct Pcm {
    pub raw: *mut raw::snd_pcm_t,
    pub wish: Wish,
    /// Period and buffer as settled.
    pub period: u64,
    pub buffer: u64,
}

// SAFETY: alsa-lib is built with locks of its own.
unsafe impl Send for Pcm {}
// SAFETY: as above.
unsafe impl Sync for Pcm {}

pub fn check(result: c_int) -> Result<c_int, Errno> {
    if result < 0 { Err(result) } else { Ok(result) }
}

pub fn count(result: i64) -> Result<u64, Errno> {
    u64::try_from(result).map_err(|_| result as Errno)
}

impl Pcm {
    pub fn open(name: &str, mode: u32) -> Result<Pcm, Errno> {
        let name = CString::new(name).unwrap();
        let mut handle = ptr::null_mut();
        // SAFETY: a place for the PCM and a name.
        check(unsafe {
            raw::snd_pcm_open(&raw mut handle, name.as_ptr(), raw::SND_PCM_STREAM_PLAYBACK, mode as c_int)
        })?;
        Ok(Pcm { raw: handle, wish: Wish::USUAL, period: 0, buffer: 0 })
    }

    /// Opened and set up.
    pub fn new(name: &str, wish: Wish) -> Pcm {
        let mut pcm = Pcm::open(name, 0).unwrap_or_else(|errno| panic!("{name}: {errno}"));
        pcm.set_up(wish).unwrap_or_else(|errno| panic!("{name}: {errno} for {wish:?}"));
        pcm
    }

    pub fn set_up(&mut self, wish: Wish) -> Result<(), Errno> {
        self.wish = wish;
        let (mut period, mut buffer) = (wish.period, wish.buffer);
        let mut hw = ptr::null_mut();
        let mut sw = ptr::null_mut();
        // SAFETY: a live PCM, parameters that are allocated here and freed below, and places for values.
        unsafe {
            raw::snd_pcm_hw_params_malloc(&raw mut hw);
            raw::snd_pcm_sw_params_malloc(&raw mut sw);
            let mut settle = || {
                check(raw::snd_pcm_hw_params_any(self.raw, hw))?;
                check(raw::snd_pcm_hw_params_set_access(self.raw, hw, wish.access))?;
                check(raw::snd_pcm_hw_params_set_format(self.raw, hw, wish.format))?;
                check(raw::snd_pcm_hw_params_set_channels(self.raw, hw, wish.channels))?;
                check(raw::snd_pcm_hw_params_set_rate(self.raw, hw, wish.rate, 0))?;
                check(raw::snd_pcm_hw_params_set_buffer_size_near(self.raw, hw, &raw mut buffer))?;
                check(raw::snd_pcm_hw_params_set_period_size_near(self.raw, hw, &raw mut period, ptr::null_mut()))?;
                check(raw::snd_pcm_hw_params(self.raw, hw))?;
                check(raw::snd_pcm_hw_params_get_buffer_size(hw, &raw mut buffer))?;
                check(raw::snd_pcm_hw_params_get_period_size(hw, &raw mut period, ptr::null_mut()))?;
                check(raw::snd_pcm_sw_params_current(self.raw, sw))?;
                let start = wish.start.unwrap_or(buffer / period * period);
                check(raw::snd_pcm_sw_params_set_start_threshold(self.raw, sw, start))?;
                check(raw::snd_pcm_sw_params_set_avail_min(self.raw, sw, period))?;
                check(raw::snd_pcm_sw_params_set_tstamp_mode(self.raw, sw, raw::SND_PCM_TSTAMP_ENABLE))?;
                check(raw::snd_pcm_sw_params_set_tstamp_type(self.raw, sw, raw::SND_PCM_TSTAMP_TYPE_MONOTONIC))?;
                check(raw::snd_pcm_sw_params(self.raw, sw))
            };
            let settled = settle();
            raw::snd_pcm_hw_params_free(hw);
            raw::snd_pcm_sw_params_free(sw);
            settled?;
        }
        (self.period, self.buffer) = (period, buffer);
        Ok(())
    }

    /// Never runs dry: what is not there in time is silence.
    pub fn set_endless(&self) {
        let (mut sw, mut boundary) = (ptr::null_mut(), 0);
        // SAFETY: as in `set_up`.
        unsafe {
            raw::snd_pcm_sw_params_malloc(&raw mut sw);
            raw::snd_pcm_sw_params_current(self.raw, sw);
            raw::snd_pcm_sw_params_get_boundary(sw, &raw mut boundary);
            raw::snd_pcm_sw_params_set_stop_threshold(self.raw, sw, boundary);
            assert_eq!(raw::snd_pcm_sw_params(self.raw, sw), 0);
            raw::snd_pcm_sw_params_free(sw);
        }
    }

    /// One call of `snd_pcm_writei` or `snd_pcm_writen` with what `bytes` has from frame `at` on.
    pub fn write_once(&self, bytes: &[Vec<u8>], at: u64, frames: u64) -> Result<u64, Errno> {
        let frame = if self.wish.is_planar() { self.wish.width() } else { self.wish.width() * bytes_channels(self) };
        let (from, to) = (at as usize * frame, (at + frames) as usize * frame);
        let mut planes: Vec<_> = bytes.iter().map(|plane| plane[from..to].as_ptr().cast_mut().cast()).collect();
        // SAFETY: a live PCM and as many frames as said in each place; they are only read.
        count(unsafe {
            if self.wish.is_planar() {
                raw::snd_pcm_writen(self.raw, planes.as_mut_ptr(), frames)
            } else {
                raw::snd_pcm_writei(self.raw, planes[0], frames)
            }
        })
    }

    /// Writes all, blocking.
    pub fn write(&self, channels: &[Vec<f32>]) -> Result<(), Errno> {
        let bytes = self.wish.bytes(channels);
        let frames = channels[0].len() as u64;
        let mut at = 0;
        while at < frames {
            at += self.write_once(&bytes, at, frames - at)?;
        }
        Ok(())
    }

    pub fn status(&self) -> Status {
        let mut status = ptr::null_mut();
        // SAFETY: a live PCM; the status is allocated and freed here.
        unsafe {
            raw::snd_pcm_status_malloc(&raw mut status);
            check(raw::snd_pcm_status(self.raw, status)).unwrap();
            let mut stamp = std::mem::zeroed();
            raw::snd_pcm_status_get_htstamp(status, &raw mut stamp);
            let told = Status {
                state: raw::snd_pcm_status_get_state(status),
                delay: raw::snd_pcm_status_get_delay(status),
                avail: raw::snd_pcm_status_get_avail(status),
                stamp: stamp.tv_sec * 1_000_000_000 + stamp.tv_nsec,
            };
            raw::snd_pcm_status_free(status);
            told
        }
    }

    pub fn state(&self) -> u32 {
        // SAFETY: a live PCM.
        unsafe { raw::snd_pcm_state(self.raw) }
    }

    pub fn avail(&self) -> Result<u64, Errno> {
        // SAFETY: a live PCM.
        count(unsafe { raw::snd_pcm_avail(self.raw) })
    }

    pub fn delay(&self) -> Result<i64, Errno> {
        let mut delay = 0;
        // SAFETY: a live PCM and a place for the number.
        check(unsafe { raw::snd_pcm_delay(self.raw, &raw mut delay) }).map(|_| delay)
    }

    pub fn start(&self) -> Result<c_int, Errno> {
        // SAFETY: a live PCM; so are all below.
        check(unsafe { raw::snd_pcm_start(self.raw) })
    }

    pub fn stop(&self) -> Result<c_int, Errno> {
        // SAFETY: see above.
        check(unsafe { raw::snd_pcm_drop(self.raw) })
    }

    pub fn drain(&self) -> Result<c_int, Errno> {
        // SAFETY: see above.
        check(unsafe { raw::snd_pcm_drain(self.raw) })
    }

    pub fn prepare(&self) -> Result<c_int, Errno> {
        // SAFETY: see above.
        check(unsafe { raw::snd_pcm_prepare(self.raw) })
    }

    pub fn pause(&self, hold: bool) -> Result<c_int, Errno> {
        // SAFETY: see above.
        check(unsafe { raw::snd_pcm_pause(self.raw, hold.into()) })
    }

    pub fn set_nonblocking(&self, yes: bool) {
        // SAFETY: see above.
        assert_eq!(unsafe { raw::snd_pcm_nonblock(self.raw, yes.into()) }, 0);
    }

    pub fn rewind(&self, frames: u64) -> Result<u64, Errno> {
        // SAFETY: see above.
        count(unsafe { raw::snd_pcm_rewind(self.raw, frames) })
    }

    /// Waits as `snd_pcm_wait` does.
    pub fn wait(&self) -> Result<c_int, Errno> {
        // SAFETY: see above.
        check(unsafe { raw::snd_pcm_wait(self.raw, 20_000) })
    }

    /// Polls the PCM's descriptors until they mean something; what.
    pub fn poll(&self) -> c_short {
        // SAFETY: a live PCM; as many descriptors as it says, and a place for what they mean.
        unsafe {
            let count = raw::snd_pcm_poll_descriptors_count(self.raw) as usize;
            let mut fds = vec![std::mem::zeroed::<libc::pollfd>(); count];
            raw::snd_pcm_poll_descriptors(self.raw, fds.as_mut_ptr().cast(), count as u32);
            for _ in 0..100_000 {
                assert!(libc::poll(fds.as_mut_ptr(), count as libc::nfds_t, 20_000) > 0, "nobody rings");
                let mut revents = 0;
                raw::snd_pcm_poll_descriptors_revents(
                    self.raw,
                    fds.as_mut_ptr().cast(),
                    count as u32,
                    &raw mut revents,
                );
                if revents != 0 {
                    return revents as c_short;
                }
            }
            panic!("it rings without a reason");
        }
    }

    /// Writes through mmap: as many of `frames` as there is room for.
    pub fn mmap_once(&self, bytes: &[Vec<u8>], at: u64, frames: u64) -> Result<u64, Errno> {
        let (mut areas, mut offset, mut room) = (ptr::null(), 0, frames);
        // SAFETY: a live PCM and places for what it gives.
        check(unsafe { raw::snd_pcm_mmap_begin(self.raw, &raw mut areas, &raw mut offset, &raw mut room) })?;
        let width = self.wish.width();
        let channels = bytes_channels(self);
        for channel in 0..channels {
            // SAFETY: an area for each channel.
            let area = unsafe { &*areas.add(channel) };
            for n in 0..room as usize {
                let frame = at as usize + n;
                let sample = match self.wish.is_planar() {
                    true => &bytes[channel][frame * width..],
                    false => &bytes[0][(frame * channels + channel) * width..],
                };
                let to = (area.first as usize + (offset as usize + n) * area.step as usize) / 8;
                // SAFETY: within the area, as it was given for so many frames.
                unsafe { ptr::copy_nonoverlapping(sample.as_ptr(), area.addr.cast::<u8>().add(to), width) };
            }
        }
        // SAFETY: as it was begun.
        count(unsafe { raw::snd_pcm_mmap_commit(self.raw, offset, room) })
    }
}

fn bytes_channels(pcm: &Pcm) -> usize {
    pcm.wish.channels as usize
}

impl Drop for Pcm {
    fn drop(&mut self) {
        // SAFETY: not used any more after this.
        unsafe { raw::snd_pcm_close(self.raw) };
    }
}
