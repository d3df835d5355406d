//! The crate's errors: what is wrong, and where in the profile.

/// Why a profile has no program, or bytes are no filter.
///
/// `path` is a place inside `linux.seccomp` of config.json, such as `syscalls[3].args[0].index`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// SCMP_ACT_NOTIFY as default: the call that hands the listener over would itself wait.
    #[error("linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be used as default action")]
    NotifyDefault,
    /// SCMP_ACT_NOTIFY for write, which hands the listener over.
    #[error("linux.seccomp.{path}: SCMP_ACT_NOTIFY cannot be used for the write syscall")]
    NotifyWrite {
        /// The rule's name entry.
        path: String,
    },
    /// A return code on an action that returns none.
    #[error("linux.seccomp.{path}: {action} takes no return code, but {value} is given")]
    UnusedErrno {
        /// The field with the return code.
        path: String,
        /// The action beside it.
        action: String,
        /// The return code.
        value: u32,
    },
    /// A return code that the kernel would cut.
    #[error("linux.seccomp.{path}: return code {value} is over {most}")]
    LargeErrno {
        /// The field with the return code.
        path: String,
        /// The return code.
        value: u32,
        /// The largest of the action beside it.
        most: u32,
    },
    /// A rule for no system call.
    #[error("linux.seccomp.{path}: must not be empty")]
    NoNames {
        /// The list of names.
        path: String,
    },
    /// An empty system call name.
    #[error("linux.seccomp.{path}: empty string is not a valid syscall")]
    EmptyName {
        /// The name entry.
        path: String,
    },
    /// An argument index over 5.
    #[error("linux.seccomp.{path}: a system call has the arguments 0 to 5, not {value}")]
    ArgumentIndex {
        /// The index field.
        path: String,
        /// The index.
        value: usize,
    },
    /// An architecture that there is no table for.
    #[error("linux.seccomp.{path}: architecture {name} is not supported")]
    UnknownArchitecture {
        /// The architecture entry.
        path: String,
        /// The architecture's name.
        name: String,
    },
    /// An architecture that a kernel of the native one never runs, having the other byte order.
    #[error("linux.seccomp.{path}: architecture {name} has not the byte order of {native}")]
    ByteOrder {
        /// The architecture entry.
        path: String,
        /// The architecture's name.
        name: &'static str,
        /// The native architecture's name.
        native: &'static str,
    },
    /// Two rules ask the same of a system call and answer differently.
    #[error(
        "linux.seccomp.syscalls[{second}]: conflicts with syscalls[{first}] for number {number} of \
         {architecture}: the same conditions, but another action"
    )]
    Conflict {
        /// Index of the earlier entry in `syscalls`.
        first: usize,
        /// Index of the later entry in `syscalls`.
        second: usize,
        /// The system call number.
        number: u32,
        /// The architecture's name.
        architecture: &'static str,
    },
    /// The program is longer than the kernel takes.
    #[error("linux.seccomp: the profile needs {instructions} instructions, the kernel takes 4096")]
    TooLong {
        /// Length of the program in instructions.
        instructions: usize,
    },
    /// Several of these at once.
    #[error("{}", .0.iter().map(Error::to_string).collect::<Vec<_>>().join("; "))]
    Many(Vec<Error>),
    /// Bytes that are not of [`crate::Encoded::bytes`].
    #[error("seccomp: {length} bytes are no stored filter: {reason}")]
    Encoding {
        /// Length of the input in bytes.
        length: usize,
        /// What does not fit.
        reason: &'static str,
    },
}

impl Error {
    /// The errors as one, if there are any; those that are several are taken apart.
    pub(crate) fn all(errors: Vec<Error>) -> Result<(), Error> {
        let mut flat = Vec::new();
        for error in errors {
            match error {
                Error::Many(several) => flat.extend(several),
                // Once is enough for two rules, whatever number of system calls they share.
                error if flat.iter().any(|known| known.is_same_clash(&error)) => {}
                error => flat.push(error),
            }
        }
        match flat.len() {
            0 => Ok(()),
            1 => Err(flat.remove(0)),
            _ => Err(Error::Many(flat)),
        }
    }

    fn is_same_clash(&self, other: &Error) -> bool {
        let clash = |error: &Error| match error {
            Error::Conflict { first, second, .. } => Some((*first, *second)),
            _ => None,
        };
        clash(self).is_some() && clash(self) == clash(other)
    }

    /// The place inside `linux.seccomp`; none for the profile as a whole.
    pub fn path(&self) -> Option<String> {
        match self {
            Error::NotifyDefault => Some("defaultAction".to_owned()),
            Error::NotifyWrite { path }
            | Error::UnusedErrno { path, .. }
            | Error::LargeErrno { path, .. }
            | Error::NoNames { path }
            | Error::EmptyName { path }
            | Error::ArgumentIndex { path, .. }
            | Error::UnknownArchitecture { path, .. }
            | Error::ByteOrder { path, .. } => Some(path.clone()),
            Error::Conflict { second, .. } => Some(format!("syscalls[{second}]")),
            Error::TooLong { .. } | Error::Many(_) | Error::Encoding { .. } => None,
        }
    }
}
