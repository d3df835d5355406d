//! Capabilities that nobody knows. runtime-spec: what can't be mapped to the kernel's must be logged as a
//! warning, and should not be a failure.

use std::fs;

use serde_json::{Value, json};

use super::process::{CHOWN, KILL, NET_RAW, bits, sets};
use crate::bundle::Bundle;
use crate::case::{Case, Failure, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

const CRUN: &[(Peer, &str)] = &[(Peer::Crun, "crun does not warn")];
const SETS: [&str; 5] = ["bounding", "permitted", "effective", "inheritable", "ambient"];

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("capabilities/unknown-in-the-configuration", configuration).not_on(CRUN),
    Case::new("capabilities/unknown-in-exec", exec).not_on(CRUN),
    Case::new("capabilities/unknown-in-check", check).not_on(&[
        (Peer::Runc, "ghost only: runc has no such command"),
        (Peer::Crun, "ghost only: crun has no such command"),
    ]),
];

/// A bundle with an unknown capability in every set.
fn dreaming(env: &Env) -> Result<Bundle, Failure> {
    let mut bundle = env.bundle()?;
    for set in SETS {
        let names = json!(["CAP_KILL", format!("CAP_{}", set.to_uppercase()), "CAP_CHOWN"]);
        bundle.set(&format!("/process/capabilities/{set}"), names)?;
    }
    bundle.save()?;
    Ok(bundle)
}

/// Runs a command that succeeds, and returns what it prints and what it warns of.
fn warnings(env: &Env, words: &[&str]) -> Result<(String, Vec<String>), Failure> {
    let path = env.dir.join("log.json");
    let log = path.to_string_lossy().into_owned();
    let flags = ["--log", &log, "--log-format", "json"];
    let stdout = env.runtime(&[&flags[..], words].concat()).ok()?.stdout;
    let text = fs::read_to_string(&path)?;
    fs::remove_file(&path)?;
    let mut messages = Vec::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line)?;
        ensure_eq!(line["level"], json!("warning"), "level of {line}");
        messages.push(line["msg"].as_str().unwrap_or_default().to_owned());
    }
    Ok((stdout, messages))
}

fn configuration(env: &mut Env) -> Outcome {
    let mut bundle = dreaming(env)?;
    bundle.args(&["/bin/probe"]).save()?;
    let dir = bundle.dir.to_string_lossy().into_owned();
    let (report, messages) = warnings(env, &["run", "-b", &dir, &env.id("dream")])?;
    ensure_eq!(messages.len(), 1, "lines: {messages:?}");
    for set in SETS {
        let name = format!("CAP_{}", set.to_uppercase());
        ensure!(messages[0].contains(&name), "{name} is not told: {messages:?}");
        let place = format!("process.capabilities.{set}[1]");
        ensure!(!env.is(Peer::Ghost) || messages[0].contains(&place), "no {place}: {messages:?}");
    }
    let report = serde_json::from_str(&report)?;
    ensure_eq!(sets(&report), vec![bits(&[CHOWN, KILL]); 5], "the sets");
    env.nothing_left()
}

fn exec(env: &mut Env) -> Outcome {
    let mut bundle = dreaming(env)?;
    bundle.args(&["sleep", "1000"]);
    let id = env.detach(&bundle, "dream", &[])?;
    let names = ["CAP_KILL", "CAP_FLY"];
    let process = json!({
        "cwd": "/", "args": ["/bin/probe"], "user": {"uid": 0, "gid": 0},
        "capabilities": {"bounding": names, "permitted": names, "effective": names},
    });
    let file = env.dir.join("process.json");
    fs::write(&file, serde_json::to_vec(&process)?)?;
    let (report, messages) = warnings(env, &["exec", "--process", &file.to_string_lossy(), &id])?;
    ensure!(messages.len() == 1 && messages[0].contains("CAP_FLY"), "{messages:?}");
    ensure_eq!(sets(&serde_json::from_str(&report)?)[0], bits(&[KILL]), "bounding, of a file");
    // The container's own sets, and more.
    let flags = ["exec", "--cap", "CAP_SOAR", "--cap", "CAP_NET_RAW", &id, "/bin/probe"];
    let (report, messages) = warnings(env, &flags)?;
    let told = messages.join("; ");
    ensure!(told.contains("CAP_SOAR") && told.contains("CAP_BOUNDING"), "{told}");
    let wanted = bits(&[CHOWN, KILL, NET_RAW]);
    ensure_eq!(sets(&serde_json::from_str(&report)?)[0], wanted, "bounding, with --cap");
    Ok(())
}

fn check(env: &mut Env) -> Outcome {
    let bundle = dreaming(env)?;
    let dir = bundle.dir.to_string_lossy().into_owned();
    let output = env.runtime(&["check", "-f", "json", "-b", &dir]).ok()?;
    ensure_eq!(output.stderr, "", "stderr");
    let findings: Vec<Value> = serde_json::from_str(&output.stdout)?;
    ensure_eq!(findings.len(), SETS.len(), "findings: {findings:?}");
    for set in SETS {
        let place = format!("process.capabilities.{set}[1]");
        let finding = findings.iter().find(|finding| finding["path"] == place);
        let Some(finding) = finding else {
            return Err(Failure(format!("no {place}: {findings:?}")));
        };
        ensure_eq!(finding["kind"], json!("warning"), "kind");
        ensure!(finding["line"].is_u64(), "no line: {finding}");
    }
    Ok(())
}
