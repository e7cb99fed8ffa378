//! Configuration of the session's daemons: no hardware, no ways out, everything allowed inside.

use std::process::Command;

use super::Session;
use crate::Error;

/// A bus on which everyone may own and send everything, and which starts the programs that files in `services` name.
fn bus(listen: &str, services: &str) -> String {
    format!(
        r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>{listen}</listen>
  <auth>EXTERNAL</auth>
  <servicedir>{services}</servicedir>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*" eavesdrop="true"/>
    <allow receive_sender="*" eavesdrop="true"/>
  </policy>
</busconfig>
"#
    )
}

fn avahi(host_name: &str) -> String {
    format!(
        "[server]\n\
         host-name={host_name}\n\
         use-ipv4=yes\n\
         use-ipv6=yes\n\
         enable-dbus=yes\n\
         [wide-area]\n\
         enable-wide-area=no\n\
         [publish]\n\
         publish-hinfo=no\n\
         publish-workstation=no\n"
    )
}

/// WirePlumber 0.4 reads Lua, 0.5 reads this.
const WIREPLUMBER_05: &str = "wireplumber.profiles = {
  main = {
    hardware.audio = disabled
    hardware.bluetooth = disabled
    hardware.video-capture = disabled
    support.logind = disabled
    support.reserve-device = disabled
  }
}
";

const WIREPLUMBER_04: &str = "alsa_monitor.enabled = false
v4l2_monitor.enabled = false
libcamera_monitor.enabled = false
";

const WIREPLUMBER_04_BLUETOOTH: &str = "bluez_monitor.enabled = false
bluez_midi_monitor = { enabled = false }
";

/// The graph's rate is that of the test sounds, so that nothing is resampled unasked.
const PIPEWIRE: &str = "context.properties = {
  default.clock.rate = 48000
  default.clock.allowed-rates = [ 48000 ]
  support.dbus = false
  mem.mlock-warn = false
}
";

pub(super) fn write(session: &Session) -> Result<(), Error> {
    // Only what a test puts there is started by the bus.
    let services = |bus: &str| session.path("data").join("dbus-1").join(bus);
    for (name, address, folder) in
        [("session", session.session_bus(), "services"), ("system", session.system_bus(), "system-services")]
    {
        let services = services(folder);
        std::fs::create_dir_all(&services).map_err(|source| Error::File { path: services.clone(), source })?;
        session.write(&format!("config/{name}-bus.conf"), &bus(&address, &services.display().to_string()))?;
    }
    session.write("config/avahi-daemon.conf", &avahi(session.name()))?;
    session.write("config/pipewire/pipewire.conf.d/10-session.conf", PIPEWIRE)?;
    session.write("config/wireplumber/wireplumber.conf.d/10-session.conf", WIREPLUMBER_05)?;
    session.write("config/wireplumber/main.lua.d/51-session.lua", WIREPLUMBER_04)?;
    session.write("config/wireplumber/bluetooth.lua.d/51-session.lua", WIREPLUMBER_04_BLUETOOTH)
}

/// Where the distribution keeps PipeWire's modules. The variable that adds a folder replaces this one, so it has to be said.
pub(super) fn distribution_module_dir() -> String {
    let asked = Command::new("pkg-config").args(["--variable=moduledir", "libpipewire-0.3"]).output();
    let told = asked.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    if !told.is_empty() {
        return told;
    }
    let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
    format!("/usr/lib/{triplet}/pipewire-0.3")
}
