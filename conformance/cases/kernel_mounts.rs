//! Mounts of the kernel's own file systems (cgroup, sysfs, mqueue), and SELinux labels of mounts.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::errors::refuses;
use super::mounts::{check_mount, mount_at, script};
use super::namespaces::mapped;
use crate::bundle::Bundle;
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

const CRUN: (Peer, &str) = (Peer::Crun, "crun 1.8.1 does it in another way");

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("kernel-mounts/cgroup-v2-with-a-namespace", v2_private).needs(&[Need::V2]),
    Case::new("kernel-mounts/cgroup-v2-without-a-namespace", v2_shared)
        .needs(&[Need::V2])
        .not_on(&[CRUN]),
    Case::new("kernel-mounts/cgroup-v2-of-a-namespace-that-is-not-ours", v2_joined)
        .needs(&[Need::V2])
        .not_on(&[CRUN]),
    Case::new("kernel-mounts/cgroup-options-that-can-not-be", cgroup_refused)
        .not_on(&[(Peer::Runc, "runc leaves them out"), CRUN]),
    Case::new("kernel-mounts/cgroup-v1-with-a-namespace", v1_private).needs(&[Need::V1]),
    Case::new("kernel-mounts/cgroup-v1-without-a-namespace", v1_shared).needs(&[Need::V1]),
    Case::new("kernel-mounts/cgroup-remounted", cgroup_remounted)
        .not_on(&[(Peer::Runc, "runc 1.1.5 remounts the file system"), CRUN]),
    Case::new("kernel-mounts/sysfs-of-a-network-that-is-not-ours", sysfs_shared)
        .not_on(&[(Peer::Runc, "runc hands on the kernel's refusal"), CRUN]),
    Case::new("kernel-mounts/sysfs-of-a-joined-network", sysfs_joined)
        .not_on(&[(Peer::Runc, "runc hands on the kernel's refusal"), CRUN]),
    Case::new("kernel-mounts/sysfs-of-the-host-has-no-options-of-its-own", sysfs_options)
        .not_on(&[(Peer::Runc, "runc hands on the kernel's refusal"), CRUN]),
    Case::new("kernel-mounts/proc-of-a-pid-namespace-that-is-not-ours", proc_shared)
        .not_on(&[(Peer::Runc, "runc hands on the kernel's refusal"), CRUN]),
    Case::new("kernel-mounts/mqueue-of-the-container", mqueue),
    Case::new("kernel-mounts/label-without-selinux", label)
        .needs(&[Need::NoSelinux])
        .not_on(&[(Peer::Crun, "crun 1.8.1 leaves the label out")]),
    Case::new("kernel-mounts/label-that-nothing-takes", label_unused).needs(&[Need::NoSelinux]),
];

/// The options of the mount at /sys/fs/cgroup.
fn cgroup_options(bundle: &mut Bundle, options: Value) -> Outcome {
    let mounts = bundle.config["mounts"].as_array_mut();
    let mount = mounts.into_iter().flatten().find(|m| m["destination"] == "/sys/fs/cgroup");
    mount.ok_or_else(|| Failure("no mount of cgroups".to_owned()))?["options"] = options;
    Ok(())
}

/// Makes the mount at a place a new file system with these options; its place in the list.
fn remake(
    bundle: &mut Bundle,
    destination: &str,
    kind: &str,
    options: &Value,
) -> Result<usize, Failure> {
    let mounts = bundle.config["mounts"].as_array_mut().into_iter().flatten().enumerate();
    let found = mounts.into_iter().find(|(_, mount)| mount["destination"] == destination);
    let (index, mount) = found.ok_or_else(|| Failure(format!("no mount at {destination}")))?;
    *mount = json!({
        "destination": destination, "type": kind, "source": kind, "options": options,
    });
    Ok(index)
}

/// The v2 group of the process.
fn own_group(report: &Value) -> Result<String, Failure> {
    let lines = report["cgroup"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let own = lines.into_iter().find_map(|line| line.strip_prefix("0::"));
    own.map(str::to_owned).ok_or_else(|| Failure("the process has no v2 group".to_owned()))
}

fn v2_private(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.namespace("cgroup", None)?;
    cgroup_options(&mut bundle, json!(["nosuid", "noexec", "nodev", "relatime", "ro"]))?;
    let report = env.probe(&mut bundle)?;
    check_mount(&report, "/sys/fs/cgroup", "cgroup2", &["ro", "nosuid", "nodev"], &[])?;
    ensure_eq!(mount_at(&report, "/sys/fs/cgroup")?["root"], "/", "root of the mount");
    ensure_eq!(own_group(&report)?, "/", "the process's group");
    let text = script(env, &mut bundle, "cat /sys/fs/cgroup/cgroup.procs; echo $$")?;
    ensure!(text.ends_with("1\n") && text.starts_with("1\n"), "processes of the root: {text}");
    Ok(())
}

fn v2_shared(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.drop_namespace("cgroup")?;
    cgroup_options(&mut bundle, json!(["nosuid", "noexec", "nodev", "ro"]))?;
    let report = env.probe(&mut bundle)?;
    check_mount(&report, "/sys/fs/cgroup", "cgroup2", &["ro", "nosuid", "nodev"], &[])?;
    let own = own_group(&report)?;
    ensure!(own.contains(&env.mark), "the process's group: {own}");
    // It sees its own group by the path it is told.
    let text = script(
        env,
        &mut bundle,
        "cat /sys/fs/cgroup$(sed -n s/^0:://p /proc/self/cgroup)/cgroup.procs | grep -c .",
    )?;
    ensure!(text.trim().parse::<u32>()? >= 1, "processes of the own group: {text}");
    Ok(())
}

fn v2_joined(env: &mut Env) -> Outcome {
    // The namespace belongs to the host's user namespace: the kernel lets nobody else mount it.
    let mut first = env.bundle_with(&["sleep", "1000"])?;
    first.namespace("cgroup", None)?;
    let id = env.detach(&first, "first", &[])?;
    let path = format!("/proc/{}/ns/cgroup", env.pid(&id)?);
    let mut bundle = mapped(env, 100_000)?;
    bundle.namespace("cgroup", Some(&path))?;
    let times = if env.is(Peer::Ghost) { "noatime" } else { "relatime" };
    cgroup_options(&mut bundle, json!(["nosuid", "noexec", "nodev", times, "ro"]))?;
    let report = env.probe(&mut bundle)?;
    check_mount(&report, "/sys/fs/cgroup", "cgroup2", &["ro", "nosuid", "nodev"], &[])?;
    let text = script(env, &mut bundle, "grep -c . /sys/fs/cgroup/cgroup.procs")?;
    ensure!(text.trim().parse::<u32>()? >= 1, "processes of the own group: {text}");
    Ok(())
}

fn cgroup_refused(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    cgroup_options(&mut bundle, json!(["ro", "nonsense=1"]))?;
    refuses(env, &bundle, &["mounts[6].options", "nonsense=1"])?;
    bundle.drop_namespace("cgroup")?;
    refuses(env, &bundle, &["mounts[6].options", "nonsense=1"])?;
    if env.shared.host.v2 {
        bundle.namespace("cgroup", None)?;
        refuses(env, &bundle, &["mounts[6].options", "nonsense=1"])?;
    }
    Ok(())
}

fn v1_private(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.namespace("cgroup", None)?;
    cgroup_options(&mut bundle, json!(["nosuid", "noexec", "nodev", "ro"]))?;
    let report = env.probe(&mut bundle)?;
    // runc 1.1.5 leaves the outermost one writable.
    let access = if env.is(Peer::Runc) { "rw" } else { "ro" };
    check_mount(&report, "/sys/fs/cgroup", "tmpfs", &[access, "nosuid"], &["mode=755"])?;
    for name in ["memory", "pids", "devices"] {
        let target = format!("/sys/fs/cgroup/{name}");
        check_mount(&report, &target, "cgroup", &["ro", "nosuid", "nodev", "noexec"], &[name])?;
        ensure_eq!(mount_at(&report, &target)?["root"], "/", "root of {target}");
    }
    let text = script(env, &mut bundle, "grep -v :/$ /proc/self/cgroup; echo end")?;
    ensure_eq!(text, "end\n", "groups that are not the namespace's root");
    Ok(())
}

fn v1_shared(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.drop_namespace("cgroup")?;
    cgroup_options(&mut bundle, json!(["nosuid", "noexec", "nodev", "rw"]))?;
    let report = env.probe(&mut bundle)?;
    check_mount(&report, "/sys/fs/cgroup", "tmpfs", &["rw", "nosuid"], &[])?;
    for name in ["memory", "pids"] {
        let mount = mount_at(&report, &format!("/sys/fs/cgroup/{name}"))?;
        let root = mount["root"].as_str().unwrap_or_default();
        ensure!(root.contains(&env.mark), "the host's groups are shown: {mount}");
    }
    // Joint controllers are found by each of their names.
    let text = script(env, &mut bundle, "ls -d /sys/fs/cgroup/cpu /sys/fs/cgroup/cpuacct")?;
    ensure_eq!(text, "/sys/fs/cgroup/cpu\n/sys/fs/cgroup/cpuacct\n", "names");
    Ok(())
}

fn cgroup_remounted(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.mount(json!({
        "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
        "options": ["remount", "nosuid", "rw"],
    }))?;
    let report = env.probe(&mut bundle)?;
    let kind = if env.shared.host.v2 { "cgroup2" } else { "tmpfs" };
    check_mount(&report, "/sys/fs/cgroup", kind, &["rw", "nosuid", "!noexec"], &[])
}

fn sysfs_shared(env: &mut Env) -> Outcome {
    let mut bundle = mapped(env, 100_000)?;
    bundle.drop_namespace("network")?;
    let report = env.probe(&mut bundle)?;
    check_mount(&report, "/sys", "sysfs", &["ro", "nosuid", "nodev", "noexec"], &[])?;
    let text = script(env, &mut bundle, "ls /sys/class/net | sort")?;
    ensure_eq!(text, names(&PathBuf::from("/sys/class/net"))?, "the host's interfaces");
    Ok(())
}

fn names(dir: &PathBuf) -> Result<String, Failure> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        names.push(entry?.file_name().to_string_lossy().into_owned() + "\n");
    }
    names.sort();
    Ok(names.concat())
}

fn sysfs_joined(env: &mut Env) -> Outcome {
    // The network belongs to the host's user namespace, sysfs would have to be the container's.
    let id = env.detach(&env.bundle_with(&["sleep", "1000"])?, "net", &[])?;
    let path = format!("/proc/{}/ns/net", env.pid(&id)?);
    let mut bundle = mapped(env, 100_000)?;
    bundle.namespace("network", Some(&path))?;
    let report = env.probe(&mut bundle)?;
    check_mount(&report, "/sys", "sysfs", &["ro", "nosuid", "nodev", "noexec"], &[])?;
    // Without a user namespace it is a new one, of that network.
    let mut bundle = env.bundle()?;
    bundle.namespace("network", Some(&path))?;
    ensure_eq!(script(env, &mut bundle, "ls /sys/class/net")?, "lo\n", "interfaces");
    Ok(())
}

fn sysfs_options(env: &mut Env) -> Outcome {
    let mut bundle = mapped(env, 100_000)?;
    bundle.drop_namespace("network")?;
    for (options, words) in [
        (json!(["ro", "dream=1"]), "dream=1"),
        (json!(["ro", "sync"]), "sync"),
        (json!(["iversion"]), "mounts["),
    ] {
        let index = remake(&mut bundle, "/sys", "sysfs", &options)?;
        let field = format!("mounts[{index}].options (sysfs on /sys)");
        refuses(env, &bundle, &[&field, words])?;
    }
    remake(&mut bundle, "/sys", "sysfs", &json!(["rro", "rnoexec", "rw", "async"]))?;
    let report = env.probe(&mut bundle)?;
    check_mount(&report, "/sys", "sysfs", &["ro", "noexec"], &[])
}

fn proc_shared(env: &mut Env) -> Outcome {
    let mut bundle = mapped(env, 100_000)?;
    bundle.drop_namespace("pid")?;
    for (options, words) in [
        (json!(["hidepid=2"]), "hidepid=2"),
        (json!(["nosuid", "subset=pid,gid=5"]), "subset=pid,gid=5"),
        (json!(["dirsync"]), "dirsync"),
        (json!(["iversion"]), "iversion"),
    ] {
        let index = remake(&mut bundle, "/proc", "proc", &options)?;
        refuses(env, &bundle, &[&format!("mounts[{index}].options"), words, "bind of the host's"])?;
    }
    for (options, wanted) in [
        (json!(["nosuid", "noexec", "nodev"]), ["rw", "nosuid", "noexec"]),
        (json!(["rro", "rnosuid", "rnoexec"]), ["ro", "nosuid", "noexec"]),
    ] {
        remake(&mut bundle, "/proc", "proc", &options)?;
        check_mount(&env.probe(&mut bundle)?, "/proc", "proc", &wanted, &[])?;
    }
    Ok(())
}

fn mqueue(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    let report = env.probe(&mut bundle)?;
    check_mount(&report, "/dev/mqueue", "mqueue", &["nosuid", "nodev", "noexec", "rw"], &[])?;
    let queues = "ls /dev/mqueue; touch /dev/mqueue/of-the-container; ls /dev/mqueue";
    let text = script(env, &mut bundle, queues)?;
    ensure_eq!(text, "of-the-container\n", "queues");
    let again = script(env, &mut bundle, "ls /dev/mqueue; echo end")?;
    ensure_eq!(again, "end\n", "queues of the next container");
    Ok(())
}

const LABEL: &str = "system_u:object_r:container_file_t:s0:c1,c2";

fn label(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/linux/mountLabel", json!(LABEL))?;
    let words: &[&str] = if env.is(Peer::Ghost) {
        &["linux.mountLabel", LABEL, "mounts[1] (tmpfs on /dev)", "invalid argument"]
    } else {
        &[LABEL, "invalid argument"]
    };
    refuses(env, &bundle, words)
}

fn label_unused(env: &mut Env) -> Outcome {
    // procfs, sysfs, binds and, where there is no SELinux, message queues take none.
    let source = env.dir.join("source");
    fs::create_dir(&source)?;
    let mut bundle = env.bundle()?;
    let keep = ["/proc", "/sys", "/dev/mqueue"];
    bundle.config["mounts"]
        .as_array_mut()
        .into_iter()
        .for_each(|mounts| mounts.retain(|m| keep.iter().any(|kept| m["destination"] == *kept)));
    bundle.bind(&source, "/mnt", &[])?;
    bundle.set("/linux/mountLabel", json!(LABEL))?.set("/linux/maskedPaths", json!([]))?;
    ensure_eq!(script(env, &mut bundle, "echo fine")?, "fine\n", "stdout");
    if env.is(Peer::Ghost) {
        bundle.set("/linux/maskedPaths", json!(["/mnt"]))?;
        refuses(env, &bundle, &["linux.mountLabel", LABEL, "/mnt", "invalid argument"])?;
        bundle.set("/linux/mountLabel", json!("a\0b"))?;
        refuses(env, &bundle, &["linux.mountLabel", "NUL byte"])?;
    }
    Ok(())
}
