//! What a source is told to do on D-Bus.

use std::time::Duration;

use audera_clock::Span;
use audera_dbus::source::{Codec, Order};
use audera_dbus::{Call, Error, Reply};
use audera_pw::{Destination, Node, Stream};
use audera_sender::{CHOSEN_LATENCIES, CodecChoice, Encoding, HubError, Latency, Target, WatchedLevel};

use crate::inputs::find;
use crate::source::{Inner, STOPPED};

/// Between two looks at what is waited for or watched.
pub(crate) const BEAT: Duration = WatchedLevel::PERIOD;
/// A session manager that has done nothing for so many beats is asked again: WirePlumber 0.4 now and then takes note of a wish and leaves the
/// stream where it is.
const AGAIN: u32 = 15;
/// And given up after so many.
const LIMIT: u32 = 50;

/// Somebody wants another input to be captured, and waits for that.
#[derive(Debug)]
pub(crate) struct Wish {
    /// What is to be captured in the end, and what the session manager was told.
    input: Node,
    destination: Destination,
    reply: Reply,
    /// Beats since it was said.
    beats: u32,
}

impl Inner {
    /// Somebody on D-Bus wants something.
    pub(crate) fn called(&mut self, call: Call) {
        let Call { request, reply, .. } = call;
        let done = match Order::read(&request) {
            Ok(Order::Input(name)) => return self.choose(name.as_deref(), reply),
            Ok(Order::WatchLevel) => {
                self.level.iter_mut().for_each(WatchedLevel::watch);
                self.keep_beating();
                Ok(())
            }
            Ok(Order::Start) => {
                self.start();
                Ok(())
            }
            Ok(Order::Stop) => {
                self.stop();
                Ok(())
            }
            Ok(Order::Target(names)) => {
                self.retarget(names);
                Ok(())
            }
            Ok(Order::Codec(codec)) => self.encode(Encoding { codec: choice_of(codec), ..self.encoding }),
            Ok(Order::FixedLatency(ms)) => self.set_latency(ms),
            Err(error) => Err(error),
        };
        self.look_for_feedback();
        self.show();
        reply.answer(done);
    }

    /// One that waits for a signal goes on to do so.
    fn start(&mut self) {
        self.stopped = false;
        let Some(stream) = &self.stream else { return };
        if self.refused.is_none() {
            stream.forbid(None);
        }
        if !self.gated {
            stream.begin();
        }
    }

    fn stop(&mut self) {
        self.stopped = true;
        let Some(stream) = &self.stream else { return };
        if self.gated && self.refused.is_none() {
            stream.forbid(Some(STOPPED.to_owned()));
        } else if !self.gated {
            stream.end();
        }
    }

    fn retarget(&mut self, names: Vec<String>) {
        let (Some(stream), Some(hosted)) = (&self.stream, &self.hosted) else { return };
        if !names.is_empty() {
            // Rooms can only be found by name if they are looked for, as far as the user wants them to be.
            hosted.hub.follow(|_| {});
            hosted.hub.discover();
        }
        self.target = Target::Named(names);
        stream.retarget(self.target.clone());
    }

    fn encode(&mut self, encoding: Encoding) -> Result<(), Error> {
        let Some(stream) = &self.stream else { return Ok(()) };
        if encoding != self.encoding {
            stream.encode(encoding).map_err(invalid)?;
            self.encoding = encoding;
        }
        Ok(())
    }

    fn set_latency(&mut self, ms: Option<f64>) -> Result<(), Error> {
        let latency = ms.map_or(Latency::Auto, |ms| Latency::Fixed(Span::from_secs_f64(ms * 1e-3)));
        let most = Span::from_millis(*CHOSEN_LATENCIES.end()) - self.preroll;
        if latency.initial() > most {
            let (ms, most) = (latency.initial().as_secs_f64() * 1e3, most.as_secs_f64() * 1e3);
            return Err(Error::InvalidValue(format!(
                "FixedLatency cannot be {ms}; accepted: {} to {most} ms with the sound from before a signal \
                 (audera.preroll.msec) on top, or 0 for what the rooms need",
                CHOSEN_LATENCIES.start()
            )));
        }
        let Some(stream) = &self.stream else { return Ok(()) };
        stream.set_latency(latency).map_err(invalid)?;
        self.latency = latency;
        let packet_msec = if self.packets_given { self.encoding.packet_msec } else { latency.usual_packet_msec() };
        self.encode(Encoding { packet_msec, ..self.encoding })
    }

    /// Has the capture moved: to what is called so, or to what it captures by itself. It is answered when it is there.
    fn choose(&mut self, name: Option<&str>, reply: Reply) {
        let destination = match self.destination(name) {
            Ok(destination) => destination,
            Err(error) => return reply.answer::<()>(Err(error)),
        };
        let noted = if self.is_captured(&destination) { Ok(()) } else { self.note(&destination) };
        if let Err(error) = noted {
            return reply.answer::<()>(Err(error));
        }
        if let Some(choice) = &mut self.choice {
            choice.choose(name.and(match &destination {
                Destination::Node(node) => node.name(),
                Destination::Default | Destination::Named(_) => None,
            }));
        }
        let expected = match &destination {
            Destination::Node(_) => Some(destination.clone()),
            // Whatever that is.
            Destination::Default | Destination::Named(_) => self.usual(),
        };
        if let Some(before) = self.wish.take() {
            before.reply.answer::<()>(Err(Error::Failed("another input has been chosen meanwhile".to_owned())));
        }
        match expected {
            Some(Destination::Node(input)) => self.wish = Some(Wish { input, destination, reply, beats: 0 }),
            // It is captured when it is there.
            _ => reply.answer(Ok(())),
        }
        self.keep_beating();
        self.look_for_feedback();
    }

    /// Where the capture is to be moved to, unless it must not.
    fn destination(&self, name: Option<&str>) -> Result<Destination, Error> {
        let refused = |node: &Node| match self.refusal_of(node) {
            Some(refusal) => Err(Error::InvalidValue(refusal)),
            None => Ok(()),
        };
        let Some(name) = name else {
            let usual = self.usual();
            if let Some(Destination::Node(node)) = &usual {
                refused(node)?;
            }
            let configured = self.choice.as_ref().is_some_and(|choice| choice.configured.is_some());
            return Ok(usual.filter(|_| configured).unwrap_or(Destination::Default));
        };
        let nodes = self.registry.as_ref().map(|registry| registry.nodes()).unwrap_or_default();
        let Some(node) = find(&nodes, name) else {
            let names: Vec<&str> = self.inputs.iter().map(|input| input.name.as_str()).collect();
            return Err(Error::NotFound(match names.join(", ") {
                none if none.is_empty() => format!("there is no input \"{name}\", nor any other"),
                names => format!("there is no input \"{name}\": there is {names}"),
            }));
        };
        refused(node)?;
        Ok(Destination::Node(node.clone()))
    }

    /// Whether this is captured, and the session manager was told so.
    fn is_captured(&self, destination: &Destination) -> bool {
        let Destination::Node(node) = destination else { return false };
        let capture = self.node.as_ref().and_then(Stream::node_id);
        let told = self.registry.as_ref().zip(capture).and_then(|(registry, capture)| registry.destination(capture));
        told.as_ref() == Some(destination) && self.captured.as_ref().is_some_and(|captured| captured.id == node.id)
    }

    /// Tells the session manager.
    fn note(&self, destination: &Destination) -> Result<(), Error> {
        let failed = |why: String| {
            Error::Failed(format!(
                "the capture cannot be moved: {why}; does a session manager run (wireplumber.service)?"
            ))
        };
        let capture = self.node.as_ref().and_then(Stream::node_id);
        let (Some(registry), Some(capture)) = (&self.registry, capture) else {
            return Err(failed("it is not in the graph yet".to_owned()));
        };
        registry.move_stream(capture, destination).map_err(|error| failed(error.to_string()))
    }

    /// Answers who waits for an input that is captured now.
    pub(crate) fn answer_wish(&mut self) {
        let captured = self.captured.as_ref().map(|node| node.id);
        if let Some(wish) = self.wish.take_if(|wish| captured == Some(wish.input.id)) {
            wish.reply.answer(Ok(()));
        }
    }

    /// Looks at what is waited for and watched, and no longer when that is over.
    pub(crate) fn beat(&mut self) {
        if self.level.as_mut().is_some_and(WatchedLevel::tick) {
            self.show();
        }
        if let Some(wish) = &mut self.wish {
            wish.beats += 1;
            let beats = wish.beats;
            if beats >= LIMIT {
                let error = Error::Failed(format!(
                    "the session manager has not moved the capture to {} yet; pavucontrol or wpctl status shows where it is",
                    wish.input.name().unwrap_or("it")
                ));
                self.wish.take().into_iter().for_each(|wish| wish.reply.answer::<()>(Err(error.clone())));
            } else if beats % AGAIN == 0 {
                let destination = wish.destination.clone();
                if let Err(error) = self.note(&destination) {
                    self.log.debug(format_args!("{error}"));
                }
            }
        }
        self.keep_beating();
    }

    /// Beats for as long as there is a reason to.
    fn keep_beating(&mut self) {
        let reason = self.wish.is_some() || self.level.as_ref().is_some_and(WatchedLevel::is_watched);
        if let Some(Err(error)) = self.pulse.as_ref().map(|pulse| pulse.run(reason)) {
            self.log.warn(format_args!("the level of \"{}\" is not told: {error}", self.name));
        }
    }
}

fn choice_of(codec: Codec) -> CodecChoice {
    match codec {
        Codec::Auto => CodecChoice::Auto,
        Codec::Pcm => CodecChoice::Pcm,
        Codec::Opus => CodecChoice::Opus,
    }
}

fn invalid(error: HubError) -> Error {
    Error::InvalidValue(error.to_string())
}
