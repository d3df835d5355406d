//! Terminals: through a console socket, and in the foreground on the caller's own.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::call::wait_until;
use crate::case::{Case, Failure, Outcome, Peer};
use crate::console::{ConsoleSocket, Terminal};
use crate::env::Env;
use crate::trace::STRACE;
use crate::{ensure, ensure_eq};

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("terminal/console-socket-message", message),
    Case::new("terminal/console-socket-of-run-detach", run_detach),
    Case::new("terminal/console-size", size)
        .not_on(&[(Peer::Crun, "crun sets it too late for a fast process")]),
    Case::new("terminal/dev-console", dev_console),
    Case::new("terminal/owned-by-the-user", owner),
    Case::new("terminal/exec-console-socket", exec_socket),
    Case::new("terminal/console-size-of-exec", exec_size)
        .not_on(&[(Peer::Crun, "crun leaves it to the caller")]),
    Case::new("terminal/foreground-run", foreground)
        .not_on(&[(Peer::Crun, "crun 1.8.1 does not set the size here")]),
    Case::new("terminal/foreground-resize", resize)
        .not_on(&[(Peer::Crun, "crun 1.8.1 does not set the size here")]),
    Case::new("terminal/foreground-control-c", control_c),
    Case::new("terminal/foreground-settings-come-back", settings),
    Case::new("terminal/foreground-exec", foreground_exec),
    Case::new("terminal/console-socket-missing", socket_missing),
    Case::new("terminal/ptmx-of-no-devpts", no_devpts).needs(STRACE).not_on(&[
        (Peer::Runc, "ghost only: our way to open it"),
        (Peer::Crun, "ghost only: our way to open it"),
    ]),
];

/// What an image or a container has put in its place is refused, and a whole directory of it not opened.
fn no_devpts(env: &mut Env) -> Outcome {
    let pts = env.dir.join("pts").to_string_lossy().into_owned();
    fs::create_dir(&pts)?;
    let ptmx = format!("{pts}/ptmx");
    fs::write(&ptmx, "")?;
    let file = env.dir.join("trace").to_string_lossy().into_owned();
    for (source, target, opened) in [(&pts, "/dev/pts", false), (&ptmx, "/dev/pts/ptmx", true)] {
        let mut bundle = env.bundle_with(&["true"])?;
        bundle.set("/process/terminal", json!(true))?.bind(Path::new(source), target, &[])?;
        let (_socket, path) = socket(env, &format!("console-{opened}.sock"))?;
        bundle.save()?;
        let dir = bundle.dir.to_string_lossy();
        let id = env.id("t");
        let call = env.runtime(&["create", "-b", &dir, "--console-socket", &path, &id]);
        let strace = ["strace", "-f", "-o", &file, "-e", "trace=openat,openat2"];
        let output = call.under(&strace).exits(1)?;
        ensure!(output.stderr.contains("/dev/pts/ptmx is not a devpts's"), "{target}: {output}");
        let text = fs::read_to_string(&file)?;
        let opens = |line: &str| line.contains("ptmx\"") && line.contains("O_NOCTTY");
        ensure_eq!(text.lines().any(opens), opened, "ptmx is opened, {target}: {text}");
    }
    env.nothing_left()
}

fn socket(env: &Env, name: &str) -> Result<(ConsoleSocket, String), Failure> {
    let socket = ConsoleSocket::bind(&env.dir.join(name))?;
    let path = socket.path.to_string_lossy().into_owned();
    Ok((socket, path))
}

fn master(env: &Env, socket: &ConsoleSocket) -> Result<Terminal, Failure> {
    let mut message = socket.receive(env.shared.limit)?;
    ensure_eq!(message.fds.len(), 1, "descriptors in the message");
    message.fds.pop().map(Terminal::over).ok_or_else(|| Failure("no descriptor".to_owned()))
}

fn message(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/process/terminal", json!(true))?;
    bundle.args(&["sh", "-c", "tty; stty size; echo end; sleep 1000"]);
    let (socket, path) = socket(env, "console.sock")?;
    let id = env.create(&bundle, "c", &["--console-socket", &path])?;
    let message = socket.receive(env.shared.limit)?;
    ensure_eq!(message.fds.len(), 1, "descriptors in the message");
    ensure_eq!(message.more, 0, "bytes after the message");
    ensure!(!message.name.is_empty() && message.name.len() < 4096, "payload {:?}", message.name);
    let mut terminal =
        message.fds.into_iter().next().map(Terminal::over).ok_or(Failure("no fd".to_owned()))?;
    env.verb("start", &id).ok()?;
    let shown = terminal.expect("end", env.shared.limit)?;
    ensure!(shown.contains("/dev/pts/0") || shown.contains("/dev/console"), "tty prints {shown:?}");
    Ok(())
}

fn run_detach(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/process/terminal", json!(true))?;
    bundle.args(&["sh", "-c", "read line; echo got $line; sleep 1000"]);
    let (socket, path) = socket(env, "console.sock")?;
    env.detach(&bundle, "d", &["--console-socket", &path])?;
    let mut terminal = master(env, &socket)?;
    terminal.write("typed\n")?;
    terminal.expect("got typed", env.shared.limit)?;
    Ok(())
}

fn size(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/process/terminal", json!(true))?;
    bundle.set("/process/consoleSize", json!({"height": 33, "width": 77}))?;
    bundle.args(&["sh", "-c", "stty size; sleep 1000"]);
    let (socket, path) = socket(env, "console.sock")?;
    env.detach(&bundle, "d", &["--console-socket", &path])?;
    let mut terminal = master(env, &socket)?;
    terminal.expect("33 77", env.shared.limit)?;
    Ok(())
}

fn dev_console(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/process/terminal", json!(true))?;
    bundle.args(&["sh", "-c", "echo by the console > /dev/console; sleep 1000"]);
    let (socket, path) = socket(env, "console.sock")?;
    env.detach(&bundle, "d", &["--console-socket", &path])?;
    master(env, &socket)?.expect("by the console", env.shared.limit)?;
    Ok(())
}

fn owner(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/process/terminal", json!(true))?;
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}))?;
    bundle.args(&["sh", "-c", "stat -c %u /dev/pts/0; echo x > $(tty) && echo may; sleep 1000"]);
    let (socket, path) = socket(env, "console.sock")?;
    env.detach(&bundle, "d", &["--console-socket", &path])?;
    let shown = master(env, &socket)?.expect("may", env.shared.limit)?;
    ensure!(shown.contains("1000"), "owner of the terminal: {shown:?}");
    Ok(())
}

fn exec_socket(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["sleep", "1000"])?;
    let id = env.detach(&bundle, "d", &[])?;
    let (socket, path) = socket(env, "console.sock")?;
    let script = "tty; read line; echo got $line; sleep 1000";
    let flags = ["--tty", "--detach", "--console-socket", &path];
    env.exec(&id, &flags, &["sh", "-c", script]).ok()?;
    let mut terminal = master(env, &socket)?;
    terminal.write("typed\n")?;
    let shown = terminal.expect("got typed", env.shared.limit)?;
    ensure!(shown.contains("/dev/pts/"), "tty prints {shown:?}");
    Ok(())
}

fn exec_size(env: &mut Env) -> Outcome {
    let id = env.detach(&env.bundle_with(&["sleep", "1000"])?, "d", &[])?;
    let (socket, path) = socket(env, "console.sock")?;
    let process = json!({
        "terminal": true, "consoleSize": {"height": 44, "width": 66},
        "args": ["sh", "-c", "stty size; sleep 1000"],
        "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0},
    });
    let file = env.dir.join("process.json");
    std::fs::write(&file, process.to_string())?;
    let file = file.to_string_lossy().into_owned();
    let words = ["exec", "--detach", "--process", &file, "--console-socket", &path, &id];
    env.runtime(&words).ok()?;
    master(env, &socket)?.expect("44 66", env.shared.limit)?;
    Ok(())
}

fn foreground(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/process/terminal", json!(true))?;
    bundle.args(&[
        "sh",
        "-c",
        "tty; until stty size 2>/dev/null; do sleep 0.02; done; read line; echo got $line; exit 5",
    ]);
    let (mut terminal, slave) = Terminal::open(31, 99)?;
    let running = env.run(&bundle)?.on_terminal(&slave)?.spawn()?;
    drop(slave);
    let shown = terminal.expect("31 99", env.shared.limit)?;
    ensure!(shown.contains("/dev/pts/") || shown.contains("/dev/console"), "tty: {shown:?}");
    terminal.write("typed\r")?;
    terminal.expect("got typed", env.shared.limit)?;
    let output = running.wait()?;
    output.expect_code(5)
}

fn resize(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/process/terminal", json!(true))?;
    bundle.args(&[
        "sh",
        "-c",
        "trap 'stty size' WINCH; echo ready; while true; do sleep 0.02; done",
    ]);
    let (mut terminal, slave) = Terminal::open(24, 80)?;
    let running = env.run(&bundle)?.on_terminal(&slave)?.spawn()?;
    drop(slave);
    terminal.expect("ready", env.shared.limit)?;
    terminal.resize(50, 132)?;
    terminal.expect("50 132", env.shared.limit)?;
    env.runtime(&["kill", &env.id("run"), "KILL"]).ok()?;
    let output = running.wait()?;
    output.expect_code(137)
}

fn control_c(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/process/terminal", json!(true))?;
    bundle.args(&[
        "sh",
        "-c",
        "trap 'echo interrupted; exit 9' INT; echo ready; while true; do sleep 0.02; done",
    ]);
    let (mut terminal, slave) = Terminal::open(24, 80)?;
    let running = env.run(&bundle)?.on_terminal(&slave)?.spawn()?;
    drop(slave);
    terminal.expect("ready", env.shared.limit)?;
    terminal.write("\u{3}")?;
    terminal.expect("interrupted", env.shared.limit)?;
    let output = running.wait()?;
    output.expect_code(9)
}

fn settings(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/process/terminal", json!(true))?;
    bundle.args(&["sh", "-c", "echo ready; read line; exit 0"]);
    let (mut terminal, slave) = Terminal::open(24, 80)?;
    let read = || rustix::termios::tcgetattr(&slave);
    let before = read()?;
    let running = env.run(&bundle)?.on_terminal(&slave)?.spawn()?;
    terminal.expect("ready", env.shared.limit)?;
    wait_until(env.shared.limit, "raw mode", || {
        let raw = !read()?.local_modes.contains(rustix::termios::LocalModes::ICANON);
        Ok(raw.then_some(()))
    })?;
    terminal.write("\r")?;
    let output = running.wait()?;
    output.expect_code(0)?;
    let after = read()?;
    let same = after.local_modes == before.local_modes
        && after.input_modes == before.input_modes
        && after.output_modes == before.output_modes;
    ensure!(same, "the terminal's settings are not those of before: {after:?}");
    Ok(())
}

fn foreground_exec(env: &mut Env) -> Outcome {
    let bundle = env.bundle_with(&["sleep", "1000"])?;
    let id = env.detach(&bundle, "d", &[])?;
    let (mut terminal, slave) = Terminal::open(40, 90)?;
    let script =
        "tty; until stty size 2>/dev/null; do sleep 0.02; done; read line; echo got $line; exit 6";
    let running = env.exec(&id, &["-t"], &["sh", "-c", script]).on_terminal(&slave)?.spawn()?;
    drop(slave);
    terminal.expect("40 90", env.shared.limit)?;
    terminal.write("typed\r")?;
    terminal.expect("got typed", env.shared.limit)?;
    let output = running.wait()?;
    output.expect_code(6)
}

fn socket_missing(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/process/terminal", json!(true))?;
    bundle.save()?;
    let dir = bundle.dir.to_string_lossy().into_owned();
    let words = ["create", "-b", &dir, "--console-socket", "/no/such.sock", &env.id("x")];
    let output = env.runtime(&words).exits(1)?;
    ensure!(!output.stderr.is_empty(), "nothing on stderr");
    if env.is(Peer::Ghost) {
        ensure!(output.stderr.contains("/no/such.sock"), "{output}");
    }
    env.nothing_left()
}
