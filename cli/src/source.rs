//! The sources of this machine. They speak for themselves on the bus; `auderad` need not be there.

use audera_dbus::source::Source1Proxy;
use zbus::Connection;
use zbus::proxy::CacheProperties;

use crate::cli::{ListArgs, SourceCommand, TargetArgs};
use crate::desk::connect;
use crate::error::Failure;
use crate::house::Source;
use crate::live::everything;
use crate::output::{self, Paint};
use crate::status::json;
use crate::status::table;

/// `audera source`.
///
/// # Errors
/// There is no such source, or it does not take it.
pub async fn run(command: &SourceCommand) -> Result<(), Failure> {
    let connection = connect().await?;
    match command {
        SourceCommand::List(args) => list(&connection, args).await,
        SourceCommand::Start(args) => Ok(find(&connection, args.source.as_deref()).await?.1.start().await?),
        SourceCommand::Stop(args) => Ok(find(&connection, args.source.as_deref()).await?.1.stop().await?),
        SourceCommand::Target(args) => target(&connection, args).await,
    }
}

async fn find(connection: &Connection, name: Option<&str>) -> Result<(Source, Source1Proxy<'static>), Failure> {
    let source = everything(connection).await?.source(name)?.clone();
    let builder = Source1Proxy::builder(connection).destination(source.service.clone())?.path(source.path.clone())?;
    let proxy = builder.cache_properties(CacheProperties::No).build().await?;
    Ok((source, proxy))
}

async fn list(connection: &Connection, args: &ListArgs) -> Result<(), Failure> {
    let sources = everything(connection).await?.sources;
    if args.json {
        return output::line(&json(&sources)?);
    }
    table::sources(&sources).print(Paint::for_output())
}

async fn target(connection: &Connection, args: &TargetArgs) -> Result<(), Failure> {
    let (_, source) = find(connection, Some(&args.source)).await?;
    if args.none || !args.rooms.is_empty() {
        let rooms: Vec<&str> = args.rooms.iter().map(String::as_str).collect();
        return Ok(source.set_target(&rooms).await?);
    }
    for room in source.target().await? {
        output::line(&output::harmless(&room))?;
    }
    Ok(())
}
