//! Limits, read back from the kernel.

use crate::ground::{
    Ground, Process, bare, create, join_all, on_v1, on_v2, on_v2_with, resources, told,
};
use cgroup::{Cgroup, Error, Mode};

/// What runc 1.1 was seen to make of these on both versions is in the tests.
const LIMITS: &str = r#"{
    "memory":{"limit":67108864,"reservation":33554432,"swap":134217728},
    "cpu":{"shares":512,"quota":50000,"burst":20000,"period":200000,"cpus":"0","mems":"0"},
    "pids":{"limit":33}
}"#;

/// What systemd hands down on a v2 host.
const CONTROLLERS: &[&str] = &["cpu", "cpuset", "io", "memory", "pids"];

fn expect(ground: &Ground, files: &[(&str, &str, &str)]) {
    for (controller, file, value) in files {
        assert_eq!(ground.read(controller, file), *value, "{file}");
    }
}

fn refused(ground: &Ground, json: &str) -> String {
    told(&bare(ground.cgroup.apply(&resources(json), &resources("{}")).unwrap_err()))
}

/// The "major:minor" of some disk.
fn disk() -> String {
    let mut disks: Vec<_> = std::fs::read_dir("/sys/block").unwrap().map(|e| e.unwrap()).collect();
    disks.retain(|disk| disk.path().join("device").exists());
    let numbers = std::fs::read_to_string(disks.first().expect("a disk").path().join("dev"));
    numbers.unwrap().trim().to_owned()
}

fn throttle(rates: [u64; 4]) -> String {
    let disk = disk();
    let (major, minor) = disk.split_once(':').unwrap();
    let device = |rate| format!(r#"[{{"major":{major},"minor":{minor},"rate":{rate}}}]"#);
    format!(
        r#"{{"blockIO":{{"throttleReadBpsDevice":{},"throttleWriteBpsDevice":{},
             "throttleReadIOPSDevice":{},"throttleWriteIOPSDevice":{}}}}}"#,
        device(rates[0]),
        device(rates[1]),
        device(rates[2]),
        device(rates[3])
    )
}

#[test]
fn v1_takes_all() {
    on_v1("limits::v1_takes_all", || {
        let ground = Ground::made("limits", LIMITS);
        expect(
            &ground,
            &[
                ("memory", "memory.limit_in_bytes", "67108864"),
                ("memory", "memory.memsw.limit_in_bytes", "134217728"),
                ("memory", "memory.soft_limit_in_bytes", "33554432"),
                ("cpu", "cpu.shares", "512"),
                ("cpu", "cpu.cfs_quota_us", "50000"),
                ("cpu", "cpu.cfs_burst_us", "20000"),
                ("cpu", "cpu.cfs_period_us", "200000"),
                ("cpuset", "cpuset.cpus", "0"),
                ("cpuset", "cpuset.mems", "0"),
                ("pids", "pids.max", "33"),
            ],
        );
        ground
            .cgroup
            .apply(&resources(r#"{"memory":{"swappiness":30}}"#), &resources("{}"))
            .unwrap();
        assert_eq!(ground.read("memory", "memory.swappiness"), "30");
    });
}

#[test]
fn v1_changes_only_what_is_given() {
    on_v1("limits::v1_changes_only_what_is_given", || {
        let ground = Ground::made("change", LIMITS);
        let json = r#"{"pids":{"limit":-1},"cpu":{"quota":-1,"burst":0}}"#;
        ground.cgroup.apply(&resources(json), &resources("{}")).unwrap();
        expect(
            &ground,
            &[
                ("pids", "pids.max", "max"),
                ("cpu", "cpu.cfs_quota_us", "-1"),
                ("cpu", "cpu.cfs_period_us", "200000"),
                ("cpu", "cpu.shares", "512"),
                ("memory", "memory.limit_in_bytes", "67108864"),
            ],
        );
    });
}

#[test]
fn v1_raises_and_lowers_memory_with_swap() {
    on_v1("limits::v1_raises_and_lowers_memory_with_swap", || {
        let ground = Ground::made("swap", LIMITS);
        for (limit, swap) in [(268435456, 536870912), (16777216, 33554432), (33554432, 33554432)] {
            let json = format!(r#"{{"memory":{{"limit":{limit},"swap":{swap}}}}}"#);
            ground.cgroup.apply(&resources(&json), &resources("{}")).unwrap();
            assert_eq!(ground.read("memory", "memory.limit_in_bytes"), limit.to_string());
            assert_eq!(ground.read("memory", "memory.memsw.limit_in_bytes"), swap.to_string());
        }
        ground.cgroup.apply(&resources(r#"{"memory":{"limit":-1}}"#), &resources("{}")).unwrap();
        let unlimited = ground.read("memory", "memory.limit_in_bytes");
        assert!(unlimited.parse::<u64>().unwrap() > 1 << 60);
        assert_eq!(ground.read("memory", "memory.memsw.limit_in_bytes"), unlimited);
    });
}

#[test]
fn v1_takes_a_shorter_period_below_a_limited_parent() {
    on_v1("limits::v1_takes_a_shorter_period_below_a_limited_parent", || {
        let ground = Ground::made("period", r#"{"cpu":{"quota":10000,"period":100000}}"#);
        let parent = ground.cgroup.path_of("cpu").unwrap();
        std::fs::write(parent.parent().unwrap().join("cpu.cfs_quota_us"), "10000").unwrap();
        // 10000 of 50000 is more than the parent's share, until the quota is lower too.
        let json = r#"{"cpu":{"quota":5000,"period":50000}}"#;
        ground.cgroup.apply(&resources(json), &resources("{}")).unwrap();
        assert_eq!(ground.read("cpu", "cpu.cfs_period_us"), "50000");
        assert_eq!(ground.read("cpu", "cpu.cfs_quota_us"), "5000");
    });
}

#[test]
fn v1_throttles_disks() {
    on_v1("limits::v1_throttles_disks", || {
        let ground = Ground::made("disk", &throttle([1000, 2000, 30, 40]));
        let disk = disk();
        expect(
            &ground,
            &[
                ("blkio", "blkio.throttle.read_bps_device", &format!("{disk} 1000")),
                ("blkio", "blkio.throttle.write_bps_device", &format!("{disk} 2000")),
                ("blkio", "blkio.throttle.read_iops_device", &format!("{disk} 30")),
                ("blkio", "blkio.throttle.write_iops_device", &format!("{disk} 40")),
            ],
        );
        ground.cgroup.apply(&resources(&throttle([0, 2000, 30, 0])), &resources("{}")).unwrap();
        assert_eq!(ground.read("blkio", "blkio.throttle.read_bps_device"), "");
    });
}

#[test]
fn v1_cpusets_are_the_parents_unless_given() {
    on_v1("limits::v1_cpusets_are_the_parents_unless_given", || {
        // The parents on the way are new, and empty before they are filled.
        let ground = Ground::made("cpuset", "{}");
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let root = std::fs::read_to_string(format!("/sys/fs/cgroup/cpuset/{file}")).unwrap();
            assert_eq!(ground.read("cpuset", file), root.trim());
        }
        let ground = Ground::made("cpus", r#"{"cpu":{"cpus":"0"}}"#);
        assert_eq!(ground.read("cpuset", "cpuset.cpus"), "0");
        assert_eq!(ground.read("cpuset", "cpuset.mems"), "0");
    });
}

#[test]
fn v1_says_what_it_refuses() {
    on_v1("limits::v1_says_what_it_refuses", || {
        let ground = Ground::made("refuse", "{}");
        let memory = ground.cgroup.path_of("memory").unwrap();
        assert_eq!(
            refused(&ground, r#"{"memory":{"limit":-5}}"#),
            format!(
                "cgroup {}: write \"-5\" to memory.limit_in_bytes: EINVAL: Invalid argument",
                memory.display()
            )
        );
        assert_eq!(
            refused(&ground, r#"{"rdma":{"mlx":{"hcaHandles":1}}}"#),
            "cannot set rdma.max to \"mlx hca_handle=1\": controller \"rdma\" not available"
        );
        let process = ground.process();
        let error = ground.cgroup.apply(&resources(r#"{"memory":{"limit":1}}"#), &resources("{}"));
        // What can be swapped out is, so a lone process may let go of all it has.
        if let Err(error) = error.map_err(bare) {
            assert!(matches!(error, Error::MemoryInUse { limit: 1, .. }), "{error}");
        }
        drop(process);
    });
}

#[test]
fn v2_says_which_controller_is_missing() {
    on_v2("limits::v2_says_which_controller_is_missing", || {
        let ground = Ground::made("missing", "{}");
        assert_eq!(
            refused(&ground, r#"{"unified":{"nothing.max":"1"}}"#),
            "cannot set nothing.max to \"1\": controller \"nothing\" not available"
        );
        // A file that is missing although its controller is not.
        let text = refused(&ground, r#"{"unified":{"cgroup.nothing":"1"}}"#);
        assert!(text.ends_with("to cgroup.nothing: ENOENT: No such file or directory"), "{text}");
        ground
            .cgroup
            .apply(&resources(r#"{"unified":{"cgroup.max.depth":"3"}}"#), &resources("{}"))
            .unwrap();
        assert_eq!(ground.read("", "cgroup.max.depth"), "3");
    });
}

#[test]
fn v2_enables_what_the_host_has_on_the_way() {
    on_v2("limits::v2_enables_what_the_host_has_on_the_way", || {
        let ground = Ground::made("enable", "{}");
        let root = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap();
        assert_eq!(ground.read("", "cgroup.controllers"), root.trim());
        // The container's own children are its own business.
        assert_eq!(ground.read("", "cgroup.subtree_control"), "");
    });
}

#[test]
fn v2_does_with_less_below_a_cgroup_with_processes() {
    on_v2("limits::v2_does_with_less_below_a_cgroup_with_processes", || {
        let ground = Ground::made("less", "{}");
        let parent = ground.process();
        let inner = ground.cgroup.hierarchies()[0].path().join("inner");
        let inner = Cgroup::locate(Mode::V2, Some(&inner), "id").unwrap();
        create(&inner, "{}");
        // It takes processes from anywhere, as it would not if the parent had become threaded.
        let process = Process::start(&["sleep", "600"]);
        join_all(&inner, process.pid());
        drop(process);
        inner.remove().unwrap();
        let result =
            inner.create(Some(&resources(r#"{"memory":{"limit":1000000}}"#))).map_err(bare);
        assert!(matches!(result, Err(Error::NoController { .. })), "{result:?}");
        assert!(!inner.path_of("").unwrap().exists());
        drop(parent);
    });
}

#[test]
fn v2_limits_threads_below_a_cgroup_with_processes() {
    let name = "limits::v2_limits_threads_below_a_cgroup_with_processes";
    on_v2_with(CONTROLLERS, name, || {
        let ground = Ground::made("threads", "{}");
        let process = ground.process();
        let inner = ground.cgroup.hierarchies()[0].path().join("inner");
        let inner = Cgroup::locate(Mode::V2, Some(&inner), "id").unwrap();
        create(&inner, r#"{"pids":{"limit":5}}"#);
        join_all(&inner, process.pid());
        let max = std::fs::read_to_string(inner.path_of("").unwrap().join("pids.max")).unwrap();
        assert_eq!(max, "5\n");
        assert_eq!(inner.pids().unwrap(), [process.pid().as_raw()]);
        inner.kill_all(9).unwrap();
        inner.remove().unwrap();
    });
}

#[test]
fn v2_can_be_threaded_without_memory_limits() {
    on_v2("limits::v2_can_be_threaded_without_memory_limits", || {
        let ground = Ground::made("threaded", "{}");
        let top = ground.cgroup.path_of("").unwrap();
        std::fs::create_dir(top.join("thread")).unwrap();
        std::fs::write(top.join("thread/cgroup.type"), "threaded").unwrap();
        let inner = ground.cgroup.hierarchies()[0].path().join("inner");
        let inner = Cgroup::locate(Mode::V2, Some(&inner), "id").unwrap();
        let result =
            inner.create(Some(&resources(r#"{"memory":{"limit":1000000}}"#))).map_err(bare);
        assert!(
            matches!(&result, Err(Error::Threaded { kind, .. }) if kind == "domain invalid"),
            "{result:?}"
        );
        create(&inner, "{}");
        let kind = std::fs::read_to_string(inner.path_of("").unwrap().join("cgroup.type")).unwrap();
        assert_eq!(kind, "threaded\n");
        inner.remove().unwrap();
    });
}

#[test]
fn v2_is_delegated() {
    on_v2("limits::v2_is_delegated", || {
        use std::os::unix::fs::MetadataExt;
        let ground = Ground::made("owner", "{}");
        ground.cgroup.delegate(1234).unwrap();
        let dir = ground.cgroup.path_of("").unwrap();
        let owner = |file: &str| std::fs::metadata(dir.join(file)).unwrap().uid();
        for file in ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
            assert_eq!(owner(file), 1234, "{file}");
        }
        assert_eq!(owner("cgroup.freeze"), 0);
        assert_eq!(owner("cgroup.max.depth"), 0);
    });
}

#[test]
fn v2_takes_all() {
    on_v2_with(CONTROLLERS, "limits::v2_takes_all", || {
        let ground = Ground::made("limits", LIMITS);
        expect(
            &ground,
            &[
                ("", "memory.max", "67108864"),
                ("", "memory.swap.max", "67108864"),
                ("", "memory.low", "33554432"),
                ("", "cpu.weight", "59"),
                ("", "cpu.max", "50000 200000"),
                ("", "cpu.max.burst", "20000"),
                ("", "cpuset.cpus", "0"),
                ("", "cpuset.mems", "0"),
                ("", "pids.max", "33"),
            ],
        );
        let json = r#"{"memory":{"limit":-1},"pids":{"limit":0},"cpu":{"quota":-1,"burst":0}}"#;
        ground.cgroup.apply(&resources(json), &resources("{}")).unwrap();
        expect(
            &ground,
            &[
                ("", "memory.max", "max"),
                ("", "memory.swap.max", "max"),
                ("", "pids.max", "1"),
                ("", "cpu.max", "max 100000"),
                ("", "cpu.weight", "59"),
            ],
        );
    });
}

#[test]
fn v2_throttles_disks_and_weighs_them() {
    on_v2_with(CONTROLLERS, "limits::v2_throttles_disks_and_weighs_them", || {
        let ground = Ground::made("disk", &throttle([1000, 2000, 30, 40]));
        let disk = disk();
        assert_eq!(
            ground.read("", "io.max"),
            format!("{disk} rbps=1000 wbps=2000 riops=30 wiops=40")
        );
        ground.cgroup.apply(&resources(&throttle([0, 2000, 30, 0])), &resources("{}")).unwrap();
        assert_eq!(
            ground.read("", "io.max"),
            format!("{disk} rbps=max wbps=2000 riops=30 wiops=max")
        );

        ground.cgroup.apply(&resources(r#"{"blockIO":{"weight":500}}"#), &resources("{}")).unwrap();
        let bfq = ground.cgroup.path_of("").unwrap().join("io.bfq.weight").exists();
        let (file, value) = if bfq { ("io.bfq.weight", "500") } else { ("io.weight", "4950") };
        assert!(ground.read("", file).contains(value), "{}", ground.read("", file));
    });
}

#[test]
fn v2_checks_the_usage_where_asked_to() {
    on_v2_with(CONTROLLERS, "limits::v2_checks_the_usage_where_asked_to", || {
        let ground = Ground::made("usage", r#"{"memory":{"limit":67108864}}"#);
        // Page cache of its own that stays while nothing presses.
        assert!(ground.shell("head -c 8388608 /dev/zero > /dev/shm/cgroup-test-usage"));
        let json = r#"{"memory":{"limit":1048576,"checkBeforeUpdate":true}}"#;
        let error = ground.cgroup.apply(&resources(json), &resources("{}")).unwrap_err();
        std::fs::remove_file("/dev/shm/cgroup-test-usage").unwrap();
        assert!(matches!(error, Error::MemoryInUse { limit: 1048576, .. }), "{error}");
        assert_eq!(ground.read("", "memory.max"), "67108864");
    });
}

#[test]
fn v2_enables_controllers_on_a_fresh_path() {
    on_v2_with(CONTROLLERS, "limits::v2_enables_controllers_on_a_fresh_path", || {
        let ground = Ground::made("fresh", "{}");
        let controllers = ground.read("", "cgroup.controllers");
        for one in CONTROLLERS {
            assert!(controllers.split(' ').any(|c| c == *one), "{one} in {controllers}");
        }
    });
}
