//! Snapcast in a scenario, as its manual has it: snapserver reads a FIFO that a sink of the first host writes to, a
//! snapclient for each room plays through ALSA to the room's card.
//!
//! ALSA on PipeWire, where the card is PipeWire's, since its pulse output was found to be several times worse. All else is
//! left as it comes: FLAC, a buffer of 1000 ms.

use std::{
    fs,
    process::{Command, Stdio},
};

use audera_testkit::{Error, Process};

use crate::{failure::Failure, outcome::Role, rig::Rig, scenario::Scenario, stage::Stage};

const SINK: &str = "Snapcast";

pub(crate) struct Snapcast {
    scenario: &'static Scenario,
    server: Process,
    clients: Vec<Option<Process>>,
}

/// Whether it is installed.
pub(crate) fn is_installed() -> bool {
    ["snapserver", "snapclient"].iter().all(|program| {
        let tried = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    })
}

impl Snapcast {
    pub fn start(stage: &Stage, scenario: &'static Scenario) -> Result<Self, Failure> {
        let sender = stage.sender();
        let fifo = sender.dir().join("snapfifo");
        let state = sender.dir().join("snapserver");
        let settings = sender.dir().join("snapserver.conf");
        let text = format!(
            "[server]\ndatadir = {}\n[http]\nenabled = false\n[tcp]\nenabled = false\n[stream]\n\
             source = pipe://{}?name=bench&sampleformat=48000:16:2\n[logging]\nsink = stdout\n",
            state.display(),
            fifo.display()
        );
        let write = |path: &std::path::Path, text: &str| {
            fs::write(path, text).map_err(|source| Error::File { path: path.to_owned(), source })
        };
        fs::create_dir_all(&state).map_err(|source| Error::File { path: state.clone(), source })?;
        write(&settings, &text)?;
        for (host, session) in stage.sessions.iter().enumerate() {
            let rooms = scenario.rooms.iter().enumerate().filter(|(_, room)| room.host == host);
            let devices = rooms.map(|(n, room)| {
                format!(
                    "pcm.room{n} {{ type pipewire playback_node \"{name}\" hint {{ show on description \"{name}\" }} }}\n",
                    name = room.name
                )
            });
            // HOME of the session's programs is its folder.
            write(&session.dir().join(".asoundrc"), &devices.collect::<String>())?;
        }
        let mut command = sender.command("snapserver");
        command.arg("-c").arg(&settings);
        let mut server = sender.spawn(command)?;
        server.wait_until("the FIFO of snapserver", || fifo.exists().then_some(()))?;
        let file = format!("file={}", fifo.display());
        let name = format!("sink_name={SINK}");
        sender.run(
            "pactl",
            &["load-module", "module-pipe-sink", &file, &name, "format=s16le", "rate=48000", "channels=2"],
        )?;
        Ok(Self { scenario, server, clients: scenario.rooms.iter().map(|_| None).collect() })
    }
}

impl Rig for Snapcast {
    fn sink(&self) -> &str {
        SINK
    }

    fn teller(&self) -> Option<&'static str> {
        None
    }

    fn start_room(&mut self, stage: &Stage, room: usize) -> Result<(), Failure> {
        let plan = &self.scenario.rooms[room];
        let session = &stage.sessions[plan.host];
        let server = stage.sender().host().address().to_string();
        let mut command = session.command("snapclient");
        let pcm = stage.pcm(room).map_or_else(|| format!("room{room}"), str::to_owned);
        command.args(["--host", &server, "--player", "alsa", "--soundcard", &pcm]);
        command.args(["--hostID", plan.name, "--instance", &(room + 1).to_string(), "--logsink", "stdout"]);
        self.clients[room] = Some(session.spawn(command)?);
        Ok(())
    }

    fn kill_room(&mut self, room: usize) {
        self.clients[room] = None;
    }

    fn wait(&mut self, stage: &Stage) -> Result<(), Failure> {
        let ports = ["FL", "FR"].map(|side| format!("{SINK}:playback_{side}"));
        stage.sender().wait_for_ports(&ports)?;
        for client in self.clients.iter_mut().flatten() {
            let log = client.log().to_owned();
            client.wait_until("the connection of snapclient", || {
                fs::read_to_string(&log).ok().filter(|text| text.contains("Connected")).map(drop)
            })?;
        }
        Ok(())
    }

    fn processes(&mut self) -> Vec<(String, Role, &mut Process)> {
        let clients = self.clients.iter_mut().zip(self.scenario.rooms);
        let clients = clients
            .filter_map(|(client, plan)| Some((format!("snapclient {}", plan.name), Role::Player, client.as_mut()?)));
        std::iter::once(("snapserver".to_owned(), Role::Sender, &mut self.server)).chain(clients).collect()
    }

    fn resyncs_told(&mut self, _stage: &Stage) -> Option<u64> {
        // Nothing in what a client logs tells of them.
        None
    }
}
