//! Null sinks: rooms' output devices that make no sound but can be recorded.

use super::Session;
use crate::Error;

/// A sink to be made in a session: stereo, unless told otherwise.
#[derive(Clone, Debug)]
#[must_use]
pub struct NullSink {
    name: String,
    positions: Vec<String>,
    driver_priority: u32,
}

impl NullSink {
    /// A stereo sink called `name`, which is its node name and description.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), positions: vec!["FL".into(), "FR".into()], driver_priority: 1 }
    }

    /// Gives it other channels, each by its position: `["MONO"]`.
    pub fn positions(mut self, positions: &[&str]) -> Self {
        self.positions = positions.iter().map(|&position| position.to_owned()).collect();
        self
    }

    /// Makes it drive every graph it is part of, in place of PipeWire's own dummy driver, which else drives all null sinks.
    ///
    /// A sink which drives plays a quantum earlier or later than one which follows: do not measure the one against the other.
    pub fn driver(mut self) -> Self {
        self.driver_priority = 30_000;
        self
    }
}

/// The group of PipeWire's dummy driver. Sinks in it are driven by it from the first, whoever is linked to them, so that none
/// of them ever changes its driver in the middle of a recording.
const DRIVER_GROUP: &str = "pipewire.dummy";

impl Session {
    /// Makes a null sink and waits until its ports are there.
    ///
    /// # Errors
    /// When PipeWire refuses or WirePlumber does not configure it in time.
    pub fn null_sink(&self, sink: &NullSink) -> Result<(), Error> {
        let NullSink { name, positions, driver_priority } = sink;
        let properties = format!(
            "{{ factory.name = support.null-audio-sink, media.class = Audio/Sink, object.linger = true, \
             node.name = \"{name}\", node.description = \"{name}\", audio.rate = 48000, \
             audio.position = [ {} ], priority.driver = {driver_priority}, monitor.channel-volumes = false, \
             node.group = {DRIVER_GROUP}, \
             node.pause-on-idle = false, session.suspend-timeout-seconds = 0 }}",
            positions.join(" "),
        );
        self.run("pw-cli", &["create-node", "adapter", &properties])?;
        let port = |kind: &str, position: &String| format!("{name}:{kind}_{position}");
        let wanted: Vec<String> = positions.iter().flat_map(|p| [port("playback", p), port("monitor", p)]).collect();
        self.wait_for_ports(&wanted)
    }

    /// Waits until all these ports exist, each given as `node:port`.
    ///
    /// # Errors
    /// [`Error::NotReady`] when they are not there in time, with WirePlumber's log, as it is what makes ports appear.
    pub fn wait_for_ports(&self, ports: &[String]) -> Result<(), Error> {
        self.poll(&format!("ports {ports:?}"), || {
            let present = self.run("pw-link", &["-i", "-o"]).ok()?;
            ports.iter().all(|port| present.lines().any(|line| line.trim() == port)).then_some(())
        })
    }

    /// Waits for the port by which a sink takes a channel, such as `FL`, and gives it as [`link`](Self::link) wants it.
    ///
    /// It is `playback_FL`. That of a sink with `node.network`, which Audera's are, is `send_FL` in PipeWire 0.3.67 and later.
    ///
    /// # Errors
    /// [`Error::NotReady`] when it is not there in time, with WirePlumber's log, as it is what makes ports appear.
    pub fn sink_port(&self, sink: &str, channel: &str) -> Result<String, Error> {
        let names = ["playback", "send"].map(|kind| format!("{sink}:{kind}_{channel}"));
        self.poll(&format!("the port {channel} of {sink}"), || {
            let present = self.run("pw-link", &["-i"]).ok()?;
            names.iter().find(|name| present.lines().any(|line| line.trim() == *name)).cloned()
        })
    }

    /// Links an output port to an input port, each given as `node:port`.
    ///
    /// # Errors
    /// When either does not exist.
    pub fn link(&self, output: &str, input: &str) -> Result<(), Error> {
        self.run("pw-link", &[output, input]).map(drop)
    }
}
