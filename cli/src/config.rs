//! What holds for all programs of this user: how they find rooms, and as whom rooms know them.

use audera_dbus::manager::Manager1Proxy;
use serde::Serialize;
use zbus::proxy::CacheProperties;

use crate::cli::{ConfigArgs, ConfigCommand, Switch};
use crate::desk::Desk;
use crate::error::Failure;
use crate::output::{self, Kind, Paint};
use crate::status::json;
use crate::status::table::Table;

/// What is shown; documented in docs/cli.md.
#[derive(Debug, Serialize)]
struct Config {
    discover: bool,
    addresses: Vec<String>,
    id: String,
    state_directory: String,
}

/// `audera config`.
///
/// # Errors
/// `auderad` is not there, or does not take it.
pub async fn run(args: &ConfigArgs) -> Result<(), Failure> {
    let desk = Desk::open().await?;
    let manager = Manager1Proxy::builder(&desk.connection).cache_properties(CacheProperties::No).build().await?;
    match &args.command {
        None => show(&manager, args.json).await,
        Some(ConfigCommand::Add { address }) => add(&desk, &manager, address).await,
        Some(ConfigCommand::Remove { address }) => Ok(manager.remove_address(address).await?),
        Some(ConfigCommand::Discover { how }) => Ok(manager.set_discover(*how == Switch::On).await?),
    }
}

/// Adds an address, which stays in force when the room there cannot be used yet; then it is said why.
async fn add(desk: &Desk, manager: &Manager1Proxy<'_>, address: &str) -> Result<(), Failure> {
    let path = manager.add_address(address).await?;
    let house = desk.look().await?;
    let Some(room) = house.rooms.iter().find(|room| room.path == path.as_str()) else { return Ok(()) };
    match room.require_there() {
        Err(Failure::NotPaired(why)) => Err(Failure::NotPaired(format!(
            "{address} is added; {why}; where the room does not know this user and host, add the id {} to its player's trusted.toml",
            manager.id().await?
        ))),
        Err(Failure::Unreachable(why)) => Err(Failure::Unreachable(format!("{address} is added; {why}"))),
        other => other,
    }
}

async fn show(manager: &Manager1Proxy<'_>, as_json: bool) -> Result<(), Failure> {
    let config = Config {
        discover: manager.discover().await?,
        addresses: manager.addresses().await?,
        id: manager.id().await?,
        state_directory: manager.state_directory().await?,
    };
    if as_json {
        return output::line(&json(&config)?);
    }
    let mut table = Table::new(&["SETTING", "VALUE"]);
    table.row(Kind::Plain, &["discover", if config.discover { "on" } else { "off" }]);
    table.row(Kind::Plain, &["addresses", &config.addresses.join(", ")]);
    table.row(Kind::Quiet, &["id", &config.id]);
    table.row(Kind::Quiet, &["state directory", &config.state_directory]);
    table.print(Paint::for_output())
}
