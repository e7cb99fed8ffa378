//! What the graph says about time in one cycle: `pw_time` and the driver's clock.

use std::hint;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use libspa_sys as spa;
use pipewire_sys as pw;

use crate::time::{MonotonicTime, frames_to_nanos};

/// The times of one cycle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timing {
    /// When the cycle's clock report was taken, by the driver: `pw_time.now`.
    pub now: MonotonicTime,
    /// Position of the driver at `now`, counted in `ticks_rate` since this stream first saw a driver. Goes on across changes of driver.
    pub ticks: u64,
    /// Ticks a second (the rate of the graph); 0 while no driver is known.
    pub ticks_rate: u32,
    /// Nanoseconds between the stream and the edge of the graph, as the ports on the way report it: for playback until a sample leaves the
    /// device, for capture since it entered.
    pub delay: i64,
    /// Frames in buffers that are queued in the stream.
    pub queued: u64,
    /// Frames held by the stream's own resampler.
    pub buffered: u64,
    /// Frames a second of this stream's samples.
    pub rate: u32,
    /// The driver's clock, when the stream has been given its area.
    pub clock: Option<Clock>,
    /// Whether this cycle does not follow on from the one before: the first, another driver, a jump of its position.
    pub discontinuous: bool,
}

impl Timing {
    /// On capture: when the first frame of this cycle reached the driver, plus nothing for what the frame has travelled before.
    ///
    /// For a sink this is when the graph hands the frame over; add the stream's own latency to say when it should be heard.
    pub fn input_time(&self) -> MonotonicTime {
        self.now
    }

    /// On playback: when the first frame written in this cycle leaves the device.
    pub fn output_time(&self) -> MonotonicTime {
        let waiting = i64::try_from(self.queued.saturating_add(self.buffered)).unwrap_or(i64::MAX);
        self.now.offset(self.delay).offset(frames_to_nanos(waiting, self.rate))
    }
}

/// The clock of the driver of the graph, `spa_io_clock`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clock {
    /// Which clock; another number means another driver.
    pub id: u32,
    /// When this cycle began.
    pub time: MonotonicTime,
    /// When the next one is expected to begin.
    pub next: MonotonicTime,
    /// Frames a second of `position`, `duration` and `delay`.
    pub rate: u32,
    /// Frames at `time`, since the driver started.
    pub position: u64,
    /// Frames in this cycle (the quantum).
    pub duration: u64,
    /// Frames between `position` and the hardware.
    pub delay: i64,
    /// The driver's rate against the monotonic clock, nominally 1.0.
    pub rate_diff: f64,
    /// The graph runs as fast as it can, not in real time.
    pub freewheel: bool,
    /// The driver recovers from an xrun (PipeWire 1.0 and later).
    pub recovering: bool,
    /// The driver says itself that its clock jumped (PipeWire 1.2 and later).
    pub jumped: bool,
}

/// Bits of `spa_io_clock.flags`; those of later versions are zero in earlier ones.
mod flags {
    pub(super) const FREEWHEEL: u32 = 1 << 0;
    pub(super) const XRUN_RECOVER: u32 = 1 << 1;
    pub(super) const DISCONT: u32 = 1 << 4;
}

/// The area in which the driver keeps its position, found by the main loop, read by the data loop.
#[derive(Debug, Default)]
pub(super) struct PositionArea {
    area: AtomicPtr<spa::spa_io_position>,
    reading: AtomicBool,
}

impl PositionArea {
    /// Main loop: the area has moved or gone. Returns when the data loop has let go of the old one, which it never holds for longer than
    /// copying takes.
    pub(super) fn set(&self, area: *mut spa::spa_io_position) {
        // The order of the two operations here and of their counterparts in `read` is what makes this work, hence SeqCst: either the
        // reader sees the new pointer or this loop sees the reader.
        self.area.store(area, Ordering::SeqCst);
        while self.reading.load(Ordering::SeqCst) {
            hint::spin_loop();
        }
    }

    /// Data loop: what the clock says.
    pub(super) fn read(&self) -> Option<Clock> {
        self.reading.store(true, Ordering::SeqCst);
        let area = self.area.load(Ordering::SeqCst);
        let clock = if area.is_null() {
            None
        } else {
            // SAFETY: the area was valid when it was set; libpipewire unmaps it only after telling so, and `set` does not return from that
            // while `reading` is true. Volatile, for the memory is shared with the driver's process; it writes between cycles, so what is
            // read in one belongs together.
            let raw = unsafe { (&raw const (*area).clock).read_volatile() };
            Some(Clock::from_raw(&raw))
        };
        self.reading.store(false, Ordering::Release);
        clock
    }
}

impl Clock {
    fn from_raw(raw: &spa::spa_io_clock) -> Self {
        Self {
            id: raw.id,
            time: from_unsigned(raw.nsec),
            next: from_unsigned(raw.next_nsec),
            rate: per_second(raw.rate),
            position: raw.position,
            duration: raw.duration,
            delay: raw.delay,
            rate_diff: raw.rate_diff,
            freewheel: raw.flags & flags::FREEWHEEL != 0,
            recovering: raw.flags & flags::XRUN_RECOVER != 0,
            jumped: raw.flags & flags::DISCONT != 0,
        }
    }
}

/// Tells whether cycles follow on from each other.
#[derive(Debug, Default)]
pub(super) struct Continuity {
    expected: Option<(u32, u64)>,
}

impl Continuity {
    /// Whether `clock` is not where the cycle before said it would be.
    pub(super) fn broken_by(&mut self, clock: Option<&Clock>) -> bool {
        let broken = match (self.expected, clock) {
            (Some(expected), Some(clock)) => expected != (clock.id, clock.position) || clock.jumped || clock.recovering,
            _ => true,
        };
        self.expected = clock.map(|clock| (clock.id, clock.position.wrapping_add(clock.duration)));
        broken
    }
}

/// Data loop: the times of this cycle.
///
/// # Safety
/// `stream` is live; called on its data loop or its main loop.
pub(super) unsafe fn read(stream: *mut pw::pw_stream, rate: u32, area: &PositionArea, continuity: &mut Continuity) -> Timing {
    // SAFETY: a C struct of integers, for which zero is valid.
    let mut time: pw::pw_time = unsafe { std::mem::zeroed() };
    // SAFETY: live by contract; the size is that of the struct. A failure leaves it zero. The call is real-time safe.
    unsafe { pw::pw_stream_get_time_n(stream, &raw mut time, size_of::<pw::pw_time>()) };
    let clock = area.read();
    let ticks_rate = per_second(time.rate);
    Timing {
        now: MonotonicTime::from_nanos(time.now),
        ticks: time.ticks,
        ticks_rate,
        delay: frames_to_nanos(time.delay, ticks_rate),
        queued: time.queued,
        buffered: time.buffered,
        rate,
        clock,
        discontinuous: continuity.broken_by(clock.as_ref()),
    }
}

fn from_unsigned(nanos: u64) -> MonotonicTime {
    MonotonicTime::from_nanos(i64::try_from(nanos).unwrap_or(i64::MAX))
}

/// The rate that a fraction like 1/48000 stands for.
fn per_second(fraction: spa::spa_fraction) -> u32 {
    fraction.denom.checked_div(fraction.num).unwrap_or(0)
}
