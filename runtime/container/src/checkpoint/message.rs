//! What is said to criu and by it: the parts of its `rpc.proto` that are of use here.

use super::wire::{Fields, Writer};

/// `criu_req_type`
pub(super) mod kind {
    pub const DUMP: u64 = 1;
    pub const RESTORE: u64 = 2;
    pub const PRE_DUMP: u64 = 4;
    pub const NOTIFY: u64 = 6;
    pub const FEATURE_CHECK: u64 = 9;
    pub const VERSION: u64 = 10;

    /// As runc names it in errors.
    pub fn name(kind: u64) -> &'static str {
        match kind {
            DUMP => "DUMP",
            RESTORE => "RESTORE",
            PRE_DUMP => "PRE_DUMP",
            NOTIFY => "NOTIFY",
            FEATURE_CHECK => "FEATURE_CHECK",
            VERSION => "VERSION",
            _ => "EMPTY",
        }
    }
}

/// Fields of `criu_opts`.
pub(super) mod option {
    pub const IMAGES_DIR_FD: u64 = 1;
    pub const PID: u64 = 2;
    pub const LEAVE_RUNNING: u64 = 3;
    pub const EXT_UNIX_SK: u64 = 4;
    pub const TCP_ESTABLISHED: u64 = 5;
    pub const EVASIVE_DEVICES: u64 = 6;
    pub const SHELL_JOB: u64 = 7;
    pub const FILE_LOCKS: u64 = 8;
    pub const LOG_LEVEL: u64 = 9;
    pub const LOG_FILE: u64 = 10;
    pub const PAGE_SERVER: u64 = 11;
    pub const NOTIFY_SCRIPTS: u64 = 12;
    pub const ROOT: u64 = 13;
    pub const PARENT_IMAGE: u64 = 14;
    pub const TRACK_MEMORY: u64 = 15;
    pub const AUTO_DEDUP: u64 = 16;
    pub const WORK_DIR_FD: u64 = 17;
    pub const LINK_REMAP: u64 = 18;
    pub const MANAGE_CGROUPS: u64 = 24;
    pub const CGROUP_ROOT: u64 = 25;
    pub const RESTORE_SIBLING: u64 = 26;
    pub const INHERIT_FD: u64 = 27;
    pub const MANAGE_CGROUPS_MODE: u64 = 34;
    pub const EXTERNAL: u64 = 37;
    pub const EMPTY_NS: u64 = 38;
    pub const JOIN_NS: u64 = 39;
    pub const FREEZE_CGROUP: u64 = 44;
    pub const TCP_SKIP_IN_FLIGHT: u64 = 46;
    pub const LAZY_PAGES: u64 = 48;
    pub const ORPHAN_PTS_MASTER: u64 = 50;
    pub const CONFIG_FILE: u64 = 51;
    pub const LSM_PROFILE: u64 = 53;
    pub const LSM_MOUNT_CONTEXT: u64 = 63;
}

/// Something of criu and the kernel that not every one of them has: a field of `criu_features`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Feature {
    /// Of what was written since the last dump.
    MemoryTracking = 1,
    /// Memory that is fetched when it is needed.
    LazyPages = 2,
}

impl Feature {
    /// As runc names it in errors.
    pub fn name(self) -> &'static str {
        match self {
            Feature::MemoryTracking => "MemTrack",
            Feature::LazyPages => "LazyPages",
        }
    }
}

/// Two texts: `cgroup_root`, `join_namespace`.
pub(super) fn pair(one: &str, other: &str) -> Writer {
    let mut message = Writer::default();
    message.bytes(1, one).bytes(2, other);
    message
}

/// A text and a descriptor: `inherit_fd`.
pub(super) fn named_fd(name: &str, fd: i32) -> Writer {
    let mut message = Writer::default();
    message.bytes(1, name).number(2, fd as u64);
    message
}

/// `criu_req` with options.
pub(super) fn request(kind: u64, options: &Writer) -> Writer {
    let mut message = Writer::default();
    message.number(1, kind).bytes(2, options);
    message
}

/// Asks for the version; another request follows.
pub(super) fn version_request() -> Writer {
    let mut message = Writer::default();
    message.number(1, kind::VERSION).flag(KEEP_OPEN, true);
    message
}

/// Asks for a feature; another request follows.
pub(super) fn feature_request(feature: Feature) -> Writer {
    let mut features = Writer::default();
    features.flag(feature as u64, true);
    let mut message = Writer::default();
    message.number(1, kind::FEATURE_CHECK).flag(KEEP_OPEN, true).bytes(5, features);
    message
}

const KEEP_OPEN: u64 = 4;

/// Whether criu is to go on after what it has told of.
pub(super) fn go_on(good: bool) -> Writer {
    let mut message = Writer::default();
    message.number(1, kind::NOTIFY).flag(3, good);
    message
}

/// `criu_resp`
#[derive(Debug, Clone, Copy)]
pub(super) struct Response<'a>(Fields<'a>);

impl<'a> Response<'a> {
    pub fn new(packet: &'a [u8]) -> Response<'a> {
        Response(Fields(packet))
    }

    pub fn kind(self) -> u64 {
        self.0.number(1)
    }

    pub fn success(self) -> bool {
        self.0.number(2) != 0
    }

    pub fn errno(self) -> u64 {
        self.0.number(7)
    }

    /// What has happened, and to which process.
    pub fn notification(self) -> (&'a [u8], i32) {
        let notify = Fields(self.0.bytes(5));
        (notify.bytes(1), notify.number(2) as i32)
    }

    pub fn has(self, feature: Feature) -> bool {
        Fields(self.0.bytes(8)).number(feature as u64) != 0
    }

    pub fn version(self) -> Version {
        let version = Fields(self.0.bytes(10));
        Version([version.number(1), version.number(2), version.number(4)])
    }
}

/// Of criu.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(pub [u64; 3]);

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [major, minor, sublevel] = self.0;
        write!(f, "{major}.{minor}.{sublevel}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_read() {
        let mut notify = Writer::default();
        notify.bytes(1, "post-restore").number(2, 4711);
        let mut version = Writer::default();
        version.number(1, 3).number(2, 17).bytes(3, "v3.17.1").number(4, 1);
        let mut features = Writer::default();
        features.flag(1, true).flag(2, false);
        let mut message = Writer::default();
        message.number(1, kind::NOTIFY).flag(2, true).bytes(5, notify).number(7, 17);
        message.bytes(8, features).bytes(10, version);
        let response = Response::new(message.as_ref());
        assert_eq!((response.kind(), response.success(), response.errno()), (6, true, 17));
        assert_eq!(response.notification(), (&b"post-restore"[..], 4711));
        assert!(response.has(Feature::MemoryTracking) && !response.has(Feature::LazyPages));
        assert_eq!(response.version().to_string(), "3.17.1");
        assert!(Version([3, 9, 0]) < Version([3, 17, 0]));
    }
}
