//! Credentials. They have no Display, and their Debug shows no secret.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::error::{Error, Result};

/// What a registry is shown.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A user's name and password, or a token in the password's place.
    Password {
        /// The user's name.
        user: String,
        /// The secret.
        password: String,
    },
    /// An OAuth2 refresh token, which is exchanged for access tokens.
    IdentityToken(String),
}

impl Credential {
    /// Parses `user:password` as `--creds` takes it.
    ///
    /// # Errors
    /// [`Error::Argument`] if there is no colon or no user.
    pub fn parse(text: &str) -> Result<Self> {
        match text.split_once(':') {
            Some((user, password)) if !user.is_empty() => {
                Ok(Self::Password { user: user.to_owned(), password: password.to_owned() })
            }
            _ => Err(Error::Argument { option: "--creds", reason: "not user:password".into() }),
        }
    }

    /// The value of an `Authorization: Basic` header; `None` for a token.
    pub(super) fn basic(&self) -> Option<String> {
        match self {
            Self::Password { user, password } => {
                Some(format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}"))))
            }
            Self::IdentityToken(_) => None,
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { user, .. } => write!(f, "Password({user}, …)"),
            Self::IdentityToken(_) => f.write_str("IdentityToken(…)"),
        }
    }
}
