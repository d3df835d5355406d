//! New, shared and joined namespaces, and id mappings.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::call::Running;
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

const TIME_PEERS: &[(Peer, &str)] = &[
    (Peer::Runc, "runc has time namespaces since 1.2"),
    (Peer::Crun, "crun 1.8.1 breaks off while it writes the offsets"),
];

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("namespaces/new", new),
    Case::new("namespaces/left-out-are-shared", shared),
    Case::new("namespaces/joined-by-path", joined),
    Case::new("namespaces/joined-pid", joined_pid),
    Case::new("namespaces/joined-mount", joined_mount),
    Case::new("namespaces/joined-by-a-path-of-another-type", wrong_type)
        .not_on(&[(Peer::Crun, "crun 1.8.1 joins whatever the path is")]),
    Case::new("namespaces/joined-by-a-missing-path", missing_path)
        .not_on(&[(Peer::Crun, "crun 1.8.1 leaves its cgroup")]),
    Case::new("namespaces/listed-twice", twice).not_on(&[(Peer::Crun, "crun takes the last one")]),
    Case::new("namespaces/pid-1-and-its-orphans", pid_one),
    Case::new("namespaces/loopback-is-up-in-a-new-network", loopback),
    Case::new("namespaces/cgroup", cgroup),
    Case::new("namespaces/user", user),
    Case::new("namespaces/user-mapping-of-many-lines", user_lines),
    Case::new("namespaces/user-owns-the-others", user_owns),
    Case::new("namespaces/user-devices-and-mounts", user_devices),
    Case::new("namespaces/user-process-user", user_process),
    Case::new("namespaces/user-joined", user_joined),
    Case::new("namespaces/user-without-mappings", user_unmapped)
        .not_on(&[(Peer::Crun, "crun writes mappings of its own")]),
    Case::new("namespaces/time", time).needs(&[Need::TimeNamespace]).not_on(TIME_PEERS),
    Case::new("namespaces/time-joined", time_joined)
        .needs(&[Need::TimeNamespace])
        .not_on(TIME_PEERS),
];

fn own(name: &str) -> Result<String, Failure> {
    Ok(fs::read_link(format!("/proc/self/ns/{name}"))?.to_string_lossy().into_owned())
}

fn new(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.namespace("cgroup", None)?;
    let report = env.probe(&mut bundle)?;
    for name in ["pid", "net", "ipc", "uts", "mnt", "cgroup"] {
        let theirs = report["namespaces"][name].as_str().unwrap_or_default();
        ensure!(theirs.starts_with(name), "no {name} namespace in the report");
        ensure!(theirs != own(name)?, "the {name} namespace is the caller's");
    }
    ensure_eq!(report["namespaces"]["user"], own("user")?, "user namespace");
    ensure_eq!(report["pid"], 1, "pid");
    Ok(())
}

fn shared(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    for kind in ["network", "ipc", "uts", "pid", "cgroup"] {
        bundle.drop_namespace(kind)?;
    }
    // A host name needs a uts namespace of its own, and a new sysfs a network namespace.
    bundle.remove("/hostname")?;
    bind_sys(&mut bundle);
    let report = env.probe(&mut bundle)?;
    for name in ["net", "ipc", "uts", "pid", "cgroup"] {
        ensure_eq!(report["namespaces"][name], own(name)?, "{name} namespace");
    }
    Ok(())
}

fn bind_sys(bundle: &mut Bundle) {
    let mounts = bundle.config["mounts"].as_array_mut();
    if let Some(mount) = mounts.into_iter().flatten().find(|m| m["destination"] == "/sys") {
        *mount = json!({
            "destination": "/sys", "type": "bind", "source": "/sys", "options": ["rbind", "ro"],
        });
    }
}

/// A process in namespaces of its own.
fn holder(env: &Env, flags: &[&str]) -> Result<Running, Failure> {
    let words = [&["unshare"], flags, &["sh", "-c", "echo ready; exec sleep 1000"]].concat();
    let running = env.command(&words).spawn()?;
    running.wait_for_stdout("ready")?;
    Ok(running)
}

fn joined(env: &mut Env) -> Outcome {
    let holder = holder(env, &["--net", "--ipc", "--uts", "--cgroup"])?;
    let mut bundle = env.bundle()?;
    bundle.remove("/hostname")?;
    let path = |name: &str| format!("/proc/{}/ns/{name}", holder.pid());
    for (kind, name) in [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("cgroup", "cgroup")] {
        bundle.namespace(kind, Some(&path(name)))?;
    }
    let report = env.probe(&mut bundle)?;
    for name in ["net", "ipc", "uts", "cgroup"] {
        let wanted = fs::read_link(path(name))?.to_string_lossy().into_owned();
        ensure_eq!(report["namespaces"][name], wanted, "{name} namespace");
        ensure!(wanted != own(name)?, "the holder has no {name} namespace of its own");
    }
    Ok(())
}

fn joined_pid(env: &mut Env) -> Outcome {
    let first = env.bundle_with(&["sleep", "1000"])?;
    let id = env.detach(&first, "first", &[])?;
    let path = format!("/proc/{}/ns/pid", env.pid(&id)?);
    let mut bundle = env.bundle()?;
    bundle.namespace("pid", Some(&path))?;
    let report = env.probe(&mut bundle)?;
    let wanted = fs::read_link(&path)?.to_string_lossy().into_owned();
    ensure_eq!(report["namespaces"]["pid"], wanted, "pid namespace");
    ensure!(report["pid"].as_u64() > Some(1), "pid {}", report["pid"]);
    // Its exit code and its end come through the extra process that joining needs.
    bundle.shell("exit 9");
    env.run(&bundle)?.exits(9)?;
    ensure_eq!(env.status(&id)?, "running", "the first container");
    bundle.args(&["sleep", "1000"]);
    let second = env.detach(&bundle, "second", &[])?;
    let namespace = fs::read_link(format!("/proc/{}/ns/pid", env.pid(&second)?))?;
    ensure_eq!(namespace.to_string_lossy(), wanted.as_str(), "pid namespace of state's pid");
    env.runtime(&["delete", "-f", &second]).ok()?;
    ensure_eq!(env.status(&id)?, "running", "the first container at the end");
    Ok(())
}

fn joined_mount(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    let rootfs = bundle.rootfs();
    let mounted = env.dir.join("mounted");
    fs::create_dir(&mounted)?;
    let script = format!(
        "mount --bind '{0}' '{1}' && mount -t proc proc '{1}/proc' && echo ready && exec sleep 1000",
        rootfs.display(),
        mounted.display()
    );
    let holder = env.command(&["unshare", "--mount", "sh", "-c", &script]).spawn()?;
    holder.wait_for_stdout("ready")?;
    let path = format!("/proc/{}/ns/mnt", holder.pid());
    let wanted = fs::read_link(&path)?.to_string_lossy().into_owned();
    bundle.namespace("mount", Some(&path))?;
    bundle.set("/mounts", json!([]))?.set("/linux/maskedPaths", json!([]))?;
    bundle.set("/linux/readonlyPaths", json!([]))?.set("/root/path", json!(mounted))?;
    bundle.set("/root/readonly", json!(false))?;
    bundle.drop_namespace("cgroup")?;
    // What is joined is set up already: the root is entered, nothing is mounted.
    bundle.args(&[
        "/bin/sh",
        "-c",
        "mkdir -p /p; mount -t proc proc /p; readlink /p/self/ns/mnt; umount /p",
    ]);
    bundle.capabilities(&["bounding", "effective", "permitted"], &["CAP_SYS_ADMIN"]);
    let output = env.run(&bundle)?.output()?;
    ensure!(output.stdout.trim() == wanted, "mount namespace, wanted {wanted}: {output}");
    Ok(())
}

fn refused(env: &Env, bundle: &Bundle, words: &[&str]) -> Outcome {
    let output = env.run(bundle)?.exits(1)?;
    if !env.is(Peer::Runc) {
        for word in words {
            ensure!(output.stderr.contains(word), "stderr lacks {word:?}: {output}");
        }
    }
    env.nothing_left()
}

fn wrong_type(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.namespace("network", Some("/proc/self/ns/uts"))?;
    refused(env, &bundle, &["/proc/self/ns/uts"])
}

fn missing_path(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.namespace("network", Some("/no/such/namespace"))?;
    refused(env, &bundle, &["/no/such/namespace"])
}

fn twice(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/linux/namespaces/-", json!({"type": "network"}))?;
    refused(env, &bundle, &["network"])?;
    // The runtime's own, which is nothing to join, is one of them as well.
    bundle.namespace("network", Some("/proc/self/ns/net"))?;
    bundle.set("/linux/namespaces/-", json!({"type": "network"}))?;
    refused(env, &bundle, &["network"])
}

fn pid_one(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.shell("echo $$");
    ensure_eq!(env.run(&bundle)?.ok()?.stdout, "1\n", "pid");
    // The container's end takes along what still runs in it.
    bundle.shell("sleep 1000 & sleep 1000 & exit 4");
    env.run(&bundle)?.exits(4)?;
    env.nothing_left()
}

fn loopback(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.shell("ip addr show lo");
    let output = env.run(&bundle)?.ok()?;
    ensure!(output.stdout.contains("LOOPBACK,UP"), "{output}");
    ensure!(output.stdout.contains("127.0.0.1/8"), "{output}");
    Ok(())
}

fn cgroup(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.namespace("cgroup", None)?;
    let report = env.probe(&mut bundle)?;
    let text = report["cgroup"].to_string();
    ensure!(!text.contains(&env.mark), "the container sees its group's host path: {text}");
    let rows = report["cgroup"].as_array().cloned().unwrap_or_default();
    let wanted = if env.shared.host.v2 { "0::/" } else { "pids:/" };
    let own = rows.iter().filter_map(Value::as_str).any(|row| row.ends_with(wanted));
    ensure!(own, "no row ends with {wanted}: {text}");
    bundle.drop_namespace("cgroup")?;
    let report = env.probe(&mut bundle)?;
    ensure!(report["cgroup"].to_string().contains(&env.mark), "no host path without the namespace");
    Ok(())
}

/// Give a bundle a user namespace whose root is this host id.
pub fn mapped(env: &Env, base: u32) -> Result<Bundle, Failure> {
    let mut bundle = env.bundle()?;
    bundle.namespace("user", None)?;
    let mapping = json!([{"containerID": 0, "hostID": base, "size": 65536}]);
    bundle.set("/linux/uidMappings", mapping.clone())?.set("/linux/gidMappings", mapping)?;
    own_tree(&bundle.rootfs(), base)?;
    for dir in [env.dir.as_path(), &bundle.dir] {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
    }
    Ok(bundle)
}

fn own_tree(path: &Path, id: u32) -> Outcome {
    std::os::unix::fs::lchown(path, Some(id), Some(id))?;
    if path.symlink_metadata()?.is_dir() {
        for entry in fs::read_dir(path)? {
            own_tree(&entry?.path(), id)?;
        }
    }
    Ok(())
}

fn user(env: &mut Env) -> Outcome {
    let mut bundle = mapped(env, 100_000)?;
    let report = env.probe(&mut bundle)?;
    ensure!(report["namespaces"]["user"] != own("user")?, "the user namespace is the caller's");
    ensure_eq!(report["uid_map"], json!(["0 100000 65536"]), "uid_map");
    ensure_eq!(report["gid_map"], json!(["0 100000 65536"]), "gid_map");
    ensure_eq!(report["status"]["Uid"], "0 0 0 0", "uid inside");
    ensure_eq!(report["setgroups"], "allow", "setgroups");
    bundle.writable().shell("echo x > /x");
    env.run(&bundle)?.ok()?;
    let meta = fs::metadata(bundle.rootfs().join("x"))?;
    use std::os::unix::fs::MetadataExt;
    ensure_eq!((meta.uid(), meta.gid()), (100_000, 100_000), "owner of a new file on the host");
    Ok(())
}

fn user_lines(env: &mut Env) -> Outcome {
    let mut bundle = mapped(env, 100_000)?;
    for (field, first) in [("uidMappings", 0), ("gidMappings", 10)] {
        bundle.set(
            &format!("/linux/{field}"),
            json!([
                {"containerID": 0, "hostID": 100_000, "size": 1000},
                {"containerID": 1000, "hostID": 300_000, "size": 1 + first},
                {"containerID": 1001 + first, "hostID": 101_001, "size": 64535},
            ]),
        )?;
    }
    let report = env.probe(&mut bundle)?;
    let uids = ["0 100000 1000", "1000 300000 1", "1001 101001 64535"];
    ensure_eq!(report["uid_map"], json!(uids), "uid_map");
    let gids = ["0 100000 1000", "1000 300000 11", "1011 101001 64535"];
    ensure_eq!(report["gid_map"], json!(gids), "gid_map");
    Ok(())
}

fn user_owns(env: &mut Env) -> Outcome {
    let mut bundle = mapped(env, 100_000)?;
    bundle
        .capabilities(&["bounding", "effective", "permitted"], &["CAP_NET_ADMIN", "CAP_SYS_ADMIN"]);
    bundle.shell("ip link add dummy0 type dummy 2>&1; ip link set lo mtu 1400 && hostname other && mount -t tmpfs t /tmp && echo may");
    let output = env.run(&bundle)?.ok()?;
    ensure!(output.stdout.ends_with("may\n"), "{output}");
    Ok(())
}

fn user_devices(env: &mut Env) -> Outcome {
    let report = env.probe(&mut mapped(env, 100_000)?)?;
    for (name, numbers) in [("null", "1:3"), ("zero", "1:5"), ("urandom", "1:9")] {
        let found = report["dev"][name].as_str().unwrap_or_default();
        ensure!(found.starts_with("20666 ") && found.ends_with(numbers), "/dev/{name}: {found}");
    }
    let mut bundle = mapped(env, 100_000)?;
    bundle.shell("echo x > /dev/null && head -c 3 /dev/zero | wc -c");
    ensure_eq!(env.run(&bundle)?.ok()?.stdout, "3\n", "use of the devices");
    Ok(())
}

fn user_process(env: &mut Env) -> Outcome {
    let mut bundle = mapped(env, 100_000)?;
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1001, "additionalGids": [5, 6]}))?;
    let report = env.probe(&mut bundle)?;
    ensure_eq!(report["status"]["Uid"], "1000 1000 1000 1000", "uid");
    ensure_eq!(report["status"]["Gid"], "1001 1001 1001 1001", "gid");
    ensure_eq!(report["status"]["Groups"], "5 6", "groups");
    Ok(())
}

fn user_joined(env: &mut Env) -> Outcome {
    let first = {
        let mut bundle = mapped(env, 100_000)?;
        bundle.args(&["sleep", "1000"]);
        bundle
    };
    let id = env.detach(&first, "first", &[])?;
    let path = format!("/proc/{}/ns/user", env.pid(&id)?);
    let mut bundle = mapped(env, 100_000)?;
    bundle.namespace("user", Some(&path))?;
    let wanted = fs::read_link(&path)?.to_string_lossy().into_owned();
    for mappings in [true, false] {
        // runc 1.1 wants the mappings said again; later ones and ghost-runc take both forms.
        if !mappings && env.is(Peer::Runc) {
            continue;
        }
        if !mappings {
            bundle.remove("/linux/uidMappings")?.remove("/linux/gidMappings")?;
        }
        let report = env.probe(&mut bundle)?;
        ensure_eq!(report["namespaces"]["user"], wanted, "user namespace");
        ensure_eq!(report["uid_map"], json!(["0 100000 65536"]), "uid_map");
    }
    Ok(())
}

fn user_unmapped(env: &mut Env) -> Outcome {
    let mut bundle = mapped(env, 100_000)?;
    bundle.remove("/linux/uidMappings")?.remove("/linux/gidMappings")?;
    refused(env, &bundle, &["apping"])
}

fn time(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.namespace("time", None)?;
    bundle.set(
        "/linux/timeOffsets",
        json!({"monotonic": {"secs": 7777, "nanosecs": 5}, "boottime": {"secs": 864_000, "nanosecs": 0}}),
    )?;
    let report = env.probe(&mut bundle)?;
    ensure!(report["namespaces"]["time"] != own("time")?, "the time namespace is the caller's");
    ensure_eq!(
        report["timens_offsets"],
        json!(["monotonic 7777 5", "boottime 864000 0"]),
        "offsets"
    );
    bundle.args(&["cat", "/proc/uptime"]);
    let output = env.run(&bundle)?.ok()?;
    let uptime: f64 = output.stdout.split(' ').next().unwrap_or_default().parse()?;
    ensure!(uptime > 864_000.0, "uptime {uptime}");
    Ok(())
}

fn time_joined(env: &mut Env) -> Outcome {
    let holder = env
        .command(&[
            "unshare",
            "--time",
            "--boottime",
            "864000",
            "--fork",
            "--kill-child",
            "sh",
            "-c",
            "echo ready; exec sleep 1000",
        ])
        .spawn()?;
    holder.wait_for_stdout("ready")?;
    let path = format!("/proc/{}/ns/time_for_children", holder.pid());
    let mut bundle = env.bundle()?;
    bundle.namespace("time", Some(&path))?;
    let report = env.probe(&mut bundle)?;
    let wanted = fs::read_link(&path)?.to_string_lossy().replace("time_for_children", "time");
    ensure_eq!(report["namespaces"]["time"], wanted, "time namespace");
    Ok(())
}
