//! The configuration turned into plain data, which init only has to carry out.
//!
//! Everything that can be refused without touching the system is refused here.

pub(crate) mod capability;
mod cgroup_mount;
mod device;
mod environment;
mod hook;
mod id_map;
mod id_mapped;
mod label;
mod mount;
pub(crate) mod mount_options;
pub(crate) mod namespace;
pub(crate) mod net_device;
mod number_list;
mod owner;
mod process;
mod rootfs;
pub(crate) mod scheduling;
mod seccomp;
mod sysctl;

use std::ffi::CString;

use cgroup::Cgroup;
use oci_spec::runtime::{Hook, Hooks, Linux, LinuxMemoryPolicy, LinuxPersonality};

pub(crate) use cgroup_mount::{CgroupMount, V1Mount};
pub(crate) use device::DevicePlan;
pub(crate) use hook::runtime_hooks;
pub(crate) use mount::{Filesystem, MountPlan, Name, Source, may_cover};
pub(crate) use namespace::{Namespaces, flag};
pub(crate) use net_device::NetDevice;
pub(crate) use owner::cgroup_owner;
pub(crate) use process::{CapabilityPlan, ProcessPlan};
pub(crate) use rootfs::RootfsPlan;
pub(crate) use scheduling::{CpusPlan, SchedulerPlan, SchedulingPlan, every_cpu};
pub(crate) use seccomp::compile;
pub(crate) use sysctl::Sysctl;

use crate::agent::Agent;
use crate::bundle::Bundle;
use crate::create::CreateOptions;
use crate::error::Error;
use crate::intel_rdt;
use crate::report::Report;
use crate::store::State;

/// All that init does, in its order.
#[derive(Debug)]
pub(crate) struct InitPlan {
    pub namespaces: Namespaces,
    /// The parent has work on the child (id maps, v1 cgroups, a systemd scope, network devices) that it
    /// must wait for.
    pub wait_for_parent: bool,
    /// It must wait before it does anything: without id maps it is nobody, and before the
    /// intermediate process has told its pid, the parent can do nothing for it.
    pub wait_at_once: bool,
    /// A cgroup namespace that can only be made once the child has been moved (v1, a systemd scope).
    pub late_cgroup_namespace: bool,
    /// Scheduler and I/O priority are the parent's to set: root in a user namespace may not.
    pub priorities_by_parent: bool,
    pub loopback: bool,
    pub intel_rdt: Option<intel_rdt::Plan>,
    /// The caller is not root: to join the waiting init's namespaces, it must be allowed to ptrace it.
    pub open_to_owner: bool,
    /// The parent's to move, before its hooks.
    pub net_devices: Vec<NetDevice>,
    pub keyring: Option<CString>,
    pub rootfs: RootfsPlan,
    pub hostname: Option<String>,
    pub domainname: Option<String>,
    pub sysctls: Vec<Sysctl>,
    /// prestart or createRuntime hooks, which the parent runs.
    pub parent_hooks: bool,
    pub create_container: Vec<Hook>,
    pub start_container: Vec<Hook>,
    pub process: ProcessPlan,
    /// Who answers for the system calls that the seccomp profile does not decide.
    pub agent: Option<Agent>,
}

impl InitPlan {
    /// Before init is ready, something may have changed that is not this container's alone.
    pub fn reaches_out(&self) -> bool {
        let named = self.hostname.is_some() || self.domainname.is_some();
        let in_others = self.namespaces.needs_intermediate()
            && (named || !self.sysctls.is_empty() || self.namespaces.new & flag::MOUNT == 0);
        in_others || !self.create_container.is_empty() || !self.net_devices.is_empty()
    }

    /// Before init is ready, it does what the device rules may be asked about: a hook runs in the
    /// container's mount namespace, or a disk is mounted.
    pub fn needs_device_rules(&self) -> bool {
        let disk =
            |mount: &MountPlan| matches!(&mount.source, Source::New(new) if new.may_have_device());
        !self.create_container.is_empty() || self.rootfs.mounts.iter().any(disk)
    }
}

/// What the plan is made from, beside the bundle.
pub(crate) struct Input<'a> {
    pub bundle: &'a Bundle,
    pub id: &'a str,
    pub cgroup: &'a Cgroup,
    pub no_pivot: bool,
    pub no_new_keyring: bool,
    pub preserve_fds: u32,
    pub has_console: bool,
}

impl<'a> Input<'a> {
    pub fn new(options: &CreateOptions<'a>, cgroup: &'a Cgroup) -> Input<'a> {
        Input {
            bundle: options.bundle,
            id: options.id,
            cgroup,
            no_pivot: options.no_pivot,
            no_new_keyring: options.no_new_keyring,
            preserve_fds: options.preserve_fds,
            has_console: options.console_socket.is_some(),
        }
    }

    /// Of a container that was made long ago.
    pub fn of_running(bundle: &'a Bundle, state: &'a State) -> Input<'a> {
        Input {
            bundle,
            id: &state.id,
            cgroup: &state.cgroup,
            no_pivot: false,
            no_new_keyring: true,
            preserve_fds: 0,
            has_console: false,
        }
    }
}

/// Checks the whole configuration, but for what [`compile`] finds in the seccomp profile, and opens
/// what the child will need of the host. The error is all that is wrong.
pub(crate) fn build(input: &Input<'_>) -> Result<InitPlan, Error> {
    let spec = &input.bundle.spec;
    let mut report = Report::default();
    report.take(check_version(spec.version()));
    let process = report.keep(process(input));
    let hooks = spec.hooks().as_ref();
    report.take(hook::check(hooks));
    if spec.annotations().as_ref().is_some_and(|all| all.contains_key("")) {
        report.add("annotations", "\"\" is no key: it must not be empty");
    }
    let Some(linux) = spec.linux() else {
        report.add("linux", "missing: only Linux containers can be run");
        return report.finish(None);
    };
    let namespaces = namespace::plan(linux, &mut report);
    // Else it is born where it belongs.
    let moved = input.cgroup.mode() != cgroup::Mode::V2 || input.cgroup.is_scope();
    let new_cgroup = namespaces.new & flag::CGROUP != 0;
    if let Some(process) = &process {
        report.take(namespaces.check_user(process));
    }
    let agent = report.take(seccomp::plan(linux, &input.bundle.path));
    if let Some(resources) = linux.resources() {
        report.take(input.cgroup.check(resources));
    }
    let wait_at_once = namespaces.new & flag::USER != 0 || namespaces.needs_intermediate();
    let hostname = report.take(namespaces.named("hostname", spec.hostname(), flag::UTS));
    let domainname = report.take(namespaces.named("domainname", spec.domainname(), flag::UTS));
    let intel_rdt = report.take(intel_rdt(input, linux));
    let memory_policy = linux.memory_policy().as_ref().map(scheduling::memory_policy);
    let memory_policy = report.take(memory_policy.transpose());
    let personality = linux.personality().as_ref().map(scheduling::personality);
    let personality = report.take(personality.transpose());
    let net_devices = report.take(net_device::plan(linux, &namespaces));
    let sysctls = report.take(sysctl::plan(linux, &namespaces));
    let rootfs = report.keep(rootfs::plan(input, linux, &namespaces));
    let plan = process.zip(rootfs).map(|(mut process, rootfs)| InitPlan {
        wait_for_parent: wait_at_once || moved || intel_rdt.is_some() || !net_devices.is_empty(),
        wait_at_once,
        late_cgroup_namespace: moved && new_cgroup,
        priorities_by_parent: priorities_by_parent(namespaces.has(flag::USER)),
        loopback: namespaces.new & flag::NET != 0,
        intel_rdt,
        open_to_owner: !nix::unistd::geteuid().is_root(),
        net_devices,
        keyring: (!input.no_new_keyring).then(|| keyring_name(input.id)).flatten(),
        hostname,
        domainname,
        sysctls,
        parent_hooks: hooks.is_some_and(|hooks| !runtime_hooks(hooks).is_empty()),
        create_container: hook::list(hooks, Hooks::create_container),
        start_container: hook::list(hooks, Hooks::start_container),
        rootfs,
        process: {
            process.filtered = linux.seccomp().is_some();
            process.scheduling.memory_policy = memory_policy;
            process.scheduling.personality = personality;
            process
        },
        agent,
        namespaces,
    });
    report.finish(plan)
}

fn process(input: &Input<'_>) -> Result<ProcessPlan, Error> {
    let Some(process) = input.bundle.spec.process() else {
        return Err(Error::invalid("process", "missing"));
    };
    let mut report = Report::default();
    report.take(input.bundle.check_io_priority());
    let plan = process::plan("process", process, input.preserve_fds, input.has_console);
    let plan = report.keep(plan);
    let mut plan = report.finish(plan)?;
    // That is for exec only: what holds for init is said by linux.resources.cpu.cpus.
    (plan.scheduling.initial_cpus, plan.scheduling.final_cpus) = (None, None);
    Ok(plan)
}

fn intel_rdt(input: &Input<'_>, linux: &Linux) -> Result<Option<intel_rdt::Plan>, Error> {
    let Some(given) = linux.intel_rdt() else { return Ok(None) };
    let mut report = Report::default();
    let monitored = report.take(intel_rdt::old_flags(|path| input.bundle.text_at(path)));
    let plan = intel_rdt::plan(given, input.id, monitored, intel_rdt::mount_point);
    let plan = report.keep(plan);
    report.finish(plan).map(Some)
}

/// An unprivileged parent may not set them for another user; the process itself may lower them.
pub(crate) fn priorities_by_parent(user_namespace: bool) -> bool {
    user_namespace && nix::unistd::geteuid().is_root()
}

/// The plan of a process that joins a running container.
pub(crate) fn exec_process(
    process: &oci_spec::runtime::Process,
    memory_policy: Option<&LinuxMemoryPolicy>,
    personality: Option<&LinuxPersonality>,
    preserve_fds: u32,
    has_console: bool,
) -> Result<ProcessPlan, Error> {
    let mut plan = process::plan("process", process, preserve_fds, has_console)?;
    plan.scheduling.memory_policy = memory_policy.map(scheduling::memory_policy).transpose()?;
    plan.scheduling.personality = personality.map(scheduling::personality).transpose()?;
    Ok(plan)
}

fn check_version(version: &str) -> Result<(), Error> {
    let major = version.split('.').next().unwrap_or_default();
    let parts = version.split(['-', '+']).next().unwrap_or_default().split('.').count();
    if major != "1" || parts != 3 {
        return Err(Error::invalid(
            "ociVersion",
            format!("{version:?} is not a supported version (1.x.y)"),
        ));
    }
    Ok(())
}

/// The session keyring's name, as in runc.
pub(crate) fn keyring_name(id: &str) -> Option<CString> {
    CString::new(format!("_ses.{id}")).ok()
}

/// `path` without `.`, `..` and doubled slashes, relative to the root that it can't leave.
pub(crate) fn relative(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_do_not_leave_the_root() {
        for (path, clean) in [
            ("/a/./b//c/", "a/b/c"),
            ("/../../x", "x"),
            ("a/../..", ""),
            ("/", ""),
            ("/a/../b", "b"),
        ] {
            assert_eq!(relative(path), clean);
        }
    }

    #[test]
    fn versions() {
        for (version, good) in
            [("1.0.2", true), ("1.3.0-dev", true), ("2.0.0", false), ("", false), ("1.0", false)]
        {
            assert_eq!(check_version(version).is_ok(), good, "{version}");
        }
    }
}
