//! A private PipeWire session without hardware: D-Bus, the daemon, WirePlumber, and a sink that goes nowhere.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take to come about before the test fails. Nothing is measured by it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// One session at a time: two graphs would keep each other from their cycles.
static ALONE: Mutex<()> = Mutex::new(());

pub struct Session {
    /// In the order started; ended the other way round.
    children: Vec<Child>,
    bus: String,
    dir: TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Session {
    /// `modules` go into the daemon's own `context.modules`.
    pub fn start(modules: &str) -> Self {
        // Another test that failed has nothing to do with this one.
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = TempDir::new().expect("a directory for the session");
        let mut session = Self { children: Vec::new(), bus: String::new(), dir, _alone: alone };
        for folder in ["run", "config/pipewire/pipewire.conf.d", "state", "cache", "modules", "probe"] {
            fs::create_dir_all(session.path(folder)).expect("session folder");
        }
        std::os::unix::fs::symlink(probe_library(), session.path("modules/libpipewire-module-audera-probe-sink.so"))
            .expect("link to the module");
        fs::write(session.path("config/pipewire/pipewire.conf.d/50-test.conf"), daemon_config(modules))
            .expect("configuration");

        let mut bus = session
            .command("dbus-daemon")
            .args(["--session", "--nofork", "--print-address"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("dbus-daemon runs");
        let mut address = String::new();
        BufReader::new(bus.stdout.take().expect("piped")).read_line(&mut address).expect("the bus gives its address");
        session.children.push(bus);
        session.bus = address.trim().to_owned();

        session.spawn("pipewire", &[] as &[&str]);
        session.until("the daemon answers", || session.socket().exists().then_some(()));
        session.spawn("wireplumber", &[] as &[&str]);
        session.until("the null sink has its ports", || {
            let null = session.node("silent")?;
            (null["info"]["n-input-ports"].as_u64() >= Some(2)).then_some(())
        });
        session
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn socket(&self) -> PathBuf {
        self.path("run/pipewire-0")
    }

    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env("XDG_RUNTIME_DIR", self.path("run"))
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env("XDG_STATE_HOME", self.path("state"))
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("HOME", self.dir.path())
            .env("DBUS_SESSION_BUS_ADDRESS", &self.bus)
            .env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent")
            .env("PIPEWIRE_MODULE_DIR", format!("{}:{}", self.path("modules").display(), module_dir()))
            .env_remove("PIPEWIRE_REMOTE")
            .stdin(Stdio::null());
        command
    }

    /// Starts a program of the session; gives its place among the children.
    pub fn spawn(&mut self, program: &str, args: &[impl AsRef<OsStr>]) -> usize {
        let log = fs::File::create(self.path(&format!("{}-{program}.log", self.children.len()))).expect("log file");
        let child = self
            .command(program)
            .args(args)
            .stdout(log.try_clone().expect("log file"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        self.children.push(child);
        self.children.len() - 1
    }

    pub fn run(&self, program: &str, args: &[&str]) -> Output {
        self.command(program).args(args).output().unwrap_or_else(|error| panic!("{program}: {error}"))
    }

    /// Asks a child to end and waits until it has; true if it ended by itself with success.
    pub fn end(&mut self, index: usize) -> bool {
        let child = &mut self.children[index];
        terminate(child);
        child.wait().expect("its end").success()
    }

    pub fn is_running(&mut self, index: usize) -> bool {
        self.children[index].try_wait().expect("its state").is_none()
    }

    /// How far a child has read a file, in bytes; `None` while it has not opened it.
    pub fn offset(&self, index: usize, file: &Path) -> Option<u64> {
        let id = self.children[index].id();
        let open = fs::read_dir(format!("/proc/{id}/fd")).ok()?.flatten();
        let mut same = open.filter(|entry| fs::read_link(entry.path()).is_ok_and(|target| target == file));
        let number = same.next()?.file_name().into_string().ok()?;
        let info = fs::read_to_string(format!("/proc/{id}/fdinfo/{number}")).ok()?;
        info.lines().find_map(|line| line.strip_prefix("pos:"))?.trim().parse().ok()
    }

    pub const DAEMON: usize = 1;

    /// Everything in the graph, as `pw-dump` tells it.
    pub fn dump(&self) -> Vec<Value> {
        let output = self.run("pw-dump", &[]);
        // While the graph changes it may print more than one array: the last is the newest.
        serde_json::Deserializer::from_slice(&output.stdout)
            .into_iter::<Vec<Value>>()
            .filter_map(Result::ok)
            .last()
            .unwrap_or_default()
    }

    pub fn node(&self, name: &str) -> Option<Value> {
        self.dump().into_iter().find(|object| object["info"]["props"]["node.name"] == name)
    }

    /// Waits for something to come about; fails the test when it does not.
    pub fn until<T>(&self, what: &str, mut there: impl FnMut() -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(found) = there() {
                return found;
            }
            assert!(start.elapsed() < PATIENCE, "waited in vain until {what}\n{}", self.logs());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits for a line in the probe's notes.
    pub fn noted(&self, line: &str) {
        self.until(&format!("the probe notes {line:?}"), || {
            self.notes().lines().any(|noted| noted.contains(line)).then_some(())
        });
    }

    pub fn notes(&self) -> String {
        fs::read_to_string(self.path("probe/events")).unwrap_or_default()
    }

    pub fn logs(&self) -> String {
        let mut all = format!("-- notes\n{}", self.notes());
        for entry in fs::read_dir(self.dir.path()).expect("session folder").flatten() {
            if entry.path().extension() == Some(OsStr::new("log")) {
                all +=
                    &format!("-- {}\n{}", entry.path().display(), fs::read_to_string(entry.path()).unwrap_or_default());
            }
        }
        all
    }

    /// Runs the probe in a process of its own, writing to the session's folder `probe`.
    pub fn host_probe(&mut self, args: &str) -> usize {
        let config = self.path("host.conf");
        fs::write(&config, host_config(&probe_entry(&self.path("probe"), args))).expect("configuration");
        self.spawn("pipewire", &["-c".as_ref(), config.as_os_str()])
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        while let Some(mut child) = self.children.pop() {
            terminate(&mut child);
            let _status = child.wait();
        }
    }
}

fn terminate(child: &mut Child) {
    if matches!(child.try_wait(), Ok(None)) {
        let id = i32::try_from(child.id()).expect("a process id");
        // SAFETY: the child has not been waited for, so the id is still its own.
        unsafe { libc::kill(id, libc::SIGTERM) };
    }
}

/// A `context.modules` entry that loads the probe, which writes to `dir`.
pub fn probe_entry(dir: &Path, args: &str) -> String {
    format!(
        "{{ name = libpipewire-module-audera-probe-sink args = {{ probe.dir = \"{}\" {args} }} flags = [ nofail ] }}",
        dir.display()
    )
}

/// `pipewire -c` needs no more than this to run modules.
fn host_config(module: &str) -> String {
    format!(
        "context.properties = {{ log.level = 3 }}\n\
         context.spa-libs = {{ audio.convert.* = audioconvert/libspa-audioconvert support.* = support/libspa-support }}\n\
         context.modules = [ {{ name = libpipewire-module-protocol-native }} {{ name = libpipewire-module-client-node }}\n\
         {{ name = libpipewire-module-adapter }} {module} ]\n"
    )
}

fn daemon_config(modules: &str) -> String {
    format!(
        "context.modules = [ {modules} ]\n\
         context.objects = [ {{ factory = adapter args = {{ factory.name = support.null-audio-sink node.name = silent \
         media.class = Audio/Sink audio.position = \"FL,FR\" audio.rate = 48000 object.linger = true \
         priority.driver = 3000 }} }} ]\n"
    )
}

fn probe_library() -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    let profile = test.parent().and_then(Path::parent).expect("target/PROFILE/deps");
    let library = profile.join("examples/libprobe_sink.so");
    assert!(
        library.exists(),
        "{} is missing: run all of `cargo test`, or build it by `cargo build --example probe_sink`",
        library.display()
    );
    library
}

fn module_dir() -> String {
    let output =
        Command::new("pkg-config").args(["--variable=moduledir", "libpipewire-0.3"]).output().expect("pkg-config runs");
    String::from_utf8(output.stdout).expect("a path").trim().to_owned()
}
