//! A terminal to type in and to read: tmux, without anybody's configuration.

use std::process::Command;

use crate::{Error, Process, Session};

/// Columns and rows.
const SIZE: [&str; 4] = ["-x", "100", "-y", "30"];

/// A terminal of 100 columns and 30 rows in a session, which ends with it, and with the test however that ends.
#[derive(Debug)]
pub struct Terminal<'a> {
    session: &'a Session,
    _server: Process,
}

impl<'a> Terminal<'a> {
    /// Runs a command line in it.
    ///
    /// # Errors
    /// tmux cannot be run, or does not become ready.
    pub fn start(session: &'a Session, line: &str) -> Result<Self, Error> {
        let mut server = tmux(session);
        // Not in the background, where it would outlive a test that is broken off.
        server.arg("-D");
        let terminal = Terminal { session, _server: session.spawn(server)? };
        let started = || {
            let mut start = terminal.client();
            start.args(["new-session", "-d"]).args(SIZE).arg(line);
            start.output().ok()?.status.success().then_some(())
        };
        session.poll("tmux", started)?;
        Ok(terminal)
    }

    /// Presses keys, by tmux's names: `Up`, `q`, `C-c`.
    #[track_caller]
    pub fn press(&self, keys: &[&str]) {
        let pressed = self.client().arg("send-keys").args(keys).status();
        assert!(pressed.is_ok_and(|status| status.success()), "{keys:?}");
    }

    /// What is on the screen; with `-e` also its colours.
    #[must_use]
    pub fn screen(&self, options: &[&str]) -> String {
        let screen = self.client().args(["capture-pane", "-p"]).args(options).output();
        screen.map_or_else(|error| error.to_string(), |screen| String::from_utf8_lossy(&screen.stdout).into_owned())
    }

    /// Waits until the screen is as wanted, and gives it.
    #[track_caller]
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let mut screen = String::new();
        let found = self.session.poll(what, || {
            screen = self.screen(&[]);
            wanted(&screen).then_some(())
        });
        assert!(found.is_ok(), "{what} is not to be seen:\n{screen}");
        screen
    }

    /// Whether the alternate screen is in use, and the cursor is hidden.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        let asked = self.client().args(["display-message", "-p", "#{alternate_on} #{cursor_flag}"]).output();
        asked.is_ok_and(|answer| String::from_utf8_lossy(&answer.stdout).trim() == "1 0")
    }

    /// Makes it as wide and high as this.
    #[track_caller]
    pub fn resize(&self, columns: u32, rows: u32) {
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let resized = self.client().args(["resize-window", "-x", &columns, "-y", &rows]).status();
        assert!(resized.is_ok_and(|status| status.success()));
    }

    /// One that speaks with the server there is. By itself it would start another one in the background, which nobody ends.
    fn client(&self) -> Command {
        let mut command = tmux(self.session);
        command.arg("-N");
        command
    }
}

fn tmux(session: &Session) -> Command {
    let mut command = session.command("tmux");
    command.arg("-u").arg("-f").arg("/dev/null").arg("-S").arg(session.dir().join("tmux"));
    command.env("LANG", "C.UTF-8").env("SHELL", "/bin/sh").env_remove("TMUX").env_remove("NO_COLOR");
    command
}
