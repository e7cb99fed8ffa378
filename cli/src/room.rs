//! What is done with one room, or with a group as if it were one.

use crate::amount::Amount;
use crate::cli::{ChannelArgs, DelayArgs, Mute, MuteArgs, RenameArgs, RoomArgs, VolumeArgs};
use crate::desk::{Desk, Fader};
use crate::error::Failure;
use crate::figures::percent;
use crate::output;

/// `audera volume`.
///
/// # Errors
/// There is no such room, or it does not take it.
pub async fn volume(args: &VolumeArgs) -> Result<(), Failure> {
    let desk = Desk::open().await?;
    let fader = desk.fader(&args.target).await?;
    match args.volume {
        None => desk.require_there(&args.target).await?,
        Some(Amount::Percent(percent)) => fader.set_volume(percent).await?,
        Some(Amount::Step(points)) => drop(fader.step(points).await?),
        Some(Amount::Decibels(decibels)) => drop(fader.step_decibels(decibels).await?),
    }
    tell(&fader).await
}

/// `audera mute`.
///
/// # Errors
/// There is no such room, or it does not take it.
pub async fn mute(args: &MuteArgs) -> Result<(), Failure> {
    let fader = Desk::open().await?.fader(&args.target).await?;
    let mute = match args.how {
        Mute::On => true,
        Mute::Off => false,
        Mute::Toggle => !fader.is_muted().await?,
    };
    fader.mute(mute).await?;
    tell(&fader).await
}

/// Tells the volume as it is now: `Kitchen: 40 %`, and `mute` behind it.
async fn tell(fader: &Fader) -> Result<(), Failure> {
    let volume = percent(fader.volume().await?);
    let mute = if fader.is_muted().await? { ", mute" } else { "" };
    output::line(&format!("{}: {volume}{mute}", output::harmless(fader.name())))
}

/// `audera rename`.
///
/// # Errors
/// There is no such room, or it does not take it.
pub async fn rename(args: &RenameArgs) -> Result<(), Failure> {
    let desk = Desk::open().await?;
    let room = desk.room(&args.room).await?;
    Ok(desk.player(&room).await?.set_name(&args.name).await?)
}

/// `audera delay`.
///
/// # Errors
/// There is no such room, or it does not take it.
pub async fn delay(args: &DelayArgs) -> Result<(), Failure> {
    let desk = Desk::open().await?;
    let room = desk.room(&args.room).await?;
    let player = desk.player(&room).await?;
    match args.delay {
        Some(delay) => player.set_output_delay(delay.0).await?,
        None => room.require_there()?,
    }
    let delay = player.output_delay().await.map_err(audera_dbus::Error::from)?;
    output::line(&format!("{}: {delay} ms", output::harmless(&room.name)))
}

/// `audera channel`.
///
/// # Errors
/// There is no such room, or it does not take it.
pub async fn channel(args: &ChannelArgs) -> Result<(), Failure> {
    let desk = Desk::open().await?;
    let room = desk.room(&args.room).await?;
    let player = desk.player(&room).await?;
    match args.mode {
        Some(mode) => player.set_channel_mode(mode.name()).await?,
        None => room.require_there()?,
    }
    let mode = player.channel_mode().await.map_err(audera_dbus::Error::from)?;
    output::line(&format!("{}: {mode}", output::harmless(&room.name)))
}

/// `audera identify`.
///
/// # Errors
/// There is no such room, or it is not there to be heard.
pub async fn identify(args: &RoomArgs) -> Result<(), Failure> {
    let desk = Desk::open().await?;
    let room = desk.room(&args.room).await?;
    if !room.is_there() {
        return Err(room.missing("cannot be heard"));
    }
    Ok(desk.player(&room).await?.identify().await?)
}
