//! Programs that run beside the test, with a log file each, and are gone when the test is.

use std::{
    fs::{self, File},
    io,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{OnceLock, mpsc},
    thread,
    time::{Duration, Instant},
};

use crate::{Error, sys};

/// How long a program may take to become ready or to end. Only catches what hangs: a busy machine may need seconds for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at something that cannot be waited for.
pub(crate) const LOOK: Duration = Duration::from_millis(5);

/// The same where a look takes longer than that: it starts a program, which is work for the machine whose sound is being judged.
pub(crate) const LONG_LOOK: Duration = Duration::from_millis(50);

/// A running program and its log. Dropping it kills it and all it has started.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    child: Child,
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// Time on a processor, all threads together.
    pub cpu: Duration,
    /// Resident memory in bytes.
    pub resident: u64,
}

type Job = (Command, mpsc::SyncSender<io::Result<Child>>);

/// Starts a program from a thread that lives as long as the process: a parent-death signal means the parent *thread*.
pub(crate) fn spawn(command: Command) -> io::Result<Child> {
    static STARTER: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (jobs, inbox) = mpsc::channel::<Job>();
        thread::spawn(move || {
            for (mut command, reply) in inbox {
                // Whoever asked has given up if this fails; the child then dies as its handle is dropped by no one: kill it.
                if let Err(mpsc::SendError(Ok(mut orphan))) = reply.send(command.spawn()) {
                    drop(orphan.kill().and_then(|()| orphan.wait()));
                }
            }
        });
        jobs
    });
    let (reply, child) = mpsc::sync_channel(1);
    let gone = |_| io::Error::other("the starter thread is gone");
    starter.send((command, reply)).map_err(|_| io::Error::other("the starter thread is gone"))?;
    child.recv().map_err(gone)?
}

impl Process {
    /// Starts `command` with its output in `log`, which is appended to.
    pub(crate) fn start(name: &str, log: PathBuf, mut command: Command) -> Result<Self, Error> {
        let open = || File::options().create(true).append(true).open(&log);
        let file = |source| Error::File { path: log.clone(), source };
        command.stdin(Stdio::null()).stdout(open().map_err(file)?).stderr(open().map_err(file)?);
        // There is no real-time scheduling here: at equal terms a build beside the test makes gaps in the sound.
        sys::lead_and_go_first(&mut command);
        sys::die_with_parent(&mut command);
        let child = spawn(command).map_err(|source| Error::Run { program: name.to_owned(), source })?;
        Ok(Self { name: name.to_owned(), log, child })
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where its standard output and standard error go.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// What it has written so far.
    #[must_use]
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends it a signal, such as `libc::SIGHUP`.
    pub fn signal(&self, signal: i32) {
        sys::signal_group(self.child.id(), signal);
    }

    /// Asks it to end (SIGTERM), waits for that and returns how it ended; one that does not listen is killed.
    ///
    /// # Errors
    /// When the kernel does not know of it any more.
    pub fn stop(mut self) -> Result<ExitStatus, Error> {
        self.signal(libc::SIGTERM);
        self.wait(PATIENCE).map(|ended| ended.unwrap_or(ExitStatus::from_raw(libc::SIGKILL)))
    }

    /// Waits for its end for at most `patience`; `None` when it goes on.
    ///
    /// # Errors
    /// When the kernel does not know of it any more.
    pub fn wait(&mut self, patience: Duration) -> Result<Option<ExitStatus>, Error> {
        let deadline = Instant::now() + patience;
        loop {
            let ended = self.child.try_wait().map_err(|source| Error::Run { program: self.name.clone(), source })?;
            if ended.is_some() || Instant::now() >= deadline {
                return Ok(ended);
            }
            thread::sleep(LOOK);
        }
    }

    /// Waits until `ready` has something to show.
    ///
    /// # Errors
    /// [`Error::NotReady`] with the end of the log, when the program ends before or time is up.
    pub fn wait_until<T>(&mut self, what: &str, mut ready: impl FnMut() -> Option<T>) -> Result<T, Error> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let looked = Instant::now();
            if let Some(value) = ready() {
                return Ok(value);
            }
            let pause = if looked.elapsed() > LOOK { LONG_LOOK } else { LOOK };
            let outcome = match self.child.try_wait() {
                Ok(Some(status)) => format!("was waited for, but {} ended with {status}", self.name),
                _ if Instant::now() >= deadline => format!("did not come within {PATIENCE:?}"),
                _ => {
                    thread::sleep(pause);
                    continue;
                }
            };
            return Err(not_ready(what, outcome, &self.log));
        }
    }

    /// What it has used so far; `None` once it has ended.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).ok()?;
        // The name may hold spaces and parentheses: count the fields behind it.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let resident = line.split_whitespace().next()?.parse::<u64>().ok()? * 1024;
        Some(Usage { cpu: Duration::from_secs_f64(ticks / sys::clock_ticks()), resident })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(libc::SIGKILL);
        // Reaped here, or by no one: there is nothing to be done about an error.
        drop(self.child.wait());
    }
}

pub(crate) fn not_ready(what: &str, outcome: String, log: &Path) -> Error {
    let text = String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(20)..].join("\n");
    Error::NotReady { what: what.to_owned(), outcome, log: log.to_owned(), tail }
}

/// Waits for the end of a child, which is killed if that does not come.
fn finish(child: Child) -> io::Result<Output> {
    let id = child.id();
    let (ended, end) = mpsc::channel::<()>();
    let guard = thread::spawn(move || {
        if matches!(end.recv_timeout(2 * PATIENCE), Err(mpsc::RecvTimeoutError::Timeout)) {
            sys::kill(id);
        }
    });
    let output = child.wait_with_output();
    drop(ended);
    // It only panics if it cannot wait.
    drop(guard.join());
    output
}

/// Runs a command to its end, for which it has two minutes, and returns its standard output.
pub(crate) fn run(mut command: Command) -> Result<String, Error> {
    let line = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ");
    let program = command.get_program().to_string_lossy().into_owned();
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.map_err(|source| Error::Run { program: program.clone(), source })?;
    let output = finish(child).map_err(|source| Error::Run { program, source })?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let output_text = String::from_utf8_lossy(&output.stderr).into_owned() + &text;
    Err(Error::Failed { command: line, status: output.status, output: output_text })
}
