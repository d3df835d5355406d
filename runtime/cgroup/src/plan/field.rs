//! Which field of `linux.resources` a write comes from, for errors.

use super::Write;

/// Files and their fields. Where a file holds several, the value decides, see [`Write::field`].
const FIELDS: &[(&str, &str)] = &[
    ("memory.limit_in_bytes", "memory.limit"),
    ("memory.max", "memory.limit"),
    ("memory.memsw.limit_in_bytes", "memory.swap"),
    ("memory.swap.max", "memory.swap"),
    ("memory.soft_limit_in_bytes", "memory.reservation"),
    ("memory.low", "memory.reservation"),
    ("memory.oom_control", "memory.disableOOMKiller"),
    ("memory.swappiness", "memory.swappiness"),
    ("cpuset.cpus", "cpu.cpus"),
    ("cpuset.mems", "cpu.mems"),
    ("cpu.shares", "cpu.shares"),
    ("cpu.weight", "cpu.shares"),
    ("cpu.cfs_period_us", "cpu.period"),
    ("cpu.cfs_burst_us", "cpu.burst"),
    ("cpu.max.burst", "cpu.burst"),
    ("cpu.cfs_quota_us", "cpu.quota"),
    ("cpu.max", "cpu.quota"),
    ("cpu.idle", "cpu.idle"),
    ("cpu.rt_period_us", "cpu.realtimePeriod"),
    ("cpu.rt_runtime_us", "cpu.realtimeRuntime"),
    ("pids.max", "pids.limit"),
    ("blkio.weight", "blockIO.weight"),
    ("blkio.bfq.weight", "blockIO.weight"),
    ("io.weight", "blockIO.weight"),
    ("io.bfq.weight", "blockIO.weight"),
    ("blkio.leaf_weight", "blockIO.leafWeight"),
    ("blkio.weight_device", "blockIO.weightDevice"),
    ("blkio.bfq.weight_device", "blockIO.weightDevice"),
    ("blkio.leaf_weight_device", "blockIO.weightDevice"),
    ("blkio.throttle.read_bps_device", "blockIO.throttleReadBpsDevice"),
    ("blkio.throttle.write_bps_device", "blockIO.throttleWriteBpsDevice"),
    ("blkio.throttle.read_iops_device", "blockIO.throttleReadIOPSDevice"),
    ("blkio.throttle.write_iops_device", "blockIO.throttleWriteIOPSDevice"),
    ("net_cls.classid", "network.classID"),
    ("net_prio.ifpriomap", "network.priorities"),
    ("rdma.max", "rdma"),
];

impl Write {
    /// The field, below `linux.resources`.
    pub fn field(&self) -> String {
        if self.unified {
            return format!("unified[{}]", self.file);
        }
        let mut field = self.object();
        if let Some(index) = self.index {
            field.push_str(&format!("[{index}]"));
        }
        field
    }

    fn object(&self) -> String {
        match &*self.file {
            "cpu.max" if self.value.starts_with("max") => "cpu.period".to_owned(),
            "io.weight" | "io.bfq.weight" if self.value.contains(':') => {
                "blockIO.weightDevice".to_owned()
            }
            "io.max" => {
                let throttle = match self.value.split_once(' ').unwrap_or_default().1 {
                    rate if rate.starts_with("rbps") => "throttleReadBpsDevice",
                    rate if rate.starts_with("wbps") => "throttleWriteBpsDevice",
                    rate if rate.starts_with("riops") => "throttleReadIOPSDevice",
                    _ => "throttleWriteIOPSDevice",
                };
                format!("blockIO.{throttle}")
            }
            file if file.starts_with("hugetlb.") => "hugepageLimits".to_owned(),
            file => {
                let known = FIELDS.iter().find(|(known, _)| *known == file);
                known.map_or(&*self.controller, |(_, field)| field).to_owned()
            }
        }
    }
}
