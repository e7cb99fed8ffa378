//! The errors with names of our own, for those who answer and those who ask.

use zbus::DBusError;

/// Why it was not done, and what to do. See docs/dbus.md for when each comes.
#[derive(Debug, Clone, PartialEq, DBusError)]
#[zbus(prefix = "org.audera.Error", impl_display = false)]
pub enum Error {
    /// The bus, or an error of D-Bus itself.
    #[zbus(error)]
    Bus(zbus::Error),
    /// The value is not accepted.
    InvalidValue(String),
    /// There is no such room, group or input.
    NotFound(String),
    /// The room does not trust this user and host.
    NotPaired(String),
    /// The room is not there, or does not answer.
    Unreachable(String),
    /// Not by this one, or not by this object.
    NotSupported(String),
    /// Too much waits to be answered.
    Busy(String),
    /// The system does not let it be done.
    Failed(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bus(error) => error.fmt(formatter),
            Self::InvalidValue(text)
            | Self::NotFound(text)
            | Self::NotPaired(text)
            | Self::Unreachable(text)
            | Self::NotSupported(text)
            | Self::Busy(text)
            | Self::Failed(text) => formatter.write_str(text),
        }
    }
}

impl From<zbus::fdo::Error> for Error {
    fn from(error: zbus::fdo::Error) -> Self {
        match error {
            // What is none of D-Bus's own errors, ours for example.
            zbus::fdo::Error::ZBus(error) => Self::from(error),
            other => Self::Bus(zbus::Error::FDO(Box::new(other))),
        }
    }
}

impl From<zbus::zvariant::Error> for Error {
    fn from(error: zbus::zvariant::Error) -> Self {
        Self::Bus(zbus::Error::Variant(error))
    }
}
