//! The folder of a session, which goes with it even if the test is killed and can clean up nothing any more.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::{Error, process, sys};

/// A folder for temporary files. A process beside this one waits for the end of its input, which comes in any case, and deletes it.
#[derive(Debug)]
pub(super) struct Folder {
    dir: tempfile::TempDir,
    janitor: Child,
}

impl Folder {
    pub fn new() -> Result<Self, Error> {
        let dir = tempfile::Builder::new()
            .prefix("audera-")
            .tempdir()
            .map_err(|source| Error::File { path: std::env::temp_dir(), source })?;
        let mut command = Command::new("sh");
        command.args(["-c", "cat; rm -rf -- \"$0\""]).arg(dir.path());
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/");
        // Out of reach of the terminal's Ctrl-C.
        sys::lead_and_go_first(&mut command);
        let janitor = process::spawn(command).map_err(|source| Error::Run { program: "sh".into(), source })?;
        Ok(Self { dir, janitor })
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(self.janitor.stdin.take());
        // If it failed, the folder deletes itself after this.
        drop(self.janitor.wait());
    }
}
