//! The propagation of mounts: of single ones, of the root, and between the container and the host.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::errors::refuses;
use super::mounts::{drop_nested, mount_at, nested_source};
use crate::case::{Case, Failure, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

const CRUN: (Peer, &str) = (Peer::Crun, "crun 1.8.1 does it in another way");

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("mounts/propagation-of-a-mount", propagation)
        .not_on(&[(Peer::Crun, "crun cuts the root off from the host first")]),
    Case::new("mounts/propagation-without-a-word", propagation_default)
        .not_on(&[(Peer::Crun, "crun cuts the root off from the host first")]),
    Case::new("mounts/propagation-of-the-root", root_propagation)
        .not_on(&[(Peer::Runc, "runc 1.1 sets it before pivot_root only")]),
    Case::new("mounts/slave-root-receives-host-mounts", slave_root),
    Case::new("kernel-mounts/rootfs-propagation", rootfs_propagation)
        .not_on(&[(Peer::Runc, "runc 1.1.5 sets it before pivot_root only"), CRUN]),
    Case::new("kernel-mounts/root-that-is-shared-with-the-host", shared_with_the_host)
        .not_on(&[CRUN]),
    Case::new("mounts/bind-from-the-mount-of-a-shared-root", from_the_roots_mount).not_on(&[CRUN]),
    Case::new("kernel-mounts/rootfs-propagation-that-can-not-be", bad_propagation).not_on(&[CRUN]),
];

/// Check that a mount is `shared`, a slave (`master`), `unbindable`, or none of them; a shared one may
/// have a master too.
pub fn check_propagation(report: &Value, target: &str, wanted: &str) -> Outcome {
    let fields = mount_at(report, target)?["propagation"].to_string();
    for word in ["shared", "master", "unbindable"] {
        if wanted == "shared" && word == "master" {
            continue;
        }
        ensure_eq!(fields.contains(word), word == wanted, "{word} of {target}: {fields}");
    }
    Ok(())
}

/// What each word makes of a mount of `source` and of the one below it, in a namespace that is as the
/// runner's own.
fn propagated(env: &Env, source: &Path, rows: &[(&str, &str, &str)]) -> Outcome {
    let mut bundle = env.bundle()?;
    // For the mount at / alone, once the others are there.
    bundle.set("/linux/rootfsPropagation", json!("shared"))?;
    for (name, ..) in rows {
        bundle.mount(json!({
            "destination": format!("/{name}"), "type": "bind", "source": source,
            "options": ["rbind", name],
        }))?;
    }
    let report = env.probe(&mut bundle)?;
    for (name, of_mount, below) in rows {
        for (target, wanted) in [(format!("/{name}"), of_mount), (format!("/{name}/sub"), below)] {
            check_propagation(&report, &target, wanted)
                .map_err(|failure| Failure(format!("{name}: {failure}")))?;
        }
    }
    Ok(())
}

fn propagation(env: &mut Env) -> Outcome {
    let source = nested_source(env)?;
    let path = source.to_string_lossy().into_owned();
    env.command(&["mount", "--rbind", &path, &path]).ok()?;
    env.command(&["mount", "--make-rprivate", &path]).ok()?;
    let of_private = [("shared", "shared", ""), ("rshared", "shared", "shared")];
    let private = propagated(env, &source, &of_private);
    env.command(&["mount", "--make-rshared", &path]).ok()?;
    let of_shared = [
        ("private", "", "shared"),
        ("rprivate", "", ""),
        ("slave", "master", "shared"),
        ("rslave", "master", "master"),
        ("unbindable", "unbindable", "shared"),
        ("runbindable", "unbindable", "unbindable"),
    ];
    let shared = propagated(env, &source, &of_shared);
    env.command(&["umount", "--recursive", &path]).ok()?;
    drop_nested(env)?;
    private.and(shared)
}

/// Without a word for it, nothing of the container's comes back to the host.
fn propagation_default(env: &mut Env) -> Outcome {
    let source = env.dir.join("source");
    fs::create_dir(&source)?;
    let path = source.to_string_lossy().into_owned();
    env.command(&["mount", "--bind", &path, &path]).ok()?;
    env.command(&["mount", "--make-shared", &path]).ok()?;
    let mut bundle = env.bundle()?;
    bundle.bind(&source, "/none", &[])?.bind(&source, "/shared", &["shared"])?;
    let report = env.probe(&mut bundle)?;
    env.command(&["umount", &path]).ok()?;
    // As the root: runc and its like make that private or slave.
    let fields = mount_at(&report, "/none")?["propagation"].to_string();
    ensure!(!fields.contains("shared"), "/none: {fields}");
    check_propagation(&report, "/shared", "shared")
}

fn root_propagation(env: &mut Env) -> Outcome {
    for (name, shared) in [("private", false), ("slave", false), ("shared", true)] {
        let mut bundle = env.bundle()?;
        bundle.set("/linux/rootfsPropagation", json!(name))?;
        let report = env.probe(&mut bundle)?;
        let fields = mount_at(&report, "/")?["propagation"].to_string();
        ensure_eq!(fields.contains("shared:"), shared, "shared with {name}: {fields}");
    }
    Ok(())
}

fn slave_root(env: &mut Env) -> Outcome {
    // With rootfsPropagation rslave a mount made later on the host shows up in the container; with
    // the default it must not go the other way.
    let source = env.dir.join("source");
    fs::create_dir_all(source.join("sub"))?;
    let path = source.to_string_lossy().into_owned();
    env.command(&["mount", "--bind", &path, &path]).ok()?;
    env.command(&["mount", "--make-shared", &path]).ok()?;
    let mut bundle = env.bundle()?;
    bundle.set("/linux/rootfsPropagation", json!("rslave"))?;
    bundle.mount(json!({
        "destination": "/mnt", "type": "bind", "source": source, "options": ["rbind", "rslave"],
    }))?;
    bundle.args(&["sleep", "1000"]);
    let id = env.detach(&bundle, "d", &[])?;
    let sub = source.join("sub").to_string_lossy().into_owned();
    env.command(&["mount", "-t", "tmpfs", "late", &sub]).ok()?;
    let report = env.exec_probe(&id, &[])?;
    ensure_eq!(mount_at(&report, "/mnt/sub")?["source"], "late", "source");
    env.runtime(&["delete", "-f", &id]).ok()?;
    env.command(&["umount", &sub]).ok()?;
    env.command(&["umount", &path]).ok()?;
    Ok(())
}

fn rootfs_propagation(env: &mut Env) -> Outcome {
    // Shared is what may be both: a shared mount of what was shared has a master as well.
    let source = env.dir.join("source").to_string_lossy().into_owned();
    fs::create_dir(&source)?;
    for (name, of_root, [of_tmpfs, of_bind, of_shared_bind]) in [
        ("", "master", ["", "master", "shared"]),
        ("private", "", ["", "", "shared"]),
        // As runc has it: nothing was shared, and what asks for it is.
        ("rprivate", "", ["", "", "shared"]),
        ("slave", "master", ["", "master", "shared"]),
        ("rslave", "master", ["", "master", "master"]),
        ("shared", "shared", ["", "shared", "shared"]),
        ("rshared", "shared", ["shared"; 3]),
        ("unbindable", "unbindable", ["", "master", "shared"]),
        ("runbindable", "unbindable", ["unbindable"; 3]),
    ] {
        let mut bundle = env.bundle()?;
        let path = bundle.rootfs().to_string_lossy().into_owned();
        for path in [&path, &source] {
            env.command(&["mount", "--bind", path, path]).ok()?;
            env.command(&["mount", "--make-shared", path]).ok()?;
        }
        if !name.is_empty() {
            bundle.set("/linux/rootfsPropagation", json!(name))?;
        }
        bundle.bind(source.as_ref(), "/bind", &[])?;
        bundle.bind(source.as_ref(), "/shared", &["shared"])?;
        let report = env.probe(&mut bundle);
        env.command(&["umount", &path, &source]).ok()?;
        let report = report?;
        for (target, wanted) in [
            ("/", of_root),
            ("/dev/shm", of_tmpfs),
            ("/bind", of_bind),
            ("/shared", of_shared_bind),
        ] {
            // The kernel makes slaves of the host's mounts in a user's namespace.
            let slave = env.shared.rootless && target == "/bind" && name == "shared";
            let wanted = if slave { "master" } else { wanted };
            check_propagation(&report, target, wanted)
                .map_err(|failure| Failure(format!("rootfsPropagation {name:?}: {failure}")))?;
        }
    }
    Ok(())
}

/// The runtime in a mount namespace that is shared as systemd's is; then what is there of it.
const SHARED_WITH_THE_HOST: &[&str] = &[
    "unshare",
    "--mount",
    "--propagation",
    "private",
    "sh",
    "-c",
    "mount --make-rshared / && \"$@\"; status=$?; \
     mount | grep -E 'made-inside|on / .*rootfs' >&2; cat /proc/self/comm /sys/class/net/lo/mtu; exit $status",
    "sh",
];

fn shared_with_the_host(env: &mut Env) -> Outcome {
    let source = env.dir.join("source");
    fs::create_dir_all(source.join("sub"))?;
    let mut bundle = env.bundle()?;
    bundle.bind(&source, "/both", &["rw", "rshared"])?.bind(
        &source,
        "/own",
        &["rw", "rprivate"],
    )?;
    bundle.set("/linux/rootfsPropagation", json!("rshared"))?;
    bundle.capabilities(
        &["bounding", "effective", "permitted"],
        &["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"],
    );
    bundle.shell(
        "mount -t tmpfs made-inside-both /both/sub; mount -t tmpfs made-inside-own /own/sub; \
         mount -t tmpfs made-inside-root /mnt",
    );
    bundle.save()?;
    let dir = bundle.dir.to_string_lossy().into_owned();
    let id = env.id("x");
    // As runc, which makes the mount private that the rootfs is on.
    let path = source.to_string_lossy().into_owned();
    env.command(&["mount", "--bind", &path, &path]).ok()?;
    for flags in [&[][..], &["--no-pivot"]] {
        let words = [&["run"], flags, &["-b", &dir, &id]].concat();
        let output = env.runtime(&words).under(SHARED_WITH_THE_HOST).ok()?;
        let of_inside = output.stderr.matches("made-inside").count();
        ensure_eq!(of_inside, 1, "mounts that reach the host {flags:?}: {output}");
        ensure!(output.stderr.contains("made-inside-both on"), "{flags:?}: {output}");
        // The host's own are all there.
        ensure!(output.stdout.starts_with("cat\n"), "the host's mounts {flags:?}: {output}");
        ensure_eq!(output.stdout.lines().count(), 2, "the host's mounts {flags:?}: {output}");
    }
    env.command(&["umount", &path]).ok()?;
    Ok(())
}

/// What is bound from the mount that the rootfs is on is no peer of that, as in runc, which makes it private;
/// what is on another mount is.
fn from_the_roots_mount(env: &mut Env) -> Outcome {
    let dir = env.dir.to_string_lossy().into_owned();
    env.command(&["mount", "--bind", &dir, &dir]).ok()?;
    env.command(&["mount", "--make-shared", &dir]).ok()?;
    let other = env.dir.join("other").to_string_lossy().into_owned();
    for path in ["same/sub", "other"] {
        fs::create_dir_all(env.dir.join(path))?;
    }
    let sub = env.dir.join("same/sub").to_string_lossy().into_owned();
    for path in [&other, &sub] {
        env.command(&["mount", "-t", "tmpfs", "own", path]).ok()?;
    }
    let peers = |path: &str| -> Result<String, Failure> {
        let text = fs::read_to_string("/proc/self/mountinfo")?;
        let line = text.lines().rfind(|line| line.split(' ').nth(4) == Some(path));
        let group = line.and_then(|line| line.split(' ').find(|word| word.starts_with("shared:")));
        group.map(str::to_owned).ok_or_else(|| Failure(format!("{path} is not shared: {line:?}")))
    };
    let mut bundle = env.bundle()?;
    bundle.set("/linux/rootfsPropagation", json!("shared"))?;
    for (target, source, words) in [
        ("/same", "same", &["rbind"][..]),
        ("/same-shared", "same", &["bind", "shared"]),
        ("/other", "other", &["bind"]),
    ] {
        let source = env.dir.join(source);
        bundle.mount(json!({
            "destination": target, "type": "bind", "source": source, "options": words,
        }))?;
    }
    let groups = [peers(&dir)?, peers(&other)?, peers(&sub)?];
    let report = env.probe(&mut bundle);
    env.command(&["umount", &other, &sub]).ok()?;
    env.command(&["umount", "--lazy", &dir]).ok()?;
    let report = report?;
    for (target, group, wanted) in [
        ("/same", &groups[0], false),
        ("/same-shared", &groups[0], false),
        ("/other", &groups[1], true),
        ("/same/sub", &groups[2], true),
    ] {
        let fields = mount_at(&report, target)?["propagation"].to_string();
        let is_peer = fields.contains(&format!("\"{group}\""));
        ensure_eq!(is_peer, wanted, "{target} is a peer of {group}: {fields}");
    }
    check_propagation(&report, "/same-shared", "shared")
}

fn bad_propagation(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/linux/rootfsPropagation", json!("sideways"))?;
    let ghost = env.is(Peer::Ghost);
    refuses(env, &bundle, if ghost { &["linux.rootfsPropagation", "sideways"] } else { &[] })?;
    for name in ["private", "rprivate"] {
        bundle.set("/linux/rootfsPropagation", json!(name))?;
        bundle.save()?;
        let dir = bundle.dir.to_string_lossy().into_owned();
        let output = env.runtime(&["run", "--no-pivot", "-b", &dir, &env.id("x")]).exits(1)?;
        ensure!(output.stderr.contains("not safe without pivot_root"), "{output}");
        ensure!(!ghost || output.stderr.contains("linux.rootfsPropagation"), "{output}");
        env.nothing_left()?;
    }
    Ok(())
}
