//! The sources of this machine. They speak for themselves on the bus; `auderad` need not be there.

use std::time::Duration;

use audera_dbus::Error as Refusal;
use audera_dbus::source::Source1Proxy;
use serde::Serialize;
use tokio::time::sleep;
use zbus::Connection;
use zbus::proxy::CacheProperties;

use crate::amount::Latency;
use crate::cli::{CodecArgs, InputArgs, LatencyArgs, ListArgs, SourceCommand, TargetArgs};
use crate::desk::connect;
use crate::error::Failure;
use crate::house::{House, Input, Source};
use crate::live::{everything, watch_levels};
use crate::output::{self, Paint};
use crate::status::json;
use crate::status::table;

/// How long is listened for a level: sources tell it ten times a second.
const LISTEN: Duration = Duration::from_millis(350);

/// `audera source`.
///
/// # Errors
/// There is no such source, or it does not take it.
pub async fn run(command: &SourceCommand) -> Result<(), Failure> {
    let connection = connect().await?;
    match command {
        SourceCommand::List(args) => list(&connection, args).await,
        SourceCommand::Input(args) => input(&connection, args).await,
        SourceCommand::Start(args) => Ok(find(&connection, args.source.as_deref()).await?.1.start().await?),
        SourceCommand::Stop(args) => Ok(find(&connection, args.source.as_deref()).await?.1.stop().await?),
        SourceCommand::Target(args) => target(&connection, args).await,
        SourceCommand::Codec(args) => codec(&connection, args).await,
        SourceCommand::Latency(args) => latency(&connection, args).await,
    }
}

async fn find(connection: &Connection, name: Option<&str>) -> Result<(Source, Source1Proxy<'static>), Failure> {
    let source = everything(connection).await?.source(name)?.clone();
    let proxy = proxy(connection, &source).await?;
    Ok((source, proxy))
}

async fn proxy(connection: &Connection, source: &Source) -> Result<Source1Proxy<'static>, Failure> {
    let builder = Source1Proxy::builder(connection).destination(source.service.clone())?.path(source.path.clone())?;
    Ok(builder.cache_properties(CacheProperties::No).build().await?)
}

async fn list(connection: &Connection, args: &ListArgs) -> Result<(), Failure> {
    let mut house = everything(connection).await?;
    if !house.sources.is_empty() {
        house.sinks.clear();
        watch_levels(connection, &house.levels()).await;
        sleep(LISTEN).await;
        house = everything(connection).await?;
    }
    if args.json {
        return output::line(&json(&house.sources)?);
    }
    table::sources(&house.sources).print(Paint::for_output())
}

async fn input(connection: &Connection, args: &InputArgs) -> Result<(), Failure> {
    let house = everything(connection).await?;
    let (source, input) = input_of(&house, args)?;
    let proxy = proxy(connection, source).await?;
    if args.default {
        return Ok(proxy.set_input("").await?);
    }
    if let Some(input) = input {
        return Ok(proxy.set_input(source.input_named(input)?).await?);
    }
    if args.json {
        return output::line(&json(&listed(source))?);
    }
    table::inputs(&source.inputs, &source.input).print(Paint::for_output())
}

/// The source and the input that are meant: where there is one source only, its name may be left out.
fn input_of<'a>(house: &'a House, args: &'a InputArgs) -> Result<(&'a Source, Option<&'a str>), Failure> {
    let (first, second) = (args.source.as_deref(), args.input.as_deref());
    let found = house.source(first);
    match (&found, &house.sources[..]) {
        (Err(Failure::NotFound(_)), [only]) if second.is_none() && !args.default && !args.json => Ok((only, first)),
        _ => found.map(|source| (source, second)),
    }
}

/// An input as it is listed.
#[derive(Serialize)]
struct Listed<'a> {
    #[serde(flatten)]
    input: &'a Input,
    captured: bool,
}

fn listed(source: &Source) -> Vec<Listed<'_>> {
    source.inputs.iter().map(|input| Listed { input, captured: input.name == source.input }).collect()
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

async fn codec(connection: &Connection, args: &CodecArgs) -> Result<(), Failure> {
    let (source, proxy) = find(connection, Some(&args.source)).await?;
    match args.codec {
        Some(codec) => Ok(proxy.set_codec(codec.0.name()).await?),
        None => output::line(&format!("{}: {}", output::harmless(&source.name), output::harmless(&source.codec))),
    }
}

async fn latency(connection: &Connection, args: &LatencyArgs) -> Result<(), Failure> {
    let (source, proxy) = find(connection, Some(&args.source)).await?;
    match args.latency {
        Some(Latency::Auto) => Ok(proxy.set_fixed_latency(0.0).await?),
        Some(Latency::Fixed(ms)) => Ok(proxy.set_fixed_latency(ms).await?),
        None => {
            let asked = proxy.fixed_latency().await.map_err(Refusal::from)?;
            let asked = if asked > 0.0 { format!("{asked} ms") } else { "auto".to_owned() };
            output::line(&format!("{}: {asked}, {:.0} ms at present", output::harmless(&source.name), source.latency))
        }
    }
}
