//! Small files of state: read with their permissions checked, replaced atomically, one writer at a time.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// No file kept here comes near it; a larger one is not ours.
const MAX_SIZE: u64 = 1 << 20;

/// A file or directory of state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateFileError {
    /// The system refused an operation.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// What was tried, as a verb ("read", "create", ...).
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Others may read or change what only the owner should.
    #[error("{} has mode {mode:04o}, which lets others {what} it; run `chmod {advice} '{}'`", .path.display(), .path.display())]
    Permissions {
        /// The file or directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// What others could do: "read or change", "change".
        what: &'static str,
        /// The mode to give to `chmod`.
        advice: &'static str,
    },
    /// Far larger than such a file ever is.
    #[error("{} is larger than {MAX_SIZE} bytes, so it is not a file of Audera's; move it away", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
}

impl StateFileError {
    fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

/// A small file of state that others may read, and nobody but its owner may change.
#[derive(Debug, Clone)]
pub struct StateFile(PathBuf);

impl StateFile {
    /// The file at this path, be it there or not.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        StateFile(path)
    }

    /// What is in it; `None` when there is none.
    ///
    /// # Errors
    /// It cannot be read, or others may change it.
    pub fn read(&self) -> Result<Option<Vec<u8>>, StateFileError> {
        read(&self.0, Privacy::Protected)
    }

    /// Puts `bytes` in its place, whole or not at all, and makes its folder if need be. Blocks until they are on the disk.
    ///
    /// # Errors
    /// What the system says; the file is as it was.
    pub fn replace(&self, bytes: &[u8]) -> Result<(), StateFileError> {
        if let Some(dir) = self.0.parent() {
            ensure_dir(dir)?;
        }
        WriteLock::acquire(&self.0)?.replace(bytes, Privacy::Protected)
    }
}

/// What others may not do with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Privacy {
    /// A secret: nobody else may read it.
    Secret,
    /// Public, yet nobody else may change it.
    Protected,
}

impl Privacy {
    const fn creation_mode(self) -> u32 {
        match self {
            Self::Secret => 0o600,
            Self::Protected => 0o644,
        }
    }

    fn check(self, path: &Path, mode: u32) -> Result<(), StateFileError> {
        let (forbidden, what, advice) = match self {
            Self::Secret => (0o077, "read or change", "600"),
            Self::Protected => (0o022, "change", "go-w"),
        };
        let mode = mode & 0o7777;
        if mode & forbidden == 0 {
            return Ok(());
        }
        Err(StateFileError::Permissions { path: path.to_owned(), mode, what, advice })
    }
}

/// Makes the directory (mode 0700) with its parents, or checks that nobody else can put files into the one that is there.
pub(crate) fn ensure_dir(dir: &Path) -> Result<(), StateFileError> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(StateFileError::io("create directory", dir))?;
    let mode = fs::metadata(dir).map_err(StateFileError::io("read", dir))?.mode();
    Privacy::Protected.check(dir, mode)
}

/// The text of the file; `None` when there is none.
pub(crate) fn read(path: &Path, privacy: Privacy) -> Result<Option<Vec<u8>>, StateFileError> {
    let failed = |source| StateFileError::Io { action: "read", path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    // Of the open file, not of the path: what is checked is what is read.
    privacy.check(path, file.metadata().map_err(failed)?.mode())?;
    let mut bytes = Vec::new();
    file.take(MAX_SIZE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_SIZE {
        return Err(StateFileError::TooLarge { path: path.to_owned() });
    }
    Ok(Some(bytes))
}

/// The exclusive right to replace one file, among threads and processes; given back on drop.
///
/// It is a lock on a file beside it (`<name>.lock`), because the file itself is replaced, and a lock would stay with the old one.
#[derive(Debug)]
pub(crate) struct WriteLock {
    path: PathBuf,
    _lock: File,
}

impl WriteLock {
    /// Waits until no other writer is left. Writers hold the lock for a few milliseconds.
    pub(crate) fn acquire(path: &Path) -> Result<Self, StateFileError> {
        let lock_path = with_suffix(path, ".lock");
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(StateFileError::io("open", &lock_path))?;
        loop {
            match rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive) {
                Ok(()) => return Ok(Self { path: path.to_owned(), _lock: file }),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(StateFileError::io("lock", &lock_path)(error.into())),
            }
        }
    }

    /// Puts `bytes` in the place of the file. Whoever reads meanwhile sees the old or the new content, never a part, also after a
    /// power cut.
    pub(crate) fn replace(&self, bytes: &[u8], privacy: Privacy) -> Result<(), StateFileError> {
        let temporary = with_suffix(&self.path, ".new");
        // A left-over of a crash may have any permissions; under the lock it is nobody's.
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StateFileError::io("remove", &temporary)(error));
            }
            _ => {}
        }
        let written =
            OpenOptions::new().write(true).create_new(true).mode(privacy.creation_mode()).open(&temporary).and_then(
                |mut file| {
                    file.write_all(bytes)?;
                    file.sync_all()
                },
            );
        written.map_err(StateFileError::io("write", &temporary))?;
        fs::rename(&temporary, &self.path).map_err(StateFileError::io("replace", &self.path))?;
        let dir = self.path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(StateFileError::io("sync", dir))
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
