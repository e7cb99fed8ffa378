//! Audera in a scenario: the sink module on the first host, a player for each room.

use std::fs;

use audera_testkit::{Error, Process};

use crate::{
    failure::Failure,
    outcome::Role,
    rig::Rig,
    scenario::{DEFAULT, Scenario},
    stage::Stage,
};

const SINK: &str = "audera.Everywhere";

pub(crate) struct Audera {
    scenario: &'static Scenario,
    module: Process,
    players: Vec<Option<Process>>,
}

impl Audera {
    pub fn start(stage: &Stage, scenario: &'static Scenario) -> Result<Self, Failure> {
        // Where nobody asks for another latency it is left to find its own.
        let latency = match scenario.latency_ms {
            DEFAULT => "auto".to_owned(),
            asked => asked.to_string(),
        };
        let args = format!("audera.latency.msec = {latency} audera.codec = {}", scenario.codec);
        let module = stage.product.module(stage.sender(), "sink", &args)?;
        Ok(Self { scenario, module, players: scenario.rooms.iter().map(|_| None).collect() })
    }
}

impl Rig for Audera {
    fn sink(&self) -> &str {
        SINK
    }

    fn teller(&self) -> Option<&'static str> {
        Some(SINK)
    }

    fn start_room(&mut self, stage: &Stage, room: usize) -> Result<(), Failure> {
        let plan = &self.scenario.rooms[room];
        let session = &stage.sessions[plan.host];
        // Whatever this machine's own player is configured to be, it is not meant here.
        let settings = session.dir().join("player.toml");
        fs::write(&settings, "").map_err(|source| Error::File { path: settings.clone(), source })?;
        let output = match stage.pcm(room) {
            None => format!("pipewire:{}", plan.name),
            Some(pcm) => format!("alsa:{pcm}"),
        };
        let settings = settings.display().to_string();
        let args = ["--access", "open", "--output", &output, "--config", &settings];
        let command = stage.product.player_command(session, plan.name, &args);
        self.players[room] = Some(session.spawn(command)?);
        Ok(())
    }

    fn kill_room(&mut self, room: usize) {
        self.players[room] = None;
    }

    fn wait(&mut self, stage: &Stage) -> Result<(), Failure> {
        stage.sender().sink_port(SINK, "FL")?;
        // A room's own sink comes with the room.
        for (player, plan) in self.players.iter().zip(self.scenario.rooms) {
            if player.is_some() {
                let node = format!("audera.{}", plan.name.replace(' ', "_"));
                stage.sender().wait_for_graph(&format!("sink {node}"), |graph| graph.node(&node).map(drop))?;
            }
        }
        Ok(())
    }

    fn processes(&mut self) -> Vec<(String, Role, &mut Process)> {
        let players = self.players.iter_mut().zip(self.scenario.rooms);
        let players = players
            .filter_map(|(player, plan)| Some((format!("player {}", plan.name), Role::Player, player.as_mut()?)));
        std::iter::once(("sink module".to_owned(), Role::Sender, &mut self.module)).chain(players).collect()
    }

    fn resyncs_told(&mut self, stage: &Stage) -> Option<u64> {
        let graph = stage.sender().graph().ok()?;
        let told = graph.node(SINK)?.properties.get("audera.rooms")?.clone();
        let rooms: Vec<serde_json::Value> = serde_json::from_str(&told).ok()?;
        Some(rooms.iter().filter_map(|room| room["resyncs"].as_u64()).sum())
    }
}
