//! Tables: `linux.resources` as in a config.json, and the writes that come of it.

use oci_spec::runtime::LinuxResources;

use super::{Otherwise, Write, v1, v2};
use crate::Error;

fn resources(json: &str) -> LinuxResources {
    serde_json::from_str(json).unwrap()
}

/// One write as a line: `?` may be missing, `|` has another file instead, `~` is tried again.
fn line(write: &Write) -> String {
    let Write { file, value, .. } = write;
    match &write.otherwise {
        Otherwise::Fail => format!("{file}={value}"),
        Otherwise::Skip => format!("{file}?={value}"),
        Otherwise::Instead(other, value2) => format!("{file}={value}|{other}={value2}"),
        Otherwise::Again => format!("{file}~={value}"),
    }
}

fn on_v1(json: &str, memory_now: Option<u64>) -> Vec<String> {
    v1::plan(&resources(json), memory_now).unwrap().iter().map(line).collect()
}

fn on_v2(json: &str) -> Vec<String> {
    v2::plan(&resources(json)).unwrap().iter().map(line).collect()
}

/// The field and the reason of a value that is refused.
fn refused(result: crate::Result<Vec<Write>>) -> (String, String) {
    match result {
        Err(Error::Invalid { field, reason, .. }) => (field, reason.into()),
        other => panic!("{other:?}"),
    }
}

/// Resources, what comes of them on v1, what on v2.
type Row = (&'static str, &'static [&'static str], &'static [&'static str]);

#[test]
fn both_versions() {
    let table: &[Row] = &[
        ("{}", &[], &[]),
        (r#"{"memory":{},"cpu":{},"blockIO":{},"network":{}}"#, &[], &[]),
        // pids
        (r#"{"pids":{"limit":7}}"#, &["pids.max=7"], &["pids.max=7"]),
        (r#"{"pids":{"limit":0}}"#, &["pids.max=1"], &["pids.max=1"]),
        (r#"{"pids":{"limit":-1}}"#, &["pids.max=max"], &["pids.max=max"]),
        // memory: 0 is unset
        (r#"{"memory":{"limit":0,"swap":0,"reservation":0}}"#, &[], &[]),
        (
            r#"{"memory":{"limit":100,"reservation":50}}"#,
            &["memory.limit_in_bytes=100", "memory.soft_limit_in_bytes=50"],
            &["memory.max=100", "memory.low=50"],
        ),
        (
            r#"{"memory":{"limit":100,"swap":300}}"#,
            &["memory.limit_in_bytes=100", "memory.memsw.limit_in_bytes=300"],
            &["memory.swap.max=200", "memory.max=100"],
        ),
        (
            r#"{"memory":{"limit":100,"swap":100}}"#,
            &["memory.limit_in_bytes=100", "memory.memsw.limit_in_bytes=100"],
            &["memory.swap.max?=0", "memory.max=100"],
        ),
        (
            r#"{"memory":{"limit":100,"swap":-1}}"#,
            &["memory.memsw.limit_in_bytes=-1", "memory.limit_in_bytes=100"],
            &["memory.swap.max?=max", "memory.max=100"],
        ),
        (
            r#"{"memory":{"limit":-1}}"#,
            &["memory.memsw.limit_in_bytes?=-1", "memory.limit_in_bytes=-1"],
            &["memory.swap.max?=max", "memory.max=max"],
        ),
        (
            r#"{"memory":{"limit":-1,"swap":500}}"#,
            &["memory.limit_in_bytes=-1", "memory.memsw.limit_in_bytes=500"],
            &["memory.swap.max=500", "memory.max=max"],
        ),
        // The kernel is to refuse this one, with its own words.
        (r#"{"memory":{"limit":-5}}"#, &["memory.limit_in_bytes=-5"], &["memory.max=-5"]),
        (
            r#"{"memory":{"swappiness":0,"disableOOMKiller":true,"kernel":1,"kernelTCP":1}}"#,
            &["memory.oom_control=1", "memory.swappiness=0"],
            &[],
        ),
        (r#"{"memory":{"disableOOMKiller":false,"swappiness":18446744073709551615}}"#, &[], &[]),
        // cpu
        (r#"{"cpu":{"shares":0,"quota":0,"period":0,"cpus":"","mems":""}}"#, &[], &[]),
        (r#"{"cpu":{"shares":1024}}"#, &["cpu.shares=1024"], &["cpu.weight=100"]),
        (
            r#"{"cpu":{"quota":50000,"period":200000}}"#,
            &["cpu.cfs_period_us~=200000", "cpu.cfs_quota_us=50000"],
            &["cpu.max=50000 200000"],
        ),
        (r#"{"cpu":{"quota":50000}}"#, &["cpu.cfs_quota_us=50000"], &["cpu.max=50000 100000"]),
        (r#"{"cpu":{"quota":-1}}"#, &["cpu.cfs_quota_us=-1"], &["cpu.max=max 100000"]),
        (r#"{"cpu":{"period":20000}}"#, &["cpu.cfs_period_us=20000"], &["cpu.max=max 20000"]),
        (
            r#"{"cpu":{"quota":50000,"burst":10000,"idle":1}}"#,
            &["cpu.idle=1", "cpu.cfs_burst_us~=10000", "cpu.cfs_quota_us=50000"],
            &["cpu.idle=1", "cpu.max.burst~=10000", "cpu.max=50000 100000"],
        ),
        (r#"{"cpu":{"shares":1024,"idle":1}}"#, &["cpu.idle=1"], &["cpu.idle=1"]),
        (
            r#"{"cpu":{"shares":1024,"idle":0}}"#,
            &["cpu.idle=0", "cpu.shares=1024"],
            &["cpu.idle=0", "cpu.weight=100"],
        ),
        (r#"{"cpu":{"burst":0}}"#, &["cpu.cfs_burst_us=0"], &["cpu.max.burst=0"]),
        (
            r#"{"cpu":{"realtimeRuntime":950000,"realtimePeriod":1000000}}"#,
            &["cpu.rt_period_us=1000000", "cpu.rt_runtime_us=950000"],
            &[],
        ),
        (
            r#"{"cpu":{"cpus":"0-1,3","mems":"0"}}"#,
            &["cpuset.cpus=0-1,3", "cpuset.mems=0"],
            &["cpuset.cpus=0-1,3", "cpuset.mems=0"],
        ),
        // block I/O
        (
            r#"{"blockIO":{"weight":500,"leafWeight":20}}"#,
            &["blkio.weight=500|blkio.bfq.weight=500", "blkio.leaf_weight=20"],
            &["io.bfq.weight=500|io.weight=4950"],
        ),
        (
            r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0,"weight":100,"leafWeight":30},
                                           {"major":8,"minor":16,"weight":0}]}}"#,
            &[
                "blkio.weight_device=8:0 100|blkio.bfq.weight_device=8:0 100",
                "blkio.leaf_weight_device=8:0 30",
            ],
            &["io.bfq.weight=8:0 100|io.weight=8:0 910"],
        ),
        (
            r#"{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1}],
                           "throttleWriteBpsDevice":[{"major":8,"minor":0,"rate":2}],
                           "throttleReadIOPSDevice":[{"major":8,"minor":0,"rate":3}],
                           "throttleWriteIOPSDevice":[{"major":8,"minor":0,"rate":0}]}}"#,
            &[
                "blkio.throttle.read_bps_device=8:0 1",
                "blkio.throttle.write_bps_device=8:0 2",
                "blkio.throttle.read_iops_device=8:0 3",
                "blkio.throttle.write_iops_device=8:0 0",
            ],
            &[
                "io.max=8:0 rbps=1",
                "io.max=8:0 wbps=2",
                "io.max=8:0 riops=3",
                "io.max=8:0 wiops=max",
            ],
        ),
        // the rest
        (
            r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]}"#,
            &["hugetlb.2MB.limit_in_bytes=4194304", "hugetlb.2MB.rsvd.limit_in_bytes?=4194304"],
            &["hugetlb.2MB.max=4194304", "hugetlb.2MB.rsvd.max?=4194304"],
        ),
        (
            r#"{"network":{"classID":1048577,"priorities":[{"name":"eth0","priority":5}]}}"#,
            &["net_cls.classid=1048577", "net_prio.ifpriomap=eth0 5"],
            &[],
        ),
        (
            r#"{"rdma":{"mlx5_1":{"hcaHandles":3,"hcaObjects":10000},"mlx4_0":{"hcaObjects":1}}}"#,
            &["rdma.max=mlx4_0 hca_object=1", "rdma.max=mlx5_1 hca_handle=3 hca_object=10000"],
            &["rdma.max=mlx4_0 hca_object=1", "rdma.max=mlx5_1 hca_handle=3 hca_object=10000"],
        ),
    ];
    for (json, first, second) in table {
        assert_eq!(on_v1(json, None), *first, "v1: {json}");
        assert_eq!(on_v2(json), *second, "v2: {json}");
    }
}

#[test]
fn v1_grows_the_swap_limit_before_the_memory_limit_passes_it() {
    let json = r#"{"memory":{"limit":200,"swap":400}}"#;
    let (memory, swap) = ("memory.limit_in_bytes=200", "memory.memsw.limit_in_bytes=400");
    assert_eq!(on_v1(json, Some(100)), [swap, memory]);
    assert_eq!(on_v1(json, Some(500)), [memory, swap]);
    assert!(v1::depends_on_memory_now(&resources(json)));
    assert!(!v1::depends_on_memory_now(&resources(r#"{"memory":{"limit":1,"swap":0}}"#)));
}

#[test]
fn unified_is_written_by_line_in_the_order_of_the_names() {
    let json = r#"{"unified":{"memory.high":"1\n2\n","cgroup.max.depth":"3","cpu.weight":""}}"#;
    assert_eq!(
        on_v2(json),
        ["cgroup.max.depth=3", "cpu.weight=", "memory.high=1", "memory.high=2"]
    );
    let writes = v2::plan(&resources(json)).unwrap();
    assert_eq!(writes[2].controller, "memory");
    let result = v1::plan(&resources(json), None);
    assert!(matches!(result, Err(Error::UnifiedOnV1)), "{result:?}");
    assert_eq!(on_v1(r#"{"unified":{}}"#, None), [""; 0]);
}

#[test]
fn unified_names_stay_in_the_directory() {
    for name in ["../cgroup.procs", "a/b.c", "/sys.x", "..", ".", "cgroup", ".max"] {
        let json = format!(r#"{{"unified":{{"{name}":"1"}}}}"#);
        assert!(refused(v2::plan(&resources(&json))).0.starts_with("unified["), "{name}");
    }
}

#[test]
fn values_that_no_kernel_is_asked_for() {
    let v1 = |json: &str| refused(v1::plan(&resources(json), None));
    let v2 = |json: &str| refused(v2::plan(&resources(json)));
    assert_eq!(v1(r#"{"cpu":{"shares":1}}"#).0, "cpu.shares");
    assert_eq!(v1(r#"{"cpu":{"shares":262145}}"#).0, "cpu.shares");
    assert_eq!(v1(r#"{"memory":{"swappiness":101}}"#).0, "memory.swappiness");
    for page_size in ["", "2MB/../x", "2M B"] {
        let json = format!(r#"{{"hugepageLimits":[{{"pageSize":"{page_size}","limit":1}}]}}"#);
        assert_eq!(v1(&json).0, "hugepageLimits[0].pageSize");
        assert_eq!(v2(&json).0, "hugepageLimits[0].pageSize");
    }
    for (json, reason) in [
        (r#"{"memory":{"swap":100}}"#, "needs a memory limit"),
        (r#"{"memory":{"limit":-2,"swap":100}}"#, "needs a valid memory limit"),
        (r#"{"memory":{"limit":200,"swap":100}}"#, "is less than the memory limit"),
        (r#"{"memory":{"limit":200,"swap":-3}}"#, "is less than the memory limit"),
    ] {
        let (field, said) = v2(json);
        assert_eq!(field, "memory.swap");
        assert!(said.starts_with(reason), "{json}: {said}");
    }
}

#[test]
fn threads_alone_can_have_these_limits() {
    for (json, needs) in [
        (r#"{"pids":{"limit":1},"cpu":{"shares":2},"hugepageLimits":[]}"#, false),
        (r#"{"memory":{"limit":1}}"#, true),
        (r#"{"blockIO":{"weight":10}}"#, true),
        (r#"{"hugepageLimits":[{"pageSize":"2MB","limit":1}]}"#, true),
    ] {
        assert_eq!(v2::needs_domain(&resources(json)), needs, "{json}");
    }
}
