//! Password hashes in RabbitMQ's forms, so that definitions move either way.
//!
//! RabbitMQ's hashes are four octets of salt followed by a digest of salt and password, written as base64; SHA-256 is
//! what it makes unless told otherwise, MD5 is what it made before 3.6. LavinMQ's bcrypt is a text of its own.
//! Invariants: comparing takes the same time wherever two hashes differ; neither `Debug` nor an error shows a hash; what
//! a bcrypt hash may cost is bounded. Deliberately absent: making MD5 and bcrypt hashes.

use super::base64;
use md5::Md5;
use sha2::{Digest, Sha256, Sha512};
use std::fmt;
use std::hint::black_box;

const SALT: usize = 4;

/// Highest cost of a bcrypt hash: each step doubles the time a login takes, and 12 is a quarter of a second.
const COST_MAX: u32 = 12;

/// Length of a bcrypt hash as text.
const BCRYPT: usize = 60;

/// The system could not give the random octets of a salt.
#[derive(Debug, thiserror::Error)]
#[error("no random octets for a password's salt: {0}")]
pub struct RandomError(getrandom::Error);

/// Why the text of a hash cannot be used. It does not quote the hash.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusableHash {
    /// There is no such algorithm, or RabbitMQ would have to load it as a plugin.
    #[error("unknown password hashing algorithm '{0}'")]
    Algorithm(String),
    /// It is not base64.
    #[error("password_hash is not base64")]
    Encoding,
    /// It is of another length than the algorithm's.
    #[error("password_hash has {found} octets, {algorithm} makes {expected}")]
    Length {
        /// The algorithm's name.
        algorithm: &'static str,
        /// Octets of salt and digest.
        expected: usize,
        /// Octets found.
        found: usize,
    },
    /// It is no hash that bcrypt makes.
    #[error("password_hash is not a bcrypt hash of a cost of 4 to {max}", max = COST_MAX)]
    Bcrypt,
}

/// How a password is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RabbitMQ's default.
    Sha256,
    /// The other one RabbitMQ can be told to use.
    Sha512,
    /// RabbitMQ's before 3.6.
    Md5,
    /// LavinMQ's.
    Bcrypt,
}

impl Algorithm {
    const ALL: [Self; 4] = [Self::Sha256, Self::Sha512, Self::Md5, Self::Bcrypt];

    /// The name in definitions.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "rabbit_password_hashing_sha256",
            Self::Sha512 => "rabbit_password_hashing_sha512",
            Self::Md5 => "rabbit_password_hashing_md5",
            Self::Bcrypt => "bcrypt",
        }
    }

    /// The algorithm of that name.
    pub fn named(name: &str) -> Result<Self, UnusableHash> {
        let named = Self::ALL.into_iter().find(|known| known.name().eq_ignore_ascii_case(name));
        named.ok_or_else(|| UnusableHash::Algorithm(name.to_owned()))
    }

    /// The digest of salt and password; bcrypt has another form.
    fn digest(self, salt: [u8; SALT], password: &[u8]) -> Vec<u8> {
        fn of<D: Digest>(salt: [u8; SALT], password: &[u8]) -> Vec<u8> {
            D::new().chain_update(salt).chain_update(password).finalize().to_vec()
        }
        match self {
            Self::Sha256 => of::<Sha256>(salt, password),
            Self::Sha512 => of::<Sha512>(salt, password),
            Self::Md5 => of::<Md5>(salt, password),
            Self::Bcrypt => Vec::new(),
        }
    }

    /// Octets of the digest.
    fn length(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
            Self::Md5 => 16,
            Self::Bcrypt => 0,
        }
    }
}

#[derive(Clone, PartialEq, Eq)]
enum Form {
    Salted { salt: [u8; SALT], digest: Box<[u8]> },
    Text(Box<str>),
}

/// The hash of a password, with what is needed to compare with it.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    algorithm: Algorithm,
    form: Form,
}

impl PasswordHash {
    /// Hashes a password with a fresh salt, by SHA-256.
    pub fn of(password: &[u8]) -> Result<Self, RandomError> {
        Self::salted(Algorithm::Sha256, password)
    }

    /// Hashes a password with a fresh salt, by SHA-512.
    pub fn of_sha512(password: &[u8]) -> Result<Self, RandomError> {
        Self::salted(Algorithm::Sha512, password)
    }

    fn salted(algorithm: Algorithm, password: &[u8]) -> Result<Self, RandomError> {
        let mut salt = [0; SALT];
        getrandom::fill(&mut salt).map_err(RandomError)?;
        let digest = algorithm.digest(salt, password).into();
        Ok(Self { algorithm, form: Form::Salted { salt, digest } })
    }

    /// Whether this is the hash of `password`, in time that depends on the length of the password only.
    pub fn matches(&self, password: &[u8]) -> bool {
        match &self.form {
            Form::Salted { salt, digest } => {
                let given = self.algorithm.digest(*salt, password);
                let differences = given.iter().zip(digest).fold(0, |all, (a, b)| black_box(all | (a ^ b)));
                given.len() == digest.len() && differences == 0
            }
            // Compares in constant time by itself.
            Form::Text(text) => bcrypt::verify(password, text).unwrap_or(false),
        }
    }

    /// Whether comparing takes milliseconds, as is the purpose of bcrypt.
    pub fn is_slow(&self) -> bool {
        self.algorithm == Algorithm::Bcrypt
    }

    /// How it was made, as RabbitMQ's definitions hold it as `hashing_algorithm`.
    pub fn algorithm_name(&self) -> &'static str {
        self.algorithm.name()
    }

    /// The text RabbitMQ's definitions hold as `password_hash`; a bcrypt hash is a text already.
    pub fn to_base64(&self) -> String {
        match &self.form {
            Form::Salted { salt, digest } => base64::encode(&[&salt[..], digest].concat()),
            Form::Text(text) => text.to_string(),
        }
    }

    /// Reads `password_hash` and `hashing_algorithm` of a definitions file; `None` for the empty text, by which nobody
    /// can log in.
    pub fn from_export(text: &str, algorithm_name: &str) -> Result<Option<Self>, UnusableHash> {
        let algorithm = Algorithm::named(algorithm_name)?;
        if text.is_empty() {
            return Ok(None);
        }
        if algorithm == Algorithm::Bcrypt {
            return Self::from_bcrypt(text).map(Some).ok_or(UnusableHash::Bcrypt);
        }
        let octets = base64::decode(text).ok_or(UnusableHash::Encoding)?;
        let expected = SALT.saturating_add(algorithm.length());
        let wrong = || UnusableHash::Length { algorithm: algorithm.name(), expected, found: octets.len() };
        let (salt, digest) = octets.split_first_chunk::<SALT>().ok_or_else(wrong)?;
        if digest.len() != algorithm.length() {
            return Err(wrong());
        }
        Ok(Some(Self { algorithm, form: Form::Salted { salt: *salt, digest: digest.into() } }))
    }

    /// The name of the algorithm that makes hashes as long as this text, SHA-256 if none does. Tools whose servers were
    /// told to use another one leave `hashing_algorithm` out.
    pub fn algorithm_by_length(text: &str) -> &'static str {
        let octets = base64::decode(text).map_or(0, |octets| octets.len());
        let salted = [Algorithm::Sha512, Algorithm::Md5];
        let found = salted.into_iter().find(|algorithm| octets == SALT.saturating_add(algorithm.length()));
        found.unwrap_or(Algorithm::Sha256).name()
    }

    /// A bcrypt hash, which some write as base64 like all others.
    fn from_bcrypt(text: &str) -> Option<Self> {
        let decoded = base64::decode(text).and_then(|octets| String::from_utf8(octets).ok());
        let text = decoded.as_deref().unwrap_or(text);
        let parts: bcrypt::HashParts = text.parse().ok().filter(|_| text.len() == BCRYPT)?;
        let bounded = (4..=COST_MAX).contains(&parts.get_cost());
        bounded.then(|| Self { algorithm: Algorithm::Bcrypt, form: Form::Text(text.into()) })
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hash]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA256: &str = "rabbit_password_hashing_sha256";

    fn read(text: &str, algorithm: &str) -> PasswordHash {
        PasswordHash::from_export(text, algorithm).unwrap().expect("a hash")
    }

    #[test]
    fn agrees_with_rabbitmqs_documentation() {
        // The worked example of RabbitMQ's page on passwords: salt 908DC60A, password test12.
        let hash = read("kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR", SHA256);
        assert!(matches!(hash.form, Form::Salted { salt: [0x90, 0x8d, 0xc6, 0x0a], .. }));
        assert!(hash.matches(b"test12"));
        assert!(!hash.matches(b"test13") && !hash.matches(b"") && !hash.matches(b"test12\0"));
    }

    #[test]
    fn one_password_has_many_hashes() {
        for make in [PasswordHash::of, PasswordHash::of_sha512] {
            let (one, two) = (make(b"secret").unwrap(), make(b"secret").unwrap());
            assert!(one.matches(b"secret") && two.matches(b"secret") && !one.matches(b"Secret"));
            assert_eq!(read(&one.to_base64(), one.algorithm_name()), one);
            assert_eq!(format!("{one:?}"), "[hash]");
            // Equal salts happen once in four billion runs.
            assert_ne!(one, two);
        }
    }

    #[test]
    fn older_and_foreign_hashes_are_read() {
        // The octets 1 to 4 and their MD5 with "secret" behind them, by another program.
        let md5 = read("AQIDBDgk9ci8Lfh6CKE9Y0AUfmU=", "rabbit_password_hashing_md5");
        assert!(md5.matches(b"secret") && !md5.matches(b"Secret"));
        let crypted = bcrypt::hash("secret", 4).unwrap();
        for text in [crypted.clone(), base64::encode(crypted.as_bytes())] {
            let hash = read(&text, "Bcrypt");
            assert!(hash.matches(b"secret") && !hash.matches(b"Secret") && !hash.matches(b""));
            assert_eq!((hash.to_base64(), hash.algorithm_name()), (crypted.clone(), "bcrypt"));
        }
    }

    #[test]
    fn an_empty_text_is_no_password_and_others_must_be_hashes() {
        assert_eq!(PasswordHash::from_export("", SHA256), Ok(None));
        let whole = PasswordHash::of(b"x").unwrap().to_base64();
        let length = |found| UnusableHash::Length { algorithm: SHA256, expected: 36, found };
        for (text, algorithm, wrong) in [
            ("AAAA", SHA256, length(3)),
            ("kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2PORAAAA", SHA256, length(39)),
            ("not base64", SHA256, UnusableHash::Encoding),
            (&whole, "md4", UnusableHash::Algorithm("md4".to_owned())),
            ("", "md4", UnusableHash::Algorithm("md4".to_owned())),
            (&whole, "bcrypt", UnusableHash::Bcrypt),
            // It would take days.
            ("$2y$31$eImiTXuWVxfM37uY4JANjQ1q5mOYkEv7yK8XHvgAHY5E/JOYF6oVS", "bcrypt", UnusableHash::Bcrypt),
        ] {
            assert_eq!(PasswordHash::from_export(text, algorithm), Err(wrong), "{text}");
        }
        assert!(!UnusableHash::Bcrypt.to_string().contains("$2"));
    }
}
