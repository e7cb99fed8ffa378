//! Why something was not done, as a sentence that says what to do, and what the program ends with.

use audera_dbus::Error as Refusal;
use thiserror::Error;

/// Exit codes, as docs/cli.md has them.
pub mod exit {
    /// All was done.
    pub const OK: u8 = 0;
    /// Something else went wrong.
    pub const FAILED: u8 = 1;
    /// The command line is wrong, or a value is not accepted.
    pub const USAGE: u8 = 2;
    /// The room, or `auderad`, is not there or does not answer.
    pub const UNREACHABLE: u8 = 3;
    /// The room does not trust this user and host.
    pub const NOT_PAIRED: u8 = 4;
    /// There is no such room, group, source or input.
    pub const NOT_FOUND: u8 = 5;
}

/// Why it was not done.
#[derive(Debug, Error)]
pub enum Failure {
    /// There is no session bus.
    #[error(
        "no session bus can be used ({0}): log in, over ssh or at a desktop, so that systemd starts one for you; see docs/cli.md"
    )]
    NoBus(zbus::Error),
    /// Nobody has the name, and the bus knows no program for it.
    #[error(
        "auderad is not there, and the session bus does not know how to start it: install Audera whole (make install), or start auderad"
    )]
    NotInstalled,
    /// It does not start.
    #[error("auderad does not start ({0}): journalctl --user -u auderad says why")]
    NotStarting(String),
    /// It does not answer.
    #[error(
        "auderad does not answer ({0}): systemctl --user restart auderad starts it anew; the sound does not need it"
    )]
    Silent(String),
    /// There is nothing of this name.
    #[error("{0}")]
    NotFound(String),
    /// The room, or what its player answered.
    #[error("{0}")]
    Unreachable(String),
    /// The room does not trust us.
    #[error("{0}")]
    NotPaired(String),
    /// A value is not accepted.
    #[error("{0}")]
    Usage(String),
    /// All else.
    #[error("{0}")]
    Failed(String),
    /// The output cannot be written.
    #[error("the output cannot be written: {0}")]
    Output(#[from] std::io::Error),
}

impl Failure {
    /// What the program ends with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NoBus(_) | Self::NotInstalled | Self::NotStarting(_) | Self::Silent(_) | Self::Unreachable(_) => {
                exit::UNREACHABLE
            }
            Self::NotFound(_) => exit::NOT_FOUND,
            Self::NotPaired(_) => exit::NOT_PAIRED,
            Self::Usage(_) => exit::USAGE,
            Self::Failed(_) | Self::Output(_) => exit::FAILED,
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::InvalidValue(text) => Self::Usage(text),
            Refusal::NotFound(text) => Self::NotFound(text),
            Refusal::NotPaired(text) => Self::NotPaired(text),
            Refusal::Unreachable(text) => Self::Unreachable(text),
            Refusal::NotSupported(text) | Refusal::Failed(text) => Self::Failed(text),
            Refusal::Busy(text) => Self::Failed(format!("{text}; much is being asked of auderad just now")),
            Refusal::Bus(error) => Self::from(error),
        }
    }
}

impl From<zbus::fdo::Error> for Failure {
    fn from(error: zbus::fdo::Error) -> Self {
        Self::from(Refusal::from(error))
    }
}

impl From<zbus::Error> for Failure {
    fn from(error: zbus::Error) -> Self {
        use zbus::fdo::Error as Fdo;
        let fdo = match error {
            zbus::Error::FDO(fdo) => *fdo,
            zbus::Error::MethodError(..) => Fdo::from(error),
            zbus::Error::InputOutput(error) => return Self::Silent(error.to_string()),
            other => return Self::Failed(format!("the session bus answers with an error: {other}")),
        };
        match fdo {
            Fdo::NoReply(text) | Fdo::Disconnected(text) | Fdo::Timeout(text) | Fdo::TimedOut(text) => {
                Self::Silent(text)
            }
            Fdo::ServiceUnknown(_) | Fdo::NameHasNoOwner(_) => Self::Silent("it has gone".to_owned()),
            Fdo::UnknownObject(_) => {
                Self::NotFound("the room or group has gone just now: see audera status".to_owned())
            }
            Fdo::InvalidArgs(text) => Self::Usage(text),
            Fdo::AccessDenied(text) => Self::Failed(format!("the session bus does not allow it: {text}")),
            other => Self::Failed(format!("the session bus answers with an error: {other}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_of_d_bus_has_its_exit_code() {
        let text = || "why".to_owned();
        for (refusal, code) in [
            (Refusal::InvalidValue(text()), exit::USAGE),
            (Refusal::NotFound(text()), exit::NOT_FOUND),
            (Refusal::NotPaired(text()), exit::NOT_PAIRED),
            (Refusal::Unreachable(text()), exit::UNREACHABLE),
            (Refusal::NotSupported(text()), exit::FAILED),
            (Refusal::Busy(text()), exit::FAILED),
            (zbus::fdo::Error::NoReply(text()).into(), exit::UNREACHABLE),
            (zbus::fdo::Error::ServiceUnknown(text()).into(), exit::UNREACHABLE),
        ] {
            let failure = Failure::from(refusal);
            assert_eq!(failure.exit_code(), code, "{failure}");
        }
    }
}
