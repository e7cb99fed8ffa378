//! A terminal to type in and to read: tmux, without anybody's configuration.

use audera_testkit::{Process, Session};

/// Columns and rows.
const SIZE: [&str; 4] = ["-x", "100", "-y", "30"];

/// A terminal of 100 columns and 30 rows in a session.
pub struct Terminal<'a> {
    session: &'a Session,
    _server: Process,
}

impl<'a> Terminal<'a> {
    /// Runs a command line in it.
    pub fn start(session: &'a Session, line: &str) -> Self {
        let mut server = tmux(session);
        let server = session.spawn({
            // Not in the background: it ends with the test.
            server.arg("-D");
            server
        });
        let terminal = Terminal { session, _server: server.unwrap() };
        let started = || {
            let mut start = tmux(session);
            start.args(["new-session", "-d"]).args(SIZE).arg(line);
            start.output().unwrap().status.success().then_some(())
        };
        session.poll("tmux", started).unwrap();
        terminal
    }

    /// Presses keys, by tmux's names: `Up`, `q`, `C-c`.
    pub fn press(&self, keys: &[&str]) {
        let mut send = tmux(self.session);
        assert!(send.arg("send-keys").args(keys).status().unwrap().success(), "{keys:?}");
    }

    /// What is on the screen; with `-e` also its colours.
    pub fn screen(&self, options: &[&str]) -> String {
        let mut capture = tmux(self.session);
        let output = capture.args(["capture-pane", "-p"]).args(options).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
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
    pub fn is_taken(&self) -> bool {
        let mut ask = tmux(self.session);
        let output = ask.args(["display-message", "-p", "#{alternate_on} #{cursor_flag}"]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim() == "1 0"
    }

    /// Makes it as wide and high as this.
    pub fn resize(&self, columns: u32, rows: u32) {
        let mut resize = tmux(self.session);
        let (columns, rows) = (columns.to_string(), rows.to_string());
        assert!(resize.args(["resize-window", "-x", &columns, "-y", &rows]).status().unwrap().success());
    }
}

fn tmux(session: &Session) -> std::process::Command {
    let mut command = session.command("tmux");
    command.arg("-u").arg("-f").arg("/dev/null").arg("-S").arg(session.dir().join("tmux"));
    command.env("LANG", "C.UTF-8").env("SHELL", "/bin/sh").env_remove("TMUX").env_remove("NO_COLOR");
    command
}
