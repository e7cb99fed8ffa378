//! Error numbers, as alsa-lib and the kernel have them.

use std::{ffi::c_int, fmt, io};

/// An error number such as `ENODEV`; never nought.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(c_int);

impl Errno {
    /// Would have to wait, which was not wanted.
    pub const AGAIN: Self = Self(libc::EAGAIN);
    /// Not in the state for it.
    pub const BADFD: Self = Self(libc::EBADFD);
    /// Somebody else has it.
    pub const BUSY: Self = Self(libc::EBUSY);
    /// Not acceptable.
    pub const INVAL: Self = Self(libc::EINVAL);
    /// Failed for a reason that has no number.
    pub const IO: Self = Self(libc::EIO);
    /// The device is gone.
    pub const NODEV: Self = Self(libc::ENODEV);
    /// Out of memory, or of room for an answer.
    pub const NOMEM: Self = Self(libc::ENOMEM);
    /// There is none of that name.
    pub const NOENT: Self = Self(libc::ENOENT);
    /// There is no such function.
    pub const NOSYS: Self = Self(libc::ENOSYS);
    /// There is nothing of the kind.
    pub const NXIO: Self = Self(libc::ENXIO);
    /// Not permitted.
    pub const PERM: Self = Self(libc::EPERM);
    /// Ran dry, or over.
    pub const PIPE: Self = Self(libc::EPIPE);
    /// The machine was suspended meanwhile.
    pub const STRPIPE: Self = Self(libc::ESTRPIPE);

    /// The error of this number, of either sign; nought, which is none, becomes [`IO`](Self::IO).
    #[must_use]
    pub const fn new(number: c_int) -> Self {
        match number.checked_abs() {
            None | Some(0) => Self::IO,
            Some(number) => Self(number),
        }
    }

    /// Its number, above nought.
    #[must_use]
    pub const fn number(self) -> c_int {
        self.0
    }

    /// As functions of alsa-lib return it.
    pub(crate) const fn negative(self) -> c_int {
        -self.0
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Errno({}: {self})", self.0)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        io::Error::from_raw_os_error(self.0).fmt(formatter)
    }
}

impl std::error::Error for Errno {}

impl From<io::Error> for Errno {
    fn from(error: io::Error) -> Self {
        error.raw_os_error().map_or(Self::IO, Self::new)
    }
}
