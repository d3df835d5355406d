//! Which cases say what holds for a user without privileges too.

/// The areas that the view has.
const AREAS: &[&str] = &[
    "lifecycle",
    "formats",
    "exec",
    "process",
    "terminal",
    "hooks",
    "seccomp",
    "mounts",
    "mount-targets",
    "mount-options",
    "kernel-mounts",
    "security",
    "hardening",
];

const NETWORK: &str = "the user's containers have the host's network";
const NO_CGROUP: &str = "the user's containers have no cgroup of their own";
const LOCKED: &str = "the kernel locks the flags of the user's mounts";
const SLAVES: &str = "the kernel makes slaves of the host's mounts in the user's";
const ROOT: &str = "root is meant";
const IDS: &str = "the user may not map these ids";

/// Those of the areas that are left out.
const LEFT_OUT: &[(&str, &str)] = &[
    ("lifecycle/kill-all", NO_CGROUP),
    ("lifecycle/default-root", ROOT),
    ("formats/list-json", "the owner is root in the case"),
    ("formats/list-table", "the owner is root in the case"),
    ("formats/spec-rootless", "the ids are root's in the case"),
    ("mounts/default-table", "the user's containers have other mounts"),
    ("mounts/bind-flags", LOCKED),
    ("mount-options/of-a-bind", LOCKED),
    ("mount-options/of-a-bind-replace-its-source's", LOCKED),
    ("mount-options/recursive", LOCKED),
    ("kernel-mounts/cgroup-v1-without-a-namespace", NO_CGROUP),
    ("kernel-mounts/sysfs-of-a-joined-network", NETWORK),
    ("kernel-mounts/root-that-is-shared-with-the-host", SLAVES),
    ("mounts/propagation-of-a-mount", SLAVES),
    ("mounts/bind-from-the-mount-of-a-shared-root", SLAVES),
    ("mount-targets/over-a-shared-root", SLAVES),
    ("mounts/bind-is-not-recursive-and-rbind-is", "the kernel hides nothing from below a mount"),
    ("mounts/tmpfs-options", "the kernel shows the ids as the host has them"),
    ("mounts/sysfs-is-readonly", NETWORK),
    ("process/effective-capabilities-allow-the-exec", "the files are the user's"),
    ("process/sysctl", NETWORK),
    ("process/sysctl-with-slashes", NETWORK),
    ("process/sysctl-of-every-namespace", NETWORK),
    ("process/sysctl-without-its-namespace", "a user namespace is given in each"),
    ("exec/in-a-joined-pid-namespace", "the joined namespace is the host's"),
    ("hooks/network-made-by-a-hook", NETWORK),
    ("seccomp/notify-for-what-the-start-itself-calls", ROOT),
    ("seccomp/notify-in-a-user-namespace", IDS),
    ("security/no-zombie-or-thread-of-the-runtime-inside", "the runner makes the state root"),
    ("hardening/bind-in-a-user-namespace-keeps-the-hosts-flags", IDS),
    ("hardening/process-that-joins-ends-without-a-word", ROOT),
    ("hardening/standard-streams-are-the-users", "the streams are root's in the case"),
    ("hardening/few-descriptors-and-many-binds", "init opens all binds in a user namespace"),
];

/// Why a case is not one of the view.
pub fn left_out(name: &str) -> Option<&'static str> {
    let area = name.split('/').next().unwrap_or_default();
    if !AREAS.contains(&area) {
        return Some("not an area of the rootless view");
    }
    LEFT_OUT.iter().find(|(left_out, _)| *left_out == name).map(|(_, reason)| *reason)
}
