//! What can go wrong, by object. Display names the object and the step and leaves the cause to
//! `source`; `main` prints the chain on one line.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::digest::Digest;

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Every failure of imagectl. No variant ever holds a password, a token or a URL's query.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An image name that breaks the rules.
    #[error("image name '{text}': {reason}")]
    Reference {
        /// The name as given.
        text: String,
        /// The rule it breaks.
        reason: &'static str,
    },
    /// A digest that is not `sha256:` and 64 lower-case hex digits.
    #[error("digest '{text}': {reason}")]
    Digest {
        /// The digest as found.
        text: String,
        /// The rule it breaks.
        reason: &'static str,
    },
    /// An option or argument whose value makes no sense.
    #[error("{option}: {reason}")]
    Argument {
        /// The option as written on the command line.
        option: &'static str,
        /// What is wrong with its value.
        reason: String,
    },
    /// A system call or file operation failed.
    #[error("{action} {path}")]
    Io {
        /// What was being done, as in "open".
        action: &'static str,
        /// The object.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A JSON document that is not what it should be.
    #[error("{what} is not valid")]
    Json {
        /// Which document.
        what: String,
        /// Where and why, by line and column.
        #[source]
        source: serde_json::Error,
    },
    /// A well-formed document that imagectl refuses.
    #[error("{what}: {reason}")]
    Document {
        /// Which document.
        what: String,
        /// Why it is refused.
        reason: String,
    },
    /// A request that got no answer, or whose answer broke off.
    #[error("{action} {url}")]
    Http {
        /// What was being fetched.
        action: &'static str,
        /// From where, without query and credentials.
        url: String,
        /// The client's error, its URL removed.
        #[source]
        source: reqwest::Error,
    },
    /// An answer that says no.
    #[error("{action} {url}: {status}{detail}")]
    Status {
        /// What was being fetched.
        action: &'static str,
        /// From where, without query and credentials.
        url: String,
        /// The status line's code and word.
        status: reqwest::StatusCode,
        /// The registry's own words, begun by ": ", or empty.
        detail: String,
        /// How long the registry wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// An answer that breaks the protocol.
    #[error("{url}: {reason}")]
    Protocol {
        /// From where, without query and credentials.
        url: String,
        /// What the answer did.
        reason: String,
    },
    /// None of several places gave an image.
    #[error("{image} is to be had nowhere: {}; and", .earlier.join("; "))]
    Nowhere {
        /// The image's name as it was meant.
        image: String,
        /// What the places before the last said.
        earlier: Vec<String>,
        /// What the last one said.
        #[source]
        source: Box<Error>,
    },
    /// A layer that the registry has not, and need not have.
    #[error("a foreign layer, which the registry need not have; its urls are not asked")]
    Foreign {
        /// The registry's answer.
        #[source]
        source: Box<Error>,
    },
    /// The client could not be set up.
    #[error("set up the HTTP client")]
    Client {
        /// The client's error.
        #[source]
        source: reqwest::Error,
    },
    /// An auth file or credential helper that can't be used.
    #[error("credentials from {path}: {reason}")]
    Credentials {
        /// The file or program.
        path: PathBuf,
        /// What is wrong, without the secret.
        reason: String,
    },
    /// Bytes that are not the ones the digest promises.
    #[error("{what}: digest is {found}, expected {expected}")]
    WrongDigest {
        /// Which bytes.
        what: String,
        /// What the document promises.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// More or fewer bytes than the descriptor promises.
    #[error("{what}: size is {found}{}, expected {expected}", if *.more { " or more" } else { "" })]
    WrongSize {
        /// Which bytes.
        what: String,
        /// What the descriptor promises, in bytes.
        expected: u64,
        /// Bytes seen.
        found: u64,
        /// Reading stopped before the end.
        more: bool,
    },
    /// An image that the store doesn't have.
    #[error("image {name} is not in the store {store}; have {present}")]
    NoImage {
        /// The full name.
        name: String,
        /// The store's directory.
        store: PathBuf,
        /// What is there.
        present: String,
    },
    /// A failure inside one layer.
    #[error("image {image}, layer {layer}")]
    Layer {
        /// The image's full name.
        image: String,
        /// The layer's blob digest, or its diff ID where only the unpacked layer is at hand.
        layer: Digest,
        /// What failed.
        #[source]
        source: Box<Error>,
    },
    /// A failure in what images are loaded from.
    #[error("{archive}")]
    Archive {
        /// The archive or layout.
        archive: String,
        /// What failed.
        #[source]
        source: Box<Error>,
    },
    /// A failure at one archive entry.
    #[error("entry '{entry}'")]
    Entry {
        /// The entry's path, escaped.
        entry: String,
        /// What failed.
        #[source]
        source: Box<Error>,
    },
    /// An archive entry that is refused.
    #[error("{reason}")]
    Refused {
        /// Which rule it breaks.
        reason: String,
    },
    /// The archive itself can't be read.
    #[error("tar stream at byte {offset}: {reason}")]
    Tar {
        /// Offset of the header in the uncompressed stream.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
    /// A step failed whose object the error around it names.
    #[error("{action}")]
    Step {
        /// What was being done, as in "decompress gzip".
        action: &'static str,
        /// The kernel's or the decoder's error.
        #[source]
        source: io::Error,
    },
    /// The image config's user is not in the rootfs.
    #[error("user '{user}' of the image: {reason}")]
    User {
        /// As the image config writes it.
        user: String,
        /// What is missing.
        reason: String,
    },
    /// Another part of the same command failed first, or Ctrl-C came.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// For `map_err`: an I/O error on `path`.
    pub fn io<E: Into<io::Error>>(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(E) -> Self {
        move |source| Self::Io { action, path: path.into(), source: source.into() }
    }

    /// For `map_err`: an error of a step whose object the caller names.
    pub fn step<E: Into<io::Error>>(action: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Step { action, source: source.into() }
    }

    /// A refusal of an archive entry.
    pub fn refused(reason: impl Into<String>) -> Self {
        Self::Refused { reason: reason.into() }
    }

    /// May the same request succeed a little later?
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Status { status, .. } => {
                matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
            }
            Self::Http { source, .. } if source.is_connect() => may_connect_later(source),
            Self::Http { source, .. } => !source.is_builder(),
            _ => false,
        }
    }

    /// The pause that the registry asked for with its refusal.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The whole chain on one line, as `main` prints it.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut line = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            line.push_str(": ");
            line.push_str(&error.to_string());
            cause = error.source();
        }
        // Parts of it are others' words, and a terminal obeys what it is shown.
        let shown = |c: char| match c {
            '\n' | '\r' => ' ',
            c if c.is_control() => '\u{fffd}',
            c => c,
        };
        line.chars().map(shown).collect()
    }
}

/// A host that is starting, or a network that is away for a moment: worth another try. A wrong name or
/// a certificate that isn't right stays wrong.
fn may_connect_later(error: &reqwest::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable,
        TimedOut, UnexpectedEof,
    };
    if error.is_timeout() {
        return true;
    }
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return matches!(
                error.kind(),
                ConnectionAborted
                    | ConnectionRefused
                    | ConnectionReset
                    | HostUnreachable
                    | NetworkUnreachable
                    | TimedOut
                    | UnexpectedEof
            ) || error.to_string().contains("Temporary failure in name resolution");
        }
        cause = error.source();
    }
    false
}
