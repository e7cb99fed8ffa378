//! Finds out whether a PCM ends in the sound server instead of a device.
//!
//! The server may lay a stream onto any of its sinks, an Audera room among them, and alsa-lib has no say in that: the room would
//! hear itself.

use alsa::Output;
use alsa::pcm::PCM;

/// How the plug-ins into sound servers are called, by themselves, whatever the configuration calls the PCM.
const SERVERS: [(&str, &str); 2] = [("<-> PipeWire", "PipeWire"), ("<-> PulseAudio", "PulseAudio")];

/// The sound server behind `pcm`, also when conversions and the like are in between.
pub(super) fn server_behind(pcm: &PCM) -> Result<Option<&'static str>, alsa::Error> {
    // The description of a PCM contains that of every slave. Nothing else that alsa-lib tells of a plug-in is its own.
    let mut description = Output::buffer_open()?;
    pcm.dump(&mut description)?;
    Ok(description.buffer_string(|bytes| server_in(&String::from_utf8_lossy(bytes))))
}

fn server_in(description: &str) -> Option<&'static str> {
    SERVERS.into_iter().find(|(plugin, _)| description.contains(plugin)).map(|(_, server)| server)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alsa::Direction;

    #[test]
    fn a_server_is_found_behind_conversions() {
        assert_eq!(server_in("Plug PCM: ALSA <-> PipeWire PCM I/O Plugin\n"), Some("PipeWire"));
        assert_eq!(server_in("ALSA <-> PulseAudio PCM I/O Plugin\n"), Some("PulseAudio"));
        assert_eq!(server_in("Hardware PCM card 0 'PipeWire' device 0 subdevice 0\n"), None);
    }

    #[test]
    fn a_pcm_of_another_kind_is_none() {
        for name in ["null", "plug:SLAVE=null"] {
            let pcm = PCM::new(name, Direction::Playback, true).unwrap();
            assert_eq!(server_behind(&pcm).unwrap(), None, "{name}");
        }
    }
}
