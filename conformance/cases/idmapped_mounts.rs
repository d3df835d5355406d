//! Bind mounts that translate ids: who owns the files inside, and who on the host.

use std::fs;
use std::os::unix::fs::{MetadataExt, lchown};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::errors::refuses;
use super::mounts::script;
use super::namespaces::mapped;
use crate::bundle::Bundle;
use crate::case::{Case, Failure, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

/// The cases of this area.
pub const CASES: &[Case] = &[
    case("idmapped-mounts/by-mappings-of-their-own", own_mappings),
    case("idmapped-mounts/by-the-container's-namespace", of_container),
    case("idmapped-mounts/by-other-mappings-than-the-container's", other_than_container),
    case("idmapped-mounts/by-a-joined-namespace", of_joined),
    case("idmapped-mounts/several-with-the-same-mappings", several),
    case("idmapped-mounts/idmap-is-not-recursive-and-ridmap-is", recursive),
    case("idmapped-mounts/keep-the-host's-locks", locks),
    case("idmapped-mounts/of-a-file-system-that-can-not", unable),
    case("idmapped-mounts/without-privileges", unprivileged),
    case("idmapped-mounts/that-can-not-be", refused),
];

const fn case(name: &'static str, run: fn(&mut Env) -> Outcome) -> Case {
    Case::new(name, run).not_on(&[
        (Peer::Runc, "runc 1.1.5 has none"),
        (Peer::Crun, "crun 1.8.1 takes mappings from the option's text"),
    ])
}

fn mapping(inside: u32, outside: u32, size: u32) -> Value {
    json!([{"containerID": inside, "hostID": outside, "size": size}])
}

/// A directory with files of the owners 0:0 and 3:4.
fn source(env: &Env, name: &str) -> Result<PathBuf, Failure> {
    let dir = env.dir.join(name);
    fs::create_dir(&dir)?;
    fs::write(dir.join("root"), "")?;
    fs::write(dir.join("other"), "")?;
    lchown(dir.join("other"), Some(3), Some(4))?;
    Ok(dir)
}

fn add(
    bundle: &mut Bundle,
    source: &Path,
    target: &str,
    options: &[&str],
    maps: Option<(Value, Value)>,
) -> Outcome {
    let mut mount = json!({
        "destination": target, "type": "bind", "source": source, "options": options,
    });
    if let Some((uids, gids)) = maps {
        mount["uidMappings"] = uids;
        mount["gidMappings"] = gids;
    }
    bundle.mount(mount)?;
    Ok(())
}

const OWNERS: &str = "stat -c %u:%g /m/root /m/other";

fn own_mappings(env: &mut Env) -> Outcome {
    let source = source(env, "source")?;
    for options in [&["bind", "idmap"][..], &["rbind", "ridmap"], &["bind"]] {
        let mut bundle = env.bundle()?;
        let maps = (mapping(0, 1000, 10), mapping(0, 2000, 10));
        add(&mut bundle, &source, "/m", options, Some(maps))?;
        ensure_eq!(script(env, &mut bundle, OWNERS)?, "1000:2000\n1003:2004\n", "owners inside");
        bundle.set("/process/user", json!({"uid": 1005, "gid": 2006}))?;
        fs::set_permissions(&source, std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
        script(env, &mut bundle, "echo > /m/new")?;
        let new = fs::metadata(source.join("new"))?;
        ensure_eq!((new.uid(), new.gid()), (5, 6), "owner on the host");
        fs::remove_file(source.join("new"))?;
    }
    // From other ids than 0 on, and one alone: whoever is not among them is nobody.
    for (first, owners) in [
        ([3, 4], "65534:65534\n1000:2000\n"),
        ([2, 4], "65534:65534\n65534:2000\n"),
        ([3, 3], "65534:65534\n1000:65534\n"),
    ] {
        let mut bundle = env.bundle()?;
        let maps = (mapping(first[0], 1000, 1), mapping(first[1], 2000, 1));
        add(&mut bundle, &source, "/m", &["bind", "idmap"], Some(maps))?;
        let found = script(env, &mut bundle, OWNERS)?;
        ensure_eq!(found, owners, "owners inside, with maps of one from {first:?} on");
    }
    Ok(())
}

fn of_container(env: &mut Env) -> Outcome {
    let source = source(env, "source")?;
    let same = (mapping(0, 100_000, 65536), mapping(0, 100_000, 65536));
    for (options, maps) in
        [(&["bind", "idmap"][..], None), (&["rbind", "ridmap"], None), (&["bind"], Some(same))]
    {
        let mut bundle = mapped(env, 100_000)?;
        add(&mut bundle, &source, "/m", options, maps)?;
        let text = script(env, &mut bundle, &format!("{OWNERS}; echo > /m/new"))?;
        ensure_eq!(text, "0:0\n3:4\n", "owners inside");
        let new = fs::metadata(source.join("new"))?;
        ensure_eq!((new.uid(), new.gid()), (0, 0), "owner on the host");
        fs::remove_file(source.join("new"))?;
    }
    // Without, they are nobody's that the container knows.
    let mut bundle = mapped(env, 100_000)?;
    add(&mut bundle, &source, "/m", &["bind"], None)?;
    let text = script(env, &mut bundle, OWNERS)?;
    ensure_eq!(text, "65534:65534\n65534:65534\n", "owners without a mapping");
    Ok(())
}

fn other_than_container(env: &mut Env) -> Outcome {
    let source = source(env, "source")?;
    let mut bundle = mapped(env, 100_000)?;
    // Mappings speak of the host's ids, of which the container's namespace shows its own.
    let maps = (mapping(0, 100_010, 10), mapping(0, 100_020, 10));
    add(&mut bundle, &source, "/m", &["bind", "idmap"], Some(maps))?;
    ensure_eq!(script(env, &mut bundle, OWNERS)?, "10:20\n13:24\n", "owners inside");
    Ok(())
}

fn of_joined(env: &mut Env) -> Outcome {
    let source = source(env, "source")?;
    let mut first = mapped(env, 100_000)?;
    first.args(&["sleep", "1000"]);
    let id = env.detach(&first, "first", &[])?;
    let path = format!("/proc/{}/ns/user", env.pid(&id)?);
    let mut bundle = mapped(env, 100_000)?;
    bundle.remove("/linux/uidMappings")?.remove("/linux/gidMappings")?;
    bundle.namespace("user", Some(&path))?;
    add(&mut bundle, &source, "/m", &["bind", "idmap"], None)?;
    ensure_eq!(script(env, &mut bundle, OWNERS)?, "0:0\n3:4\n", "owners inside");
    Ok(())
}

fn several(env: &mut Env) -> Outcome {
    let source = source(env, "source")?;
    let mut bundle = env.bundle()?;
    for target in ["/m", "/m1", "/m2"] {
        let maps = (mapping(0, 1000, 10), mapping(0, 2000, 10));
        add(&mut bundle, &source, target, &["bind", "idmap"], Some(maps))?;
    }
    let maps = (mapping(0, 7000, 10), mapping(0, 8000, 10));
    add(&mut bundle, &source.join("other"), "/m3", &["bind", "idmap"], Some(maps))?;
    let text = script(env, &mut bundle, "stat -c %u:%g /m/other /m1/other /m2/other /m3")?;
    ensure_eq!(text, "1003:2004\n1003:2004\n1003:2004\n7003:8004\n", "owners inside");
    Ok(())
}

fn recursive(env: &mut Env) -> Outcome {
    let outer = source(env, "outer")?;
    let inner = source(env, "inner")?;
    let below = outer.join("below");
    fs::create_dir(&below)?;
    let (from, to) = (inner.to_string_lossy(), below.to_string_lossy());
    env.command(&["mount", "--bind", &from, &to]).ok()?;
    for (option, wanted) in [("idmap", "1003:2004\n3:4\n"), ("ridmap", "1003:2004\n1003:2004\n")] {
        let mut bundle = env.bundle()?;
        let maps = (mapping(0, 1000, 10), mapping(0, 2000, 10));
        add(&mut bundle, &outer, "/m", &["rbind", option], Some(maps))?;
        let text = script(env, &mut bundle, "stat -c %u:%g /m/other /m/below/other")?;
        ensure_eq!(text, wanted, "owners with {option}");
    }
    env.command(&["umount", &to]).ok()?;
    Ok(())
}

fn locks(env: &mut Env) -> Outcome {
    let source = source(env, "source")?;
    let path = source.to_string_lossy().into_owned();
    env.command(&["mount", "--bind", &path, &path]).ok()?;
    env.command(&["mount", "-o", "remount,bind,ro", &path]).ok()?;
    let mut bundle = mapped(env, 100_000)?;
    bundle.capabilities(&["bounding", "effective", "permitted"], &["CAP_SYS_ADMIN"]);
    add(&mut bundle, &source, "/m", &["bind", "idmap"], None)?;
    let text = script(
        env,
        &mut bundle,
        &format!(
            "{OWNERS}; mount -o remount,bind,rw /m 2>/dev/null || echo locked; echo x > /m/x || echo still"
        ),
    )?;
    ensure_eq!(text, "0:0\n3:4\nlocked\nstill\n", "what the container's root can do");
    env.command(&["umount", &path]).ok()?;
    Ok(())
}

fn unable(env: &mut Env) -> Outcome {
    for base in [None, Some(100_000)] {
        let mut bundle = base.map_or_else(|| env.bundle(), |base| mapped(env, base))?;
        let maps = (mapping(0, 1000, 10), mapping(0, 2000, 10));
        add(&mut bundle, "/sys/class".as_ref(), "/m", &["bind", "idmap"], Some(maps))?;
        refuses(
            env,
            &bundle,
            &["mounts[7].uidMappings", "/m", "/sys/class", "sysfs", "invalid argument"],
        )?;
    }
    Ok(())
}

fn unprivileged(env: &mut Env) -> Outcome {
    env.become_user()?;
    let mut bundle = env.bundle()?;
    let index = bundle.config["mounts"].as_array().map_or(0, Vec::len);
    let source = env.dir.to_string_lossy().into_owned();
    add(&mut bundle, source.as_ref(), "/m", &["bind", "idmap"], None)?;
    bundle.args(&["true"]);
    let output = env.run(&bundle)?.exits(1)?;
    let field = format!("mounts[{index}].options");
    for word in [field.as_str(), "idmap", "privileges of root"] {
        ensure!(output.stderr.contains(word), "no {word:?}: {output}");
    }
    env.nothing_left()
}

fn refused(env: &mut Env) -> Outcome {
    let source = source(env, "source")?;
    let good = || mapping(0, 1000, 10);
    let two = json!([
        {"containerID": 0, "hostID": 0, "size": 10}, {"containerID": 5, "hostID": 50, "size": 10},
    ]);
    let rows: &[(&[&str], Value, Value, &[&str])] = &[
        (&["bind"], good(), json!([]), &["mounts[7].gidMappings", "missing"]),
        (&["bind"], json!([]), good(), &["mounts[7].uidMappings", "missing"]),
        (&["bind", "idmap"], json!([]), json!([]), &["mounts[7].options", "user namespace"]),
        (&["rbind", "ridmap"], json!(null), json!(null), &["mounts[7].options", "ridmap"]),
        (&["ro"], good(), good(), &["mounts[7].uidMappings", "bind"]),
        (&["bind", "remount"], good(), good(), &["mounts[7].uidMappings", "bind"]),
        (&["bind"], mapping(0, 1, 0), good(), &["mounts[7].uidMappings[0].size: 0"]),
        (&["bind"], good(), mapping(7, u32::MAX, 3), &["mounts[7].gidMappings[0]", "4294967295"]),
        (&["bind"], two.clone(), good(), &["mounts[7].uidMappings", "5 50 10", "overlaps"]),
        (&["bind"], good(), two, &["mounts[7].gidMappings", "5 50 10", "overlaps"]),
    ];
    for (options, uids, gids, expected) in rows {
        let mut bundle = env.bundle()?;
        add(&mut bundle, &source, "/m", options, Some((uids.clone(), gids.clone())))?;
        if !options.contains(&"bind") && !options.contains(&"rbind") {
            bundle.set("/mounts/7/type", json!("tmpfs"))?;
        }
        refuses(env, &bundle, expected)
            .map_err(|failure| Failure(format!("{options:?} {uids} {gids}: {failure}")))?;
    }
    ensure!(source.join("root").exists(), "the source is gone");
    Ok(())
}
