//! What a case is: a named function, where it can run, and which runtimes must pass it.

use std::fmt;

use crate::env::Env;

/// Why a case did not hold; its text is all that the report shows.
#[derive(Debug)]
pub struct Failure(pub String);

/// What a case returns.
pub type Outcome = Result<(), Failure>;

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// Fail the case with a formatted text unless the condition holds.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {{
        let held: bool = $condition;
        if !held {
            return Err($crate::case::Failure(format!($($text)+)));
        }
    }};
}

/// Fail the case unless both values are equal; the text says what was compared.
#[macro_export]
macro_rules! ensure_eq {
    ($found:expr, $wanted:expr, $($text:tt)+) => {
        match (&$found, &$wanted) {
            (found, wanted) if found != wanted => {
                let what = format!($($text)+);
                return Err($crate::case::Failure(format!("{what}: {found:?}, wanted {wanted:?}")));
            }
            _ => {}
        }
    };
}

/// A runtime under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// This project's runtime, for which every case holds.
    Ghost,
    /// Debian's runc: the check of the cases themselves.
    Runc,
    /// Debian's crun, in a cgroup v2 view.
    Crun,
}

/// What a case needs from the machine beyond root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// cgroup v1 hierarchies (hybrid).
    V1,
    /// A pure cgroup v2 view.
    V2,
    /// cgroup v2 with the memory, cpu and pids controllers.
    V2Controllers,
    /// Memory, cpu and pids controllers on either version.
    Controllers,
    /// A machine that is not emulated. It counts as a view, so that what needs it is no skip of the
    /// VM: for engines, long comparisons with runc, tools of the shell and counts of system calls,
    /// none of which depends on what only the VM has. What proves a field of the runtime-spec must
    /// not need it.
    Native,
    /// AppArmor enabled in the kernel.
    AppArmor,
    /// Not enabled.
    NoAppArmor,
    /// systemd as process 1, with cgroup v2. A runner of such cases alone stays in the machine's pid
    /// namespace: systemd is told numbers of processes.
    Systemd,
    /// CAP_SYS_RESOURCE in the runner.
    SysResource,
    /// A kernel that divides real-time among the groups of the v1 cpu controller.
    RealTimeGroups,
    /// A kernel that has time namespaces.
    TimeNamespace,
    /// Real-time scheduling: CAP_SYS_NICE, and cgroups that have real-time bandwidth.
    Realtime,
    /// A cpuset controller.
    Cpuset,
    /// So many CPUs, numbered from 0.
    Cpus(u32),
    /// A kernel with memory policies.
    Numa,
    /// SELinux with a loaded policy.
    Selinux,
    /// None.
    NoSelinux,
    /// A mounted resctrl file system.
    Resctrl,
    /// None.
    NoResctrl,
    /// A criu that works with this kernel: Debian 12's is too old for Linux 6.18, and works in the VM.
    Criu,
    /// A command of this name on the PATH.
    Command(&'static str),
}

impl Need {
    /// Is this a matter of the view, of which the test run has several (the VM's among them), and
    /// not of the machine? A case of another view is left out, not skipped.
    pub fn is_view(self) -> bool {
        matches!(
            self,
            Self::Native
                | Self::V1
                | Self::V2
                | Self::V2Controllers
                | Self::Controllers
                | Self::Cpuset
                | Self::AppArmor
                | Self::NoAppArmor
                | Self::Systemd
                | Self::Criu
        )
    }
}

/// One case.
#[derive(Clone, Copy)]
pub struct Case {
    /// `area/behaviour`.
    pub name: &'static str,
    /// The body.
    pub run: fn(&mut Env) -> Outcome,
    /// What the machine must have.
    pub needs: &'static [Need],
    /// Runtimes of which this is known not to hold, with the reason.
    pub not_on: &'static [(Peer, &'static str)],
}

impl Case {
    /// A case that every runtime passes everywhere.
    pub const fn new(name: &'static str, run: fn(&mut Env) -> Outcome) -> Self {
        Self { name, run, needs: &[], not_on: &[] }
    }

    /// The same case, with what it needs from the machine.
    pub const fn needs(self, needs: &'static [Need]) -> Self {
        Self { needs, ..self }
    }

    /// The same case, left out for these runtimes.
    pub const fn not_on(self, not_on: &'static [(Peer, &'static str)]) -> Self {
        Self { not_on, ..self }
    }

    /// Why this case does not hold for `peer`, if so.
    pub fn left_out(&self, peer: Peer) -> Option<&'static str> {
        self.not_on.iter().find(|(name, _)| *name == peer).map(|(_, reason)| *reason)
    }
}
