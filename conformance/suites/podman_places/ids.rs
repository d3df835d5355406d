//! User namespaces whose ids podman chooses: `--userns keep-id` and `auto`.

use std::fs;

use crate::call::Call;
use crate::case::{Failure, Outcome};
use crate::suites::asked::Client;
use crate::suites::podman::Podman;
use crate::user::{self, SUBORDINATE, SUBORDINATES, UID};
use crate::{ensure, ensure_eq};

/// The user's id outside is the same inside. podman has no such thing for root.
pub fn keep_id(podman: &Podman) -> Outcome {
    let volume = podman.dir.join("volume");
    fs::create_dir(&volume)?;
    let flag = format!("{}:/mnt", volume.display());
    let flags = ["--rm", "--userns", "keep-id", "-v", &flag];
    let kept = podman.run(&flags, &["sh", "-c", "id -u; echo kept > /mnt/file"]);
    if podman.env().user.is_none() {
        let output = kept.exits(125)?;
        ensure!(output.stderr.contains("keep-id is only supported in rootless mode"), "{output}");
        return Ok(());
    }
    user::own_tree(&volume)?;
    ensure_eq!(kept.ok()?.stdout, format!("{UID}\n"), "user");
    ensure_eq!(fs::read_to_string(volume.join("file"))?, "kept\n", "file");
    Ok(())
}

/// Two containers have no id in common.
pub fn auto(podman: &Podman) -> Outcome {
    let storage = podman.dir.join("storage.conf");
    fs::write(&storage, grant(podman)?)?;
    let granted = |call: Call| match podman.env().user {
        Some(_) => call,
        None => call.env("CONTAINERS_STORAGE_CONF", &storage),
    };
    let flags = ["--userns", "auto:size=500"];
    let look = "cat /proc/self/uid_map";
    let background = [&["-d", "--name", "a"], &flags[..]].concat();
    let script = format!("{look}; sleep 1000");
    granted(podman.run(&background, &["sh", "-c", &script])).ok()?;
    let one = map(&podman.call(&["exec", "a", "sh", "-c", look]).ok()?.stdout)?;
    let foreground = [&["--rm"], &flags[..]].concat();
    let two = map(&granted(podman.run(&foreground, &["sh", "-c", look])).ok()?.stdout)?;
    ensure_eq!((one[0], one[2], two[0], two[2]), (0, 500, 0, 500), "{one:?} {two:?}");
    ensure!(one[1].abs_diff(two[1]) >= 500, "{one:?} {two:?}");
    if podman.env().user.is_none() {
        let granted = SUBORDINATE..SUBORDINATE + SUBORDINATES;
        ensure!(granted.contains(&one[1]) && granted.contains(&two[1]), "{one:?} {two:?}");
    }
    Ok(())
}

/// The configuration that tells root's podman whose ids it may give away.
fn grant(podman: &Podman) -> Result<String, Failure> {
    let granted = fs::read_to_string("/etc/subuid")?;
    let own = |line: &&str| line.ends_with(&format!(":{SUBORDINATE}:{SUBORDINATES}"));
    let user = granted.lines().find(own).and_then(|line| line.split(':').next());
    let path = |name: &str| podman.dir.join(name).to_string_lossy().into_owned();
    Ok(format!(
        "[storage]\ndriver = \"vfs\"\nrunroot = {:?}\ngraphroot = {:?}\n\
         [storage.options]\nroot-auto-userns-user = {:?}\n",
        path("run"),
        path("root"),
        user.unwrap_or_default(),
    ))
}

fn map(text: &str) -> Result<[u32; 3], Failure> {
    let map: Vec<u32> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    <[u32; 3]>::try_from(map).map_err(|map| Failure(format!("a mapping of {map:?}")))
}
