//! `checkpoint` of a container whose processes play with what is mounted.

use std::fs;
use std::time::Duration;

use serde_json::json;

use super::checkpoint::Counter;
use crate::bundle::Bundle;
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::env::Env;
use crate::silent::Silent;
use crate::{ensure, ensure_eq};

const CRIU: &[Need] = &[Need::Criu];

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("checkpoint/binds-that-have-changed-places", changed_places).needs(CRIU).not_on(&[
        (Peer::Runc, "runc saves it, and what was read-only is writable then"),
        (Peer::Crun, "crun 1.8.1 saves it as well"),
    ]),
    Case::new("checkpoint/source-that-was-replaced", replaced).needs(CRIU).not_on(&[
        (Peer::Runc, "runc saves what can't be restored"),
        (Peer::Crun, "crun 1.8.1 saves it as well"),
    ]),
    Case::new("checkpoint/file-system-that-does-not-answer", silent).needs(CRIU).not_on(&[
        (Peer::Runc, "runc looks the masked paths up, and waits for ever"),
        (Peer::Crun, "crun 1.8.1 looks the masked paths up as well"),
    ]),
];

/// `/a/m` is read-only, and `/b/m` is not.
fn two_binds(env: &Env) -> Result<Bundle, Failure> {
    let mut bundle = env.bundle()?;
    for (source, target, word) in [("fixed", "/a/m", "ro"), ("own", "/b/m", "rw")] {
        let source = env.dir.join(source);
        fs::create_dir(&source)?;
        fs::write(source.join("file"), "from the host")?;
        bundle.bind(&source, target, &[word])?;
    }
    Ok(bundle)
}

fn in_container(env: &Env, counter: &Counter, script: &str) -> Outcome {
    env.exec(&counter.id, &[], &["sh", "-e", "-c", script]).ok().map(drop)
}

fn stays_readonly(env: &Env, counter: &Counter) -> Outcome {
    let saved = counter.number(env)?;
    counter.restore(env, &[]).ok()?;
    counter.counts_on(env, saved)?;
    in_container(env, counter, "touch /b/m/new; ! touch /a/m/new")?;
    ensure!(env.dir.join("own/new").exists(), "/b/m is not what it was");
    // What criu has mounted is as what was mounted first.
    counter.checkpoint(env, &["--leave-running"]).ok().map(drop)
}

fn changed_places(env: &mut Env) -> Outcome {
    let counter = Counter::start(env, two_binds(env)?, "c")?;
    in_container(env, &counter, "mv /a /c; mv /b /a; mv /c /b")?;
    for flags in [&[][..], &["--leave-running"]] {
        let output = counter.checkpoint(env, flags).exits(1)?;
        for word in ["mounts[", "/a/m", "/fixed"] {
            ensure!(output.stderr.contains(word), "no {word:?} in {output}");
        }
        ensure_eq!(env.status(&counter.id)?, "running", "status");
    }
    let number = counter.number(env)?;
    counter.counts_on(env, number)?;
    in_container(env, &counter, "mv /a /c; mv /b /a; mv /c /b")?;
    counter.checkpoint(env, &[]).ok()?;
    stays_readonly(env, &counter)
}

/// Who writes a file anew and renames it has made another file, and the container keeps the old one. criu
/// saves that, and can't restore it.
fn replaced(env: &mut Env) -> Outcome {
    let mut bundle = two_binds(env)?;
    let (file, new) = (env.dir.join("conf"), env.dir.join("conf.new"));
    fs::write(&file, "old")?;
    bundle.bind(&file, "/conf", &["ro"])?;
    let counter = Counter::start(env, bundle, "c")?;
    fs::write(&new, "new")?;
    fs::rename(&new, &file)?;
    in_container(env, &counter, "grep -q old /conf")?;
    let output = counter.checkpoint(env, &[]).exits(1)?;
    for word in ["mounts[", "/conf in the container"] {
        ensure!(output.stderr.contains(word), "no {word:?} in {output}");
    }
    ensure_eq!(env.status(&counter.id)?, "running", "status");
    Ok(())
}

/// What criu makes of it is criu's affair, but the runtime does not wait for it with the container's lock.
fn silent(env: &mut Env) -> Outcome {
    let mut silent = Silent::new(&env.dir)?;
    let mut bundle = env.bundle()?;
    bundle.mount(json!({
        "destination": "/mnt", "type": "bind", "source": silent.above, "options": ["rbind", "rslave"],
    }))?;
    bundle.set("/linux/maskedPaths", json!(["/proc/keys", "/mnt/silent/file"]))?;
    let counter = Counter::start(env, bundle, "c")?;
    silent.begin()?;
    let began = std::time::Instant::now();
    let output = counter.checkpoint(env, &[]).limit(Duration::from_secs(30)).exits(1)?;
    ensure!(output.stderr.contains("criu failed"), "not criu's word: {output}");
    ensure!(began.elapsed() < Duration::from_secs(25), "it waited for {:?}", began.elapsed());
    ensure_eq!(env.status(&counter.id)?, "running", "status");
    env.verb("pause", &counter.id).ok()?;
    env.verb("resume", &counter.id).ok().map(drop)
}
