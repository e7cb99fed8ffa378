//! Finding what the workspace has built: beside the running test or demo, in cargo's target directory.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::Error;

/// The path of a program or library, by its file's name.
///
/// # Errors
/// [`Error::File`] when it has not been built.
pub(crate) fn find(name: &str) -> Result<PathBuf, Error> {
    let program = std::env::current_exe().map_err(|source| Error::File { path: "/proc/self/exe".into(), source })?;
    // Tests lie in a folder `deps` beside what they test.
    let dir = program.ancestors().skip(1).find(|dir| !dir.ends_with("deps")).unwrap_or(Path::new("."));
    let path = dir.join(name);
    match fs::metadata(&path) {
        Ok(_) => Ok(path),
        Err(source) => {
            let hint = format!("{source}; build the workspace first: `cargo build --workspace`");
            Err(Error::File { path, source: io::Error::new(source.kind(), hint) })
        }
    }
}
