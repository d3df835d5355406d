//! Device rules, as processes in the cgroup feel them.

use std::os::fd::AsFd;

use crate::ground::{Ground, create, everywhere, on_v1, on_v2, resources};

const DENY_ALL: &str = r#"{"devices":[{"allow":false,"access":"rwm"}]}"#;
const KMSG: &str = r#"{"devices":[{"allow":false,"access":"rwm"},
    {"allow":true,"type":"c","major":1,"minor":11,"access":"r"}]}"#;
const ALL_BUT_KMSG: &str = r#"{"devices":[{"allow":true,"access":"rwm"},
    {"allow":false,"type":"c","major":1,"minor":11,"access":"rw"}]}"#;

/// Opens /dev/kmsg (c 1:11), which no default rule allows.
const READ: &str = "exec 3< /dev/kmsg";
const WRITE: &str = "exec 3> /dev/kmsg";

#[test]
fn deny_and_allow() {
    everywhere("devices::deny_and_allow", || {
        for (name, json, read, write) in [
            ("none", "{}", false, false),
            ("deny", DENY_ALL, false, false),
            ("kmsg", KMSG, true, false),
            ("but", ALL_BUT_KMSG, false, false),
            ("all", r#"{"devices":[{"allow":true,"access":"rwm"}]}"#, true, true),
        ] {
            let ground = Ground::made(name, json);
            assert_eq!(ground.shell(READ), read, "{name}");
            assert_eq!(ground.shell(WRITE), write, "{name}");
            assert!(ground.shell("exec 3<> /dev/null 4<> /dev/zero 5< /dev/urandom"), "{name}");
            // Any node may be made.
            let node = format!("/tmp/cgroup-test-{}-node", std::process::id());
            assert!(ground.shell(&format!("mknod {node} b 7 0 && rm {node}")), "{name}");
        }
    });
}

#[test]
fn rules_are_replaced() {
    everywhere("devices::rules_are_replaced", || {
        let ground = Ground::made("replace", DENY_ALL);
        let process = ground.process();
        for (json, read, write) in [
            (KMSG, true, false),
            (DENY_ALL, false, false),
            (r#"{"devices":[{"allow":true,"access":"rwm"}]}"#, true, true),
            (ALL_BUT_KMSG, false, false),
            (KMSG, true, false),
            // No rules at all: those in force stay.
            ("{}", true, false),
            (r#"{"devices":[]}"#, true, false),
        ] {
            ground.cgroup.apply(&resources(json), &resources("{}")).unwrap();
            assert_eq!(ground.shell(READ), read, "{json}");
            assert_eq!(ground.shell(WRITE), write, "{json}");
            assert!(!ground.cgroup.is_frozen().unwrap());
        }
        drop(process);
    });
}

/// While rules that deny a device are replaced by others that deny it, nobody opens it.
#[test]
fn no_window_is_open() {
    everywhere("devices::no_window_is_open", || {
        let ground = Ground::made("window", ALL_BUT_KMSG);
        let out = format!("/tmp/cgroup-test-{}-window", std::process::id());
        // cat goes on to the next file when it can't open one, and has something to say once it can.
        let script = format!(
            "files=$(yes /dev/kmsg | head -n 50000); while [ ! -s {out} ]; do cat $files; done > {out}"
        );
        std::thread::scope(|scope| {
            let opener = scope.spawn(|| ground.shell(&script));
            std::thread::sleep(std::time::Duration::from_millis(100));
            for _ in 0..200 {
                ground.cgroup.apply(&resources(DENY_ALL), &resources("{}")).unwrap();
                ground.cgroup.apply(&resources(ALL_BUT_KMSG), &resources("{}")).unwrap();
            }
            let opened = std::fs::read(&out).unwrap();
            ground.cgroup.kill_all(9).unwrap();
            assert!(!opener.join().unwrap());
            std::fs::remove_file(&out).unwrap();
            assert!(opened.is_empty(), "the device was opened");
        });
    });
}

#[test]
fn one_program_is_attached() {
    on_v2("devices::one_program_is_attached", || {
        let ground = Ground::made("one", DENY_ALL);
        let dir = ground.cgroup.unified_dir().unwrap().unwrap();
        let attached = || {
            let mut ids = [0; 64];
            let count = sys::bpf::device_filters(dir.as_fd(), &mut ids).unwrap();
            ids[..count].to_vec()
        };
        let first = attached();
        assert_eq!(first.len(), 1);
        ground.cgroup.apply(&resources(KMSG), &resources("{}")).unwrap();
        let second = attached();
        assert_eq!(second.len(), 1);
        assert_ne!(first, second);
        // An empty directory that is there already is taken, and so are its rules' places.
        create(&ground.cgroup, DENY_ALL);
        assert_eq!(attached().len(), 1);
        assert!(!ground.shell(READ));
    });
}

/// The kernel's verifier has rules of its own about programs.
#[test]
fn any_rules_make_a_program_that_loads() {
    on_v2("devices::any_rules_make_a_program_that_loads", || {
        let ground = Ground::made("verify", DENY_ALL);
        let mut state = 1_u32;
        let mut pick = |from: &[&'static str]| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            from[(state >> 16) as usize % from.len()]
        };
        for length in 0..60 {
            let rules: Vec<_> = (0..length)
                .map(|_| {
                    format!(
                        r#"{{"allow":{},"type":"{}","major":{},"minor":{},"access":"{}"}}"#,
                        pick(&["true", "false"]),
                        pick(&["b", "c", "b", "c", "b", "c", "a"]),
                        pick(&["-1", "1", "4294967295"]),
                        pick(&["-1", "-1", "3"]),
                        pick(&["rwm", "r", "wm"]),
                    )
                })
                .collect();
            let json = format!(r#"{{"devices":[{}]}}"#, rules.join(","));
            ground.cgroup.apply(&resources(&json), &resources("{}")).unwrap();
        }
    });
}

#[test]
fn v1_lists_what_runc_lists() {
    on_v1("devices::v1_lists_what_runc_lists", || {
        let ground = Ground::made("list", DENY_ALL);
        let mut lines: Vec<_> =
            ground.read("devices", "devices.list").lines().map(str::to_owned).collect();
        lines.sort();
        let expected = [
            "b *:* m",
            "c *:* m",
            "c 136:* rwm",
            "c 1:3 rwm",
            "c 1:5 rwm",
            "c 1:7 rwm",
            "c 1:8 rwm",
            "c 1:9 rwm",
            "c 5:0 rwm",
            "c 5:2 rwm",
        ];
        assert_eq!(lines, expected);
    });
}
