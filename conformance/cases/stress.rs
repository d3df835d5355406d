//! Commands on one container from many processes at once: one goes after the other, each loser gets
//! runc's words, and nothing is left.

use std::fs;
use std::sync::atomic::{AtomicBool as Flag, Ordering::Relaxed};
use std::thread;

use serde_json::Value;

use super::cgroups_v2::group_of;
use crate::call::{Call, Output};
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::env::Env;
use crate::leaks;
use crate::{ensure, ensure_eq};

/// What became of the same race of runc's and of crun's, as seen.
macro_rules! seen {
    ($runc:literal, $crun:expr) => {
        &[(Peer::Runc, $runc), (Peer::Crun, $crun)]
    };
}

const OTHER_WORDS: &str = "crun words its errors in its own way";

/// The cases of this area, of which budget.rs has two more.
pub const CASES: &[Case] = &[
    Case::new("stress/two-creates-of-one-id", creates)
        .not_on(seen!("each may remove the other's state, so that none wins", OTHER_WORDS)),
    Case::new("stress/two-starts", starts)
        .not_on(seen!("a loser may wait for the winner's fifo for ever", OTHER_WORDS)),
    Case::new("stress/delete-racing-start", delete_start)
        .not_on(seen!("both may fail, one of them halfway through", "both may win")),
    Case::new("stress/forced-delete-racing-create-and-start", force_create)
        .not_on(seen!("start calls one that is deleted an \"already running\" one", OTHER_WORDS)),
    Case::new("stress/kill-racing-exit", kill_exit)
        .not_on(seen!("\"invalid state transition from stopped to paused\"", OTHER_WORDS)),
    Case::new("stress/exec-racing-delete", exec_delete)
        .not_on(seen!("three lines of what nsexec found missing", OTHER_WORDS)),
    Case::new("stress/exec-racing-kill", exec_kill)
        .not_on(seen!("three lines of what nsexec found missing", OTHER_WORDS)),
    Case::new("stress/pause-racing-kill", pause_kill)
        .not_on(seen!("\"unexpected state THAWED while freezing\"", OTHER_WORDS)),
    Case::new("stress/kill-of-a-paused-one-racing-the-end-of-its-cgroup", kill_paused)
        .needs(&[Need::V2]),
    Case::new("stress/pause-racing-delete", pause_delete)
        .not_on(seen!("\"unexpected state THAWED while freezing\"", OTHER_WORDS)),
    Case::new("stress/update-racing-delete", update_delete).needs(&[Need::Controllers]),
    Case::new("stress/state-and-list-racing-everything", watchers)
        .not_on(seen!("list warns of containers that go while it looks", OTHER_WORDS)),
    Case::new("stress/every-command-at-once", storm)
        .not_on(seen!("an exec that a pause freezes halfway hangs", OTHER_WORDS)),
];

const GONE: &str = "container does not exist";
const TAKEN: &str = "container with given ID already exists";
const ENDED: &str = "container not running";
const STOPPED: &str = "cannot start a container that has stopped";
const RUNNING: &str = "cannot start an already running container";
const NOT_STOPPED: &str = "that is not stopped";
const NO_EXEC: &str = "cannot exec in a stopped container";
const NOT_PAUSED: &str = "container not paused";
const NO_EXEC_PAUSED: &str = "cannot exec in a paused container";
const NO_START_PAUSED: &str = "cannot start a container in the paused state";

/// How often a race is run: by the hundred however busy the machine is, but for an emulated one and a
/// peer.
fn rounds(env: &Env) -> std::ops::Range<usize> {
    0..if env.shared.slow || !env.is(Peer::Ghost) { 5 } else { 100 }
}

/// A container that does nothing for long, and calls about it.
struct Racer<'a> {
    env: &'a Env<'a>,
    id: String,
    bundle: String,
}

impl<'a> Racer<'a> {
    fn new(env: &'a Env<'a>, args: &[&str]) -> Result<Self, Failure> {
        let bundle = env.bundle_with(args)?.dir.to_string_lossy().into_owned();
        let id = env.id("x");
        env.adopt(&id);
        Ok(Self { env, id, bundle })
    }

    /// A call of a verb with flags before the id and arguments after it, which is `@`.
    fn call(&self, words: &str) -> Call {
        let fill = |word: &str| word.replace('@', &self.id).replace('%', &self.bundle);
        self.env.runtime(&words.split(' ').map(fill).collect::<Vec<_>>())
    }

    /// Runs them at once, another one first each round; their outputs in the order they are given in.
    fn race(&self, round: usize, calls: &[&str]) -> Result<Vec<Output>, Failure> {
        let count = calls.len();
        let mut running: Vec<_> =
            (0..count).map(|n| self.call(calls[(n + round) % count]).spawn()).collect();
        running.rotate_right(round % count);
        running.into_iter().map(|running| running?.wait()).collect()
    }

    /// Removes it whatever its status, after which it is gone.
    fn clear(&self) -> Outcome {
        let output = self.call("delete --force @").ok()?;
        ensure_eq!(output.stderr, "", "stderr of {output}");
        leaks::reap();
        ensure!(!self.env.root().join(&self.id).exists(), "the state directory is there");
        Ok(())
    }
}

/// A loser has lost with one of these words, and with nothing else to say.
fn lost(output: &Output, words: &[&str]) -> Outcome {
    ensure!(output.code() != 0 && words.iter().any(|w| output.stderr.contains(w)), "{output}");
    ensure_eq!(output.stderr.lines().count(), 1, "lines of {output}");
    Ok(())
}

fn won_or_lost(output: &Output, words: &[&str]) -> Outcome {
    if output.code() == 0 { Ok(()) } else { lost(output, words) }
}

/// Of the two, one has won.
fn winner(outputs: &[Output]) -> Result<usize, Failure> {
    let winners: Vec<usize> = (0..outputs.len()).filter(|at| outputs[*at].code() == 0).collect();
    match winners[..] {
        [winner] => Ok(winner),
        _ => {
            let all: Vec<String> = outputs.iter().map(ToString::to_string).collect();
            Err(Failure(format!("{} winners: {}", winners.len(), all.join("; "))))
        }
    }
}

fn creates(env: &mut Env) -> Outcome {
    let racer = Racer::new(env, &["sleep", "1000"])?;
    for round in rounds(env) {
        let outputs = racer.race(round, &["create -b % @", "create -b % @"])?;
        lost(&outputs[1 - winner(&outputs)?], &[TAKEN])?;
        ensure_eq!(env.status(&racer.id)?, "created", "status of the winner's");
        racer.clear()?;
    }
    env.nothing_left()
}

fn starts(env: &mut Env) -> Outcome {
    let racer = Racer::new(env, &["sleep", "1000"])?;
    for round in rounds(env) {
        racer.call("create -b % @").ok()?;
        let outputs = racer.race(round, &["start @", "start @"])?;
        lost(&outputs[1 - winner(&outputs)?], &[RUNNING])?;
        ensure_eq!(env.status(&racer.id)?, "running", "status");
        racer.clear()?;
    }
    env.nothing_left()
}

fn delete_start(env: &mut Env) -> Outcome {
    let racer = Racer::new(env, &["sleep", "1000"])?;
    let mut won = [0; 2];
    for round in rounds(env) {
        racer.call("create -b % @").ok()?;
        let outputs = racer.race(round, &["start @", "delete @"])?;
        let winner = winner(&outputs)?;
        won[winner] += 1;
        match winner {
            0 => {
                lost(&outputs[1], &[NOT_STOPPED])?;
                ensure_eq!(env.status(&racer.id)?, "running", "status");
            }
            _ => {
                lost(&outputs[0], &[GONE, STOPPED])?;
                ensure!(!env.root().join(&racer.id).exists(), "the state directory is there");
            }
        }
        racer.clear()?;
    }
    ensure!(env.shared.slow || !won.contains(&0), "starts and deletes that won: {won:?}");
    env.nothing_left()
}

fn force_create(env: &mut Env) -> Outcome {
    let racer = Racer::new(env, &["sleep", "1000"])?;
    for round in rounds(env) {
        let outputs = racer.race(round, &["create -b % @", "delete -f @"])?;
        // Deleted before it was whole.
        won_or_lost(&outputs[0], &[GONE, ENDED, "container's init", "create failed"])?;
        ensure_eq!(outputs[1].code(), 0, "{}", outputs[1]);
        racer.clear()?;
        racer.call("create -b % @").ok()?;
        let outputs = racer.race(round, &["start @", "delete -f @", "delete -f @"])?;
        won_or_lost(&outputs[0], &[GONE, STOPPED])?;
        for delete in &outputs[1..] {
            ensure_eq!(delete.code(), 0, "{delete}");
        }
        ensure!(!env.root().join(&racer.id).exists(), "the state directory is there");
    }
    env.nothing_left()
}

fn kill_exit(env: &mut Env) -> Outcome {
    let racer = Racer::new(env, &["sleep", "0.01"])?;
    for round in rounds(env) {
        racer.call("run -d -b % @").ok()?;
        let outputs = racer.race(round, &["kill @ KILL", "kill @ KILL", "kill --all @ KILL"])?;
        won_or_lost(&outputs[0], &[ENDED])?;
        won_or_lost(&outputs[1], &[ENDED])?;
        won_or_lost(&outputs[2], &[ENDED])?;
        env.wait_status(&racer.id, "stopped")?;
        racer.call("delete @").ok()?;
    }
    env.nothing_left()
}

fn exec_delete(env: &mut Env) -> Outcome {
    let racer = Racer::new(env, &["sleep", "1000"])?;
    for round in rounds(env) {
        racer.call("run -d -b % @").ok()?;
        let outputs = racer.race(round, &["exec @ true", "exec @ sleep 1000", "delete -f @"])?;
        for exec in &outputs[..2] {
            match exec.code() {
                // Killed together with the container.
                137 => ensure_eq!(exec.stderr, "", "{exec}"),
                _ => won_or_lost(exec, &[GONE, NO_EXEC, ENDED])?,
            }
        }
        ensure_eq!(outputs[2].code(), 0, "{}", outputs[2]);
        racer.clear()?;
    }
    env.nothing_left()
}

fn exec_kill(env: &mut Env) -> Outcome {
    let racer = Racer::new(env, &["sleep", "1000"])?;
    for round in rounds(env) {
        racer.call("run -d -b % @").ok()?;
        let outputs = racer.race(round, &["exec @ sleep 1000", "exec -d @ true", "kill @ KILL"])?;
        match outputs[0].code() {
            137 => ensure_eq!(outputs[0].stderr, "", "{}", outputs[0]),
            _ => lost(&outputs[0], &[NO_EXEC, ENDED])?,
        }
        won_or_lost(&outputs[1], &[NO_EXEC, ENDED])?;
        ensure_eq!(outputs[2].code(), 0, "{}", outputs[2]);
        env.wait_status(&racer.id, "stopped")?;
        racer.call("delete @").ok()?;
    }
    env.nothing_left()
}

/// Killed, a frozen container ends on v2, and who looks after its cgroup, as systemd after a scope, may
/// remove it before `kill` has set it going.
fn kill_paused(env: &mut Env) -> Outcome {
    let racer = Racer::new(env, &["sleep", "1000"])?;
    for _ in rounds(env) {
        racer.call("run -d -b % @").ok()?;
        let group = group_of(env.pid(&racer.id)?)?;
        racer.call("pause @").ok()?;
        let removed = Flag::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !removed.load(Relaxed) && fs::remove_dir(&group).is_err() {
                    thread::yield_now();
                }
            });
            let killed = racer.call("kill @ KILL").ok().map(drop);
            let stopped = killed.and_then(|()| env.wait_status(&racer.id, "stopped"));
            removed.store(true, Relaxed);
            stopped
        })?;
        racer.call("delete @").ok()?;
    }
    env.nothing_left()
}

fn pause_delete(env: &mut Env) -> Outcome {
    let racer = Racer::new(env, &["sleep", "1000"])?;
    for round in rounds(env) {
        racer.call("run -d -b % @").ok()?;
        let outputs = racer.race(round, &["pause @", "delete -f @", "delete @"])?;
        won_or_lost(&outputs[0], &[GONE, ENDED])?;
        ensure_eq!(outputs[1].code(), 0, "{}", outputs[1]);
        won_or_lost(&outputs[2], &[GONE, NOT_STOPPED])?;
        ensure!(!env.root().join(&racer.id).exists(), "the state directory is there");
    }
    env.nothing_left()
}

fn update_delete(env: &mut Env) -> Outcome {
    let racer = Racer::new(env, &["sleep", "1000"])?;
    for round in rounds(env) {
        racer.call("run -d -b % @").ok()?;
        let outputs = racer.race(round, &["update --pids-limit 9 @", "delete -f @"])?;
        won_or_lost(&outputs[0], &[GONE, ENDED])?;
        ensure_eq!(outputs[1].code(), 0, "{}", outputs[1]);
        ensure!(!env.root().join(&racer.id).exists(), "the state directory is there");
    }
    env.nothing_left()
}

fn pause_kill(env: &mut Env) -> Outcome {
    let racer = Racer::new(env, &["sleep", "1000"])?;
    for round in rounds(env) {
        racer.call("run -d -b % @").ok()?;
        let outputs = racer.race(round, &["pause @", "kill @ KILL", "resume @"])?;
        won_or_lost(&outputs[0], &[ENDED])?;
        ensure_eq!(outputs[1].code(), 0, "{}", outputs[1]);
        won_or_lost(&outputs[2], &[NOT_PAUSED, ENDED])?;
        if env.status(&racer.id)? == "paused" {
            racer.call("resume @").ok()?;
        }
        env.wait_status(&racer.id, "stopped")?;
        racer.call("delete @").ok()?;
    }
    env.nothing_left()
}

const STATUSES: [&str; 5] = ["creating", "created", "running", "paused", "stopped"];

/// What looks on sees one status or no container, never half of one.
fn watchers(env: &mut Env) -> Outcome {
    let racer = Racer::new(env, &["sleep", "1000"])?;
    // A race for each of the six.
    for round in rounds(env).step_by(6) {
        for verb in
            ["create -b % @", "start @", "pause @", "resume @", "kill @ KILL", "delete -f @"]
        {
            let outputs =
                racer.race(round, &[verb, "state @", "list -f json", "list -q", "ps -f json @"])?;
            ensure_eq!(outputs[0].code(), 0, "{}", outputs[0]);
            won_or_lost(&outputs[1], &[GONE])?;
            if outputs[1].code() == 0 {
                let state: Value = serde_json::from_str(&outputs[1].stdout)?;
                let status = state["status"].as_str().unwrap_or_default();
                ensure!(STATUSES.contains(&status), "{}", outputs[1]);
            }
            for list in &outputs[2..4] {
                ensure_eq!((list.code(), list.stderr.as_str()), (0, ""), "{list}");
            }
            let list: Vec<Value> =
                serde_json::from_str::<Option<_>>(&outputs[2].stdout)?.unwrap_or_default();
            ensure!(list.iter().all(|state| state["id"] == *racer.id), "{}", outputs[2]);
            won_or_lost(&outputs[4], &[GONE])?;
        }
    }
    env.nothing_left()
}

fn storm(env: &mut Env) -> Outcome {
    let racer = Racer::new(env, &["sleep", "1000"])?;
    let words = &[
        GONE,
        TAKEN,
        ENDED,
        STOPPED,
        RUNNING,
        NOT_STOPPED,
        NO_EXEC,
        NOT_PAUSED,
        NO_EXEC_PAUSED,
        NO_START_PAUSED,
    ];
    for round in rounds(env) {
        let calls = [
            "create -b % @",
            "start @",
            // Attached, it would wait for a process that a pause may stop, and nobody resumes.
            "exec -d @ true",
            "exec -d @ sleep 1000",
            "pause @",
            "resume @",
            "kill @ WINCH",
            "update --resources /dev/null @",
            "delete @",
        ];
        if round % 2 == 0 {
            racer.call("run -d -b % @").ok()?;
        }
        for output in racer.race(round, &calls)? {
            if !output.words.contains("/dev/null") {
                won_or_lost(&output, words)?;
            }
        }
        racer.clear()?;
    }
    env.nothing_left()
}
