//! The views of control groups that the runtimes are measured in.

use crate::Failure;

/// A view of control groups.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// A mount of v2 alone.
    V2,
    /// What the machine has.
    Host,
}

impl View {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::V2, Self::Host];

    /// Its name on the command line and in the results.
    pub fn name(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::Host => "host",
        }
    }

    /// The view of this name.
    pub fn parse(name: &str) -> Result<Self, Failure> {
        let found = Self::ALL.into_iter().find(|view| view.name() == name);
        found.ok_or_else(|| format!("--view {name}: neither host nor v2").into())
    }
}
