//! Mounts, masks and the root file system itself, as the container sees them.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::{Value, json};

use crate::case::{Case, Failure, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("mounts/default-table", default_table),
    Case::new("mounts/root-readonly", root_readonly),
    Case::new("mounts/root-writable", root_writable),
    Case::new("mounts/old-root-is-gone", old_root_gone),
    Case::new("mounts/no-pivot", no_pivot),
    Case::new("mounts/root-path-forms", root_path_forms),
    Case::new("mounts/bind", bind),
    Case::new("mounts/bind-a-file", bind_file),
    Case::new("mounts/bind-makes-its-target", bind_makes_target)
        .not_on(&[(Peer::Crun, "crun 1.8.1 makes them with mode 1755")]),
    Case::new("mounts/bind-flags", bind_flags),
    Case::new("mounts/bind-is-not-recursive-and-rbind-is", rbind),
    Case::new("mounts/bind-relative-source", bind_relative),
    Case::new("mounts/bind-readonly-keeps-the-source-writable", bind_ro_source),
    Case::new("mounts/tmpfs-options", tmpfs),
    Case::new("mounts/tmpcopyup", tmpcopyup)
        .not_on(&[(Peer::Crun, "crun keeps the mode of a new tmpfs")]),
    Case::new("mounts/order", order),
    Case::new("mounts/target-of-relative-form", relative_target)
        .not_on(&[(Peer::Crun, "crun 1.8.1 takes it from the container's root all the same")]),
    Case::new("mounts/masked-paths", masked),
    Case::new("mounts/readonly-paths", readonly_paths),
    Case::new("mounts/missing-masked-and-readonly-paths", missing_paths),
    Case::new("mounts/sysfs-is-readonly", sysfs_ro),
    Case::new("mounts/strictatime-noatime", atime_flags),
    Case::new("mounts/cgroup-mount", cgroup_mount),
    Case::new("mounts/recursive-attributes", recursive_attributes)
        .not_on(&[(Peer::Crun, "crun 1.8.1's mount_setattr needs a newer glibc")]),
];

fn list<'a>(report: &'a Value, key: &str) -> Result<&'a Vec<Value>, Failure> {
    report[key].as_array().ok_or_else(|| Failure(format!("the probe saw no {key}")))
}

/// The mount that one sees at `target`: the last of the table.
pub fn mount_at<'a>(report: &'a Value, target: &str) -> Result<&'a Value, Failure> {
    list(report, "mounts")?
        .iter()
        .rev()
        .find(|mount| mount["target"] == target)
        .ok_or_else(|| Failure(format!("nothing is mounted at {target}")))
}

/// Is the word in the list?
pub fn has(words: &Value, word: &str) -> bool {
    words.as_array().is_some_and(|list| list.iter().any(|w| w == word))
}

/// Check a mount's type, its options (`!` for those it must not have) and its file system's.
pub fn check_mount(
    report: &Value,
    target: &str,
    kind: &str,
    options: &[&str],
    more: &[&str],
) -> Outcome {
    let mount = mount_at(report, target)?;
    ensure_eq!(mount["type"], kind, "type of {target}");
    for option in options {
        let (wanted, name) = option.strip_prefix('!').map_or((true, *option), |name| (false, name));
        ensure_eq!(has(&mount["options"], name), wanted, "{name} of {mount}");
    }
    for option in more {
        ensure!(has(&mount["super"], option), "{option} is missing: {mount}");
    }
    Ok(())
}

fn default_table(env: &mut Env) -> Outcome {
    let report = env.probe(&mut env.bundle()?)?;
    let targets: Vec<&str> = list(&report, "mounts")?
        .iter()
        .filter_map(|mount| mount["target"].as_str())
        .filter(|target| !target.starts_with("/sys/fs/cgroup/"))
        .collect();
    let wanted = [
        "/",
        "/proc",
        "/dev",
        "/dev/pts",
        "/dev/shm",
        "/dev/mqueue",
        "/sys",
        "/sys/fs/cgroup",
        "/proc/bus",
        "/proc/fs",
        "/proc/irq",
        "/proc/sys",
        "/proc/sysrq-trigger",
    ];
    // This kernel may lack some of them.
    let exists = |target: &&&str| std::path::Path::new(target).exists();
    for target in wanted.iter().filter(exists) {
        ensure!(targets.contains(target), "nothing is mounted at {target}: {targets:?}");
    }
    for target in &targets {
        let masked = ["/proc/", "/sys/firmware", "/sys/devices/virtual/powercap", "/dev/console"];
        let known = wanted.contains(target) || masked.iter().any(|m| target.starts_with(m));
        ensure!(known, "unknown mount at {target}");
    }
    let safe = ["nosuid", "noexec", "nodev"];
    check_mount(&report, "/proc", "proc", &["rw", "!nosuid", "!noexec", "!nodev"], &[])?;
    check_mount(
        &report,
        "/dev",
        "tmpfs",
        &["nosuid", "!noexec", "!nodev"],
        &["size=65536k", "mode=755"],
    )?;
    check_mount(
        &report,
        "/dev/pts",
        "devpts",
        &["nosuid", "noexec"],
        &["gid=5", "mode=620", "ptmxmode=666"],
    )?;
    check_mount(&report, "/dev/shm", "tmpfs", &safe, &["size=65536k"])?;
    check_mount(&report, "/dev/mqueue", "mqueue", &safe, &[])?;
    check_mount(&report, "/sys", "sysfs", &["ro", "nosuid", "noexec", "nodev"], &[])?;
    check_mount(&report, "/", mount_at(&report, "/")?["type"].as_str().unwrap_or(""), &["ro"], &[])
}

/// Run a shell script in the container; its stdout.
pub fn script(
    env: &Env,
    bundle: &mut crate::bundle::Bundle,
    script: &str,
) -> Result<String, Failure> {
    bundle.shell(script);
    Ok(env.run(bundle)?.ok()?.stdout)
}

fn root_readonly(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    let text = script(env, &mut bundle, "touch /x 2>&1; echo $?; touch /dev/shm/x && echo shm")?;
    ensure!(text.contains("Read-only file system"), "touch /x: {text}");
    ensure!(text.ends_with("1\nshm\n"), "{text}");
    Ok(())
}

fn root_writable(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.writable();
    script(env, &mut bundle, "echo hi > /x")?;
    ensure_eq!(fs::read_to_string(bundle.rootfs().join("x"))?, "hi\n", "/x");
    Ok(())
}

fn old_root_gone(env: &mut Env) -> Outcome {
    for flags in [&[][..], &["--no-pivot"]] {
        let mut bundle = env.bundle()?;
        bundle.args(&["/bin/probe"]);
        bundle.save()?;
        let dir = bundle.dir.to_string_lossy().into_owned();
        let id = env.id("x");
        let output = env.runtime(&[&["run"], flags, &["-b", &dir, &id]].concat()).ok()?;
        let report: Value = serde_json::from_str(&output.stdout)?;
        if flags.is_empty() {
            let rows = list(&report, "mounts")?;
            let outside =
                rows.iter().find(|m| m["target"].to_string().contains(&*env.dir.to_string_lossy()));
            ensure!(outside.is_none(), "a host path is a target: {outside:?}");
            let roots = rows.iter().filter(|m| m["target"] == "/").count();
            ensure_eq!(roots, 1, "mounts at /");
        }
        ensure_eq!(report["cwd"], "/", "cwd");
    }
    Ok(())
}

fn no_pivot(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.writable();
    bundle.shell("ls /; echo in > /x; cd ..; pwd; cat /proc/self/comm");
    bundle.save()?;
    let dir = bundle.dir.to_string_lossy().into_owned();
    let output = env.runtime(&["run", "--no-pivot", "-b", &dir, &env.id("x")]).ok()?;
    ensure!(output.stdout.ends_with("/\ncat\n"), "{output}");
    ensure!(bundle.rootfs().join("x").exists(), "the root is another one");
    Ok(())
}

fn root_path_forms(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    let absolute = env.dir.join("absolute");
    fs::rename(bundle.rootfs(), &absolute)?;
    bundle.set("/root/path", json!(absolute))?;
    ensure_eq!(script(env, &mut bundle, "echo a")?, "a\n", "absolute root.path");
    // A relative path starts at the bundle, not at the caller's directory.
    fs::rename(&absolute, bundle.dir.join("below"))?;
    bundle.set("/root/path", json!("./below"))?;
    ensure_eq!(script(env, &mut bundle, "echo b")?, "b\n", "relative root.path");
    // The bundle given as a relative path.
    bundle.args(&["echo", "c"]);
    bundle.save()?;
    let name = bundle.dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let output = env.runtime(&["run", "-b", &name, &env.id("y")]).cwd(&env.dir).ok()?;
    ensure_eq!(output.stdout, "c\n", "relative bundle");
    Ok(())
}

fn bind(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    let source = env.dir.join("source");
    fs::create_dir(&source)?;
    fs::write(source.join("file"), "content\n")?;
    bundle.bind(&source, "/mnt", &["rw"])?;
    let text = script(env, &mut bundle, "cat /mnt/file; echo back > /mnt/new")?;
    ensure_eq!(text, "content\n", "/mnt/file");
    ensure_eq!(fs::read_to_string(source.join("new"))?, "back\n", "the new file");
    Ok(())
}

fn bind_file(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    let source = env.dir.join("source");
    fs::write(&source, "content\n")?;
    bundle.bind(&source, "/etc/new/dir/file", &["ro"])?.bind(&source, "/etc/passwd", &["ro"])?;
    let text = script(env, &mut bundle, "cat /etc/new/dir/file /etc/passwd")?;
    ensure_eq!(text, "content\ncontent\n", "the files");
    Ok(())
}

fn bind_makes_target(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    let source = env.dir.join("source");
    fs::create_dir(&source)?;
    bundle.bind(&source, "/a/b/c", &[])?;
    let text = script(env, &mut bundle, "stat -c '%a %u:%g' /a /a/b")?;
    ensure_eq!(text, "755 0:0\n755 0:0\n", "modes of the new parents");
    Ok(())
}

fn bind_flags(env: &mut Env) -> Outcome {
    let source = env.dir.join("source");
    fs::create_dir(&source)?;
    let mut bundle = env.bundle()?;
    let table: &[(&str, &[&str], &[&str])] = &[
        ("/m1", &["ro"], &["ro"]),
        ("/m2", &["nosuid", "nodev", "noexec"], &["rw", "nosuid", "nodev", "noexec"]),
        ("/m3", &["ro", "noexec"], &["ro", "noexec", "!nosuid"]),
        ("/m4", &["rw", "suid", "dev", "exec"], &["rw", "!nosuid", "!nodev", "!noexec"]),
        ("/m5", &["ro", "rw"], &["rw"]),
        ("/m6", &["noatime"], &["noatime"]),
        ("/m7", &["nodiratime", "relatime"], &["nodiratime", "relatime"]),
    ];
    // crun adds up options that exclude each other.
    let table: Vec<_> =
        table.iter().filter(|(target, ..)| !env.is(Peer::Crun) || *target != "/m5").collect();
    for (target, options, _) in &table {
        bundle.bind(&source, target, options)?;
    }
    let report = env.probe(&mut bundle)?;
    let kind = mount_at(&report, "/m1")?["type"].as_str().unwrap_or_default().to_owned();
    for (target, _, wanted) in table {
        check_mount(&report, target, &kind, wanted, &[])?;
    }
    Ok(())
}

/// A directory with another file system below it, mounted in the runner's namespace.
pub fn nested_source(env: &Env) -> Result<std::path::PathBuf, Failure> {
    let source = env.dir.join("nested");
    fs::create_dir_all(source.join("sub"))?;
    let target = source.join("sub").to_string_lossy().into_owned();
    env.command(&["mount", "-t", "tmpfs", "tmpfs", &target]).ok()?;
    fs::write(source.join("sub/inner"), "inner\n")?;
    Ok(source)
}

/// Undo [`nested_source`].
pub fn drop_nested(env: &Env) -> Outcome {
    let target = env.dir.join("nested/sub").to_string_lossy().into_owned();
    env.command(&["umount", &target]).ok()?;
    Ok(())
}

fn rbind(env: &mut Env) -> Outcome {
    let source = nested_source(env)?;
    let mut bundle = env.bundle()?;
    bundle.bind(&source, "/m1", &[])?;
    bundle.mount(json!({
        "destination": "/m2", "type": "bind", "source": source, "options": ["rbind", "ro"],
    }))?;
    bundle.mount(json!({"destination": "/m3", "source": source, "options": ["rbind"]}))?;
    bundle.mount(json!({
        "destination": "/m4", "type": "none", "source": source, "options": ["bind"],
    }))?;
    let text = script(
        env,
        &mut bundle,
        "ls /m1/sub /m4/sub; echo -; ls /m2/sub; ls /m3/sub; touch /m2/sub/x && echo inner is writable; touch /m2/x || echo outer is not",
    )?;
    ensure_eq!(
        text,
        "/m1/sub:\n\n/m4/sub:\n-\ninner\ninner\ninner is writable\nouter is not\n",
        "what is seen"
    );
    drop_nested(env)
}

fn recursive_attributes(env: &mut Env) -> Outcome {
    let source = nested_source(env)?;
    let mut bundle = env.bundle()?;
    bundle.mount(json!({
        "destination": "/m", "type": "bind", "source": source, "options": ["rbind", "rro", "rnosuid"],
    }))?;
    let report = env.probe(&mut bundle)?;
    check_mount(&report, "/m/sub", "tmpfs", &["ro", "nosuid"], &[])?;
    let kind = mount_at(&report, "/m")?["type"].as_str().unwrap_or_default().to_owned();
    check_mount(&report, "/m", &kind, &["ro", "nosuid"], &[])?;
    drop_nested(env)
}

fn bind_relative(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    fs::create_dir(bundle.dir.join("data"))?;
    fs::write(bundle.dir.join("data/file"), "relative\n")?;
    bundle.bind("data".as_ref(), "/mnt", &[])?;
    ensure_eq!(script(env, &mut bundle, "cat /mnt/file")?, "relative\n", "/mnt/file");
    Ok(())
}

fn bind_ro_source(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    let source = env.dir.join("source");
    fs::create_dir(&source)?;
    bundle.bind(&source, "/mnt", &["ro"])?;
    let text = script(env, &mut bundle, "touch /mnt/x || echo refused")?;
    ensure_eq!(text, "refused\n", "touch");
    fs::write(source.join("x"), "")?;
    Ok(())
}

fn tmpfs(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.mount(json!({
        "destination": "/t", "type": "tmpfs", "source": "mine",
        "options": ["nosuid", "noexec", "size=1m", "mode=1710", "uid=5", "gid=6", "nr_inodes=100"],
    }))?;
    bundle.mount(
        json!({"destination": "/ro", "type": "tmpfs", "source": "tmpfs", "options": ["ro"]}),
    )?;
    let report = env.probe(&mut bundle)?;
    check_mount(
        &report,
        "/t",
        "tmpfs",
        &["rw", "nosuid", "noexec", "!nodev"],
        &["size=1024k", "mode=1710", "uid=5", "gid=6", "nr_inodes=100"],
    )?;
    ensure_eq!(mount_at(&report, "/t")?["source"], "mine", "source");
    check_mount(&report, "/ro", "tmpfs", &["ro"], &[])?;
    let mut again = env.bundle()?;
    again.config = bundle.config.clone();
    let text = script(env, &mut again, "stat -c '%a %u:%g' /t; touch /ro/x || echo refused")?;
    ensure_eq!(text, "1710 5:6\nrefused\n", "the tmpfs");
    Ok(())
}

fn tmpcopyup(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    let seed = bundle.rootfs().join("seed");
    fs::create_dir(&seed)?;
    fs::write(seed.join("file"), "kept\n")?;
    symlink("file", seed.join("link"))?;
    fs::set_permissions(&seed, fs::Permissions::from_mode(0o750))?;
    bundle.mount(json!({
        "destination": "/seed", "type": "tmpfs", "source": "tmpfs", "options": ["rw", "tmpcopyup"],
    }))?;
    let text = script(
        env,
        &mut bundle,
        "cat /seed/link; readlink /seed/link; echo new > /seed/file; cat /seed/file; stat -c %a /seed",
    )?;
    ensure_eq!(text, "kept\nfile\nnew\n750\n", "the copy");
    ensure_eq!(fs::read_to_string(seed.join("file"))?, "kept\n", "the original");
    Ok(())
}

fn order(env: &mut Env) -> Outcome {
    let (one, two) = (env.dir.join("one"), env.dir.join("two"));
    for (dir, text) in [(&one, "one"), (&two, "two")] {
        fs::create_dir_all(dir.join("sub"))?;
        fs::write(dir.join("name"), format!("{text}\n"))?;
    }
    let mut bundle = env.bundle()?;
    bundle.bind(&one, "/mnt", &[])?.bind(&two, "/mnt/sub", &[])?.bind(&one, "/x", &[])?.bind(
        &two,
        "/x",
        &[],
    )?;
    let text = script(env, &mut bundle, "cat /mnt/name /mnt/sub/name /x/name")?;
    ensure_eq!(text, "one\ntwo\ntwo\n", "later mounts lie on earlier ones");
    Ok(())
}

fn relative_target(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.mount(json!({"destination": "tmp/rel", "type": "tmpfs", "source": "tmpfs"}))?;
    let report = env.probe(&mut bundle)?;
    check_mount(&report, "/tmp/rel", "tmpfs", &[], &[])
}

fn masked(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    let rootfs = bundle.rootfs();
    fs::write(rootfs.join("etc/secret"), "secret\n")?;
    fs::create_dir(rootfs.join("hidden"))?;
    fs::write(rootfs.join("hidden/file"), "secret\n")?;
    bundle.set("/linux/maskedPaths", json!(["/etc/secret", "/hidden", "/proc/keys"]))?;
    let text = script(
        env,
        &mut bundle,
        "cat /etc/secret; ls -a /hidden; stat -c '%t:%T' /etc/secret /proc/keys; touch /hidden/x || echo refused",
    )?;
    ensure_eq!(text, ".\n..\n1:3\n1:3\nrefused\n", "masked paths");
    Ok(())
}

fn readonly_paths(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.writable();
    fs::create_dir_all(bundle.rootfs().join("ro/sub"))?;
    fs::write(bundle.rootfs().join("etc/file"), "")?;
    bundle.set("/linux/readonlyPaths", json!(["/ro", "/etc/file", "/proc/sys"]))?;
    let text = script(
        env,
        &mut bundle,
        "touch /ro/x || echo 1; touch /ro/sub/x || echo 2; echo x > /etc/file || echo 3; \
         echo 1 > /proc/sys/net/ipv4/ip_forward || echo 4; touch /x && echo 5",
    )?;
    ensure_eq!(text, "1\n2\n3\n4\n5\n", "read-only paths");
    Ok(())
}

fn missing_paths(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/linux/maskedPaths", json!(["/no/such/path"]))?;
    bundle.set("/linux/readonlyPaths", json!(["/no/such/path/either"]))?;
    ensure_eq!(script(env, &mut bundle, "echo fine")?, "fine\n", "stdout");
    Ok(())
}

fn sysfs_ro(env: &mut Env) -> Outcome {
    let text = script(
        env,
        &mut env.bundle()?,
        "echo 1 > /sys/class/net/lo/mtu 2>/dev/null || echo refused; ls /sys/class/net",
    )?;
    ensure_eq!(text, "refused\nlo\n", "/sys");
    Ok(())
}

fn atime_flags(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.mount(
        json!({"destination": "/a", "type": "tmpfs", "source": "t", "options": ["noatime"]}),
    )?;
    bundle.mount(
        json!({"destination": "/b", "type": "tmpfs", "source": "t", "options": ["strictatime"]}),
    )?;
    let report = env.probe(&mut bundle)?;
    check_mount(&report, "/a", "tmpfs", &["noatime", "!relatime"], &[])?;
    check_mount(&report, "/b", "tmpfs", &["!noatime", "!relatime"], &[])
}

fn cgroup_mount(env: &mut Env) -> Outcome {
    let report = env.probe(&mut env.bundle()?)?;
    if env.shared.host.v2 {
        return check_mount(
            &report,
            "/sys/fs/cgroup",
            "cgroup2",
            &["ro", "nosuid", "noexec", "nodev"],
            &[],
        );
    }
    check_mount(&report, "/sys/fs/cgroup", "tmpfs", &["nosuid", "noexec", "nodev"], &[])?;
    check_mount(&report, "/sys/fs/cgroup/memory", "cgroup", &["ro", "nosuid"], &["memory"])?;
    // The container's own group is the root of what it sees.
    let text = script(env, &mut env.bundle()?, "cat /sys/fs/cgroup/pids/cgroup.procs | wc -l")?;
    let count: u32 = text.trim().parse()?;
    ensure!((1..=4).contains(&count), "processes in the container's pids group: {count}");
    Ok(())
}
