//! Groups: which rooms they have.

use audera_dbus::manager::Manager1Proxy;
use zbus::proxy::CacheProperties;
use zbus::zvariant::ObjectPath;

use crate::cli::{GroupCommand, ListArgs, MembersArgs};
use crate::desk::Desk;
use crate::error::Failure;
use crate::figures::percent;
use crate::output::{self, Kind, Paint};
use crate::status::json;
use crate::status::table::Table;

/// `audera group`.
///
/// # Errors
/// There is no such group or room, or it does not take it.
pub async fn run(command: &GroupCommand) -> Result<(), Failure> {
    let desk = Desk::open().await?;
    match command {
        GroupCommand::Create(args) => create(&desk, args).await,
        GroupCommand::Delete(args) => {
            let group = desk.group(&args.group).await?;
            Ok(manager(&desk).await?.delete_group(&path(&group.path)?).await?)
        }
        GroupCommand::Add(args) => {
            for (group, player) in members(&desk, args).await? {
                group.add(&path(&player)?).await?;
            }
            Ok(())
        }
        GroupCommand::Remove(args) => {
            for (group, player) in members(&desk, args).await? {
                group.remove(&path(&player)?).await?;
            }
            Ok(())
        }
        GroupCommand::List(args) => list(&desk, args).await,
    }
}

async fn create(desk: &Desk, args: &MembersArgs) -> Result<(), Failure> {
    let mut rooms = Vec::new();
    for name in &args.rooms {
        rooms.push(desk.room(name).await?.path);
    }
    let rooms = rooms.iter().map(|room| path(room)).collect::<Result<Vec<_>, Failure>>()?;
    manager(desk).await?.create_group(&args.group, &rooms).await?;
    Ok(())
}

/// The group, with each of the rooms; all are looked for before anything is done.
async fn members(
    desk: &Desk,
    args: &MembersArgs,
) -> Result<Vec<(audera_dbus::group::Group1Proxy<'static>, String)>, Failure> {
    let group = desk.group(&args.group).await?;
    let mut all = Vec::new();
    for name in &args.rooms {
        all.push((desk.grouping(&group).await?, desk.room(name).await?.path));
    }
    Ok(all)
}

async fn list(desk: &Desk, args: &ListArgs) -> Result<(), Failure> {
    let house = desk.look_around().await?;
    if args.json {
        return output::line(&json(&house.groups)?);
    }
    let mut table = Table::new(&["GROUP", "VOLUME", "ROOMS"]);
    for group in &house.groups {
        let volume = if group.muted { "mute".to_owned() } else { percent(group.volume) };
        table.row(Kind::Plain, &[&group.name, &volume, &group.members.join(", ")]);
    }
    table.print(Paint::for_output())
}

async fn manager(desk: &Desk) -> Result<Manager1Proxy<'static>, Failure> {
    Ok(Manager1Proxy::builder(&desk.connection).cache_properties(CacheProperties::No).build().await?)
}

fn path(path: &str) -> Result<ObjectPath<'_>, Failure> {
    ObjectPath::try_from(path)
        .map_err(|error| Failure::Failed(format!("auderad tells of {path}, which is no path: {error}")))
}
