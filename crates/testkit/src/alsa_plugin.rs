//! Audera's ALSA plugin in a session: programs of it open `audera` as on a machine where it is installed.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
};

use crate::{Error, Session, built};

/// What is installed for alsa-lib to read.
const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../alsa-pcm-plugin/50-audera.conf");

impl Session {
    /// Has programs of the session that start from now on open `audera` PCMs and mixers: with the plugin as it was built, and
    /// by the configuration that is shipped.
    ///
    /// # Errors
    /// When the plugin has not been built, or a file cannot be written.
    pub fn alsa_plugin(&self) -> Result<(), Error> {
        let library = built::find("libasound_module_pcm_audera.so")?;
        let shipped = fs::canonicalize(SHIPPED).map_err(|source| file_error(Path::new(SHIPPED), source))?;
        let (library, shipped) = (library.display(), shipped.display());
        self.alsa_definitions(&format!(
            "pcm_type.audera {{ lib \"{library}\" }}\nctl_type.audera {{ lib \"{library}\" }}\n<{shipped}>\n"
        ))
    }

    /// Adds to what alsa-lib reads in the session, in the words of `asoundrc`. Holds for programs that start from now on.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn alsa_definitions(&self, text: &str) -> Result<(), Error> {
        let path = self.config_dir().join("alsa").join("asoundrc");
        let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| {
            let mut file = File::options().create(true).append(true).open(&path)?;
            file.write_all(text.as_bytes())
        });
        written.map_err(|source| file_error(&path, source))
    }
}

fn file_error(path: &Path, source: std::io::Error) -> Error {
    Error::File { path: path.to_owned(), source }
}
