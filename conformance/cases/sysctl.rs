//! linux.sysctl: which keys belong to which namespace, and what becomes of bad ones.

use serde_json::{Value, json};

use crate::case::{Case, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("process/sysctl-with-slashes", slashes),
    Case::new("process/sysctl-of-every-namespace", every)
        .not_on(&[(Peer::Crun, "crun 1.8.1 takes no sysctl of the uts namespace")]),
    Case::new("process/sysctl-of-the-user-namespace", user).not_on(&[
        (Peer::Runc, "runc takes none of the user namespace"),
        (Peer::Crun, "crun takes none of the user namespace"),
    ]),
    Case::new("process/sysctl-without-its-namespace", without)
        .not_on(&[(Peer::Crun, "crun 1.8.1 leaves its cgroup")]),
    Case::new("process/sysctl-bad-values", bad)
        .not_on(&[(Peer::Crun, "crun 1.8.1 leaves its cgroup")]),
];

fn slashes(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set(
        "/linux/sysctl",
        json!({"net/ipv4/ip_forward": "1", "net.ipv4.conf.lo.rp_filter": "2"}),
    )?;
    bundle.args(&["cat", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv4/conf/lo/rp_filter"]);
    ensure_eq!(env.run(&bundle)?.ok()?.stdout, "1\n2\n", "values");
    Ok(())
}

fn every(env: &mut Env) -> Outcome {
    let values = [
        ("net.ipv4.ip_default_ttl", "77"),
        ("kernel.msgmax", "9001"),
        ("kernel.msgmnb", "9002"),
        ("kernel.msgmni", "903"),
        ("kernel.sem", "100\t200\t30\t40"),
        ("kernel.shmall", "9004"),
        ("kernel.shmmax", "9005"),
        ("kernel.shmmni", "906"),
        ("kernel.shm_rmid_forced", "1"),
        ("fs.mqueue.msg_max", "7"),
        ("kernel.domainname", "of.the.container"),
    ];
    let mut bundle = env.bundle()?;
    let given: serde_json::Map<String, Value> =
        values.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
    bundle.set("/linux/sysctl", Value::Object(given))?;
    let paths: Vec<String> =
        values.iter().map(|(key, _)| format!("/proc/sys/{}", key.replace('.', "/"))).collect();
    let words: Vec<&str> = ["cat"].into_iter().chain(paths.iter().map(String::as_str)).collect();
    bundle.args(&words);
    let wanted: String = values.iter().map(|(_, value)| format!("{value}\n")).collect();
    ensure_eq!(env.run(&bundle)?.ok()?.stdout, wanted, "values");
    Ok(())
}

fn user(env: &mut Env) -> Outcome {
    let mut bundle = super::namespaces::mapped(env, 100_000)?;
    bundle.set("/linux/sysctl", json!({"user.max_user_namespaces": "11"}))?;
    bundle.args(&["cat", "/proc/sys/user/max_user_namespaces"]);
    ensure_eq!(env.run(&bundle)?.ok()?.stdout, "11\n", "value");
    Ok(())
}

fn refused(env: &Env, key: &str, value: &str, dropped: Option<&str>) -> Outcome {
    let mut bundle = env.bundle_with(&["true"])?;
    if let Some(kind) = dropped {
        bundle.drop_namespace(kind)?;
        if kind == "uts" {
            bundle.remove("/hostname")?;
        }
    }
    bundle.set("/linux/sysctl", json!({key: value}))?;
    let output = env.run(&bundle)?.exits(1)?;
    // runc says it in dots.
    let told = output.stderr.contains(key) || output.stderr.contains(&key.replace('.', "/"));
    ensure!(told, "{key} is not named: {output}");
    env.nothing_left()
}

fn without(env: &mut Env) -> Outcome {
    for (key, kind) in [
        ("kernel.shmmax", "ipc"),
        ("fs.mqueue.msg_max", "ipc"),
        ("net.ipv4.ip_default_ttl", "network"),
        ("kernel.domainname", "uts"),
    ] {
        refused(env, key, "5", Some(kind))?;
    }
    refused(env, "user.max_user_namespaces", "5", None)
}

fn bad(env: &mut Env) -> Outcome {
    // It has a field of its own.
    refused(env, "kernel.hostname", "x", None)?;
    for (key, value) in [
        ("net.ipv4.ip_default_ttl", "many"),
        ("net.ipv4.no_such_key", "1"),
        ("kernel.shmmax", "x"),
        ("kernel.printk", "1"),
        ("fs.file-max", "1"),
        ("vm.overcommit_memory", "1"),
    ] {
        refused(env, key, value, None)?;
    }
    if env.is(Peer::Ghost) {
        for key in ["net/../kernel/panic", "net..x", "", "net"] {
            refused(env, key, "1", None)?;
        }
    }
    Ok(())
}
