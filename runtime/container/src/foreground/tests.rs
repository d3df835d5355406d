use std::process::{Child, Command};
use std::thread::sleep;
use std::time::Duration;

use super::*;

/// A child of the test, as `create` or `exec` hands it over.
fn process(script: &str) -> (Child, Process) {
    let child = Command::new("/bin/sh").args(["-c", script]).spawn().unwrap();
    let pid = child.id() as i32;
    let pidfd = sys::process::pidfd_open(pid).unwrap();
    (child, Process { pid, pidfd })
}

/// Each test has a thread of its own, and signals are blocked for that thread alone.
fn foreground() -> Foreground {
    Foreground::new(Options { terminal: false, subreaper: false }).unwrap()
}

#[test]
fn an_exit_code_is_passed_on() {
    for code in [0, 1, 7, 255] {
        let (_child, process) = process(&format!("exit {code}"));
        assert_eq!(foreground().wait(&process).unwrap(), code);
    }
}

#[test]
fn a_killing_signal_becomes_128_and_its_number() {
    for signal in [9, 15, 34, 64] {
        let (_child, process) = process(&format!("kill -{signal} $$; sleep 10"));
        assert_eq!(foreground().wait(&process).unwrap(), 128 + signal, "signal {signal}");
    }
}

#[test]
fn a_process_that_ended_before_the_wait_is_seen() {
    let (_child, process) = process("exit 3");
    let peek = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
    waitid(Id::PIDFd(process.pidfd.as_fd()), peek).unwrap();
    assert_eq!(foreground().wait(&process).unwrap(), 3);
}

#[test]
fn a_killed_process_is_reaped() {
    let (_child, process) = process("sleep 100");
    kill(&process).unwrap();
    assert_eq!(pass(process.pidfd.as_fd(), 0).err().map(drop), None);
    let gone = waitid(Id::PIDFd(process.pidfd.as_fd()), WaitPidFlag::WEXITED);
    assert_eq!(gone, Err(Errno::ECHILD));
}

#[test]
fn signals_are_blocked_and_go_to_the_process() {
    let foreground = foreground();
    let blocked = SigSet::thread_get_mask().unwrap();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGTTOU, Signal::SIGWINCH] {
        assert!(blocked.contains(signal), "{signal}");
    }
    let (_child, process) = process("trap 'exit 42' USR1; while :; do sleep 0.05; done");
    // The shell needs a moment to set its trap.
    sleep(Duration::from_millis(300));
    nix::sys::signal::raise(Signal::SIGUSR1).unwrap();
    assert_eq!(foreground.wait(&process).unwrap(), 42);
}
