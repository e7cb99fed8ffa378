//! One run: a scenario with a system, from nothing to what was recorded.

use std::{fs, path::Path, thread, time::Duration};

use audera_testkit::{Process, Session, card::TrueTime, lateness::Watch};

use crate::{
    audera::Audera,
    belief::{Ear, Told},
    failure::Failure,
    meter::{self, Reading},
    outcome::{SETTLING, System, Take},
    rig::Rig,
    scenario::{Event, Scenario},
    series::{RATE, after},
    snapcast::Snapcast,
    stage::{DESK, DESK_QUANTUM, Stage},
};

/// What a system may need until the first sound, in seconds.
const START: f64 = 2.0;
/// A processor that runs nothing at all for so long stands still.
const STANDSTILL: Duration = Duration::from_millis(10);
/// When something happens, as a share of the run; quantum and driver change back at the second.
const EVENTS: [f64; 2] = [0.45, 0.7];

/// Plays the file to the rooms for so many seconds; a cut lasts so long, and makes the run longer by as much.
pub(crate) fn run(
    scenario: &'static Scenario,
    system: System,
    file: &Path,
    lengths: (f64, Duration),
    logs: Option<&Path>,
) -> Result<Take, Failure> {
    let stage = Stage::build(scenario)?;
    let mut rig: Box<dyn Rig> = match system {
        System::Audera => Box::new(Audera::start(&stage, scenario)?),
        System::Snapcast => Box::new(Snapcast::start(&stage, scenario)?),
    };
    let watch = Watch::of_machine();
    let outcome = play(scenario, rig.as_mut(), &stage, file, lengths);
    let standstills = watch.end().in_true_time(STANDSTILL);
    drop(rig);
    if let Some(folder) = logs {
        keep_logs(&stage.sessions, &folder.join(format!("{}-{system}", scenario.name)))?;
    }
    let Played { end, events, first, last, resyncs_told, told } = outcome?;
    let (desk, rooms) = stage.finish()?;
    Ok(Take {
        system,
        desk,
        desk_delay: f64::from(DESK_QUANTUM) / f64::from(RATE),
        rooms,
        end,
        events,
        processes: last.since(&first),
        wire_bits_per_second: last.bits_per_second_since(&first),
        resyncs_told,
        told,
        load: meter::load(),
        standstills,
    })
}

/// What is known at the end besides the recordings.
struct Played {
    end: TrueTime,
    events: Vec<(TrueTime, TrueTime)>,
    first: Reading,
    last: Reading,
    resyncs_told: Option<u64>,
    told: Vec<Told>,
}

fn play(
    scenario: &Scenario,
    rig: &mut dyn Rig,
    stage: &Stage,
    file: &Path,
    (seconds, cut): (f64, Duration),
) -> Result<Played, Failure> {
    let joins_late = usize::from(scenario.event == Event::Joins);
    for room in 0..scenario.rooms.len() - joins_late {
        rig.start_room(stage, room)?;
    }
    rig.wait(stage)?;
    let ear = rig.teller().map(|node| Ear::listen(stage.sender(), node)).transpose()?;
    let begin = TrueTime::now();
    let mut application = start_application(stage.sender(), file, rig.sink())?;
    let wait_until = |at: f64| {
        let left = after(begin, at).since(TrueTime::now());
        thread::sleep(Duration::from_nanos(u64::try_from(left).unwrap_or(0)));
    };
    let told_before = rig.resyncs_told(stage).unwrap_or(0);
    wait_until(START + SETTLING);
    let first = Reading::take(rig, stage);
    let mut events = Vec::new();
    for part in EVENTS {
        wait_until(START + seconds * part);
        events.extend(cause(scenario, rig, stage, events.len(), cut)?);
    }
    let longer = if scenario.event == Event::Cut { cut.as_secs_f64() } else { 0.0 };
    wait_until(START + seconds + longer);
    let end = TrueTime::now();
    let told = ear.map(Ear::finish).unwrap_or_default();
    let last = Reading::take(rig, stage);
    let resyncs_told = rig.resyncs_told(stage).map(|count| count.saturating_sub(told_before));
    let mut programs = rig.processes();
    programs.push(("pw-play".to_owned(), crate::outcome::Role::Sender, &mut application));
    for (name, _, process) in programs {
        if !process.is_running() {
            let said = process.output();
            let lines: Vec<&str> = said.lines().collect();
            return Err(Failure::Ended { name, said: lines[lines.len().saturating_sub(10)..].join("\n") });
        }
    }
    Ok(Played { end, events, first, last, resyncs_told, told })
}

/// Starts the application and links it to the card beside it, which then drives its graph, and then to the rooms' sink: for the
/// system the stream begins there, and nothing changes afterwards.
fn start_application(session: &Session, file: &Path, sink: &str) -> Result<Process, Failure> {
    let mut command = session.command("pw-play");
    command.args(["--target", "0"]).arg(file);
    let application = session.spawn(command)?;
    let sides = ["FL", "FR"];
    session.wait_for_ports(&sides.map(|side| format!("pw-play:output_{side}")))?;
    for target in [DESK, sink] {
        for side in sides {
            session.link(&format!("pw-play:output_{side}"), &session.sink_port(target, side)?)?;
        }
    }
    Ok(application)
}

/// Has the scenario's event happen, the first or the second time it may: when it began, and when all is as before, if it did.
fn cause(
    scenario: &Scenario,
    rig: &mut dyn Rig,
    stage: &Stage,
    nth: usize,
    cut: Duration,
) -> Result<Option<(TrueTime, TrueTime)>, Failure> {
    let begin = TrueTime::now();
    let last = scenario.rooms.len() - 1;
    let only_once = nth > 0 && !matches!(scenario.event, Event::Quantum | Event::Driver);
    match scenario.event {
        _ if only_once => return Ok(None),
        Event::None => return Ok(None),
        Event::Joins => rig.start_room(stage, last)?,
        Event::Restarts => {
            rig.kill_room(last);
            rig.start_room(stage, last)?;
        }
        Event::Cut => {
            let host = stage.sessions[scenario.rooms[last].host].host();
            host.cut()?;
            thread::sleep(cut);
            host.join()?;
            return Ok(Some((begin, TrueTime::now())));
        }
        Event::Xrun => stage.xrun(last),
        Event::Driver => stage.give_driver(scenario, last, nth == 0)?,
        Event::Quantum => {
            // Nought gives the choice back to the graph.
            let frames = if nth == 0 { "2048" } else { "0" };
            for session in &stage.sessions {
                session.run("pw-metadata", &["-n", "settings", "0", "clock.force-quantum", frames])?;
            }
        }
    }
    Ok(Some((begin, begin)))
}

fn keep_logs(sessions: &[Session], folder: &Path) -> Result<(), Failure> {
    for session in sessions {
        let target = folder.join(session.name());
        let failed = |source| Failure::Write { path: target.clone(), source };
        fs::create_dir_all(&target).map_err(failed)?;
        for entry in fs::read_dir(session.log_dir()).map_err(failed)?.flatten() {
            fs::copy(entry.path(), target.join(entry.file_name())).map_err(failed)?;
        }
    }
    Ok(())
}
