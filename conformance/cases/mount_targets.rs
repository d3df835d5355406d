//! Where mounts end up: destinations that are missing, links, of another kind, or not to be covered.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use super::errors::refuses;
use super::mounts::{check_mount, mount_at, script};
use crate::bundle::Bundle;
use crate::case::{Case, Failure, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

const OLD: (Peer, &str) = (Peer::Runc, "runc 1.1.5 words it in another way, or takes it");
const CRUN: (Peer, &str) = (Peer::Crun, "crun words it in another way, or takes it");

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("mount-targets/made-through-links", through_links),
    Case::new("mount-targets/made-through-links-that-lead-nowhere", dangling)
        .not_on(&[(Peer::Crun, "crun makes the file beside the link")]),
    Case::new("mount-targets/over-a-link", over_link),
    Case::new("mount-targets/link-to-the-root", link_to_root).not_on(&[OLD, CRUN]),
    Case::new("mount-targets/over-the-root", over_root)
        .not_on(&[(Peer::Crun, "crun 1.8.1 can't mount an overlay there")]),
    Case::new("mount-targets/over-a-shared-root", over_shared_root).not_on(&[
        (Peer::Runc, "runc 1.1.5's pivot_root fails with it"),
        (Peer::Crun, "crun 1.8.1 can't mount anything there"),
    ]),
    Case::new("mount-targets/over-the-root-but-not-first", over_root_later).not_on(&[OLD, CRUN]),
    Case::new("mount-targets/odd-spellings", spellings)
        .not_on(&[(Peer::Crun, "crun 1.8.1 mounts relative ones elsewhere")]),
    Case::new("mount-targets/below-another-mount", below),
    Case::new("mount-targets/inside-a-read-only-root", readonly_root),
    Case::new("mount-targets/that-can-not-be", refused).not_on(&[OLD, CRUN]),
    Case::new("mount-targets/root-that-can-not-be", refused_root).not_on(&[OLD, CRUN]),
    Case::new("mount-targets/masked-and-read-only-paths-that-can-not-be", refused_paths)
        .not_on(&[(Peer::Runc, "runc 1.1.5 takes relative ones"), CRUN]),
    Case::new("mount-targets/of-another-kind", other_kind).not_on(&[OLD, CRUN]),
];

fn through_links(env: &mut Env) -> Outcome {
    let source = env.dir.join("source");
    fs::create_dir(&source)?;
    fs::write(source.join("file"), "bound\n")?;
    let mut bundle = env.bundle()?;
    let rootfs = bundle.rootfs();
    fs::create_dir_all(rootfs.join("real/deep"))?;
    // Absolute, up and out of the root, and through another link.
    symlink("/real", rootfs.join("absolute"))?;
    symlink("../../../../real/deep", rootfs.join("up"))?;
    symlink("absolute/deep", rootfs.join("chain"))?;
    bundle.bind(&source, "/absolute/dir", &[])?;
    bundle.bind(&source.join("file"), "/up/file", &[])?;
    bundle.bind(&source.join("file"), "/chain/new/file", &[])?;
    bundle.mount(json!({"destination": "/up/tmpfs", "type": "tmpfs", "source": "t"}))?;
    let text = script(
        env,
        &mut bundle,
        "cat /real/dir/file /real/deep/file /real/deep/new/file; stat -f -c %T /real/deep/tmpfs",
    )?;
    ensure_eq!(text, "bound\nbound\nbound\ntmpfs\n", "what is at the links' ends");
    for (path, is_dir) in [
        ("real/dir", true),
        ("real/deep/file", false),
        ("real/deep/new/file", false),
        ("real/deep/tmpfs", true),
    ] {
        let meta = fs::symlink_metadata(rootfs.join(path))?;
        ensure_eq!(meta.is_dir(), is_dir, "{path} is a directory");
        ensure!(is_dir || meta.len() == 0, "{path} in the rootfs has contents");
    }
    Ok(())
}

/// What covers the root is not seen by init, and is by every process that joins later.
fn link_to_root(env: &mut Env) -> Outcome {
    for mount in [
        json!({"destination": "/x", "type": "tmpfs", "source": "t"}),
        json!({"destination": "/x", "source": env.dir, "options": ["bind"]}),
        json!({"destination": "/x", "type": "tmpfs", "options": ["remount", "size=40m"]}),
    ] {
        let mut bundle = env.bundle()?;
        symlink("/", bundle.rootfs().join("x"))?;
        bundle.mount(mount)?.args(&["true"]);
        let output = env.run(&bundle)?.exits(1)?;
        ensure!(output.stderr.contains("leads to the root"), "words of {output}");
        env.nothing_left()?;
    }
    Ok(())
}

/// An overlay as the first mount is the root file system: what follows is mounted in it, and what is said
/// of the root holds for it.
fn over_root(env: &mut Env) -> Outcome {
    for (readonly, words) in [(true, "overlay\nread-only\n"), (false, "overlay\nwritten\n")] {
        let mut bundle = env.bundle()?;
        let more = bundle.dir.join("more");
        fs::create_dir_all(more.join("only"))?;
        fs::write(more.join("only/here"), "overlay\n")?;
        let (upper, work) = (bundle.dir.join("upper"), bundle.dir.join("work"));
        for dir in [&upper, &work] {
            fs::create_dir(dir)?;
        }
        let lower = format!("lowerdir={}:{}", more.display(), bundle.rootfs().display());
        let options = json!([
            lower,
            format!("upperdir={}", upper.display()),
            format!("workdir={}", work.display()),
            "userxattr",
        ]);
        let mount =
            json!({"destination": "/", "type": "overlay", "source": "o", "options": options});
        bundle.set("/root/readonly", json!(readonly))?;
        insert(&mut bundle, 0, mount)?;
        bundle.shell(
            "cat /only/here; grep -q ' / / [^-]* - overlay' /proc/self/mountinfo || cat /proc/self/mountinfo
             test -e /dev/null || echo no devices
             touch /only/new 2>/dev/null && echo written || echo read-only",
        );
        let output = env.run(&bundle)?.ok()?;
        ensure_eq!(output.stdout, words, "what the process sees, read-only: {readonly}");
        ensure_eq!(upper.join("only/new").exists(), !readonly, "the file in the upper directory");
        env.nothing_left()?;
    }
    Ok(())
}

fn insert(bundle: &mut Bundle, at: usize, mount: Value) -> Outcome {
    let mounts = bundle.config["mounts"].as_array_mut();
    mounts.ok_or_else(|| Failure("no mounts in config.json".to_owned()))?.insert(at, mount);
    Ok(())
}

/// The cover comes from a mount that the host shares: nothing of the container's goes there.
fn over_shared_root(env: &mut Env) -> Outcome {
    for words in [&["run"][..], &["run", "--no-pivot"]] {
        let mut bundle = env.bundle()?;
        let cover = env.dir.join("cover");
        fs::create_dir_all(&cover)?;
        let path = cover.to_string_lossy().into_owned();
        env.command(&["mount", "-t", "tmpfs", "cover", &path]).ok()?;
        env.command(&["mount", "--make-shared", &path]).ok()?;
        env.command(&["cp", "-a", &format!("{}/.", bundle.rootfs().display()), &path]).ok()?;
        bundle.set("/linux/rootfsPropagation", json!("shared"))?;
        let mount =
            json!({"destination": "/", "type": "bind", "source": path, "options": ["bind"]});
        insert(&mut bundle, 0, mount)?;
        bundle.shell("test -d /proc/self && echo inside").save()?;
        let dir = bundle.dir.to_string_lossy().into_owned();
        let output = env.runtime(&[words, &["-b", &dir, &env.id("x")]].concat()).ok();
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let inner: Vec<&str> = mounts.lines().filter(|l| l.contains(&format!("{path}/"))).collect();
        let inner = inner.join("\n");
        env.command(&["umount", "-R", &path]).ok()?;
        ensure_eq!(output?.stdout, "inside\n", "what the process says, {words:?}");
        ensure!(inner.is_empty(), "{words:?} left on the host: {inner}");
    }
    Ok(())
}

fn over_root_later(env: &mut Env) -> Outcome {
    for (at, kind) in [(1, "tmpfs"), (0, "proc"), (0, "sysfs")] {
        let mut bundle = env.bundle()?;
        insert(&mut bundle, at, json!({"destination": "/", "type": kind, "source": kind}))?;
        let field = format!("mounts[{at}].destination");
        refuses(env, &bundle, &[&field, "the root itself", "only the first mount"])?;
    }
    Ok(())
}

fn dangling(env: &mut Env) -> Outcome {
    let source = env.dir.join("source");
    fs::create_dir(&source)?;
    fs::write(source.join("file"), "bound\n")?;
    let mut bundle = env.bundle()?;
    let rootfs = bundle.rootfs();
    symlink("/made/later", rootfs.join("dir"))?;
    symlink("../made/too/file", rootfs.join("etc/file"))?;
    bundle.bind(&source, "/dir", &[])?;
    bundle.bind(&source.join("file"), "/etc/file", &[])?;
    let text = script(env, &mut bundle, "cat /made/later/file /made/too/file")?;
    ensure_eq!(text, "bound\nbound\n", "what is at the links' ends");
    ensure!(fs::symlink_metadata(rootfs.join("dir"))?.is_symlink(), "the link is gone");
    Ok(())
}

fn over_link(env: &mut Env) -> Outcome {
    let source = env.dir.join("file");
    fs::write(&source, "bound\n")?;
    let mut bundle = env.bundle()?;
    let rootfs = bundle.rootfs();
    fs::create_dir(rootfs.join("real"))?;
    fs::write(rootfs.join("real/file"), "image\n")?;
    symlink("/real", rootfs.join("link"))?;
    symlink("../real/file", rootfs.join("etc/link"))?;
    bundle.bind(&source, "/etc/link", &[])?;
    bundle.mount(json!({"destination": "/link", "type": "tmpfs", "source": "t"}))?;
    let report = env.probe(&mut bundle)?;
    check_mount(&report, "/real", "tmpfs", &[], &[])?;
    mount_at(&report, "/real/file")?;
    ensure_eq!(fs::read_to_string(rootfs.join("real/file"))?, "image\n", "the image's file");
    Ok(())
}

fn spellings(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    for destination in ["/a/./b/../c//", "relative", "./dot/relative", "/../../up"] {
        bundle.mount(json!({"destination": destination, "type": "tmpfs", "source": "t"}))?;
    }
    let report = env.probe(&mut bundle)?;
    for target in ["/a/c", "/relative", "/dot/relative", "/up"] {
        check_mount(&report, target, "tmpfs", &[], &[])?;
    }
    Ok(())
}

fn below(env: &mut Env) -> Outcome {
    let source = env.dir.join("source");
    fs::create_dir(&source)?;
    let mut bundle = env.bundle()?;
    // Made in the tmpfs and in the host's directory, not in the image.
    bundle
        .mount(json!({"destination": "/t", "type": "tmpfs", "source": "t", "options": ["ro"]}))?;
    bundle.bind(&source, "/t/a/b", &[])?;
    bundle.mount(json!({"destination": "/t/a/b/new", "type": "tmpfs", "source": "t"}))?;
    let report = env.probe(&mut bundle)?;
    check_mount(&report, "/t", "tmpfs", &["ro"], &[])?;
    check_mount(&report, "/t/a/b/new", "tmpfs", &["rw"], &[])?;
    ensure!(source.join("new").is_dir(), "nothing was made in the source");
    ensure!(!bundle.rootfs().join("t/a").exists(), "made in the image");
    if env.is(Peer::Ghost) {
        let mut bundle = env.bundle()?;
        bundle.bind(&source, "/s", &["ro"])?;
        bundle.mount(json!({"destination": "/s/other", "type": "tmpfs", "source": "t"}))?;
        let words = ["mounts[8].destination", "tmpfs on /s/other", "read-only file system"];
        refuses(env, &bundle, &words)?;
    }
    Ok(())
}

fn readonly_root(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.mount(json!({"destination": "/new/dir", "type": "tmpfs", "source": "t"}))?;
    let text = script(env, &mut bundle, "touch /new/dir/x && echo in; touch /new/x || echo out")?;
    ensure_eq!(text, "in\nout\n", "what can be written");
    Ok(())
}

fn refused(env: &mut Env) -> Outcome {
    let source = env.dir.join("source");
    fs::create_dir(&source)?;
    for (destination, kind, words) in [
        ("", "tmpfs", &["\\\"\\\"", "the root itself"][..]),
        ("/", "tmpfs", &["\\\"/\\\"", "the root itself"]),
        ("/a/..", "bind", &["\\\"/a/..\\\"", "the root itself"]),
        ("/a\0b", "tmpfs", &["NUL byte"]),
        ("/proc", "tmpfs", &["\\\"tmpfs\\\"", "/proc"]),
        ("/proc/sys", "bind", &["/proc/sys"]),
        ("/sys/../proc/self", "tmpfs", &["/proc/self"]),
    ] {
        let mut bundle = env.bundle()?;
        let options = if kind == "bind" { json!(["bind"]) } else { json!([]) };
        bundle.mount(json!({
            "destination": destination, "type": kind, "source": source, "options": options,
        }))?;
        let words = [&["mounts[7].destination"], words].concat();
        refuses(env, &bundle, &words)
            .map_err(|failure| Failure(format!("{destination:?}: {failure}")))?;
    }
    for (field, mount) in [
        ("source", json!({"destination": "/m", "options": ["bind"]})),
        ("source", json!({"destination": "/m", "source": "", "options": ["rbind"]})),
        ("source", json!({"destination": "/m", "source": "a\0b", "options": ["rbind"]})),
        ("source", json!({"destination": "/m", "type": "tmpfs", "source": "a\0b"})),
        ("source", json!({"destination": "/m", "source": "/no/such", "options": ["rbind"]})),
        ("type", json!({"destination": "/m", "source": "x"})),
        ("type", json!({"destination": "/m", "type": "tmp\0fs"})),
        ("options", json!({"destination": "/m", "type": "tmpfs", "options": ["size=1\0"]})),
    ] {
        let mut bundle = env.bundle()?;
        bundle.mount(mount.clone())?;
        refuses(env, &bundle, &[&format!("mounts[7].{field}")])
            .map_err(|failure| Failure(format!("{mount}: {failure}")))?;
    }
    Ok(())
}

fn refused_root(env: &mut Env) -> Outcome {
    for (root, words) in [
        (json!({"path": ""}), &["root.path", "empty"][..]),
        (json!({"path": "a\0b"}), &["root.path", "NUL byte"]),
        (json!({"path": "nowhere"}), &["root.path", "/nowhere", "no such file or directory"]),
        (json!({"path": "config.json"}), &["root.path", "/config.json", "not a directory"]),
    ] {
        let mut bundle = env.bundle()?;
        bundle.set("/root", root.clone())?;
        refuses(env, &bundle, words).map_err(|failure| Failure(format!("{root}: {failure}")))?;
    }
    let mut bundle = env.bundle()?;
    bundle.remove("/root")?;
    refuses(env, &bundle, &["root", "missing"])
}

fn refused_paths(env: &mut Env) -> Outcome {
    for field in ["maskedPaths", "readonlyPaths"] {
        for (path, word) in
            [("relative", "\\\"relative\\\""), ("", "\\\"\\\""), ("/a\0b", "NUL byte")]
        {
            let mut bundle = env.bundle()?;
            bundle.set(&format!("/linux/{field}"), json!(["/fine", path]))?;
            refuses(env, &bundle, &[&format!("linux.{field}[1]"), word])
                .map_err(|failure| Failure(format!("{field} {path:?}: {failure}")))?;
        }
    }
    Ok(())
}

fn other_kind(env: &mut Env) -> Outcome {
    let source = env.dir.join("source");
    fs::create_dir(&source)?;
    fs::write(source.join("file"), "")?;
    for (mount, target) in [
        (json!({"type": "tmpfs", "source": "t"}), "/etc/passwd"),
        (json!({"type": "bind", "source": source, "options": ["bind"]}), "/etc/passwd"),
        (json!({"type": "bind", "source": source.join("file"), "options": ["bind"]}), "/etc"),
        (json!({"type": "sysfs", "source": "sysfs"}), "/etc/passwd"),
        (json!({"type": "tmpfs", "source": "t"}), "/etc/passwd/below"),
        (json!({"type": "tmpfs", "source": "t"}), "/loop"),
    ] {
        let mut bundle = env.bundle()?;
        symlink("loop", bundle.rootfs().join("loop"))?;
        let mut mount = mount.clone();
        mount["destination"] = json!(target);
        bundle.mount(mount)?;
        refuses(env, &bundle, &["mounts[7]", target])
            .map_err(|failure| Failure(format!("{target}: {failure}")))?;
    }
    Ok(())
}
