//! A container's cgroups from their making to their end, on real hierarchies.

use std::ffi::OsStr;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::ground::{
    Ground, Process, as_nobody, bare, create, everywhere, join_all, resources, told, with_unified,
};
use cgroup::{Cgroup, Error, Mode};
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{Mode as StatMode, fstat, mkdirat, stat};

#[test]
fn makes_joins_and_removes() {
    everywhere("life::makes_joins_and_removes", || {
        let ground = Ground::made("life", "{}");
        assert_eq!(ground.there().len(), 3 * ground.cgroup.hierarchies().len());
        assert_eq!(ground.cgroup.pids().unwrap(), [0; 0]);

        let process = ground.process();
        assert_eq!(ground.cgroup.pids().unwrap(), [process.pid().as_raw()]);
        let places = process.places();
        for hierarchy in ground.cgroup.hierarchies() {
            let end = format!(":{}", hierarchy.path().display());
            assert!(places.lines().any(|line| line.ends_with(&end)), "{end} in {places}");
        }
        drop(process);

        ground.cgroup.remove().unwrap();
        // The parents stay: others may use them.
        assert_eq!(ground.there().len(), 2 * ground.cgroup.hierarchies().len());
        ground.cgroup.remove().unwrap();
        assert_eq!(ground.cgroup.pids().unwrap(), [0; 0]);
        assert!(!ground.cgroup.is_frozen().unwrap());
    });
}

#[test]
fn a_relative_path_counts_from_our_own_cgroup() {
    everywhere("life::a_relative_path_counts_from_our_own_cgroup", || {
        let mode = Mode::detect().unwrap();
        let name = format!("cgroup-test-{}-relative", std::process::id());
        let cgroup = Cgroup::locate(mode, None, &name).unwrap();
        let same = Cgroup::locate(mode, Some(name.as_ref()), "x").unwrap();
        assert_eq!(cgroup.hierarchies(), same.hierarchies());
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
        for hierarchy in cgroup.hierarchies() {
            let field = format!(":{}:", hierarchy.mount_data());
            let line = own.lines().find(|line| line.contains(&field)).unwrap();
            let own = Path::new(line.rsplit(':').next().unwrap());
            let base = if mode == Mode::V2 { own.parent().unwrap_or(own) } else { own };
            assert_eq!(hierarchy.path(), base.join(&name));
        }
        let saved = serde_json::to_string(&cgroup).unwrap();
        assert_eq!(serde_json::from_str::<Cgroup>(&saved).unwrap(), cgroup);
        create(&cgroup, "{}");
        cgroup.remove().unwrap();
    });
}

#[test]
fn refuses_a_directory_with_processes() {
    everywhere("life::refuses_a_directory_with_processes", || {
        let ground = Ground::made("busy", "{}");
        let process = ground.process();
        let error = ground.cgroup.create(None).unwrap_err();
        assert!(matches!(error, Error::NotEmpty { count: 1, .. }), "{error}");
        assert!(
            error.to_string().starts_with("container's cgroup is not empty: 1 process(es) found")
        );
        // It was not ours to remove.
        assert_eq!(ground.cgroup.pids().unwrap(), [process.pid().as_raw()]);
        drop(process);
        // An empty one is taken as it is.
        create(&ground.cgroup, "{}");
        ground.cgroup.freeze().unwrap();
        let error = ground.cgroup.create(None).unwrap_err();
        assert!(matches!(error, Error::Frozen { .. }), "{error}");
        ground.cgroup.thaw().unwrap();
    });
}

#[test]
fn a_failure_leaves_nothing() {
    everywhere("life::a_failure_leaves_nothing", || {
        let ground = Ground::new("failure");
        for json in [
            // Found before, by the kernel, and by the kernel after devices and directories.
            r#"{"devices":[{"allow":true,"access":"x"}]}"#,
            r#"{"cpu":{"cpus":"4000-4001"}}"#,
            r#"{"hugepageLimits":[{"pageSize":"3MB","limit":1}]}"#,
        ] {
            let error = ground.cgroup.create(Some(&resources(json))).unwrap_err();
            assert_eq!(ground.there(), [""; 0].map(std::path::PathBuf::from), "{error}");
        }
    });
}

#[test]
fn freezes_and_thaws() {
    everywhere("life::freezes_and_thaws", || {
        let ground = Ground::made("freeze", "{}");
        assert!(!ground.cgroup.is_frozen().unwrap());
        // A frozen cgroup without processes is frozen too.
        ground.cgroup.freeze().unwrap();
        assert!(ground.cgroup.is_frozen().unwrap());
        ground.cgroup.thaw().unwrap();
        assert!(!ground.cgroup.is_frozen().unwrap());

        let marker = std::env::temp_dir().join(format!("cgroup-test-{}", std::process::id()));
        let script = format!("while :; do echo >> {}; sleep 0.01; done", marker.display());
        let process = Process::start(&["sh", "-c", &script]);
        join_all(&ground.cgroup, process.pid());
        let length = || std::fs::metadata(&marker).map_or(0, |data| data.len());
        let grows = |within| {
            let (before, start) = (length(), Instant::now());
            while length() == before && start.elapsed() < within {
                std::thread::sleep(Duration::from_millis(5));
            }
            length() > before
        };
        let (short, long) = (Duration::from_millis(200), Duration::from_secs(10));
        assert!(grows(long));
        ground.cgroup.freeze().unwrap();
        assert!(ground.cgroup.is_frozen().unwrap());
        assert!(!grows(short));
        ground.cgroup.freeze().unwrap();
        ground.cgroup.thaw().unwrap();
        assert!(grows(long));
        ground.cgroup.kill_all(9).unwrap();
        std::fs::remove_file(&marker).unwrap();
    });
}

#[test]
fn kills_everything_below_even_frozen() {
    everywhere("life::kills_everything_below_even_frozen", || {
        let ground = Ground::made("kill", "{}");
        for (signal, frozen) in [(15, false), (9, false), (9, true), (34, false)] {
            let mut first = ground.process();
            let mut second = ground.process();
            if frozen {
                ground.cgroup.freeze().unwrap();
            }
            ground.cgroup.kill_all(signal).unwrap();
            assert_eq!(first.killed_by(), Some(signal));
            assert_eq!(second.killed_by(), Some(signal));
            // Killing does not leave a frozen cgroup that no container can start in again on v1;
            // on v2 what is frozen stays so, and dies all the same.
            ground.cgroup.thaw().unwrap();
        }
        ground.cgroup.kill_all(9).unwrap();
    });
}

#[test]
fn signals_reach_a_frozen_container_later() {
    everywhere("life::signals_reach_a_frozen_container_later", || {
        let ground = Ground::made("later", "{}");
        let mut process = ground.process();
        ground.cgroup.freeze().unwrap();
        ground.cgroup.kill_all(15).unwrap();
        // A signal is no reason to let go of what someone paused.
        assert!(ground.cgroup.is_frozen().unwrap());
        ground.cgroup.thaw().unwrap();
        assert_eq!(process.killed_by(), Some(15));
    });
}

#[test]
fn removes_sub_cgroups_and_waits_for_those_that_leave() {
    everywhere("life::removes_sub_cgroups_and_waits_for_those_that_leave", || {
        let ground = Ground::made("sub", "{}");
        for hierarchy in ground.cgroup.hierarchies() {
            std::fs::create_dir_all(hierarchy.dir().join("a/b")).unwrap();
            std::fs::create_dir_all(hierarchy.dir().join("c")).unwrap();
        }
        let process = ground.process();
        let pid = process.pid();
        let killer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            kill(pid, Signal::SIGKILL).unwrap();
            drop(process);
        });
        let start = Instant::now();
        ground.cgroup.remove().unwrap();
        assert!(start.elapsed() >= Duration::from_millis(250));
        killer.join().unwrap();
        assert!(ground.cgroup.hierarchies().iter().all(|one| !one.dir().exists()));
    });
}

/// A container that owns its cgroup may hide what it makes there behind names and depth.
#[test]
fn finds_what_no_path_leads_to() {
    everywhere("life::finds_what_no_path_leads_to", || {
        let ground = Ground::made("deep", "{}");
        let mut process = Process::start(&["sleep", "600"]);
        for hierarchy in ground.cgroup.hierarchies() {
            let open = |at: BorrowedFd<'_>, name: &OsStr| {
                openat(at, name, OFlag::O_PATH | OFlag::O_DIRECTORY, StatMode::empty()).unwrap()
            };
            let mut dir = open(AT_FDCWD, hierarchy.dir().as_os_str());
            let mut name = [b'\xff'; 200];
            for level in 0..40 {
                name[0] = b'a' + level;
                let name = OsStr::from_bytes(&name);
                mkdirat(&dir, name, StatMode::S_IRWXU).unwrap();
                dir = open(dir.as_fd(), name);
            }
            if hierarchy.has("cpuset") {
                continue;
            }
            let procs = openat(&dir, "cgroup.procs", OFlag::O_WRONLY, StatMode::empty()).unwrap();
            std::fs::File::from(procs).write_all(process.pid().to_string().as_bytes()).unwrap();
        }
        assert_eq!(ground.cgroup.pids().unwrap(), [process.pid().as_raw()]);
        ground.cgroup.kill_all(9).unwrap();
        assert_eq!(process.killed_by(), Some(9));
        ground.cgroup.remove().unwrap();
        assert!(ground.cgroup.hierarchies().iter().all(|one| !one.dir().exists()));
    });
}

#[test]
fn does_not_wait_for_ever() {
    everywhere("life::does_not_wait_for_ever", || {
        let ground = Ground::made("ever", "{}");
        let process = ground.process();
        let start = Instant::now();
        let error = ground.cgroup.remove().unwrap_err();
        assert!(start.elapsed() < Duration::from_secs(10));
        let dir = ground.cgroup.hierarchies()[0].dir();
        assert_eq!(
            told(&error),
            format!("container's cgroup is not empty: 1 process(es) found in {}", dir.display())
        );
        drop(process);
    });
}

#[test]
fn the_unified_directory_is_the_one_to_be_born_in() {
    with_unified("life::the_unified_directory_is_the_one_to_be_born_in", || {
        let ground = Ground::made("born", "{}");
        let expected = stat(&ground.cgroup.path_of("").unwrap()).unwrap();
        let found = fstat(ground.cgroup.unified_dir().unwrap().unwrap()).unwrap();
        assert_eq!((found.st_dev, found.st_ino), (expected.st_dev, expected.st_ino));

        // Beside a first process that has moved into a sub-cgroup.
        let process = ground.process();
        let sub = ground.cgroup.path_of("").unwrap().join("init.scope");
        std::fs::create_dir(&sub).unwrap();
        std::fs::write(sub.join("cgroup.procs"), process.pid().to_string()).unwrap();
        let found =
            fstat(ground.cgroup.unified_dir_beside(process.pid()).unwrap().unwrap()).unwrap();
        assert_eq!(found.st_ino, stat(&sub).unwrap().st_ino);
    });
}

#[test]
fn without_privileges_it_does_without() {
    as_nobody("life::without_privileges_it_does_without", || {
        let mode = Mode::detect().unwrap();
        let place = |path: Option<&str>| {
            Cgroup::locate(mode, path.map(AsRef::as_ref), "cgroup-test-rootless").unwrap()
        };
        let cgroup = place(None);
        assert!(cgroup.hierarchies().is_empty() && !cgroup.inherited().is_empty());
        create(&cgroup, "{}");
        create(&cgroup, r#"{"devices":[{"allow":false,"access":"rwm"}]}"#);
        assert!(cgroup.inherited().iter().all(|one| !one.dir().ends_with("cgroup-test-rootless")));
        assert!(cgroup.unified_dir().unwrap().is_none());
        join_all(&cgroup, nix::unistd::getpid());
        assert_eq!(cgroup.pids().unwrap(), [0; 0]);
        cgroup.remove().unwrap();
        // What was asked for is not left out.
        for error in [
            bare(cgroup.create(Some(&resources(r#"{"pids":{"limit":5}}"#))).unwrap_err()),
            place(Some("/cgroup-test-rootless")).create(None).unwrap_err(),
        ] {
            assert!(matches!(error, Error::Create { .. } | Error::NoController { .. }), "{error}");
        }
    });
}
