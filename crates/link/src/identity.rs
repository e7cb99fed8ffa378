//! The key pair of a host and user, kept in its state directory.

use std::fmt;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::PeerId;
use crate::state_file::{self, Privacy, StateFileError, WriteLock};

/// Name of the key file inside the state directory.
const FILE_NAME: &str = "identity.pem";

/// The key pair by which peers know this host and user.
///
/// The key is ECDSA over P-256 rather than Ed25519, because it is the one signature every TLS 1.3 implementation must have
/// (RFC 8446, section 9.1): a player on a small board whose TLS library knows no Ed25519 can still take part. Only the key is kept
/// on disk. The certificate that TLS wants around it is signed anew at each start; peers look at the key alone, and a key and a
/// certificate that do not belong together cannot exist.
pub struct Identity {
    id: PeerId,
    certificate: CertificateDer<'static>,
    key: PrivatePkcs8KeyDer<'static>,
}

/// The identity of this host and user cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file or directory cannot be used.
    #[error(transparent)]
    File(#[from] StateFileError),
    /// The key file holds something else than a key.
    #[error(
        "{} holds no private key that can be used ({reason}); restore it from a backup, or move it away to get a new identity, \
         with which every peer has to be paired again",
        .path.display()
    )]
    Corrupt {
        /// The key file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No key could be generated: the system's random source failed.
    #[error("cannot make a new key: {0}")]
    Generate(rcgen::Error),
}

impl Identity {
    /// Reads the identity from `dir`, or makes one there: directory 0700, key file `identity.pem` 0600 (PKCS #8, PEM).
    ///
    /// Processes that start at once agree on one identity.
    ///
    /// # Errors
    /// When the key file is corrupt, can be read by others, or cannot be read or written; the text says what to do. An existing
    /// file is never replaced.
    pub fn load_or_create(dir: &Path) -> Result<Self, IdentityError> {
        state_file::ensure_dir(dir)?;
        let path = dir.join(FILE_NAME);
        if let Some(identity) = Self::load(&path)? {
            return Ok(identity);
        }
        let lock = WriteLock::acquire(&path)?;
        // Another process may have made it while this one waited for the lock.
        if let Some(identity) = Self::load(&path)? {
            return Ok(identity);
        }
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(IdentityError::Generate)?;
        lock.replace(key.serialize_pem().as_bytes(), Privacy::Secret)?;
        Self::from_key(&key).map_err(IdentityError::Generate)
    }

    fn load(path: &Path) -> Result<Option<Self>, IdentityError> {
        let Some(bytes) = state_file::read(path, Privacy::Secret)? else { return Ok(None) };
        let corrupt = |reason: String| IdentityError::Corrupt { path: path.to_owned(), reason };
        let pem = std::str::from_utf8(&bytes).map_err(|_| corrupt("it is not text".to_owned()))?;
        let key = KeyPair::from_pem(pem).map_err(|error| corrupt(error.to_string()))?;
        Self::from_key(&key).map(Some).map_err(|error| corrupt(error.to_string()))
    }

    fn from_key(key: &KeyPair) -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "Audera");
        // A pinned key does not expire; a player whose battery-less clock starts in 1970 must get in, too.
        params.not_before = rcgen::date_time_ymd(1970, 1, 1);
        params.not_after = rcgen::date_time_ymd(9999, 12, 31);
        let certificate = params.self_signed(key)?;
        Ok(Self {
            id: PeerId::of_public_key(&rcgen::PublicKeyData::subject_public_key_info(key)),
            certificate: certificate.der().clone(),
            key: PrivatePkcs8KeyDer::from(key.serialize_der()),
        })
    }

    /// The id under which peers know this identity.
    pub const fn id(&self) -> PeerId {
        self.id
    }

    pub(crate) fn certificate_chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.certificate.clone()]
    }

    pub(crate) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.key.clone_key())
    }
}

impl fmt::Debug for Identity {
    /// Shows the id, never the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("id", &self.id).finish_non_exhaustive()
    }
}
