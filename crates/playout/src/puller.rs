//! The audio thread's half: what is due now, at the device's own rate.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use audera_clock::{Deviation, FrameClock, Observed, Player, PlayerTime, SenderTime, Servo, ServoConfig, Span};

use crate::fade::Fade;
use crate::resampler::Resampler;
use crate::shared::{Clocks, Shared, State};
use crate::source::{Position, Source, Stride};

/// What one call of [`Puller::pull`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// How many of the frames carry the stream; the others are silence.
    pub sounding: usize,
    /// What the playout is doing after this call.
    pub state: State,
}

/// The half that is pulled by the audio thread. It neither allocates, frees, locks nor blocks, except that dropping
/// it may free memory: drop it where that is allowed.
#[derive(Debug)]
pub struct Puller {
    source: Source,
    resampler: Resampler,
    shared: Arc<Shared>,
    device: FrameClock<Player>,
    servo: Servo,
    mode: Mode,
    clocks: Option<Clocks>,
    clocks_seen: u64,
    finished: bool,
    /// Silence now is a hole in something that was being played.
    interrupted: bool,
    /// The first frame of the packet that was counted as late last.
    counted_late: i64,
    /// Frames given to the device so far.
    position: u64,
    /// Frames since the servo was last updated.
    since_update: usize,
    /// Nominal stream frames per output frame: what the servo says. Where the latency glides, frames of the stream last longer or
    /// shorter than nominal.
    pace: f64,
    /// When the end of what was pulled last is heard, if packets had come by then.
    pulled: Option<SenderTime>,
    /// Packets have come.
    begun: bool,
    output_delay: Span,
    width: usize,
    rate: u32,
}

/// Whether sound is being made.
#[derive(Clone, Copy, Debug)]
enum Mode {
    /// Nothing sounds. Frames before `resume` are done with.
    Silent { resume: i64 },
    /// The stream sounds, within the bounds of the fade.
    Sounding(Fade),
}

/// What is to be done about the silence at some frame of a period.
#[derive(Clone, Copy, Debug)]
enum Wait {
    /// Start at `position` after so many silent frames.
    Start { silent: usize, position: Position },
    /// Nothing starts within this period.
    Beyond,
}

/// An error beyond this is not made up for by rate but by a jump. To slew it would take more than ten seconds at an
/// inaudible correction of 1000 ppm, and two rooms further apart than this begin to be heard as an echo; a jump is a
/// dip of a few milliseconds.
const RESYNC: Span = Span::from_millis(10);

/// When the device itself has jumped the sound is torn already, and a jump of the stream costs nothing on top.
const RESYNC_AFTER_JUMP: Span = Span::from_millis(1);

impl Puller {
    pub(crate) fn new(source: Source, resampler: Resampler, shared: Arc<Shared>, width: usize, rate: u32) -> Self {
        Self {
            source,
            resampler,
            shared,
            device: FrameClock::new(rate),
            servo: Servo::new(ServoConfig::default()),
            mode: Mode::Silent { resume: 0 },
            clocks: None,
            clocks_seen: 0,
            finished: false,
            interrupted: false,
            counted_late: -1,
            position: 0,
            since_update: 0,
            pace: 1.0,
            pulled: None,
            begun: false,
            output_delay: Span::ZERO,
            width,
            rate,
        }
    }

    /// Fills `out` (interleaved, whole frames) with what is due when its first frame leaves the device, which will be
    /// at `at`, and with silence where nothing is.
    ///
    /// `at` may be as noisy as wake-ups are; it is filtered by a [`FrameClock`]. Calls follow on each other without
    /// a gap in the device's frames, or are preceded by [`device_reset`](Self::device_reset).
    pub fn pull(&mut self, at: PlayerTime, out: &mut [f32]) -> Pulled {
        // Before the packets: once the end is seen, all packets are.
        self.finished = self.shared.finished.load(Ordering::Acquire);
        let arrived = self.source.refresh();
        self.tell_spare(arrived);
        self.output_delay = Span::from_nanos(self.shared.output_delay.load(Ordering::Relaxed));
        if let Some(clocks) = self.shared.clock.newer_than(&mut self.clocks_seen) {
            self.clocks = Some(clocks);
        }
        let jumped = self.device.observe(self.position, at) != Observed::Steady;

        let frames = out.len() / self.width;
        let (out, incomplete) = out.split_at_mut(frames * self.width);
        incomplete.fill(0.0);
        self.steer(jumped);
        let mut sounding = 0;
        let mut done = 0;
        while done < frames {
            let rest = &mut out[done * self.width..];
            let (made, sound) = match self.mode {
                Mode::Silent { resume } => (self.keep_silent(resume, done, rest), 0),
                Mode::Sounding(fade) => {
                    let made = self.sound(fade, rest);
                    (made, made)
                }
            };
            done += made;
            sounding += sound;
        }
        self.position += frames as u64;
        self.since_update += frames;
        self.pulled = self.heard(0).filter(|_| self.begun && self.device.is_sure());
        self.publish(sounding);
        Pulled { sounding, state: self.state() }
    }

    /// Says that the device was re-opened or had an xrun: the next `at` is unrelated to the last. What the device had
    /// not played is lost; the stream starts anew in its right place.
    pub fn device_reset(&mut self) {
        self.device.reset();
        if matches!(self.mode, Mode::Sounding(_)) {
            self.fall_silent(self.next().frame);
            self.interrupted = true;
        }
    }

    /// What the sender's clock reads when the sound of the period's frame `offset` is heard.
    fn heard(&self, offset: usize) -> Option<SenderTime> {
        let leaves = self.device.time_of(self.position + offset as u64)?;
        Some(self.clocks?.map.to_sender(leaves + self.output_delay))
    }

    /// Where in the stream the next frame lies.
    fn next(&self) -> Position {
        let last = self.resampler.position(0.0);
        last.plus(self.source.advance(last, self.pace))
    }

    /// Compares what would be played next with what should be, and sets the rate.
    fn steer(&mut self, jumped: bool) {
        let Mode::Sounding(mut fade) = self.mode else {
            return;
        };
        let next = self.next();
        let (Some(heard), Some(due)) = (self.heard(0), self.source.due(next)) else {
            return;
        };
        let error = heard - due;
        let limit = if jumped { RESYNC_AFTER_JUMP } else { RESYNC };
        if error.abs() > limit {
            let end = next.frame + i64::from(Fade::frames(self.rate));
            // Where the sound ends as soon anyway, be it for an earlier resync, it starts in its right place again.
            let (run_end, _) = self.source.run_end(next.frame);
            if end + Resampler::LOOK_AHEAD < run_end && fade.end.is_none_or(|planned| end < planned) {
                fade.end = Some(end);
                self.mode = Mode::Sounding(fade);
                self.shared.resyncs.fetch_add(1, Ordering::Relaxed);
            }
        } else {
            let elapsed = Span::from_frames(self.since_update as i64, self.rate);
            self.pace = self.servo.update(self.deviation(error), elapsed);
        }
        self.since_update = 0;
        self.shared.sync_error.store(error.as_nanos(), Ordering::Relaxed);
        self.shared.sync_errors.count(error);
    }

    /// The rate at which the clocks, the device and the stamps have the stream be consumed, in ppm above nominal.
    fn rate_by_clocks(&self) -> f64 {
        let skew = self.clocks.map_or(0.0, |clocks| clocks.map.skew());
        let frame = (1.0 + skew) / (1.0 + self.device.rate_ppm() * 1e-6);
        (frame / (1.0 + self.source.stretch()) - 1.0) * 1e6
    }

    /// What the servo is to know of `error`.
    fn deviation(&self, error: Span) -> Deviation {
        let (clock_ns, skew_ppm) = self.clocks.map_or((0.0, 0.0), |clocks| {
            let age = self.device.time_of(self.position).map_or(Span::ZERO, |now| now - clocks.map.player_ref());
            let drifted = clocks.skew_deviation_ppm * 1e3 * age.as_secs_f64();
            ((clocks.deviation.as_nanos() as f64).hypot(drifted), clocks.skew_deviation_ppm)
        });
        let device = self.device.deviation().as_nanos() as f64;
        Deviation {
            error,
            uncertainty: Span::from_nanos(clock_ns.hypot(device) as i64),
            drift_ppm: self.rate_by_clocks() - (self.pace - 1.0) * 1e6,
            drift_uncertainty_ppm: skew_ppm.hypot(self.device.rate_deviation_ppm()),
        }
    }

    /// Fills `rest`, which begins at frame `done` of the period, with silence up to where sound starts. Returns the
    /// number of silent frames.
    fn keep_silent(&mut self, resume: i64, done: usize, rest: &mut [f32]) -> usize {
        let frames = rest.len() / self.width;
        let silent = match self.next_start(resume, done, frames) {
            Wait::Start { silent, position } => {
                let (end, _) = self.source.run_end(position.frame);
                let step = self.pace / self.source.frame_at(position);
                self.resampler.start(position, step, &mut self.source, end);
                self.mode = Mode::Sounding(Fade::new(position, self.rate));
                self.since_update = 0;
                silent
            }
            Wait::Beyond => frames,
        };
        rest[..silent * self.width].fill(0.0);
        if self.interrupted && self.state() != State::Drained {
            self.shared.lost_frames.fetch_add(silent as u64, Ordering::Relaxed);
        }
        if let Mode::Sounding(_) = self.mode {
            self.interrupted = false;
        }
        silent
    }

    /// Finds where sound starts within the `frames` from frame `done` of the period on. Skips what is too late.
    fn next_start(&mut self, mut resume: i64, done: usize, frames: usize) -> Wait {
        // After a reset this costs one pull of silence more. One observation does not do: what makes a device run dry makes wake-ups late as well, by
        // up to 30 ms, and to start by one of those is a second stumble. Nor does a look at the device before the first pull: when it has just been
        // started many tell a position that does not move yet, and to find that out would take two pulls instead of one.
        let Some(Clocks { map, .. }) = self.clocks.filter(|_| self.device.is_sure()) else {
            return Wait::Beyond;
        };
        // Sound starts without an error, at the rate the clocks tell.
        self.servo.start(self.rate_by_clocks());
        self.pace = 1.0 + self.servo.learned_ppm() * 1e-6;
        let Some(heard) = self.heard(done) else {
            return Wait::Beyond;
        };
        let start = loop {
            self.source.forget_before(resume);
            if let Some(later) = self.source.superseded_at() {
                resume = later;
                continue;
            }
            let Some(front) = self.source.front().copied() else {
                break None;
            };
            let first = front.first.max(resume);
            let Some(due) = self.source.due(Position::of(first)) else {
                break None;
            };
            if due > heard {
                let leaves = map.to_player(due) - self.output_delay;
                let Some(now) = self.device.time_of(self.position + done as u64) else {
                    break None;
                };
                let wait = (leaves - now).as_frames(self.rate) * (1.0 + self.device.rate_ppm() * 1e-6);
                let silent = wait.ceil();
                if silent >= frames as f64 {
                    break None;
                }
                let step = self.pace / self.source.frame_at(Position::of(first));
                let position = Position::of(first).plus((silent - wait) * step);
                break Some((silent as usize, position));
            }
            let missed = (heard - due).as_frames(self.rate) / self.source.frame_at(Position::of(first));
            let position = Position::of(first).plus(missed);
            let skipped = position.frame.min(front.end()) - first;
            self.shared.late_frames.fetch_add(skipped.max(0) as u64, Ordering::Relaxed);
            if skipped > 0 && front.first != self.counted_late {
                self.counted_late = front.first;
                self.shared.late_packets.fetch_add(1, Ordering::Relaxed);
            }
            resume = first + skipped;
            if position.frame < front.end() {
                break Some((0, position));
            }
        };
        self.fall_silent(resume);
        match start {
            Some((silent, position)) if self.is_worth_starting(position, frames - silent) => {
                Wait::Start { silent, position }
            }
            _ => Wait::Beyond,
        }
    }

    /// Whether enough is buffered at `position` to sound for the `frames` left of this period, so that the buffer
    /// does not run dry at once.
    fn is_worth_starting(&self, position: Position, frames: usize) -> bool {
        let (end, closed) = self.source.run_end(position.frame);
        let fades = 2 * i64::from(Fade::frames(self.rate));
        closed || self.finished || end - position.frame >= frames as i64 + Resampler::LOOK_AHEAD + fades
    }

    fn fall_silent(&mut self, resume: i64) {
        self.source.discard_before(resume, 2 * Resampler::LOOK_AHEAD);
        self.mode = Mode::Silent { resume };
    }

    /// Makes sound at the beginning of `rest` and returns how many frames of it; zero when the sound has ended.
    fn sound(&mut self, mut fade: Fade, rest: &mut [f32]) -> usize {
        let last = self.resampler.position(0.0);
        // It changes its rate with the stream's latency, and where that does: neither servo nor error see anything of a glide.
        let stride = self.source.stride(last, self.pace, (rest.len() / self.width).min(Resampler::CHUNK));
        let Stride { frames: mut wanted, mut step } = stride;
        let position = last.plus(step);
        let (run_end, closed) = self.source.run_end(position.frame);
        if fade.end.is_none() && (closed || self.finished) {
            fade.end = Some(run_end);
        }
        if fade.end.is_none() {
            let reserve = Resampler::LOOK_AHEAD + i64::from(Fade::frames(self.rate));
            let left = ((run_end - reserve) as f64 - Position::minus(position, Position::of(0))) / step;
            if left >= 1.0 {
                wanted = wanted.min(left as usize);
            } else {
                fade.end = Some(run_end);
                self.shared.underruns.fetch_add(1, Ordering::Relaxed);
            }
        }
        if let Some(end) = fade.end {
            let left = (Position::of(end).minus(position) / step).ceil();
            if left < 1.0 {
                self.fall_silent(end);
                self.interrupted = !self.finished || closed;
                return 0;
            }
            wanted = wanted.min(left as usize);
        }
        if wanted < stride.frames {
            step = self.source.advance(last, wanted as f64 * self.pace) / wanted as f64;
        }
        self.mode = Mode::Sounding(fade);
        let chunk = &mut rest[..wanted * self.width];
        let end = fade.end.unwrap_or(run_end);
        self.resampler.process(chunk, step, &mut self.source, end);
        fade.apply(chunk, self.width, position, step);
        self.source.forget_before(position.frame);
        wanted
    }

    fn state(&self) -> State {
        match (self.mode, self.finished) {
            (Mode::Sounding(_), false) => State::Playing,
            (Mode::Sounding(_), true) => State::Draining,
            (Mode::Silent { .. }, false) => State::Waiting,
            (Mode::Silent { .. }, true) if self.source.front().is_some() => State::Draining,
            (Mode::Silent { .. }, true) => State::Drained,
        }
    }

    /// Notes how much earlier packets came than the pull before needed them, or later; `arrived` is the stamp of the first that came since.
    /// By this much the latency could have been less, or should have been more. What does not come tells nothing.
    fn tell_spare(&mut self, arrived: Option<SenderTime>) {
        let Some(arrived) = arrived else { return };
        self.begun = true;
        if let Some(pulled) = self.pulled {
            let reserve = Resampler::LOOK_AHEAD + i64::from(Fade::frames(self.rate));
            self.shared.note_spare(arrived - pulled - Span::from_frames(reserve, self.rate));
        }
    }

    fn publish(&self, sounding: usize) {
        let position = match self.mode {
            Mode::Silent { resume } => resume,
            Mode::Sounding(_) => self.next().frame,
        };
        self.shared.position.store(position, Ordering::Relaxed);
        self.shared.ratio_ppm.store(((self.pace - 1.0) * 1e6).to_bits(), Ordering::Relaxed);
        self.shared.card_ppm.store(self.device.rate_ppm().to_bits(), Ordering::Relaxed);
        self.shared.card_deviation_ppm.store(self.device.rate_deviation_ppm().to_bits(), Ordering::Relaxed);
        self.shared.played_frames.fetch_add(sounding as u64, Ordering::Relaxed);
        self.shared.set_state(self.state());
    }
}
