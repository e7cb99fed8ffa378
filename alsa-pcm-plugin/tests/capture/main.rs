//! What a source streams is recorded by alsa-lib's own `arecord`, and by a program that polls: sample by sample what was streamed.

mod fault;
mod poll;
mod recording;
mod source;
mod stream;

use std::process::{Command, Output, Stdio};

use audera_testkit::{Daemon, Process, Session, or_skip};

/// A session in which sources are found, and programs record from them.
struct Studio {
    session: Session,
}

impl Studio {
    fn start() -> Option<Self> {
        let session = or_skip(Session::builder("studio").daemons(&Daemon::DISCOVERY).start())?;
        session.alsa_plugin().unwrap();
        Some(Studio { session })
    }

    /// Starts a source with these settings, and waits until players may dial in.
    fn source(&self, name: &str, settings: &[(&str, &str)]) -> Process {
        let mut command = self.session.command(std::env::current_exe().unwrap());
        command.args(["--exact", "source::a_source", "--ignored", "--nocapture"]);
        let state = self.session.dir().join("state").join(format!("source-{name}"));
        command.env("AUDERA_TEST_SOURCE", name).env("AUDERA_TEST_STATE", state);
        for (key, value) in settings {
            command.env(format!("AUDERA_TEST_{}", key.to_uppercase()), value);
        }
        let mut source = self.session.spawn(command).unwrap();
        let log = source.log().to_owned();
        let ready = || std::fs::read_to_string(&log).ok()?.contains("players may dial in").then_some(());
        source.wait_until("readiness of the source", ready).unwrap();
        source
    }

    /// `arecord` for so many seconds into a file, with as long a buffer as there is: a busy machine is not to be a gap.
    fn arecord(&self, pcm: &str, seconds: u32, file: &str) -> Command {
        let mut command = self.session.command("arecord");
        command.args(["-q", "-D", pcm, "-t", "raw", "-f", "S32_LE", "-c", "2", "-r", "48000"]);
        command.args(["--buffer-time", "1000000", "-d", &seconds.to_string()]).arg(self.session.dir().join(file));
        command
    }
}

/// Runs a program to its end.
fn run(mut command: Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap()
}

/// What it has told.
fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}
