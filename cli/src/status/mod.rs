//! `audera status`: all rooms and groups, and what this machine plays to them.

pub mod table;

use std::collections::BTreeMap;

use serde::Serialize;

use self::table::Table;
use crate::cli::StatusArgs;
use crate::desk::Desk;
use crate::error::Failure;
use crate::house::House;
use crate::live::{changed, everything, follow};
use crate::output::{self, Paint};

/// `audera status`.
///
/// # Errors
/// `auderad` cannot be asked.
pub async fn run(args: &StatusArgs) -> Result<(), Failure> {
    let desk = Desk::open().await?;
    desk.look_around().await?;
    if args.watch {
        return watch(&desk, args.json).await;
    }
    let house = everything(&desk.connection).await?.without_levels();
    if args.json { output::line(&json(&house)?) } else { print(&house, Paint::for_output()) }
}

/// One line of JSON.
///
/// # Errors
/// None, as texts and finite numbers always serialise.
pub fn json(of: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(of).map_err(|error| Failure::Failed(error.to_string()))
}

fn print(house: &House, paint: Paint) -> Result<(), Failure> {
    if house.rooms.is_empty() {
        output::line(
            "No room is to be seen. Does audera-player run in one, and does Avahi show it here (avahi-browse _audera._tcp)?",
        )?;
    } else {
        table::rooms(&house.rooms).print(paint)?;
    }
    let parts: [(bool, Table); 3] = [
        (house.groups.iter().any(|group| !group.members.is_empty()), table::groups(&house.groups)),
        (!house.sinks.is_empty(), table::sinks(&house.sinks)),
        (!house.sources.is_empty(), table::sources(&house.sources)),
    ];
    for (_, table) in parts.iter().filter(|(any, _)| *any) {
        output::line("")?;
        table.print(paint)?;
    }
    Ok(())
}

async fn watch(desk: &Desk, as_json: bool) -> Result<(), Failure> {
    let paint = Paint::for_output();
    let mut shown = follow(&desk.connection).await?;
    let mut last = shown.borrow_and_update().house.clone().without_levels();
    if as_json {
        output::line(&json(&last)?)?;
    } else {
        print(&last, paint)?;
        output::line("")?;
    }
    loop {
        let house = changed(&mut shown).await?.house.without_levels();
        if house == last {
            continue;
        }
        if as_json {
            output::line(&json(&house)?)?;
        } else {
            news(&last, &house).iter().try_for_each(|line| output::line(line))?;
        }
        last = house;
    }
}

/// A line for each room and group that is shown otherwise than before.
fn news(before: &House, now: &House) -> Vec<String> {
    let lines = |house: &House| -> BTreeMap<String, String> {
        let rooms = house.rooms.iter().map(|room| (room.path.clone(), table::room_line(room)));
        let groups = house.groups.iter().map(|group| (group.path.clone(), table::group_line(group)));
        rooms.chain(groups).collect()
    };
    let (before, mut now) = (lines(before), lines(now));
    let gone: Vec<String> = before
        .iter()
        .filter(|(path, _)| !now.contains_key(*path))
        .map(|(_, line)| format!("{} gone", line.split(':').next().unwrap_or(line)))
        .collect();
    now.retain(|path, line| before.get(path) != Some(line));
    gone.into_iter().chain(now.into_values()).collect()
}
