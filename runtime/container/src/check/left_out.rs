//! Limits that this host's version of control groups has no file for, and that are left out.

use cgroup::Mode;
use oci_spec::runtime::LinuxResources;

use super::finding::Finding;

const PLACE: &str = "linux.resources";

/// A warning for each that would have an effect elsewhere. What old kernels had and newer ones don't
/// is left out on both versions.
pub(super) fn limits(mode: Mode, resources: &LinuxResources) -> Vec<Finding> {
    let v2 = mode == Mode::V2;
    let mut fields: Vec<String> = Vec::new();
    let mut add = |given: bool, field: &str| {
        if given {
            fields.push(format!("{PLACE}.{field}"));
        }
    };
    if let Some(memory) = resources.memory() {
        add(memory.kernel().is_some_and(|limit| limit > 0), "memory.kernel");
        add(memory.kernel_tcp().is_some_and(|limit| limit > 0), "memory.kernelTCP");
        // Of a kernel that has no other way, "true" asks for nothing.
        add(memory.use_hierarchy() == Some(false), "memory.useHierarchy");
        add(v2 && memory.swappiness().is_some(), "memory.swappiness");
        add(v2 && memory.disable_oom_killer() == Some(true), "memory.disableOOMKiller");
    }
    if let Some(cpu) = resources.cpu().as_ref().filter(|_| v2) {
        let set = |value: Option<i64>| value.is_some_and(|value| value != 0);
        add(set(cpu.realtime_runtime()), "cpu.realtimeRuntime");
        add(cpu.realtime_period().is_some_and(|period| period != 0), "cpu.realtimePeriod");
    }
    if let Some(block) = resources.block_io().as_ref().filter(|_| v2) {
        let set = |weight: Option<u16>| weight.is_some_and(|weight| weight != 0);
        add(set(block.leaf_weight()), "blockIO.leafWeight");
        for (index, device) in block.weight_device().iter().flatten().enumerate() {
            let field = format!("blockIO.weightDevice[{index}].leafWeight");
            add(set(device.leaf_weight()), &field);
        }
    }
    if let Some(network) = resources.network().as_ref().filter(|_| v2) {
        add(network.class_id().is_some_and(|id| id != 0), "network.classID");
        let given = network.priorities().as_ref().is_some_and(|list| !list.is_empty());
        add(given, "network.priorities");
    }
    let version = if v2 { "cgroup v2" } else { "cgroup v1 of this kernel" };
    let message = format!("left out: {version} has nothing for it");
    fields.into_iter().map(|field| Finding::warning(field, message.clone())).collect()
}
