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
    ///
    /// What is on the way is counted in frames of the device, which are shorter when its crystal is fast.
    pub fn output_time(&self) -> MonotonicTime {
        let waiting = i64::try_from(self.queued.saturating_add(self.buffered)).unwrap_or(i64::MAX);
        let nominal = self.delay.saturating_add(frames_to_nanos(waiting, self.rate));
        self.now.offset(self.clock.map_or(nominal, |clock| clock.nanos(nominal)))
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

/// No crystal is further off than this. A driver that has yet to learn its device's rate may tell more for some seconds.
const CRYSTAL: f64 = 500e-6;

impl Clock {
    /// How long what lasts `nominal` nanoseconds at the device's nominal rate takes by the host's clock.
    fn nanos(&self, nominal: i64) -> i64 {
        // The small part only goes through floating point.
        nominal.saturating_sub((nominal as f64 * (self.off() / (1.0 + self.off()))).round() as i64)
    }

    /// How long what takes `nanos` by the host's clock lasts at the device's nominal rate.
    fn nominal(&self, nanos: i64) -> i64 {
        nanos.saturating_add((nanos as f64 * self.off()).round() as i64)
    }

    /// By how much the device is fast, as a ratio; nought while that is not known.
    fn off(&self) -> f64 {
        let off = self.rate_diff - 1.0;
        if off.abs() > CRYSTAL { 0.0 } else { off }
    }

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

/// Tells whether cycles follow on from each other, and when frames are heard in the cycle in which the quantum changes.
#[derive(Debug, Default)]
pub(super) struct Continuity {
    expected: Option<Expected>,
}

/// The cycle to come, by the one before it.
#[derive(Debug)]
struct Expected {
    id: u32,
    position: u64,
    /// Frames in the cycle before.
    duration: u64,
    /// When its first frame is heard, if it follows on.
    heard: MonotonicTime,
}

impl Continuity {
    /// Completes the times of a cycle by what is known from the one before.
    ///
    /// When the quantum changes, the ports' latencies are those of the new one at once, but what is on its way to the
    /// device is a cycle of the old one: its frames follow on those before without a gap, and that is when they are heard.
    pub(super) fn complete(&mut self, timing: &mut Timing) {
        let expected = self.expected.take();
        timing.discontinuous = match (&expected, &timing.clock) {
            (Some(expected), Some(clock)) => expected.is_broken_by(clock),
            _ => true,
        };
        let Some(clock) = timing.clock else { return };
        if let Some(expected) = expected.filter(|before| !timing.discontinuous && before.duration != clock.duration) {
            let more = clock.nominal(expected.heard.since(timing.output_time()));
            timing.delay = timing.delay.saturating_add(more);
        }
        let frames = i64::try_from(clock.duration).unwrap_or(i64::MAX);
        self.expected = Some(Expected {
            id: clock.id,
            position: clock.position.wrapping_add(clock.duration),
            duration: clock.duration,
            heard: timing.output_time().offset(clock.nanos(frames_to_nanos(frames, clock.rate))),
        });
    }
}

impl Expected {
    fn is_broken_by(&self, clock: &Clock) -> bool {
        (self.id, self.position) != (clock.id, clock.position) || clock.jumped || clock.recovering
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
    let ticks_rate = per_second(time.rate);
    let mut timing = Timing {
        now: MonotonicTime::from_nanos(time.now),
        ticks: time.ticks,
        ticks_rate,
        delay: frames_to_nanos(time.delay, ticks_rate),
        queued: time.queued,
        buffered: time.buffered,
        rate,
        clock: area.read(),
        discontinuous: false,
    };
    continuity.complete(&mut timing);
    timing
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
        raw.rate_diff = 1.0;
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

    /// A cycle that begins at `nanos`, as a sink's ports tell it: heard one quantum later.
    fn cycle(clock: Option<Clock>, nanos: i64) -> Timing {
        let quantum = clock.map_or(0, |clock| clock.duration);
        Timing {
            now: MonotonicTime::from_nanos(nanos),
            ticks: 0,
            ticks_rate: 48_000,
            delay: frames_to_nanos(quantum as i64, 48_000),
            queued: 0,
            buffered: 0,
            rate: 48_000,
            clock,
            discontinuous: false,
        }
    }

    #[test]
    fn jumps_and_other_drivers_break_the_run() {
        let mut continuity = Continuity::default();
        let mut broken = |clock| {
            let mut timing = cycle(clock, 0);
            continuity.complete(&mut timing);
            timing.discontinuous
        };
        let told: Vec<bool> =
            [clock(7, 0), clock(7, 256), clock(7, 1_024), clock(7, 1_280), clock(8, 1_536), clock(8, 1_792)]
                .into_iter()
                .map(|clock| broken(Some(clock)))
                .collect();
        assert_eq!(told, [true, false, true, false, true, false]);
        assert!(broken(None));
        assert!(broken(Some(clock(8, 2_048))), "after a gap of knowledge");
        assert!(broken(Some(Clock { jumped: true, ..clock(8, 2_304) })));
    }

    #[test]
    fn what_is_on_its_way_is_of_the_old_quantum() {
        let mut continuity = Continuity::default();
        let frames = |frames: i64| frames_to_nanos(frames, 48_000);
        let of = |position, duration| Some(Clock { duration, rate_diff: 1.0, ..clock(7, position) });
        // As a card does it: a cycle begins when just the quantum in use is left to play.
        for (n, (quantum, begins, position)) in [
            (480, 0, 0),
            (480, 480, 480),
            (4_800, 960, 960),
            (4_800, 1_440, 5_760),
            (48, 6_240, 10_560),
            (48, 11_040, 10_608),
        ]
        .into_iter()
        .enumerate()
        {
            let mut timing = cycle(of(position, quantum), frames(begins));
            continuity.complete(&mut timing);
            assert_eq!(timing.discontinuous, n == 0);
            let off = timing.output_time().as_nanos() - frames(position as i64 + 480);
            assert!(off.abs() <= 4, "cycle {n} is told to be heard {off} ns late");
        }
    }

    #[test]
    fn delays_are_in_frames_of_the_crystal() {
        let second = Timing { delay: 1_000_000_000, ..cycle(Some(Clock { rate_diff: 1.0001, ..clock(7, 0) }), 0) };
        assert_eq!(second.output_time().as_nanos(), 999_900_010);
        let unsettled = Timing { clock: Some(Clock { rate_diff: 1.01, ..clock(7, 0) }), ..second };
        assert_eq!(unsettled.output_time().as_nanos(), 1_000_000_000);
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
