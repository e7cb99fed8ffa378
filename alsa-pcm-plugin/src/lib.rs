//! `libasound_module_pcm_audera`: Audera rooms for every program that speaks ALSA.
//!
//! # Options of a definition `{ type audera }`
//!
//! | option | values | default | meaning |
//! |---|---|---|---|
//! | `player` | name of a room or a group, `Everywhere`, `host:port` | the only room there is, else `Everywhere` | who plays |
//! | `source` | name of a source, `host:port` | `player` of the same definition, else the only source there is | what is recorded |
//! | `codec` | `auto`, `pcm`, `opus` | `auto` | `auto` is Opus where the stream and the player allow it |
//! | `bitrate` | 64 to 320 kbit/s | 160 | bit rate of Opus |
//! | `packet` | 5, 10, 20 ms | 20, or 10 below 80 ms of latency, 5 below 60 ms | length of a packet |
//! | `latency` | `auto`, 20 to 2000 ms | `auto` | from the moment at which a frame leaves the buffer to the loudspeaker |
//! | `patience` | 0 to 86400 s | 30 | for how long an application plays on when its room has gone, before it gets `-ENODEV` |
//! | `wait` | 2000 to 60000 ms | 3000 | how long an open takes to fail where there is no such room or source |
//! | `discover` | yes, no | yes | find players through Avahi, unless `audera config discover off` keeps all programs of this user from it |
//! | `players` | addresses `host:port`, separated by commas | none | players to use although Avahi does not show them |
//! | `state_dir` | folder | `$XDG_STATE_HOME/audera` | identity and known players |
//!
//! What a definition does not say is looked for in alsa-lib's configuration, as `defaults.audera.OPTION`, then in `~/.config/audera/alsa.toml` and then in `/etc/audera/alsa.toml`, under the same
//! names. An empty text counts as not said.
//!
//! # Which function runs where
//!
//! alsa-lib calls from the application's threads, which never wait for the network but in `open` and in the last `close`. There is one
//! thread more in a process, however many PCMs and mixers it has open (of one identity: one for each `state_dir`): `audera-net`, that of
//! [`audera_sender::Hub`], which `house` keeps.
//! It takes what is due from the buffers of the PCMs, encodes and sends, and puts what comes from sources where recordings read it. While it
//! looks up the name of a host or keeps the id of somebody new there are one or two beside it, `audera-helper`, which then go.

mod alarm;
mod capture;
mod channels;
mod house;
mod listing;
mod log;
mod mixer;
mod options;
mod playback;
mod rooms;

audera_alsa_plugin::pcm_plugin!(
    playback: playback::Playback,
    capture: capture::Capture,
    entry: "_snd_pcm_audera_open",
    version: "__snd_pcm_audera_open_dlsym_pcm_001",
);

audera_alsa_plugin::ctl_plugin!(
    mixer::Room,
    entry: "_snd_ctl_audera_open",
    version: "__snd_ctl_audera_open_dlsym_control_001",
);
