//! What a start may cost: system calls that it must not make, and many starts that leave nothing.

use std::fs;

use crate::call::Running;
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::env::Env;
use crate::trace::{self, STRACE, trace};
use crate::{ensure, ensure_eq};

const DESIGN: &[(Peer, &str)] = &[
    (Peer::Runc, "ghost only: a promise of its design"),
    (Peer::Crun, "ghost only: a promise of its design"),
];

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("budget/one-clone3-for-the-container", one_clone).needs(STRACE).not_on(DESIGN),
    Case::new("budget/no-mountinfo-is-read", no_mountinfo).needs(STRACE).not_on(DESIGN),
    Case::new("budget/into-the-cgroup-by-clone3", into_cgroup)
        .needs(&[Need::Command("strace"), Need::V2])
        .not_on(DESIGN),
    Case::new("budget/joins-of-exec", joins_of_exec)
        .needs(&[Need::Command("strace"), Need::V2])
        .not_on(DESIGN),
    // In a view that has the same controllers everywhere, so that the counts hold on any machine.
    Case::new("budget/system-calls-of-each-command", system_calls)
        .needs(&[Need::Command("strace"), Need::V2, Need::Native])
        .not_on(DESIGN),
    Case::new("budget/page-faults-of-a-start", page_faults)
        .needs(&[Need::V2, Need::Native])
        .not_on(DESIGN),
    Case::new("budget/static-binary-under-3-mib", static_binary).not_on(DESIGN),
    Case::new("stress/50-parallel-runs", parallel),
    Case::new("stress/1000-sequential-runs", sequential).not_on(&[
        (Peer::Runc, "takes minutes and says nothing about the case"),
        (Peer::Crun, "takes minutes and says nothing about the case"),
    ]),
];

/// The traced calls of `run` of the default bundle with /bin/true.
fn traced(env: &Env, calls: &str) -> Result<String, Failure> {
    let bundle = env.bundle_with(&["/bin/true"])?;
    trace(env, env.run(&bundle)?, &["-e", calls])
}

fn one_clone(env: &mut Env) -> Outcome {
    let text = traced(env, "trace=clone,clone3,fork,vfork,unshare,setns,execve,execveat")?;
    // "PID call(…": a path in the arguments may hold these words as well.
    let names = ["clone", "fork", "vfork", "unshare", "setns"];
    let makes = |line: &&str| {
        let call = line.split_once(' ').map_or("", |(_, call)| call.trim_start());
        names.iter().any(|name| call.starts_with(name))
    };
    let calls: Vec<&str> = text.lines().filter(makes).collect();
    ensure_eq!(calls.len(), 1, "calls that make a process or a namespace: {text}");
    for word in ["clone3(", "CLONE_NEWPID", "CLONE_NEWNS", "CLONE_NEWNET", "CLONE_PIDFD"] {
        ensure!(calls[0].contains(word), "{word} is missing: {}", calls[0]);
    }
    Ok(())
}

fn no_mountinfo(env: &mut Env) -> Outcome {
    let text = traced(env, "trace=open,openat,openat2")?;
    let read: Vec<&str> = text
        .lines()
        .filter(|l| {
            ["mountinfo", "\"/proc/self/mounts\"", "\"/etc/mtab\""].iter().any(|w| l.contains(w))
        })
        .collect();
    ensure!(read.is_empty(), "the mount table was read: {}", read.join("; "));
    ensure!(text.contains("openat"), "the trace is empty");
    Ok(())
}

fn into_cgroup(env: &mut Env) -> Outcome {
    let text = traced(env, "trace=clone3,write,openat,openat2")?;
    ensure!(text.contains("CLONE_INTO_CGROUP"), "clone3 does not enter the group: {text}");
    ensure!(!text.contains("cgroup.procs"), "cgroup.procs was written as well: {text}");
    Ok(())
}

/// The pid namespace for the parent's children, all others in the child; no process in between.
fn joins_of_exec(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["/bin/sleep", "1000"])?;
    let id = env.detach(&bundle, "d", &[])?;
    let text = trace(
        env,
        env.exec(&id, &[], &["/bin/true"]),
        &["-e", "trace=clone,clone3,fork,vfork,setns,unshare"],
    )?;
    for (name, count) in
        [("setns", 2), ("clone3", 1), ("clone", 0), ("fork", 0), ("vfork", 0), ("unshare", 0)]
    {
        ensure_eq!(trace::calls(&text, name).len(), count, "calls of {name}: {text}");
    }
    let joins = trace::calls(&text, "setns");
    ensure!(joins[0].contains(", CLONE_NEWPID)"), "the parent joins more: {text}");
    ensure!(!joins[1].contains("CLONE_NEWPID"), "joined twice: {text}");
    ensure!(
        trace::calls(&text, "clone3")[0].contains("CLONE_INTO_CGROUP"),
        "not into the cgroup: {text}"
    );
    Ok(())
}

/// How many system calls a command makes: of `run` and `exec`, those of the container's process as well,
/// which is that of `create`, too. Of the release build; a slip of `MARGIN` shows; what makes fewer is to be written down as well.
const CALLS: &[(&str, usize)] = &[
    ("run", 506),
    ("create", 116),
    ("start", 55),
    ("state", 43),
    ("list", 67),
    ("exec", 243),
    ("kill", 43),
    ("delete", 58),
];
/// Kernels differ in the files of /proc and /sys that there are to mask, and waits in how often they wake.
const MARGIN: usize = 8;

fn system_calls(env: &mut Env) -> Outcome {
    let sleep = env.bundle_with(&["/bin/sleep", "1000"])?;
    let dir = sleep.dir.to_string_lossy().into_owned();
    let id = env.id("counted");
    env.adopt(&id);
    let once = env.bundle_with(&["/bin/true"])?.dir.to_string_lossy().into_owned();
    let (run, file) = (env.id("once"), env.dir.join("counts").to_string_lossy().into_owned());
    let mut wrong = Vec::new();
    for (command, wanted) in CALLS {
        let words: &[&str] = match *command {
            "run" => &["run", "-b", &once, &run],
            "create" => &["create", "-b", &dir, &id],
            "list" => &["list"],
            "exec" => &["exec", &id, "/bin/true"],
            "kill" => &["kill", &id, "KILL"],
            command => &[command, &id],
        };
        // strace would wait for a process that stays.
        let ends = matches!(*command, "run" | "exec");
        let strace = ["strace", "-qq", "-o", &file, "-f"];
        env.runtime(words).under(&strace[..if ends { 5 } else { 4 }]).ok()?;
        let count = calls(&fs::read_to_string(&file)?);
        if count.abs_diff(*wanted) > MARGIN {
            wrong.push(format!("{command} makes {count} calls, {wanted} are written down"));
        }
        if *command == "kill" {
            env.wait_status(&id, "stopped")?;
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("; "));
    Ok(())
}

/// How many page faults a command may take, with those of the shell's fork of it, and of `run` and `exec`
/// also those of the container's process. Of the release build; more by `SLACK` when its functions do
/// not lie in the order that hack/order has found, which is to be run again then.
const FAULTS: &[(&str, usize)] = &[("state", 38), ("run", 160), ("exec", 147)];
const SLACK: usize = 8;

fn page_faults(env: &mut Env) -> Outcome {
    let sleep = env.bundle_with(&["/bin/sleep", "1000"])?;
    let running = env.detach(&sleep, "running", &[])?;
    let once = env.bundle_with(&["/bin/true"])?.dir.to_string_lossy().into_owned();
    let mut wrong = Vec::new();
    for (command, wanted) in FAULTS {
        let mut least = usize::MAX;
        // The first may have to read the program from the disk.
        for _ in 0..3 {
            let run = env.id("once");
            let words: &[&str] = match *command {
                "run" => &["run", "-b", &once, &run],
                "exec" => &["exec", &running, "/bin/true"],
                command => &[command, &running],
            };
            let shell = ["sh", "-c", r#""$@" >/dev/null; cat /proc/$$/stat"#, "sh"];
            let output = env.runtime(words).under(&shell).ok()?;
            // proc(5): the faults of children that were waited for are the ninth word behind the name.
            let stat = output.stdout.rsplit(')').next().unwrap_or_default();
            let faults: usize = stat.split_whitespace().nth(8).unwrap_or_default().parse()?;
            least = least.min(faults);
        }
        if least > wanted + SLACK {
            wrong.push(format!("{command} takes {least} page faults, {wanted} are written down"));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("; "));
    Ok(())
}

/// The calls of a trace, which has a second line for one that another process came between.
fn calls(trace: &str) -> usize {
    let is_call = |line: &&str| {
        // With several processes, a line begins with the number of its own.
        let text = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
        !["<...", "---", "+++"].iter().any(|other| text.starts_with(other))
    };
    trace.lines().filter(is_call).count()
}

fn static_binary(env: &mut Env) -> Outcome {
    let binary = fs::read(&env.shared.runtime)?;
    ensure!(binary.len() < 3 * 1024 * 1024, "{} bytes", binary.len());
    // An ELF file's program headers; the one of type 3 names an interpreter, which loads libraries.
    let number = |at: usize, size: usize| -> Option<usize> {
        let bytes = binary.get(at..at + size)?;
        Some(bytes.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
    };
    let header = |index: usize| number(number(32, 8)? + index * number(54, 2)?, 4);
    let count = number(56, 2).unwrap_or_default();
    let kinds: Vec<usize> = (0..count).filter_map(header).collect();
    ensure!(kinds.len() == count && kinds.contains(&1), "program headers {kinds:?}");
    ensure!(!kinds.contains(&3), "it has an interpreter");
    Ok(())
}

fn sequential(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["/bin/true"])?;
    let dir = bundle.dir.to_string_lossy().into_owned();
    // In the VM, where everything is emulated, a tenth shows the same.
    let count = if env.shared.slow { 100 } else { 1000 };
    for number in 0..count {
        let id = env.id(&format!("s{number}"));
        let output = env.runtime(&["run", "-b", &dir, &id]).ok()?;
        ensure_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""), "output {number}");
    }
    env.nothing_left()
}

fn parallel(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["/bin/true"])?;
    let dir = bundle.dir.to_string_lossy().into_owned();
    let runs: Vec<Running> = (0..50)
        .map(|number| {
            let id = env.id(&format!("p{number}"));
            env.runtime(&["run", "-b", &dir, &id]).limit(env.shared.limit * 3).spawn()
        })
        .collect::<Result<_, _>>()?;
    for run in runs {
        let output = run.wait()?;
        output.expect_code(0)?;
        ensure_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""), "output");
    }
    env.nothing_left()
}
