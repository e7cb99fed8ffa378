//! Which players belong to a target, and which format a player gets.

use audera_wire::{Coding, Formats, StreamFormat};

use crate::types::{CodecChoice, Encoding, PlayerInfo, PlayerKey, Target, spelled};

/// The name under which all players are addressed.
pub const EVERYWHERE: &str = "Everywhere";

impl Target {
    /// Whether `player` is among those meant. A player that dialled in asked for this sender and always is.
    #[must_use]
    pub fn includes(&self, player: &PlayerInfo) -> bool {
        if matches!(player.key, PlayerKey::Caller(..)) {
            return true;
        }
        match self {
            Target::Everywhere => true,
            Target::Player(key) => player.key == *key,
            Target::Group(group) => player.groups.contains(group),
            Target::Named(names) => names.iter().any(|name| {
                name == EVERYWHERE
                    || player.room == *name
                    || player.groups.contains(name)
                    || player.addresses.iter().any(|address| means(name, address))
            }),
        }
    }
}

impl Target {
    /// Whether a fader for this target moves `player`: it is meant, and can be asked.
    #[must_use]
    pub fn moves(&self, player: &PlayerInfo) -> bool {
        player.is_ready() && self.includes(player)
    }

    /// Takes a player's new name in, of which [`HubEvent::Renamed`](crate::HubEvent::Renamed) tells. The hub does so for all streams itself.
    pub fn rename(&mut self, was: &PlayerKey, now: &PlayerKey) {
        if matches!(self, Target::Player(key) if key == was) {
            *self = Target::Player(now.clone());
        }
    }
}

/// Whether a name is this address, in whatever spelling. What could be the name of a room is taken as it is.
fn means(name: &str, address: &str) -> bool {
    name == address || (name.contains(['.', ':']) && spelled(name) == address)
}

/// The format for one player, or why there is none.
pub(crate) fn format_for(
    encoding: &Encoding,
    rate: u32,
    channels: u8,
    player: &Formats,
) -> Result<StreamFormat, String> {
    let takes = |coding: Coding| player.codings.contains(&coding);
    let opus_fits = rate == 48_000 && channels <= 2;
    let pcm = [Coding::PcmS24le, Coding::PcmF32le, Coding::PcmS16le].into_iter().find(|&coding| takes(coding));
    let coding = match encoding.codec {
        CodecChoice::Opus if !opus_fits => {
            return Err(format!("Opus takes 48000 Hz mono or stereo, not {rate} Hz with {channels} channels"));
        }
        CodecChoice::Opus if !takes(Coding::Opus) => {
            return Err("the player does not take Opus".to_owned());
        }
        CodecChoice::Opus => Coding::Opus,
        CodecChoice::Auto if opus_fits && takes(Coding::Opus) => Coding::Opus,
        CodecChoice::Auto | CodecChoice::Pcm => pcm.ok_or("the player takes no PCM format")?,
    };
    if rate > player.max_rate || channels > player.max_channels {
        return Err(format!(
            "the player takes at most {} Hz and {} channels, not {rate} Hz and {channels}",
            player.max_rate, player.max_channels
        ));
    }
    let frames = (u64::from(rate) * u64::from(encoding.packet_msec) / 1000) as u16;
    let format = StreamFormat { coding, rate, channels, frames };
    format.validate().map_err(|error| error.to_string())?;
    Ok(format)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(codec: CodecChoice, rate: u32, channels: u8, codings: &[Coding]) -> Result<StreamFormat, String> {
        let takes = Formats { codings: codings.to_vec(), max_rate: 96_000, max_channels: 6 };
        format_for(&Encoding { codec, ..Encoding::default() }, rate, channels, &takes)
    }

    #[test]
    fn rooms_and_groups_are_named() {
        let player = |room: &str, groups: &[&str]| PlayerInfo {
            groups: groups.iter().map(|&group| group.to_owned()).collect(),
            ..PlayerInfo::new(PlayerKey::Discovered(room.to_owned()), room.to_owned(), true)
        };
        let (bath, hall) = (player("Bath", &["Up", "Hall"]), player("Hall", &[]));
        let group = |name: &str| Target::Group(name.to_owned());
        let named = |name: &str| Target::Named(vec![name.to_owned()]);
        assert!(group("Up").includes(&bath) && !group("Up").includes(&hall) && !group("Bath").includes(&bath));
        assert!(group("Hall").includes(&bath) && !group("Hall").includes(&hall));
        assert!(named("Hall").includes(&bath) && named("Hall").includes(&hall) && named("Up").includes(&bath));
        assert!(named(EVERYWHERE).includes(&hall) && !named("Attic").includes(&hall));
        // Who is announced and not there is meant, and moved by nobody.
        let there = PlayerInfo { reach: crate::types::Reach::Ready, ..bath.clone() };
        assert!(group("Up").moves(&there) && !group("Up").moves(&bath) && !group("Down").moves(&there));
    }

    #[test]
    fn auto_is_opus_where_it_fits_and_pcm_elsewhere() {
        let format = |rate, channels| choose(CodecChoice::Auto, rate, channels, &Coding::ALL).unwrap();
        assert_eq!(format(48_000, 2), StreamFormat { coding: Coding::Opus, rate: 48_000, channels: 2, frames: 480 });
        assert_eq!(
            format(96_000, 2),
            StreamFormat { coding: Coding::PcmS24le, rate: 96_000, channels: 2, frames: 960 }
        );
        assert_eq!(
            format(44_100, 2),
            StreamFormat { coding: Coding::PcmS24le, rate: 44_100, channels: 2, frames: 441 }
        );
        assert_eq!(format(48_000, 6).coding, Coding::PcmS24le);
    }

    #[test]
    fn pcm_is_the_best_the_player_takes() {
        let coding = |codings: &[Coding]| choose(CodecChoice::Pcm, 48_000, 2, codings).map(|format| format.coding);
        assert_eq!(coding(&Coding::ALL), Ok(Coding::PcmS24le));
        assert_eq!(coding(&[Coding::PcmS16le, Coding::Opus]), Ok(Coding::PcmS16le));
        assert!(coding(&[Coding::Opus]).unwrap_err().contains("no PCM"));
    }

    #[test]
    fn what_does_not_fit_is_refused_with_both_sides_of_it() {
        let refused = |codec, rate, channels, codings: &[Coding]| choose(codec, rate, channels, codings).unwrap_err();
        assert!(refused(CodecChoice::Opus, 96_000, 2, &Coding::ALL).contains("96000"));
        assert!(refused(CodecChoice::Opus, 48_000, 2, &[Coding::PcmS16le]).contains("Opus"));
        let much = refused(CodecChoice::Pcm, 192_000, 8, &Coding::ALL);
        assert!(much.contains("96000 Hz and 6") && much.contains("192000 Hz and 8"), "{much}");
    }
}
