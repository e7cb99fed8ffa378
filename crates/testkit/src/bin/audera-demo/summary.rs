//! The end of the demo: what was measured, in one table, and where the recordings are.

use std::path::PathBuf;

use audera_testkit::lateness::Lateness;

use crate::{
    Heard,
    failure::Failure,
    part::Played,
    screen::{Colour, Screen},
    verdict::{RoomHeard, Verdict},
};

/// Shows what was measured.
pub(crate) fn show(screen: &mut Screen, heard: &Heard, verdicts: &[Verdict], load: &Lateness) -> Result<(), Failure> {
    let fine = verdicts.iter().all(|verdict| verdict.failures.is_empty());
    let busy = verdicts.iter().any(|verdict| verdict.busy);
    let (colour, result) = match (fine, heard.both, busy) {
        (true, true, false) => (Colour::Good, "Both rooms played, in time."),
        (true, true, true) => (Colour::Good, "Both rooms played; the machine was too busy to tell how well in time."),
        (true, false, _) => (Colour::Good, "The rooms played."),
        (false, ..) => (Colour::Bad, "Something was not as it should be."),
    };
    let result = screen.paint(colour, result);
    screen.end(&result)?;
    screen.say("")?;
    let names: Vec<String> = heard.played.iter().map(|played| played.part.name.to_owned()).collect();
    let heading = row("measured", &names);
    let heading = screen.paint(Colour::Faint, &heading);
    screen.say(&heading)?;
    if heard.both {
        let offsets: Vec<String> = verdicts.iter().map(|verdict| verdict.offset(screen)).collect();
        let line = row("offset of the rooms", &offsets);
        screen.say(&screen.paint(Colour::Strong, &line))?;
    }
    let reckoned: Vec<String> = heard.played.iter().map(|played| reckoned(screen, played)).collect();
    screen.say(&row("  as they tell at last", &reckoned))?;
    for (at, (room, _)) in heard.rooms().iter().enumerate() {
        let told: Vec<String> = heard.played.iter().map(|played| told_p99(screen, played, room)).collect();
        screen.say(&row(&format!("told p99, {room}"), &told))?;
        let cells = |cell: fn(&RoomHeard) -> String| -> Vec<String> {
            verdicts.iter().filter_map(|verdict| verdict.rooms.get(at)).map(cell).collect()
        };
        screen.say(&row(&format!("latency, {room}"), &cells(latency)))?;
        screen.say(&row(&format!("gaps, {room}"), &cells(gaps)))?;
    }
    let mut processes: Vec<&str> = Vec::new();
    for (name, _) in heard.played.iter().flat_map(|played| &played.shares) {
        if !processes.contains(name) {
            processes.push(name);
        }
    }
    for name in processes {
        let cells: Vec<String> = heard.played.iter().map(|played| used(played, name)).collect();
        screen.say(&row(&format!("CPU, {name}"), &cells))?;
    }
    screen.say("")?;
    if cfg!(debug_assertions) {
        screen.say("This build is not optimised: the CPU figures mean little.")?;
    }
    remarks(screen, heard, verdicts, load)
}

/// Tells where the recordings are.
pub(crate) fn show_files(screen: &mut Screen, files: &[PathBuf]) -> Result<(), Failure> {
    screen.say("What each room played, from the same moment on, and how far they were apart:")?;
    for file in files {
        let line = format!("  {}", file.display());
        screen.say(&screen.paint(Colour::Strong, &line))?;
    }
    Ok(())
}

/// What explains the figures: cycles that the machine missed, and what the players had to do.
fn remarks(screen: &mut Screen, heard: &Heard, verdicts: &[Verdict], load: &Lateness) -> Result<(), Failure> {
    let Lateness { average, processors, .. } = load;
    let rooms = || verdicts.iter().flat_map(|verdict| &verdict.rooms);
    if rooms().any(|room| room.missed + room.held_back > 0) {
        screen.say(&format!(
            "A cycle of the graph that a process missed is not counted as a gap, nor what is missing\n\
             when programs were held back: there is no real-time priority here, and the machine woke\n\
             programs up to {:.0} ms late (load {average:.1}, {processors} processors).",
            load.latest().as_secs_f64() * 1e3
        ))?;
    }
    if verdicts.iter().any(|verdict| verdict.busy) {
        screen.say(
            "There was no quiet moment to tell by how well the rooms keep in step: the offset is over\n\
             all that was heard. Run it again when the machine has less to do.",
        )?;
    }
    for played in &heard.played {
        for room in &played.rooms {
            let counts = [
                (room.resyncs, "jumps"),
                (room.underruns, "underruns"),
                (room.xruns, "late cycles"),
                (room.lost_frames, "lost frames"),
                (room.late_frames, "late frames"),
            ];
            let told: Vec<String> =
                counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
            if !told.is_empty() {
                screen.say(&format!("{} tells of the {}: {}", room.room, played.part.name, told.join(", ")))?;
            }
        }
    }
    Ok(())
}

fn row(label: &str, cells: &[String]) -> String {
    let mut line = format!("{label:<24}");
    for cell in cells {
        line += &format!("{cell:<27}");
    }
    line.trim_end().to_owned()
}

fn reckoned(screen: &Screen, played: &Played) -> String {
    let errors: Vec<f64> = played.rooms.iter().filter_map(|room| room.sync_error_us).collect();
    match errors[..] {
        [first, second] => format!("{:.1} {}", (first - second).abs(), screen.micro()),
        _ => "-".to_owned(),
    }
}

/// The sync error that a room says it has not exceeded in 99 % of the part.
fn told_p99(screen: &Screen, played: &Played, name: &str) -> String {
    let room = played.rooms.iter().find(|room| room.room == name);
    let most = room.and_then(|room| room.sync_p99_us);
    most.map_or_else(|| "-".to_owned(), |most| format!("{most:.1} {}", screen.micro()))
}

fn latency(room: &RoomHeard) -> String {
    room.latency.map_or_else(|| "-".to_owned(), |latency| format!("{:.2} ms", latency * 1e3))
}

fn gaps(room: &RoomHeard) -> String {
    let missed = match room.missed {
        0 => String::new(),
        1 => ", 1 missed cycle".to_owned(),
        some => format!(", {some} missed cycles"),
    };
    let held_back = if room.held_back > 0 { format!(", {} held back", room.held_back) } else { String::new() };
    match room.gaps {
        0 => format!("none{missed}{held_back}"),
        some => format!("{some}{missed}{held_back}"),
    }
}

fn used(played: &Played, name: &str) -> String {
    let found = played.shares.iter().find(|(other, _)| *other == name);
    found.map_or_else(
        || "-".to_owned(),
        |(_, share)| format!("{:.1} % of a core, {:.1} MB", share.cpu * 100.0, share.resident as f64 / 1e6),
    )
}
