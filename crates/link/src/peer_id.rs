//! The public name of an identity: the SHA-256 of its public key.

use std::fmt;
use std::str::FromStr;

/// SHA-256 over the DER form of a public key (X.509 `SubjectPublicKeyInfo`).
///
/// Written as 64 lower-case hexadecimal digits. It survives a renewed certificate, because only the key counts.
/// `openssl pkey -in identity.pem -pubout -outform DER | sha256sum` prints the same digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId([u8; 32]);

impl PeerId {
    /// The id of the key whose `SubjectPublicKeyInfo` is `spki` (DER).
    pub fn of_public_key(spki: &[u8]) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, spki);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        Self(bytes)
    }

    /// The digest itself.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first 8 hexadecimal digits: enough to tell boxes apart in a log line, never enough to trust one.
    pub fn short(&self) -> String {
        let mut text = self.to_string();
        text.truncate(8);
        text
    }
}

impl From<[u8; 32]> for PeerId {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({self})")
    }
}

/// A text is not the id of a peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a peer's id: 64 lower-case hexadecimal digits are accepted")]
pub struct ParsePeerIdError(String);

impl FromStr for PeerId {
    type Err = ParsePeerIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || ParsePeerIdError(text.chars().take(80).collect());
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(refused());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = hex_digit(pair[0]).ok_or_else(refused)? << 4 | hex_digit(pair[1]).ok_or_else(refused)?;
        }
        Ok(Self(bytes))
    }
}

/// One spelling only, so that ids may be compared as text wherever a person or a script does so.
fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_sha256_of_the_key() {
        // The digest of the empty string is in FIPS 180-4's example values.
        let id = PeerId::of_public_key(b"");
        assert_eq!(id.to_string(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(id.short(), "e3b0c442");
    }

    #[test]
    fn text_returns_the_same_id() {
        let id = PeerId::from(std::array::from_fn(|i| (i * 37) as u8));
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn other_texts_are_refused_with_what_is_accepted() {
        let good = "0".repeat(64);
        for bad in ["", "00", &good[..63], &format!("{good}0"), &"G".repeat(64), &"A".repeat(64), &"é".repeat(32)] {
            let error = bad.parse::<PeerId>().expect_err(bad);
            assert!(error.to_string().contains("64 lower-case hexadecimal digits"), "{error}");
        }
    }
}
