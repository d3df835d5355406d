//! linux.memoryPolicy and linux.personality, seen from inside.

use serde_json::{Value, json};

use super::errors::refuses_value;
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

const OLD: &[(Peer, &str)] =
    &[(Peer::Runc, "runc has it since 1.4"), (Peer::Crun, "crun 1.8.1 has none of it")];
const OLD_PERSONALITY: &[(Peer, &str)] = &[(Peer::Runc, "runc has it since 1.2")];
const OLDER_FLAGS: &[(Peer, &str)] =
    &[(Peer::Runc, "runc warns and goes on"), (Peer::Crun, "crun goes on")];

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("memory-policy/modes", modes).needs(&[Need::Numa]).not_on(OLD),
    Case::new("memory-policy/flags", flags).needs(&[Need::Numa]).not_on(OLD),
    Case::new("memory-policy/of-exec", exec).needs(&[Need::Numa]).not_on(OLD),
    Case::new("memory-policy/bad-values", bad).not_on(OLD),
    Case::new("memory-policy/nodes-that-are-not-there", no_node).needs(&[Need::Numa]).not_on(OLD),
    Case::new("personality/domains", domains).not_on(OLD_PERSONALITY),
    Case::new("personality/of-exec", personality_exec).not_on(OLD_PERSONALITY),
    Case::new("personality/with-a-filter-that-denies-it", filtered).not_on(OLD_PERSONALITY),
    Case::new("personality/bad-values", bad_personality).not_on(OLDER_FLAGS),
];

/// The policy of the probe's own memory, as numa_maps shows it.
fn policy(report: &Value) -> String {
    report["memory_policy"].as_str().unwrap_or_default().to_owned()
}

fn of(env: &Env, value: &Value) -> Result<String, Failure> {
    let mut bundle = env.bundle()?;
    bundle.set("/linux/memoryPolicy", value.clone())?;
    Ok(policy(&env.probe(&mut bundle)?))
}

fn modes(env: &mut Env) -> Outcome {
    for (mode, nodes, wanted) in [
        ("MPOL_DEFAULT", None, "default"),
        ("MPOL_BIND", Some("0"), "bind:0"),
        ("MPOL_INTERLEAVE", Some("0"), "interleave:0"),
        ("MPOL_PREFERRED", Some("0-0"), "prefer:0"),
        ("MPOL_LOCAL", None, "local"),
        ("MPOL_PREFERRED_MANY", Some("0"), "prefer (many):0"),
    ] {
        let value = json!({"mode": mode, "nodes": nodes});
        ensure_eq!(of(env, &value)?, wanted, "{value}");
    }
    Ok(())
}

fn flags(env: &mut Env) -> Outcome {
    for (mode, flag, wanted) in [
        ("MPOL_BIND", "MPOL_F_STATIC_NODES", "bind=static:0"),
        ("MPOL_PREFERRED", "MPOL_F_RELATIVE_NODES", "prefer=relative:0"),
    ] {
        let value = json!({"mode": mode, "nodes": "0", "flags": [flag]});
        ensure_eq!(of(env, &value)?, wanted, "{value}");
    }
    Ok(())
}

fn exec(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle_with(&["sleep", "1000"])?;
    bundle.set("/linux/memoryPolicy", json!({"mode": "MPOL_INTERLEAVE", "nodes": "0"}))?;
    let id = env.detach(&bundle, "d", &[])?;
    ensure_eq!(policy(&env.exec_probe(&id, &[])?), "interleave:0", "of exec");
    Ok(())
}

fn bad(env: &mut Env) -> Outcome {
    for (value, words) in [
        (json!({"mode": "INTERLEAVE", "nodes": "0"}), ["memoryPolicy.mode", "INTERLEAVE"]),
        (json!({"nodes": "0"}), ["memoryPolicy", "mode"]),
        (json!({"mode": "MPOL_BIND"}), ["memoryPolicy.nodes", "MPOL_BIND"]),
        (
            json!({"mode": "MPOL_BIND", "nodes": "0-9876543210"}),
            ["memoryPolicy.nodes", "9876543210"],
        ),
        (json!({"mode": "MPOL_BIND", "nodes": "2-1"}), ["memoryPolicy.nodes", "2-1"]),
        (json!({"mode": "MPOL_BIND", "nodes": "x"}), ["memoryPolicy.nodes", "x"]),
        (json!({"mode": "MPOL_LOCAL", "nodes": "0"}), ["memoryPolicy.nodes", "MPOL_LOCAL"]),
        (
            json!({"mode": "MPOL_PREFERRED", "nodes": "0", "flags": ["badflag"]}),
            ["memoryPolicy.flags[0]", "badflag"],
        ),
        (
            json!({
                "mode": "MPOL_PREFERRED", "nodes": "0",
                "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"],
            }),
            ["memoryPolicy.flags", "MPOL_F_STATIC_NODES"],
        ),
    ] {
        refuses_value(env, "/linux/memoryPolicy", &value, &words)?;
    }
    Ok(())
}

fn no_node(env: &mut Env) -> Outcome {
    let value = json!({"mode": "MPOL_BIND", "nodes": "1000"});
    refuses_value(env, "/linux/memoryPolicy", &value, &["memoryPolicy", "set_mempolicy", "1000"])
}

fn machine(env: &Env, value: Value) -> Result<String, Failure> {
    let mut bundle = env.bundle()?;
    bundle.set("/linux/personality", value)?;
    Ok(env.probe(&mut bundle)?["machine"].as_str().unwrap_or_default().to_owned())
}

/// What uname(2) says in a 32-bit personality of this machine.
fn narrow(native: &str) -> &str {
    match native {
        "x86_64" => "i686",
        "aarch64" => "armv8l",
        other => other,
    }
}

fn domains(env: &mut Env) -> Outcome {
    let native = env.probe(&mut env.bundle()?)?["machine"].as_str().unwrap_or_default().to_owned();
    ensure_eq!(machine(env, json!({"domain": "LINUX"}))?, native, "LINUX");
    ensure_eq!(
        machine(env, json!({"domain": "LINUX32", "flags": []}))?,
        narrow(&native),
        "LINUX32"
    );
    Ok(())
}

fn personality_exec(env: &mut Env) -> Outcome {
    let native = env.probe(&mut env.bundle()?)?["machine"].as_str().unwrap_or_default().to_owned();
    let mut bundle = env.bundle_with(&["sleep", "1000"])?;
    bundle.set("/linux/personality", json!({"domain": "LINUX32"}))?;
    let id = env.detach(&bundle, "d", &[])?;
    ensure_eq!(env.exec_probe(&id, &[])?["machine"], narrow(&native), "of exec");
    Ok(())
}

fn filtered(env: &mut Env) -> Outcome {
    for no_new_privileges in [true, false] {
        let mut bundle = env.bundle()?;
        bundle.set("/linux/personality", json!({"domain": "LINUX32"}))?;
        bundle.set("/process/noNewPrivileges", json!(no_new_privileges))?;
        bundle.set(
            "/linux/seccomp",
            json!({
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{
                    "names": ["personality", "set_mempolicy", "sched_setattr", "ioprio_set"],
                    "action": "SCMP_ACT_ERRNO",
                }],
            }),
        )?;
        let report = env.probe(&mut bundle)?;
        ensure!(report["machine"] != "x86_64", "machine: {}", report["machine"]);
    }
    Ok(())
}

fn bad_personality(env: &mut Env) -> Outcome {
    for (value, words) in [
        (json!({"domain": "SOLARIS"}), ["personality.domain", "SOLARIS"]),
        (
            json!({"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]}),
            ["personality.flags", "ADDR_NO_RANDOMIZE"],
        ),
        (json!({"flags": []}), ["personality", "domain"]),
    ] {
        refuses_value(env, "/linux/personality", &value, &words)?;
    }
    Ok(())
}
