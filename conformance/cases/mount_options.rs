//! Every option of a mount, as the container sees it take effect.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::errors::refuses;
use super::mounts::{drop_nested, has, mount_at, nested_source, script};
use super::namespaces::mapped;
use crate::case::{Case, Failure, Outcome, Peer};
use crate::env::Env;
use crate::trace::{STRACE, calls, trace};
use crate::{ensure, ensure_eq};

const OLD_RUNC: &str = "runc 1.1.5 does not know all of them";
const CRUN: (Peer, &str) = (Peer::Crun, "crun 1.8.1 does not know all of them");

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("mount-options/of-a-new-file-system", new_filesystem).not_on(&[CRUN]),
    Case::new("mount-options/words-that-nothing-shows", unseen).needs(STRACE).not_on(&[CRUN]),
    Case::new("mount-options/words-that-undo-others", undone).not_on(&[CRUN]),
    Case::new("mount-options/of-a-bind", bind)
        .not_on(&[(Peer::Runc, "runc 1.1.5 takes none of them back"), CRUN]),
    Case::new("mount-options/of-a-bind-replace-its-source's", replaced).not_on(&[CRUN]),
    Case::new("mount-options/recursive", recursive).not_on(&[CRUN]),
    Case::new("mount-options/recursive-on-a-new-file-system", recursive_new)
        .not_on(&[(Peer::Runc, "runc leaves them out"), CRUN]),
    Case::new("mount-options/remount-a-file-system", remount)
        .not_on(&[(Peer::Crun, "crun 1.8.1 mounts another one")]),
    Case::new("mount-options/remount-a-bind", remount_bind).not_on(&[CRUN]),
    Case::new("mount-options/locked-by-the-host", locked).not_on(&[(Peer::Runc, OLD_RUNC), CRUN]),
    Case::new("mount-options/that-can-not-be", refused)
        .not_on(&[(Peer::Runc, "runc 1.1.5 passes most of them over"), CRUN]),
    Case::new("mount-options/in-features", in_features)
        .not_on(&[(Peer::Runc, OLD_RUNC), (Peer::Crun, "crun 1.8.1 has no such list")]),
];

/// What runc 1.5 lists.
const RUNC: &str = "async atime bind defaults dev diratime dirsync exec idmap iversion lazytime loud \
    mand noatime nodev nodiratime noexec noiversion nolazytime nomand norelatime nostrictatime nosuid \
    nosymfollow private ratime rbind rdev rdiratime relatime remount rexec ridmap rnoatime rnodev \
    rnodiratime rnoexec rnorelatime rnostrictatime rnosuid rnosymfollow ro rprivate rrelatime rro \
    rrw rshared rslave rstrictatime rsuid rsymfollow runbindable rw shared silent slave strictatime \
    suid symfollow sync tmpcopyup unbindable";

fn words(text: &str) -> Vec<&str> {
    text.split(',').filter(|word| !word.is_empty()).collect()
}

/// Checks a mount's options, those of the mount before those of its file system (with `+`).
fn check(report: &Value, target: &str, wanted: &str) -> Outcome {
    let mount = mount_at(report, target)?;
    for word in words(wanted) {
        let (expected, word) = word.strip_prefix('!').map_or((true, word), |word| (false, word));
        let (list, word) = word.strip_prefix('+').map_or(("options", word), |w| ("super", w));
        ensure_eq!(has(&mount[list], word), expected, "{word} in {list} of {mount}");
    }
    Ok(())
}

/// A tmpfs for each row of options, and what is then to be seen.
fn table(env: &Env, rows: &[(&str, &str)]) -> Outcome {
    let mut bundle = env.bundle()?;
    for (index, (options, _)) in rows.iter().enumerate() {
        bundle.mount(json!({
            "destination": format!("/t{index}"), "type": "tmpfs", "source": "t",
            "options": words(options),
        }))?;
    }
    let report = env.probe(&mut bundle)?;
    for (index, (options, wanted)) in rows.iter().enumerate() {
        check(&report, &format!("/t{index}"), wanted)
            .map_err(|failure| Failure(format!("{options}: {failure}")))?;
    }
    Ok(())
}

fn new_filesystem(env: &mut Env) -> Outcome {
    let plain = "rw,!nosuid,!nodev,!noexec,!noatime,!nodiratime,relatime,!nosymfollow,+rw,!+sync";
    table(
        env,
        &[
            ("", plain),
            ("ro", "ro"),
            ("nosuid", "nosuid,!nodev,!noexec"),
            ("nodev", "nodev,!nosuid"),
            ("noexec", "noexec,!nosuid"),
            ("noatime", "noatime,!relatime"),
            ("nodiratime", "nodiratime,relatime"),
            ("strictatime", "!relatime,!noatime"),
            ("relatime", "relatime"),
            ("sync", "+sync,!+dirsync"),
            ("dirsync", "+dirsync,!+sync"),
            ("lazytime", "+lazytime"),
            ("mand", "+mand"),
            // The next case has their effect; as options of the file system, they would be refused.
            ("iversion", "rw"),
            ("silent", "rw"),
            ("loud", "rw"),
        ],
    )?;
    if env.is(Peer::Runc) {
        return Ok(());
    }
    table(
        env,
        &[("nosymfollow", "nosymfollow"), ("symfollow", "!nosymfollow"), ("defaults", plain)],
    )
}

fn unseen(env: &mut Env) -> Outcome {
    let rows = [
        ("iversion", Some("MS_I_VERSION")),
        ("iversion,noiversion", None),
        ("silent", Some("MS_SILENT")),
        ("silent,loud", None),
    ];
    let mut bundle = env.bundle_with(&["true"])?;
    for (index, (options, _)) in rows.iter().enumerate() {
        bundle.mount(json!({
            "destination": format!("/t{index}"), "type": "tmpfs", "source": options,
            "options": words(options),
        }))?;
    }
    let text = trace(env, env.run(&bundle)?, &["-e", "trace=mount"])?;
    for (options, wanted) in rows {
        let own = format!("mount(\"{options}\", ");
        let flag =
            calls(&text, "mount").into_iter().filter(|call| call.starts_with(&own)).find_map(
                |call| ["MS_I_VERSION", "MS_SILENT"].into_iter().find(|flag| call.contains(flag)),
            );
        ensure_eq!(flag, wanted, "the flag of {options} in {text}");
    }
    Ok(())
}

fn undone(env: &mut Env) -> Outcome {
    table(
        env,
        &[
            ("ro,rw", "rw,+rw"),
            ("nosuid,suid", "!nosuid"),
            ("nodev,dev", "!nodev"),
            ("noexec,exec", "!noexec"),
            ("noatime,atime", "relatime,!noatime"),
            ("nodiratime,diratime", "!nodiratime"),
            ("strictatime,nostrictatime", "relatime"),
            ("sync,async", "!+sync"),
            ("lazytime,nolazytime", "!+lazytime"),
            ("mand,nomand", "!+mand"),
            ("iversion,noiversion,silent,loud", "rw"),
            ("suid,nosuid", "nosuid"),
        ],
    )?;
    if env.is(Peer::Runc) {
        return Ok(());
    }
    table(env, &[("nosymfollow,symfollow", "!nosymfollow"), ("norelatime", "!relatime,!noatime")])
}

/// A file system of the host's with these options, at a path of the case's own.
fn host_mount(env: &Env, name: &str, options: &str) -> Result<PathBuf, Failure> {
    let path = env.dir.join(name);
    fs::create_dir_all(&path)?;
    let target = path.to_string_lossy().into_owned();
    env.command(&["mount", "-t", "tmpfs", "-o", options, "tmpfs", &target]).ok()?;
    Ok(path)
}

fn drop_host_mounts(env: &Env, paths: &[&PathBuf]) -> Outcome {
    for path in paths {
        env.command(&["umount", &path.to_string_lossy()]).ok()?;
    }
    Ok(())
}

fn bind(env: &mut Env) -> Outcome {
    let source =
        host_mount(env, "source", "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow")?;
    let mut bundle = env.bundle()?;
    let rows = [
        ("rw", "rw"),
        ("suid", "!nosuid"),
        ("dev", "!nodev"),
        ("exec", "!noexec"),
        ("atime", "relatime,!noatime"),
        ("relatime", "relatime,!noatime"),
        ("strictatime", "!relatime,!noatime"),
        ("diratime", "!nodiratime"),
        ("symfollow", "!nosymfollow"),
        ("nosymfollow", "nosymfollow"),
        ("", "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow"),
        // What belongs to the file system, a bind can't change.
        ("sync,lazytime,mand,dirsync,silent,iversion", "ro,nosuid,!+sync,!+lazytime"),
    ];
    for (index, (options, _)) in rows.iter().enumerate() {
        bundle.bind(&source, &format!("/b{index}"), &words(options))?;
    }
    let report = env.probe(&mut bundle)?;
    for (index, (options, wanted)) in rows.iter().enumerate() {
        check(&report, &format!("/b{index}"), wanted)
            .map_err(|failure| Failure(format!("{options}: {failure}")))?;
    }
    drop_host_mounts(env, &[&source])
}

fn replaced(env: &mut Env) -> Outcome {
    let source = host_mount(env, "source", "nosuid,nodev,noexec,noatime")?;
    let mut bundle = env.bundle()?;
    bundle.bind(&source, "/none", &[])?.bind(&source, "/one", &["nodev"])?.bind(
        &source,
        "/ro",
        &["ro"],
    )?;
    let report = env.probe(&mut bundle)?;
    check(&report, "/none", "nosuid,nodev,noexec,noatime,rw")?;
    check(&report, "/one", "!nosuid,nodev,!noexec,noatime,rw")?;
    check(&report, "/ro", "!nosuid,!nodev,!noexec,noatime,ro")?;
    drop_host_mounts(env, &[&source])
}

fn recursive(env: &mut Env) -> Outcome {
    let source = nested_source(env)?;
    let inner = source.join("sub").to_string_lossy().into_owned();
    let all = "remount,bind,ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow";
    let mut rows = vec![
        ("rro", "ro"),
        ("rnosuid", "nosuid"),
        ("rnodev", "nodev"),
        ("rnoexec", "noexec"),
        ("rnoatime", "noatime"),
        ("rnodiratime", "nodiratime"),
        ("rstrictatime", "!relatime,!noatime"),
        ("rrelatime", "relatime"),
        ("rnosymfollow", "nosymfollow"),
    ];
    recursive_table(env, &source, &rows)?;
    env.command(&["mount", "-o", all, &inner]).ok()?;
    rows = vec![
        ("rrw", "rw"),
        ("rsuid", "!nosuid"),
        ("rdev", "!nodev"),
        ("rexec", "!noexec"),
        ("rdiratime", "!nodiratime"),
        ("rsymfollow", "!nosymfollow"),
        ("rrelatime", "relatime,!noatime"),
        ("rstrictatime", "!relatime,!noatime"),
    ];
    if !env.is(Peer::Runc) {
        rows.extend([
            ("rro,rrw", "rw"),
            ("ratime", "!noatime,relatime"),
            ("rnorelatime", "!noatime,!relatime"),
            ("rnostrictatime", "!noatime,relatime"),
        ]);
    }
    recursive_table(env, &source, &rows)?;
    drop_nested(env)
}

fn recursive_table(env: &Env, source: &PathBuf, rows: &[(&str, &str)]) -> Outcome {
    let mut bundle = env.bundle()?;
    for (index, (options, _)) in rows.iter().enumerate() {
        let options: Vec<&str> = [vec!["rbind"], words(options)].concat();
        bundle.mount(json!({
            "destination": format!("/r{index}"), "type": "bind", "source": source,
            "options": options,
        }))?;
    }
    let report = env.probe(&mut bundle)?;
    for (index, (options, wanted)) in rows.iter().enumerate() {
        for target in [format!("/r{index}"), format!("/r{index}/sub")] {
            check(&report, &target, wanted)
                .map_err(|failure| Failure(format!("{options}: {failure}")))?;
        }
    }
    Ok(())
}

fn recursive_new(env: &mut Env) -> Outcome {
    table(env, &[("rro", "ro"), ("rnosuid,rnoexec,rnoatime", "nosuid,noexec,noatime,!nodev")])?;
    // Devices are made in it first.
    let mut bundle = env.bundle()?;
    let dev = bundle.config["mounts"].as_array_mut().and_then(|mounts| mounts.get_mut(1));
    let dev = dev.ok_or_else(|| Failure("no mount of /dev".to_owned()))?;
    ensure_eq!(dev["destination"], "/dev", "the second mount");
    dev["options"] = json!(["nosuid", "mode=755", "rro"]);
    check(&env.probe(&mut bundle)?, "/dev", "ro,nosuid")
}

fn remount(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    for (target, first, then) in [
        ("/size", "size=1m,nosuid", "remount,size=2m,noexec"),
        ("/ro", "ro", "remount,nosuid"),
        ("/rw", "rw", "remount,ro"),
    ] {
        for options in [first, then] {
            bundle.mount(json!({
                "destination": target, "type": "tmpfs", "source": "t", "options": words(options),
            }))?;
        }
    }
    bundle.mount(json!({
        "destination": "/proc", "type": "proc", "source": "proc",
        "options": ["remount", "nosuid", "noexec", "nodev", "hidepid=2"],
    }))?;
    let report = env.probe(&mut bundle)?;
    check(&report, "/size", "noexec,!nosuid,+size=2048k")?;
    check(&report, "/rw", "ro")?;
    check(&report, "/proc", "nosuid,noexec,nodev")?;
    let hidden = mount_at(&report, "/proc")?["super"].to_string();
    ensure!(hidden.contains("hidepid="), "options of /proc: {hidden}");
    for target in ["/size", "/rw", "/proc"] {
        let list = report["mounts"]
            .as_array()
            .map_or(0, |mounts| mounts.iter().filter(|mount| mount["target"] == target).count());
        ensure_eq!(list, 1, "mounts at {target}");
    }
    if env.is(Peer::Runc) {
        return Ok(());
    }
    bundle.mount(json!({"destination": "/etc", "type": "tmpfs", "options": ["remount"]}))?;
    refuses(env, &bundle, &["mounts[14].destination", "no mount to remount"])
}

fn remount_bind(env: &mut Env) -> Outcome {
    let source = env.dir.join("source");
    fs::create_dir(&source)?;
    fs::write(source.join("file"), "here\n")?;
    let mut bundle = env.bundle()?;
    bundle.bind(&source, "/b", &["nosuid", "noexec"])?;
    bundle.bind("/nowhere".as_ref(), "/b", &["remount", "ro", "nodev"])?;
    if env.is(Peer::Runc) {
        bundle.config["mounts"][8]["source"] = json!(source);
    }
    bundle.bind(&source.join("file"), "/f", &[])?;
    bundle.bind(&source.join("file"), "/f", &["remount", "ro"])?;
    let report = env.probe(&mut bundle)?;
    check(&report, "/b", "ro,nodev,!nosuid,!noexec")?;
    check(&report, "/f", "ro")?;
    ensure_eq!(script(env, &mut bundle, "cat /b/file")?, "here\n", "what is bound");
    if env.is(Peer::Runc) {
        return Ok(());
    }
    bundle.bind(&source, "/etc", &["remount", "ro"])?;
    refuses(env, &bundle, &["mounts[11].destination", "no mount to remount"])
}

fn locked(env: &mut Env) -> Outcome {
    let source = host_mount(env, "source", "ro,nosuid,nodev,noexec,noatime")?;
    let mut bundle = mapped(env, 100_000)?;
    bundle.bind(&source, "/none", &[])?;
    bundle.bind(&source, "/some", &["nosuid", "nosymfollow"])?;
    let report = env.probe(&mut bundle)?;
    check(&report, "/none", "ro,nosuid,nodev,noexec,noatime")?;
    check(&report, "/some", "ro,nosuid,nodev,noexec,noatime,nosymfollow")?;
    for word in ["rw", "suid", "dev", "exec", "atime", "relatime", "rrw"] {
        let mut bundle = mapped(env, 100_000)?;
        bundle.bind(&source, "/asked", &[word])?;
        let path = source.to_string_lossy().into_owned();
        let output = env.run(&bundle)?.exits(1)?;
        for text in ["mounts[7].options", "/asked", &path, "locked", "operation not permitted"] {
            ensure!(output.stderr.contains(text), "{word}: no {text:?}: {output}");
        }
    }
    drop_host_mounts(env, &[&source])?;
    env.nothing_left()
}

fn refused(env: &mut Env) -> Outcome {
    let source = env.dir.join("source");
    fs::create_dir(&source)?;
    let rows: &[(&str, &str, &[&str])] = &[
        ("tmpfs", "size=much", &["mounts[7].options", "size=much", "invalid argument"]),
        ("tmpfs", "nonsense", &["mounts[7].options", "nonsense"]),
        ("tmpfs", "iversion,nonsense=1", &["mounts[7].options", "nonsense=1"]),
        ("bind", "bind,size=1m", &["mounts[7].options", "size=1m"]),
        ("none", "rbind,mode=755", &["mounts[7].options", "mode=755"]),
        ("proc", "tmpcopyup", &["mounts[7].options", "tmpcopyup"]),
        ("tmpfs", "remount,tmpcopyup", &["mounts[7].options", "tmpcopyup"]),
        ("tmpfs", "idmap", &["mounts[7].options", "\\\"idmap\\\""]),
        ("tmpfs", "bind,remount,ridmap", &["mounts[7].options", "\\\"ridmap\\\""]),
        ("", "ro", &["mounts[7].type"]),
        ("nosuchfs", "ro", &["mounts[7].type", "nosuchfs", "no such device"]),
    ];
    for (kind, options, expected) in rows {
        let mut bundle = env.bundle()?;
        bundle.mount(json!({
            "destination": "/x", "type": kind, "source": source, "options": words(options),
        }))?;
        refuses(env, &bundle, expected)
            .map_err(|failure| Failure(format!("{kind} {options}: {failure}")))?;
    }
    Ok(())
}

fn in_features(env: &mut Env) -> Outcome {
    let features: Value = serde_json::from_str(&env.runtime(&["features"]).ok()?.stdout)?;
    let listed: Vec<&str> = features["mountOptions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    ensure_eq!(listed, RUNC.split_whitespace().collect::<Vec<_>>(), "mountOptions");
    ensure_eq!(features["linux"]["mountExtensions"]["idmap"]["enabled"], true, "idmap");
    Ok(())
}
