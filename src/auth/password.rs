//! Password hashes in RabbitMQ's form, so that exported definitions move either way.
//!
//! A hash is four octets of salt followed by SHA-256 of salt and password (`rabbit_password_hashing_sha256`), written
//! as base64. Invariants: comparing takes the same time wherever two hashes differ; neither `Debug` nor an error shows
//! a hash. Deliberately absent: slow hashes, which definitions from RabbitMQ do not carry, and its MD5 and SHA-512
//! variants.

use super::base64;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};
use std::fmt;
use std::hint::black_box;

const SALT: usize = 4;
const DIGEST: usize = 32;

/// The system could not give the random octets of a salt.
#[derive(Debug, thiserror::Error)]
#[error("no random octets for a password's salt: {0}")]
pub struct RandomError(getrandom::Error);

/// Salt and digest of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    salt: [u8; SALT],
    digest: [u8; DIGEST],
}

impl PasswordHash {
    /// Hashes a password with a fresh salt.
    pub fn of(password: &[u8]) -> Result<Self, RandomError> {
        let mut salt = [0; SALT];
        getrandom::fill(&mut salt).map_err(RandomError)?;
        Ok(Self { salt, digest: digest(salt, password) })
    }

    /// Whether this is the hash of `password`, in time that depends on the length of the password only.
    pub fn matches(&self, password: &[u8]) -> bool {
        let given = digest(self.salt, password);
        let differences = given.iter().zip(&self.digest).fold(0, |all, (a, b)| black_box(all | (a ^ b)));
        differences == 0
    }

    /// The text RabbitMQ's definitions hold as `password_hash`.
    pub fn to_base64(&self) -> String {
        base64::encode(&[&self.salt[..], &self.digest[..]].concat())
    }

    /// Reads the text of [`PasswordHash::to_base64`]; `None` unless it holds 36 octets.
    pub fn from_base64(text: &str) -> Option<Self> {
        let bytes = base64::decode(text)?;
        let (salt, digest) = bytes.split_first_chunk::<SALT>()?;
        Some(Self { salt: *salt, digest: digest.try_into().ok()? })
    }
}

fn digest(salt: [u8; SALT], password: &[u8]) -> [u8; DIGEST] {
    Sha256::new().chain_update(salt).chain_update(password).finalize().into()
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hash]")
    }
}

impl Serialize for PasswordHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_base64())
    }
}

impl<'de> Deserialize<'de> for PasswordHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_base64(&text).ok_or_else(|| de::Error::custom("password_hash is not 36 octets of base64"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_rabbitmqs_documentation() {
        // The worked example of RabbitMQ's page on passwords: salt 908DC60A, password test12.
        let hash = PasswordHash::from_base64("kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR").unwrap();
        assert_eq!(hash.salt, [0x90, 0x8d, 0xc6, 0x0a]);
        assert!(hash.matches(b"test12"));
        assert!(!hash.matches(b"test13") && !hash.matches(b"") && !hash.matches(b"test12\0"));
    }

    #[test]
    fn one_password_has_many_hashes() {
        let (one, two) = (PasswordHash::of(b"secret").unwrap(), PasswordHash::of(b"secret").unwrap());
        assert!(one.matches(b"secret") && two.matches(b"secret"));
        assert_eq!(PasswordHash::from_base64(&one.to_base64()), Some(one.clone()));
        assert_eq!(format!("{one:?}"), "[hash]");
        // Equal salts happen once in four billion runs.
        assert_ne!(one, two);
    }

    #[test]
    fn a_text_of_another_length_is_no_hash() {
        for text in ["", "AAAA", "not base64", "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2PORAAAA"] {
            assert_eq!(PasswordHash::from_base64(text), None, "{text}");
        }
    }
}
