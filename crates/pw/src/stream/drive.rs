//! Driving a graph: what the graph wants of its driver, the clock the driver tells it, and the descriptor that paces both.

use std::ffi::{c_int, c_void};
use std::mem::offset_of;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use libspa_sys as spa;
use pipewire_sys as pw;

use super::process::{RealTime, Shared};
use super::timing::per_second;
use crate::core::Context;
use crate::error::{Error, check, last};
use crate::guard::{contain, contain_logged};
use crate::sys;
use crate::time::MonotonicTime;

/// What the graph wants of its driver for the next cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Whether this stream drives at all: it is running, and no other driver has the graph.
    pub driving: bool,
    /// Frames a second of the graph; 0 while not known.
    pub rate: u32,
    /// Frames in the next cycle; 0 while not known.
    pub quantum: u64,
}

/// The clock of one cycle, as its driver tells it to the graph.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Beat {
    /// When the cycle begins by the device's clock, not when the driver happened to wake.
    pub time: MonotonicTime,
    /// When the next one will begin.
    pub next: MonotonicTime,
    /// Frames since the driver started; it grows by the frames of each cycle.
    pub position: u64,
    /// Frames between `time` and the moment the first frame of this cycle leaves the device.
    pub delay: i64,
    /// The device's rate against the monotonic clock, nominally 1.0.
    pub rate_diff: f64,
}

/// What drivers are asked for lies behind the fields that all versions have: in versions up to 0.3.65 it is padding and
/// zero, and the host changes `rate` and `duration` by itself.
#[repr(C)]
#[derive(Clone, Copy)]
struct Target {
    rate: spa::spa_fraction,
    duration: u64,
}

const TARGET: usize = offset_of!(spa::spa_io_clock, next_nsec) + size_of::<u64>();
const _: () = assert!(TARGET + size_of::<Target>() <= size_of::<spa::spa_io_clock>());

impl Shared {
    /// Main loop: whether this stream's clock is that of its graph.
    pub(super) fn is_driving(&self) -> bool {
        // SAFETY: this is the loop that moves the areas, so they stay for the length of this call.
        same(
            self.clock.get().map(|clock| unsafe { id(clock) }),
            self.position.get().map(|area| unsafe { position_id(area) }),
        )
    }

    /// Data loop: what the graph wants.
    fn wanted(&self) -> Wanted {
        let asked = self.clock.with(|clock| {
            let clock = clock.as_ptr();
            // SAFETY: mapped while `with` uses it, large enough for all versions' fields (checked above), aligned as
            // the struct is. Volatile, for the host writes to it; it does so between cycles.
            unsafe {
                let target = clock.byte_add(TARGET).cast::<Target>().read_volatile();
                if target.duration != 0 && target.rate.denom != 0 {
                    (target.rate, target.duration)
                } else {
                    ((&raw const (*clock).rate).read_volatile(), (&raw const (*clock).duration).read_volatile())
                }
            }
        });
        // SAFETY: mapped while `with` uses them.
        let own = self.clock.with(|clock| unsafe { id(clock) });
        // SAFETY: as above.
        let position = self.position.with(|area| unsafe { position_id(area) });
        let driving = self.streaming.load(Ordering::Acquire) && same(own, position);
        let (rate, quantum) = asked.map_or((0, 0), |(rate, quantum)| (per_second(rate), quantum));
        Wanted { driving, rate, quantum }
    }

    /// Data loop: tells the graph the time.
    fn tell(&self, wanted: Wanted, beat: Beat) {
        let unsigned = |time: MonotonicTime| u64::try_from(time.as_nanos()).unwrap_or(0);
        let write = |clock: NonNull<spa::spa_io_clock>| {
            let clock = clock.as_ptr();
            // SAFETY: as in wanted(). The driver is the one who writes these fields; others read them after they were
            // woken by the cycle that follows.
            unsafe {
                (&raw mut (*clock).nsec).write_volatile(unsigned(beat.time));
                (&raw mut (*clock).rate).write_volatile(spa::spa_fraction { num: 1, denom: wanted.rate });
                (&raw mut (*clock).position).write_volatile(beat.position);
                (&raw mut (*clock).duration).write_volatile(wanted.quantum);
                (&raw mut (*clock).delay).write_volatile(beat.delay);
                (&raw mut (*clock).rate_diff).write_volatile(beat.rate_diff);
                (&raw mut (*clock).next_nsec).write_volatile(unsigned(beat.next));
            }
        };
        // Gone meanwhile: then nobody listens to this clock any more.
        let _told = self.clock.with(write);
    }
}

fn same(own: Option<u32>, position: Option<u32>) -> bool {
    own.is_some() && own == position
}

/// # Safety
/// The area is mapped. The host has written the id before it handed the area over.
unsafe fn id(clock: NonNull<spa::spa_io_clock>) -> u32 {
    // SAFETY: by contract.
    unsafe { (&raw const (*clock.as_ptr()).id).read_volatile() }
}

/// # Safety
/// As [`id`].
unsafe fn position_id(area: NonNull<spa::spa_io_position>) -> u32 {
    // SAFETY: by contract.
    unsafe { (&raw const (*area.as_ptr()).clock.id).read_volatile() }
}

impl RealTime {
    /// Whether a cycle is to begin.
    fn drive(&mut self) -> bool {
        if self.shared.panicked.load(Ordering::Relaxed) {
            return false;
        }
        let wanted = self.shared.wanted();
        let process = &mut self.process;
        match contain(|| process.drive(wanted)) {
            Ok(Some(beat)) if wanted.driving => {
                self.shared.tell(wanted, beat);
                true
            }
            Ok(_) => false,
            Err(_) => {
                self.panicked();
                false
            }
        }
    }
}

/// Keeps a descriptor among those that the data loop waits for.
#[derive(Debug)]
pub(super) struct Pacer {
    data_loop: *mut pw::pw_loop,
    source: *mut spa::spa_source,
    /// Outlives the source, which polls it.
    _descriptor: Arc<OwnedFd>,
    /// Outlives its data loop's use.
    _context: Context,
}

/// What is handed to the data loop to be added or removed there, where alone that is safe.
struct Errand {
    data_loop: *mut pw::pw_loop,
    descriptor: c_int,
    half: *mut RealTime,
    source: *mut spa::spa_source,
}

impl Pacer {
    /// # Safety
    /// `half` is the real-time half of `stream`; it lives, and the stream with it, until this is dropped, and nothing
    /// but the data loop uses it. Called on the main loop.
    pub(super) unsafe fn new(
        context: &Context,
        descriptor: Arc<OwnedFd>,
        stream: *mut pw::pw_stream,
        half: *mut RealTime,
    ) -> Result<Self, Error> {
        if stream.is_null() || half.is_null() {
            return Err(Error::Gone("stream"));
        }
        // SAFETY: the context lives and has a data loop as long as it does.
        let data_loop = unsafe { pw::pw_data_loop_get_loop(pw::pw_context_get_data_loop(context.as_ptr())) };
        if data_loop.is_null() {
            return Err(last("find the data loop"));
        }
        let mut errand = Errand { data_loop, descriptor: descriptor.as_raw_fd(), half, source: std::ptr::null_mut() };
        // SAFETY: the data loop runs in its own thread, which never waits for this one; the errand outlives the call,
        // which waits.
        check("reach the data loop", unsafe { sys::loop_invoke(data_loop, add, (&raw mut errand).cast()) })?;
        if errand.source.is_null() {
            return Err(last("add a descriptor to the data loop"));
        }
        Ok(Self { data_loop, source: errand.source, _descriptor: descriptor, _context: context.clone() })
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        let mut errand =
            Errand { data_loop: self.data_loop, descriptor: -1, half: std::ptr::null_mut(), source: self.source };
        // SAFETY: as in new(); the source is live and removed once.
        let removed = unsafe { sys::loop_invoke(self.data_loop, remove, (&raw mut errand).cast()) };
        contain_logged("the end of a pacer", || debug_assert!(removed >= 0, "the data loop has ended before"));
    }
}

/// Data loop.
unsafe extern "C" fn add(
    _loop: *mut spa::spa_loop,
    _async: bool,
    _seq: u32,
    _data: *const c_void,
    _size: usize,
    errand: *mut c_void,
) -> c_int {
    // SAFETY: the errand of Pacer::new, which waits for this call; nobody else uses it meanwhile.
    let errand = unsafe { &mut *errand.cast::<Errand>() };
    // SAFETY: this is the loop's thread; descriptor and half live until `remove` has run.
    errand.source = unsafe { sys::loop_add_io(errand.data_loop, errand.descriptor, on_pace, errand.half.cast()) };
    0
}

/// Data loop.
unsafe extern "C" fn remove(
    _loop: *mut spa::spa_loop,
    _async: bool,
    _seq: u32,
    _data: *const c_void,
    _size: usize,
    errand: *mut c_void,
) -> c_int {
    // SAFETY: the errand of Pacer::drop, which waits for this call.
    let errand = unsafe { &*errand.cast::<Errand>() };
    // SAFETY: this is the loop's thread, and the source a live one of it.
    unsafe { sys::loop_destroy_source(errand.data_loop, errand.source) };
    0
}

/// Data loop, when the pacing descriptor is readable.
unsafe extern "C" fn on_pace(data: *mut c_void, descriptor: c_int, _mask: u32) {
    let mut count = 0_u64;
    // SAFETY: eight writable bytes, as eventfds and timerfds give them; the descriptor does not block.
    let read = unsafe { libc::read(descriptor, (&raw mut count).cast(), size_of::<u64>()) };
    if read < 0 {
        // Set anew between the poll and the read: it will be readable again.
        return;
    }
    let half = data.cast::<RealTime>();
    // SAFETY: the half lives until the pacer is dropped, and only this thread uses it: `on_process` runs on it too, and
    // not inside this call.
    let (begin, stream) = unsafe { ((*half).drive(), (*half).stream) };
    if begin {
        // SAFETY: the stream lives as the half does. No reference to the half is held here, should a cycle without
        // others come back to it at once. Its answer is no news: the next beat comes in any case.
        unsafe { pw::pw_stream_trigger_process(stream) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::timing::Clock;

    /// A position area as a host of 0.3.65 sets it up, whose clock is number 7.
    fn area() -> Box<spa::spa_io_position> {
        // SAFETY: a C struct of numbers, for which zero is valid.
        let mut area: Box<spa::spa_io_position> = Box::new(unsafe { std::mem::zeroed() });
        area.clock.id = 7;
        area.clock.rate = spa::spa_fraction { num: 1, denom: 48_000 };
        area.clock.duration = 512;
        area
    }

    #[test]
    fn drives_only_while_it_runs_and_its_clock_is_the_graphs() {
        let (mut own, mut foreign) = (area(), area());
        foreign.clock.id = 8;
        let shared = Shared::default();
        assert_eq!(shared.wanted(), Wanted { driving: false, rate: 0, quantum: 0 });
        shared.clock.set(&raw mut own.clock);
        shared.position.set(&raw mut *own);
        assert_eq!(shared.wanted(), Wanted { driving: false, rate: 48_000, quantum: 512 });
        shared.streaming.store(true, Ordering::Release);
        assert!(shared.wanted().driving);
        shared.position.set(&raw mut *foreign);
        assert!(!shared.wanted().driving);
    }

    #[test]
    fn later_versions_ask_beside_the_clock() {
        let mut own = area();
        let target = Target { rate: spa::spa_fraction { num: 1, denom: 44_100 }, duration: 128 };
        // SAFETY: inside the struct, as checked where TARGET is defined, and aligned as its last u64.
        unsafe { (&raw mut own.clock).byte_add(TARGET).cast::<Target>().write(target) };
        let shared = Shared::default();
        shared.clock.set(&raw mut own.clock);
        assert_eq!(shared.wanted(), Wanted { driving: false, rate: 44_100, quantum: 128 });
    }

    #[test]
    fn what_is_told_is_what_others_read() {
        let mut own = area();
        let shared = Shared::default();
        shared.clock.set(&raw mut own.clock);
        shared.position.set(&raw mut *own);
        let beat = Beat {
            time: MonotonicTime::from_nanos(5_000),
            next: MonotonicTime::from_nanos(9_000),
            position: 4_096,
            delay: 256,
            rate_diff: 1.000_08,
        };
        shared.tell(Wanted { driving: true, rate: 48_000, quantum: 256 }, beat);
        let read = shared.position.read();
        assert_eq!(
            read,
            Some(Clock {
                id: 7,
                time: beat.time,
                next: beat.next,
                rate: 48_000,
                position: 4_096,
                duration: 256,
                delay: 256,
                rate_diff: 1.000_08,
                freewheel: false,
                recovering: false,
                jumped: false,
            })
        );
    }
}
