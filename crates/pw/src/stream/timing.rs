//! What the graph says about time in one cycle: `pw_time` and the driver's clock.

use std::hint;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use libspa_sys as spa;
use pipewire_sys as pw;

use crate::time::{MonotonicTime, frames_to_nanos};

/// The times of one cycle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timing {
    /// When the cycle's clock report was taken, by the driver: `pw_time.now`.
    pub now: MonotonicTime,
    /// Position of the driver at `now`, counted in `ticks_rate` since this stream first saw a driver. Goes on across
    /// changes of driver.
    pub ticks: u64,
    /// Ticks a second (the rate of the graph); 0 while no driver is known.
    pub ticks_rate: u32,
    /// Nanoseconds between the stream and the edge of the graph, as the ports on the way report it: for playback until
    /// a sample leaves the device, for capture since it entered.
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
    /// On input: when the graph handed over the first frame of this cycle, which is the beginning of the cycle.
    ///
    /// Later frames follow at `rate`. A sink adds its latency to say when the frame should be heard; a capture takes
    /// off `delay` to say when it was recorded. A resampler in the stream holds `buffered` frames more, at most a
    /// millisecond; that is left out, for a smooth time is worth more than so small a constant.
    pub fn input_time(&self) -> MonotonicTime {
        self.now
    }

    /// On playback: when the first frame written in this cycle leaves the device, as far as the ports on the way tell.
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
    /// The driver recovers from an xrun (told by PipeWire 1.4 and later).
    pub recovering: bool,
    /// The driver says itself that its clock jumped (told by PipeWire 1.6 and later).
    pub jumped: bool,
}

/// Bits of `spa_io_clock.flags`; those of later versions are zero in earlier ones.
mod flags {
    pub(super) const FREEWHEEL: u32 = 1 << 0;
    pub(super) const XRUN_RECOVER: u32 = 1 << 1;
    pub(super) const DISCONT: u32 = 1 << 4;
}

/// The area in which the driver keeps its position, found by the main loop, read by the data loop.
pub(super) type PositionArea = Area<spa::spa_io_position>;

/// Memory that libpipewire shares with the graph for as long as it likes: found by the main loop, used by the data loop.
#[derive(Debug)]
pub(super) struct Area<T> {
    area: AtomicPtr<T>,
    reading: AtomicBool,
}

impl<T> Default for Area<T> {
    fn default() -> Self {
        Self { area: AtomicPtr::default(), reading: AtomicBool::default() }
    }
}

impl<T> Area<T> {
    /// Main loop: the area has moved or gone. Returns when the data loop has let go of the old one, which it never
    /// holds for longer than copying takes.
    pub(super) fn set(&self, area: *mut T) {
        // The order of the two operations here and of their counterparts in `read` is what makes this work, hence
        // SeqCst: either the reader sees the new pointer or this loop sees the reader.
        self.area.store(area, Ordering::SeqCst);
        while self.reading.load(Ordering::SeqCst) {
            hint::spin_loop();
        }
    }

    /// Main loop, which is who moves it: where it is, if it is known.
    pub(super) fn get(&self) -> Option<NonNull<T>> {
        NonNull::new(self.area.load(Ordering::SeqCst))
    }

    /// Data loop: hands the area to `use_it`, during which it stays mapped; `None` while there is none.
    ///
    /// `use_it` must be short and must not panic: the main loop spins until it is over.
    pub(super) fn with<R>(&self, use_it: impl FnOnce(NonNull<T>) -> R) -> Option<R> {
        self.reading.store(true, Ordering::SeqCst);
        let result = NonNull::new(self.area.load(Ordering::SeqCst)).map(use_it);
        self.reading.store(false, Ordering::Release);
        result
    }
}

impl PositionArea {
    /// Data loop: what the clock says.
    pub(super) fn read(&self) -> Option<Clock> {
        self.with(|area| {
            // SAFETY: the area was valid when it was set; libpipewire unmaps it only after telling so, and `set` does
            // not return from that while `with` uses it. Volatile, for the memory is shared with the driver's
            // process; it writes between cycles, so what is read in one belongs together.
            let raw = unsafe { (&raw const (*area.as_ptr()).clock).read_volatile() };
            Clock::from_raw(&raw)
        })
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
pub(super) unsafe fn read(
    stream: *mut pw::pw_stream,
    rate: u32,
    area: &PositionArea,
    continuity: &mut Continuity,
) -> Timing {
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
pub(super) fn per_second(fraction: spa::spa_fraction) -> u32 {
    fraction.denom.checked_div(fraction.num).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(id: u32, position: u64) -> Clock {
        // SAFETY: a C struct of numbers, for which zero is valid.
        let mut raw: spa::spa_io_clock = unsafe { std::mem::zeroed() };
        raw.id = id;
        raw.position = position;
        raw.duration = 256;
        raw.rate = spa::spa_fraction { num: 1, denom: 48_000 };
        Clock::from_raw(&raw)
    }

    #[test]
    fn what_waits_plays_before_what_is_written() {
        let timing = Timing {
            now: MonotonicTime::from_nanos(1_000_000_000),
            ticks: 0,
            ticks_rate: 48_000,
            delay: 5_000_000,
            queued: 240,
            buffered: 24,
            rate: 24_000,
            clock: None,
            discontinuous: false,
        };
        assert_eq!(timing.output_time().as_nanos(), 1_000_000_000 + 5_000_000 + 11_000_000);
        assert_eq!(timing.input_time().as_nanos(), 1_000_000_000);
    }

    #[test]
    fn jumps_and_other_drivers_break_the_run() {
        let mut continuity = Continuity::default();
        let told: Vec<bool> =
            [clock(7, 0), clock(7, 256), clock(7, 1_024), clock(7, 1_280), clock(8, 1_536), clock(8, 1_792)]
                .iter()
                .map(|clock| continuity.broken_by(Some(clock)))
                .collect();
        assert_eq!(told, [true, false, true, false, true, false]);
        assert!(continuity.broken_by(None));
        assert!(continuity.broken_by(Some(&clock(8, 2_048))), "after a gap of knowledge");
        let flagged = Clock { jumped: true, ..clock(8, 2_304) };
        assert!(continuity.broken_by(Some(&flagged)));
    }

    #[test]
    fn the_area_may_go_away_at_any_time() {
        let area = PositionArea::default();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut seen = 0_u64;
                while !stop.load(Ordering::Relaxed) || seen == 0 {
                    if let Some(clock) = area.read() {
                        assert_eq!(clock.position, clock.duration, "an area that was freed, or is another by halves");
                        seen += 1;
                    }
                }
                seen
            });
            for round in 1..2_000_u64 {
                // SAFETY: a C struct of numbers, for which zero is valid.
                let mut fresh: Box<spa::spa_io_position> = Box::new(unsafe { std::mem::zeroed() });
                (fresh.clock.position, fresh.clock.duration) = (round, round);
                area.set(&raw mut *fresh);
                std::thread::yield_now();
                area.set(std::ptr::null_mut());
                fresh.clock.duration = 0;
            }
            // SAFETY: as above.
            let mut last: Box<spa::spa_io_position> = Box::new(unsafe { std::mem::zeroed() });
            area.set(&raw mut *last);
            stop.store(true, Ordering::Relaxed);
            assert!(reader.join().expect("the reader") > 0);
            area.set(std::ptr::null_mut());
            last.clock.duration = 1;
        });
    }
}
