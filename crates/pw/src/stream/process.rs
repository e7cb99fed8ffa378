//! The real-time half of a stream: one call per cycle, on the data loop.

use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use libspa_sys as spa;
use pipewire_sys as pw;

use super::Direction;
use super::drive::{Beat, Wanted};
use super::timing::{self, Area, Continuity, PositionArea, Timing};
use crate::guard::contain;
use crate::main_loop::Waker;

/// The real-time half of a stream. Only the data loop touches it between [`Stream::new`](super::Stream::new) and the
/// stream's drop.
///
/// It must not allocate, lock, block, log or free.
pub trait Process: Send {
    /// One cycle. A panic is caught; the stream is silent from then on and says so by
    /// [`StreamEvent::ProcessPanicked`](super::StreamEvent::ProcessPanicked).
    fn process(&mut self, cycle: Cycle<'_>);

    /// The descriptor of [`Stream::drive_on`](super::Stream::drive_on) has become readable. With `Some`, the graph's
    /// clock is set to it and a cycle begins, which asks every node in its turn and comes to
    /// [`process`](Self::process) in the end; that may not happen before the next beat when some node is late.
    ///
    /// A beat while [`Wanted::driving`] is false is not told to anyone.
    fn drive(&mut self, wanted: Wanted) -> Option<Beat> {
        let _unused = wanted;
        None
    }
}

impl<F: FnMut(Cycle<'_>) + Send> Process for F {
    fn process(&mut self, cycle: Cycle<'_>) {
        self(cycle);
    }
}

/// One cycle: its times and its samples.
#[derive(Debug)]
pub struct Cycle<'a> {
    timing: Timing,
    channels: usize,
    samples: Samples<'a>,
}

#[derive(Debug)]
enum Samples<'a> {
    Input(&'a [f32]),
    Output { samples: &'a mut [f32], written: &'a mut usize },
}

impl<'a> Cycle<'a> {
    /// The times of this cycle.
    pub fn timing(&self) -> &Timing {
        &self.timing
    }

    /// Channels that are interleaved in the samples, at least 1.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Whole frames in this cycle: those that came in, or those that are asked for.
    pub fn frames(&self) -> usize {
        let samples = match &self.samples {
            Samples::Input(samples) => samples.len(),
            Samples::Output { samples, .. } => samples.len(),
        };
        samples / self.channels
    }

    /// The samples that came in, interleaved, in whole frames; empty on a playback stream.
    pub fn input(&self) -> &[f32] {
        match &self.samples {
            Samples::Input(samples) => samples,
            Samples::Output { .. } => &[],
        }
    }

    /// The samples to fill, interleaved, in whole frames, zero so far; empty on a capturing stream.
    pub fn output(&mut self) -> &mut [f32] {
        match &mut self.samples {
            Samples::Input(_) => &mut [],
            Samples::Output { samples, .. } => samples,
        }
    }

    /// Says that fewer frames than asked for are there to play. The graph may run dry then; silence is usually better.
    pub fn set_written(&mut self, frames: usize) {
        let whole = self.frames();
        if let Samples::Output { written, .. } = &mut self.samples {
            **written = frames.min(whole);
        }
    }
}

/// What the two halves share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) position: PositionArea,
    /// Our own clock, for the case that we drive.
    pub(super) clock: Area<spa::spa_io_clock>,
    pub(super) streaming: AtomicBool,
    pub(super) rate: AtomicU32,
    /// 0 while no format is agreed on.
    pub(super) channels: AtomicU32,
    pub(super) panicked: AtomicBool,
}

/// The real-time half and what its callback needs.
pub(super) struct RealTime {
    pub(super) stream: *mut pw::pw_stream,
    pub(super) direction: Direction,
    pub(super) process: Box<dyn Process>,
    pub(super) shared: Arc<Shared>,
    pub(super) waker: Waker,
    pub(super) continuity: Continuity,
}

pub(super) static EVENTS: pw::pw_stream_events = {
    // SAFETY: a version and optional functions, for which zero is "none".
    let mut events: pw::pw_stream_events = unsafe { std::mem::zeroed() };
    events.version = pw::PW_VERSION_STREAM_EVENTS;
    events.process = Some(on_process);
    events
};

/// Data loop, once a cycle.
unsafe extern "C" fn on_process(data: *mut c_void) {
    // SAFETY: `data` is the RealTime of a stream that lives: it is freed after the stream, and the stream calls from
    // one thread only (it is always connected with RT_PROCESS), so this is the only reference.
    let half = unsafe { &mut *data.cast::<RealTime>() };
    // SAFETY: the stream lives, it is calling. Dequeue is meant for this place.
    let buffer = unsafe { pw::pw_stream_dequeue_buffer(half.stream) };
    if buffer.is_null() {
        return;
    }
    let channels = half.shared.channels.load(Ordering::Relaxed) as usize;
    if channels > 0 {
        // SAFETY: the buffer is ours from dequeue to queue.
        unsafe { half.cycle(buffer, channels) };
    }
    // SAFETY: the buffer came from this stream and goes back once.
    unsafe { pw::pw_stream_queue_buffer(half.stream, buffer) };
}

impl RealTime {
    /// # Safety
    /// `buffer` was dequeued from this stream and not queued yet.
    unsafe fn cycle(&mut self, buffer: *mut pw::pw_buffer, channels: usize) {
        // SAFETY: a dequeued buffer and its spa_buffer stay valid until queued; nobody else writes to them meanwhile.
        let (requested, data) = unsafe {
            let spa_buffer = (*buffer).buffer;
            if (*spa_buffer).n_datas == 0 {
                return;
            }
            ((*buffer).requested, &*(*spa_buffer).datas)
        };
        if data.data.is_null() || data.chunk.is_null() || !data.data.cast::<f32>().is_aligned() {
            return;
        }
        // SAFETY: the stream lives, this is its data loop.
        let timing = unsafe {
            timing::read(
                self.stream,
                self.shared.rate.load(Ordering::Relaxed),
                &self.shared.position,
                &mut self.continuity,
            )
        };
        let stride = channels * size_of::<f32>();
        let capacity = data.maxsize as usize / stride;
        match self.direction {
            Direction::Input => {
                // SAFETY: not NULL, and the chunk is part of the buffer.
                let chunk = unsafe { &*data.chunk };
                let offset = (chunk.offset as usize).min(data.maxsize as usize);
                let size = (chunk.size as usize).min(data.maxsize as usize - offset);
                if offset % size_of::<f32>() != 0 {
                    return;
                }
                // SAFETY: offset and size were cut to the mapped size, and to whole aligned floats; any bits are a
                // float. The memory is initialised, being mapped, and the producer has finished with it before this
                // cycle.
                let samples = unsafe {
                    std::slice::from_raw_parts(
                        data.data.cast::<f32>().add(offset / size_of::<f32>()),
                        size / stride * channels,
                    )
                };
                // SAFETY: as above.
                unsafe { (*buffer).size = (size / stride) as u64 };
                self.call(Cycle { timing, channels, samples: Samples::Input(samples) });
            }
            Direction::Output => {
                let asked = match (requested, &timing.clock) {
                    (0, Some(clock)) => clock.duration,
                    (0, None) => capacity as u64,
                    (requested, _) => requested,
                };
                let mut written = usize::try_from(asked).unwrap_or(capacity).min(capacity);
                // SAFETY: no longer than the mapped memory, aligned, and ours alone until the buffer is queued.
                let samples = unsafe { std::slice::from_raw_parts_mut(data.data.cast::<f32>(), written * channels) };
                samples.fill(0.0);
                self.call(Cycle { timing, channels, samples: Samples::Output { samples, written: &mut written } });
                if self.shared.panicked.load(Ordering::Relaxed) {
                    // SAFETY: as above; the slice before is no longer used. Half a cycle of sound would click.
                    unsafe { std::slice::from_raw_parts_mut(data.data.cast::<f32>(), written * channels) }.fill(0.0);
                }
                // SAFETY: not NULL, part of our buffer.
                unsafe {
                    (*data.chunk).offset = 0;
                    (*data.chunk).stride = i32::try_from(stride).unwrap_or(0);
                    (*data.chunk).size = u32::try_from(written * stride).unwrap_or(0);
                    (*buffer).size = written as u64;
                }
            }
        }
    }

    fn call(&mut self, cycle: Cycle<'_>) {
        if self.shared.panicked.load(Ordering::Relaxed) {
            return;
        }
        let process = &mut self.process;
        if contain(|| process.process(cycle)).is_err() {
            self.panicked();
        }
    }

    pub(super) fn panicked(&self) {
        self.shared.panicked.store(true, Ordering::Release);
        self.waker.wake();
    }
}
