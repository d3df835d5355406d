//! All flags that shut a container in on one, those that let it out on another, and the ids that
//! podman chooses: what each does by itself is asked where a call takes less time.

use std::fs;

use serde_json::{Value, json};

use crate::case::{Failure, Need, Outcome};
use crate::suites::asked::{self, Client};
use crate::suites::podman::Podman;
use crate::suites::podman_places::ids;
use crate::{ensure, ensure_eq};

const LOOK: &str = "cat /ro/file; stat -c %a /u; stat -c %t:%T /dev/fuse; cat /proc/sys/net/ipv4/ip_forward; \
     touch /x /ro/x; mkdir /t/d; touch /t/x /named/x /rw/new && echo touched; \
     cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max 2>/dev/null; exec /bin/probe";

pub fn at_once(podman: Podman) -> Outcome {
    shut_in(&podman)?;
    let_out(&podman)?;
    ids::keep_id(&podman)?;
    ids::auto(&podman)?;
    podman.end()
}

/// The lines that the script prints, and the probe's report after them.
fn look(podman: &Podman, flags: &[&str], script: &str) -> Result<(String, Value, String), Failure> {
    let output = podman.run(&[&["--rm"], flags].concat(), &["sh", "-c", script]).ok()?;
    let begin = output.stdout.find('{').unwrap_or_default();
    let (lines, report) = output.stdout.split_at(begin);
    Ok((lines.to_owned(), serde_json::from_str(report)?, output.stderr))
}

fn shut_in(podman: &Podman) -> Outcome {
    let env = podman.env();
    let path = |name: &str| env.dir.join(name).to_string_lossy().into_owned();
    let rule = json!({"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38});
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    fs::write(path("profile"), serde_json::to_vec(&profile)?)?;

    let (readonly, writable) = (podman.volume("/ro:ro")?, podman.volume("/rw")?);
    let seccomp = format!("seccomp={}", path("profile"));
    let mounts = ["--read-only", "--tmpfs", "/t:size=1m", "--device", "/dev/fuse"];
    let more = ["--mount", "type=tmpfs,target=/u,tmpfs-mode=0750"];
    let volumes = ["-v", &readonly, "-v", &writable, "-v", "named:/named"];
    // podman's own limit of processes is more than a caller without privileges may set.
    let ulimits = ["--ulimit", "nofile=99:100", "--ulimit", "nproc=500:500"];
    let process = ["--cap-drop", "ALL", "--cap-add", "NET_RAW"];
    let options = ["--security-opt", "no-new-privileges", "--security-opt", &seccomp];
    let kernel = ["--sysctl", "net.ipv4.ip_forward=1", "--cgroupns=private"];
    let limits: &[&str] = if podman.has_groups() { &["--pids-limit=44"] } else { &[] };
    let flags =
        [&mounts[..], &more, &volumes, &ulimits, &process, &options, &kernel, limits].concat();
    let (lines, report, errors) = look(podman, &flags, LOOK)?;

    let (seen, pids) = lines.split_once("touched\n").unwrap_or((&lines, ""));
    ensure_eq!(seen, "content\n750\na:e5\n1\n", "what is seen ({errors})");
    ensure!(env.dir.join("data/new").exists(), "the volume is not the directory");
    for text in ["/x: Read-only file system", "/ro/x: Read-only", "Function not implemented"] {
        ensure!(errors.contains(text), "{text:?}: {errors}");
    }
    let status = &report["status"];
    ensure_eq!(status["CapBnd"], "0000000000002000", "bounding capabilities");
    ensure_eq!(status["NoNewPrivs"], "1", "NoNewPrivs");
    ensure_eq!(status["Seccomp_filters"], "1", "filters");
    ensure_eq!(report["limits"]["Max open files"].to_string(), "[\"99\",\"100\"]", "open files");
    ensure!(!shares_cgroups(&report)?, "the cgroup namespace is the host's");
    if podman.has_groups() {
        ensure_eq!(pids, "44\n", "processes");
    }
    // A user may load no profiles.
    if env.user.is_none() && env.shared.host.lacks(Need::AppArmor).is_none() {
        let profile = report["apparmor"].as_str().unwrap_or_default();
        ensure!(profile.starts_with("containers-default-"), "the AppArmor profile: {profile:?}");
    }
    Ok(())
}

fn let_out(podman: &Podman) -> Outcome {
    let env = podman.env();
    let secret = env.dir.join("secret");
    fs::write(&secret, "hush\n")?;
    podman.call(&["secret", "create", "word", &secret.to_string_lossy()]).ok()?;
    let options = ["apparmor=unconfined", "seccomp=unconfined", "unmask=ALL"]
        .map(|option| format!("--security-opt={option}"));
    let options = options.each_ref().map(String::as_str);
    let more = ["--cap-add=SYS_ADMIN", "--cgroupns=host", "--secret=word,uid=5,mode=0440"];
    let script = "cat /proc/1/comm /run/secrets/word; stat -c %u:%a /run/secrets/word; \
                  mount -t tmpfs t /mnt && stat -c %F /proc/timer_list; exec /bin/probe";
    let (lines, report, errors) =
        look(podman, &[&options[..], &more, &["--init"]].concat(), script)?;
    let seen = lines.split_once("podman-init\nhush\n5:440\nregular");
    ensure!(seen.is_some(), "an init, a secret, a mount and an unmasked path: {lines} {errors}");
    ensure_eq!(report["status"]["Seccomp"], "0", "seccomp mode");
    ensure!(report["status"]["CapEff"] != asked::DEFAULT_CAPABILITIES, "capabilities");
    ensure!(shares_cgroups(&report)?, "a cgroup namespace of its own");
    if podman.has_groups() {
        let groups = report["cgroup"].to_string();
        ensure!(groups.contains("/libpod-"), "the container's group: {groups}");
    }
    if env.shared.host.lacks(Need::AppArmor).is_none() {
        let profile = report["apparmor"].as_str().unwrap_or_default();
        ensure_eq!(profile.trim_end_matches('\0'), "unconfined", "the AppArmor profile");
    }
    Ok(())
}

fn shares_cgroups(report: &Value) -> Result<bool, Failure> {
    let own = fs::read_link("/proc/self/ns/cgroup")?;
    Ok(report["namespaces"]["cgroup"] == *own.to_string_lossy())
}
