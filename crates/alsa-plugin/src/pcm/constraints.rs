//! What a PCM can do, as told to alsa-lib before an application chooses.

use std::{
    ffi::{c_int, c_uint},
    ops::RangeInclusive,
};

use crate::{Errno, Format, sys};

/// Numbers that are allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// Those in a range.
    Range(RangeInclusive<u32>),
    /// These.
    List(Vec<u32>),
}

impl Allowed {
    /// This one only.
    #[must_use]
    pub fn only(value: u32) -> Self {
        Self::Range(value..=value)
    }
}

impl From<RangeInclusive<u32>> for Allowed {
    fn from(range: RangeInclusive<u32>) -> Self {
        Self::Range(range)
    }
}

/// What an application may choose from. Access is interleaved, by reading and writing or by mmap; who wants it otherwise
/// gets it from alsa-lib's `plug`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constraints {
    /// Sample formats.
    pub formats: Vec<Format>,
    /// Channels.
    pub channels: Allowed,
    /// Frames a second.
    pub rates: Allowed,
    /// Bytes in a period.
    pub period_bytes: Allowed,
    /// Bytes in the buffer.
    pub buffer_bytes: Allowed,
    /// Periods in the buffer, at least; alsa-lib then keeps the buffer a multiple of the period. `None`: it need not be
    /// one.
    pub periods: Option<RangeInclusive<u32>>,
}

impl Constraints {
    /// Tells alsa-lib.
    ///
    /// # Safety
    /// `io` is a PCM that alsa-lib has just created.
    pub(super) unsafe fn apply(&self, io: *mut sys::Ioplug) -> Result<(), Errno> {
        let access = [alsa_sys::SND_PCM_ACCESS_RW_INTERLEAVED, alsa_sys::SND_PCM_ACCESS_MMAP_INTERLEAVED];
        let formats: Vec<c_uint> = self.formats.iter().map(|format| format.to_alsa()).collect();
        let periods = self.periods.clone().map(Allowed::Range);
        // SAFETY: the caller vouches for the PCM.
        unsafe {
            list(io, sys::IOPLUG_HW_ACCESS, &access)?;
            list(io, sys::IOPLUG_HW_FORMAT, &formats)?;
            for (kind, allowed) in [
                (sys::IOPLUG_HW_CHANNELS, Some(&self.channels)),
                (sys::IOPLUG_HW_RATE, Some(&self.rates)),
                (sys::IOPLUG_HW_PERIOD_BYTES, Some(&self.period_bytes)),
                (sys::IOPLUG_HW_BUFFER_BYTES, Some(&self.buffer_bytes)),
                (sys::IOPLUG_HW_PERIODS, periods.as_ref()),
            ] {
                match allowed {
                    None => {}
                    Some(Allowed::List(values)) => list(io, kind, values)?,
                    Some(Allowed::Range(range)) => {
                        check(sys::snd_pcm_ioplug_set_param_minmax(io, kind, *range.start(), *range.end()))?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// # Safety
/// As [`Constraints::apply`].
unsafe fn list(io: *mut sys::Ioplug, kind: c_int, values: &[c_uint]) -> Result<(), Errno> {
    let count = c_uint::try_from(values.len()).map_err(|_| Errno::INVAL)?;
    // SAFETY: the caller's PCM; alsa-lib copies the list.
    check(unsafe { sys::snd_pcm_ioplug_set_param_list(io, kind, count, values.as_ptr()) })
}

pub(super) fn check(result: c_int) -> Result<(), Errno> {
    if result < 0 { Err(Errno::new(result)) } else { Ok(()) }
}
