//! In network namespaces of their own. Without the right to make some there is nothing to test.

use std::process::{Child, Command};

use super::*;
use crate::plan::flag;

/// A process in another network namespace.
struct Other(Child);

impl Other {
    fn new() -> Other {
        let child = Command::new("unshare").args(["--net", "sleep", "100"]).spawn().unwrap();
        let other = Other(child);
        let own = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        let path = format!("/proc/{}/ns/net", other.pid());
        // Nobody tells when it is there.
        while std::fs::read_link(&path).unwrap() == own {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        other
    }

    fn pid(&self) -> i32 {
        self.0.id() as i32
    }

    fn ip(&self, words: &str) {
        let inside = format!("--net=/proc/{}/ns/net", self.pid());
        let words = ["ip"].into_iter().chain(words.split(' '));
        assert!(Command::new("nsenter").arg(inside).args(words).status().unwrap().success());
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn ip(words: &str) {
    assert!(Command::new("ip").args(words.split(' ')).status().unwrap().success());
}

#[test]
fn what_others_have_renamed_or_made_is_not_taken_back() {
    if sys::process::unshare(flag::NET).is_err() {
        return;
    }
    ip("link add h0 type veth peer name p0");
    let other = Other::new();
    let plan = NetDevice { host: "h0".into(), name: "eth9".into() };
    let moved = move_in(&[plan], other.pid()).unwrap();
    other.ip("link set eth9 down");
    other.ip("link set eth9 name theirs");
    other.ip("link add eth9 type veth peer name h0");
    moved.back();
    assert_eq!(moved.host.link("h0"), Err(Errno::ENODEV), "one of theirs is on the host");
    other.ip("link delete eth9");
    other.ip("link set theirs name eth9");
    moved.back();
    assert_eq!(moved.host.link("h0").unwrap().name, "h0");
}
