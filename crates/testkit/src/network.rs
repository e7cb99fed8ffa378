//! Simulated hosts: a network namespace and a mount namespace each, joined by a bridge, with cables that can be cut.

use std::{
    io::Write,
    net::Ipv4Addr,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use crate::{
    Error,
    cable::Cable,
    process,
    relay::{Relay, Tap},
    sys::{self, Fresh, Namespaces},
};

/// A local network: a bridge to which simulated hosts are attached. Clones are the same network; it is gone with the last one
/// and with the last host.
#[derive(Clone, Debug)]
pub struct Network {
    switch: Arc<Switch>,
}

#[derive(Debug)]
struct Switch {
    space: Space,
    ports: AtomicU8,
}

/// A simulated host: an own network with the interfaces `lo` and `eth0`, an own and empty `/run`, otherwise this machine.
#[derive(Debug)]
pub struct Host {
    // Ends before its interfaces' networks go.
    relay: Option<Relay>,
    space: Space,
    network: Network,
    number: u8,
}

/// Namespaces, and the process that lends them its id until it is told to end by the end of its input.
#[derive(Debug)]
struct Space {
    holder: Child,
    namespaces: Namespaces,
}

impl Space {
    fn new(fresh: Fresh<'_>) -> Result<Self, Error> {
        let unavailable = |source| Error::Unavailable { what: "making namespaces", source };
        let mut command = Command::new("cat");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).current_dir("/");
        sys::start_in_fresh(&mut command, fresh);
        sys::die_with_parent(&mut command);
        let holder = process::spawn(command).map_err(unavailable)?;
        let with_user = match fresh {
            Fresh::AsRoot => false,
            Fresh::WithUser => true,
            Fresh::Beside(other) => other.user.is_some(),
        };
        let namespaces = Namespaces::of(holder.id(), with_user).map_err(unavailable)?;
        Ok(Self { holder, namespaces })
    }

    /// Runs a program that configures the network inside, with `input` to read.
    fn manage(&self, program: &str, args: &[&str], input: &str) -> Result<(), Error> {
        let failed = |source| Error::Run { program: program.to_owned(), source };
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        sys::start_inside(&mut command, &self.namespaces, true);
        let mut child = command.spawn().map_err(failed)?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program that does not read to the end says why in its output.
            drop(stdin.write_all(input.as_bytes()));
        }
        let output = child.wait_with_output().map_err(failed)?;
        if output.status.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&output.stderr);
        Err(Error::Failed {
            command: format!("{program} {}", args.join(" ")),
            status: output.status,
            output: format!("{text}for the input:\n{input}"),
        })
    }

    fn ip(&self, batch: &str) -> Result<(), Error> {
        self.manage("ip", &["-batch", "-"], batch)
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}

impl Network {
    /// A network without hosts.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where neither root nor user namespaces are to be had.
    pub fn new() -> Result<Self, Error> {
        let space = match sys::is_root().then(|| Space::new(Fresh::AsRoot)) {
            Some(Ok(space)) => space,
            // Root of a container may be less than a user elsewhere.
            None | Some(Err(_)) => Space::new(Fresh::WithUser)?,
        };
        space.ip("link set lo up\n\
             link add br0 type bridge mcast_snooping 0\n\
             link set br0 up\n")?;
        Ok(Self { switch: Arc::new(Switch { space, ports: AtomicU8::new(0) }) })
    }

    /// Adds a host with the next free address, `10.77.0.1` first, on a cable that carries everything at once.
    ///
    /// # Errors
    /// When the kernel refuses, or after 250 hosts.
    pub fn host(&self) -> Result<Host, Error> {
        let (number, space) = self.place()?;
        self.switch.space.ip(&format!(
            "link add port{number} type veth peer name eth0 netns {}\n\
             link set port{number} master br0 up\n",
            space.holder.id()
        ))?;
        space.address(number)?;
        Ok(Host { relay: None, space, network: self.clone(), number })
    }

    /// Adds a host with the next free address on a cable with delays and losses. The cable itself takes some 50 us more.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where `/dev/net/tun` must not be used; otherwise as [`host`](Self::host).
    pub fn host_on(&self, cable: Cable) -> Result<Host, Error> {
        let (number, space) = self.place()?;
        let unavailable = |source| Error::Unavailable { what: "making an interface with /dev/net/tun", source };
        let switch = &self.switch.space;
        let tap = |name: &str, namespaces| Tap::new(name, |command| sys::start_inside(command, namespaces, true));
        let near = tap("eth0", &space.namespaces).map_err(unavailable)?;
        let port = format!("port{number}");
        let far = tap(&port, &switch.namespaces).map_err(unavailable)?;
        switch.ip(&format!("link set {port} master br0 up\n"))?;
        space.address(number)?;
        let run = |source| Error::Run { program: "the cable's thread".into(), source };
        let relay = Some(Relay::start(near, far, &cable).map_err(run)?);
        Ok(Host { relay, space, network: self.clone(), number })
    }

    /// Namespaces for one more host, and its number.
    fn place(&self) -> Result<(u8, Space), Error> {
        let number = self.switch.ports.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let fresh = match self.switch.space.namespaces.user {
            Some(_) => Fresh::Beside(&self.switch.space.namespaces),
            None => Fresh::AsRoot,
        };
        Ok((number, Space::new(fresh)?))
    }
}

impl Space {
    /// Gives `eth0` its addresses.
    fn address(&self, number: u8) -> Result<(), Error> {
        // Without duplicate address detection, which takes two seconds: we know that the addresses are unique.
        self.ip(&format!(
            "link set lo up\n\
             link set eth0 addrgenmode none\n\
             addr add 10.77.0.{number}/24 brd + dev eth0\n\
             addr add fe80::{number:x}/64 dev eth0 scope link nodad\n\
             link set eth0 up\n\
             route add default dev eth0\n"
        ))
    }
}

impl Host {
    /// The host's IPv4 address.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, self.number)
    }

    /// The network it is attached to.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// A command that will run on this host. It dies with the thread that spawns it.
    ///
    /// It has to be spawned before the host is dropped.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        sys::start_inside(&mut command, &self.space.namespaces, false);
        sys::die_with_parent(&mut command);
        command
    }

    /// As [`command`](Self::command), with the host's network but this machine's own `/run`: for a program that stands between
    /// the two, such as a player on the user's own sound card.
    #[must_use]
    pub fn command_beside(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        sys::start_on_network(&mut command, &self.space.namespaces);
        sys::die_with_parent(&mut command);
        command
    }

    /// Pulls the cable: `eth0` loses its carrier.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn cut(&self) -> Result<(), Error> {
        self.plug(false)
    }

    /// Plugs the cable in again.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn join(&self) -> Result<(), Error> {
        self.plug(true)
    }

    fn plug(&self, on: bool) -> Result<(), Error> {
        match &self.relay {
            Some(relay) => {
                relay.set_carrier(on).map_err(|source| Error::Run { program: "the cable's thread".into(), source })
            }
            None => {
                let state = if on { "up" } else { "down" };
                self.network.switch.space.ip(&format!("link set port{} {state}\n", self.number))
            }
        }
    }

    /// The host's cable, if it was made with [`Network::host_on`].
    #[must_use]
    pub fn cable(&self) -> Option<&Relay> {
        self.relay.as_ref()
    }

    /// Loses this share of all packets, each way (0 to 1, in thousandths), as a bad radio link does: the carrier stays.
    ///
    /// # Errors
    /// When nftables is missing or refuses.
    pub fn lose(&self, share: f64) -> Result<(), Error> {
        let thousandths = (share.clamp(0.0, 1.0) * 1000.0).round();
        let drop = match thousandths {
            1000.0 => "drop".to_owned(),
            some => format!("numgen random mod 1000 < {some} drop"),
        };
        let rules = if thousandths == 0.0 {
            String::new()
        } else {
            format!(
                "table inet loss {{\n\
                 chain in {{ type filter hook input priority 0; iifname \"eth0\" {drop}; }}\n\
                 chain out {{ type filter hook output priority 0; oifname \"eth0\" {drop}; }}\n\
                 }}\n"
            )
        };
        // Declared before it is deleted, so that it need not exist.
        self.space.manage("nft", &["-f", "-"], &format!("table inet loss {{}}\ndelete table inet loss\n{rules}"))
    }

    /// Drops all packets of some TCP connections, each given by its port on this host and its peer's, both ways and for good; others pass, as
    /// when a network has been away for long and TCP has not noticed yet that it is back.
    ///
    /// # Errors
    /// When nftables is missing or refuses.
    pub fn sever(&self, connections: &[(u16, u16)]) -> Result<(), Error> {
        let rules = |ours: &str, theirs: &str| -> String {
            let rule = |(here, there): &(u16, u16)| format!("tcp {ours} {here} tcp {theirs} {there} drop; ");
            connections.iter().map(rule).collect()
        };
        let table = format!(
            "table inet severed {{\n\
             chain in {{ type filter hook input priority 0; {}}}\n\
             chain out {{ type filter hook output priority 0; {}}}\n\
             }}\n",
            rules("dport", "sport"),
            rules("sport", "dport")
        );
        self.space.manage("nft", &["-f", "-"], &table)
    }

    /// Drops all UDP on this host but that of service discovery, within the host as well, as a firewall may; or lets it pass again.
    ///
    /// # Errors
    /// When nftables is missing or refuses.
    pub fn block_udp(&self, blocked: bool) -> Result<(), Error> {
        let rules = if blocked {
            "table inet blocked {\n\
             chain in { type filter hook input priority 0; udp dport != 5353 drop; }\n\
             }\n"
        } else {
            ""
        };
        self.space.manage("nft", &["-f", "-"], &format!("table inet blocked {{}}\ndelete table inet blocked\n{rules}"))
    }
}
