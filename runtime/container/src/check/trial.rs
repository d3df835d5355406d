//! Runs the container's init until it is ready, where it leaves no trace, and ends it.

use cgroup::Cgroup;
use nix::errno::Errno;

use super::{finding, overlay};
use crate::create::{CreateOptions, new_state, proceed};
use crate::error::{Context, Error, Os};
use crate::idmap::Translator;
use crate::plan::{self, DevicePlan, InitPlan, Source, flag, namespace};
use crate::process::describe;
use crate::report::Report;
use crate::spawn::{self, Handover};
use crate::store::State;
use crate::sync::{Channel, Message};

/// Trials until one succeeds, or fails for something that can't be left out of the next.
const MOST: usize = 100;

/// The path of /dev/null, as plans have it.
const NULL: &str = "dev/null";

/// Adds what init, or we for it, can't do. The error is why there was no trial.
pub(super) fn run(
    options: &CreateOptions<'_>,
    cgroup: &Cgroup,
    report: &mut Report,
) -> Result<(), String> {
    let not_tried = |why: String| format!("what init does was not tried: {why}");
    if !nix::unistd::geteuid().is_root() {
        return Err(not_tried("that takes root".to_owned()));
    }
    let rootfs = options.bundle.rootfs().map_err(|error| not_tried(error.to_string()))?;
    let rootfs = rootfs.canonicalize().map_err(|error| not_tried(error.to_string()))?;
    if rootfs.parent().is_none() {
        return Err(not_tried("the rootfs is the host's".to_owned()));
    }
    match overlay::cover(&rootfs) {
        Ok(()) => {}
        Err((step, Errno::ENOSYS)) => {
            // Without the same calls no container is made.
            report.push(Error::system(step, Errno::ENOSYS));
            return Ok(());
        }
        Err((step, errno)) => return Err(not_tried(format!("{step}: {}", Os(errno)))),
    }
    let mut left_out: Vec<String> = Vec::new();
    for _ in 0..MOST {
        let input = plan::Input::new(options, cgroup);
        let Err(error) = plan::build(&input).and_then(|mut plan| {
            if plan.namespaces.new & flag::MOUNT == 0 {
                // The paths are another container's.
                return Ok(());
            }
            confine(&mut plan);
            left_out.iter().for_each(|field| leave_out(&mut plan, field));
            let state = new_state(options, cgroup.clone(), &plan)?;
            once(&plan, &state)
        }) else {
            return Ok(());
        };
        let (field, _) = finding::split(&match &error {
            Error::Init(failure) => failure.to_string(),
            error => error.text(),
        });
        if left_out.contains(&field) {
            // It can't be left out.
            return Ok(());
        }
        report.push(error);
        if field.is_empty() {
            return Ok(());
        }
        left_out.push(field);
    }
    Ok(())
}

/// Takes out of the plan what would change the host or another container.
fn confine(plan: &mut InitPlan) {
    let new = plan.namespaces.new;
    plan.parent_hooks = false;
    plan.create_container.clear();
    plan.start_container.clear();
    plan.keyring = None;
    plan.intel_rdt = None;
    plan.net_devices.clear();
    plan.process.terminal = None;
    plan.process.preserve_fds = 0;
    if new & flag::UTS == 0 {
        (plan.hostname, plan.domainname) = (None, None);
    }
    plan.sysctls.retain(|sysctl| {
        namespace::of_sysctl(&sysctl.path).is_some_and(|(needed, _)| new & needed != 0)
    });
    let mut binds: Vec<String> = Vec::new();
    plan.rootfs.mounts.retain_mut(|mount| {
        // Its mount point would be made on the host.
        let inside = binds.iter().any(|bind| is_below(&mount.destination, bind));
        !inside
            && match &mut mount.source {
                Source::New(filesystem) => !filesystem.reaches_out(),
                Source::Tree(tree) => {
                    // Below one that is read-only anyway, nothing can be made.
                    if !tree.is_readonly() {
                        binds.push(mount.destination.clone());
                    }
                    // With what is mounted below it.
                    tree.make_readonly();
                    true
                }
                // Of groups that there are not, or of the whole machine.
                Source::Cgroup(_) | Source::Remount { .. } => false,
            }
    });
    let devices = plan.rootfs.devices.iter_mut();
    devices.for_each(|list| list.retain(|one| !binds.iter().any(|bind| is_below(&one.path, bind))));
    let cwd = plan::relative(&plan.process.cwd.to_string_lossy());
    if binds.iter().any(|bind| is_below(&cwd, bind)) {
        plan.process.cwd = c"/".to_owned();
    }
}

fn is_below(path: &str, parent: &str) -> bool {
    path.strip_prefix(parent).is_some_and(|rest| rest.starts_with('/'))
}

/// Takes out what failed, so that the next failure is found.
fn leave_out(plan: &mut InitPlan, field: &str) {
    let is = |prefix: &str| field.starts_with(prefix);
    if is("mounts[") {
        let entry = field.split_inclusive(']').next().unwrap_or_default();
        plan.rootfs
            .mounts
            .retain(|mount| !mount.name.to_string().starts_with(&format!("{entry} ")));
    } else if is("linux.sysctl[") {
        plan.sysctls.retain(|sysctl| field != format!("linux.sysctl[{}]", sysctl.key));
    } else if is("linux.timeOffsets") {
        plan.namespaces.time_offsets = None;
    } else if is("linux.maskedPaths") {
        plan.rootfs.masked.clear();
    } else if is("linux.readonlyPaths") {
        plan.rootfs.readonly_paths.clear();
    } else if is("linux.devices") {
        // Without a number it is one of the default devices.
        let failed = |one: &DevicePlan| match one.index {
            Some(_) => one.step().starts_with(&format!("{field}:")),
            None => field == "linux.devices",
        };
        if plan.rootfs.devices.iter().flatten().any(|one| failed(one) && one.path == NULL) {
            // It is what would cover files.
            plan.rootfs.masked.clear();
        }
        plan.rootfs.devices.iter_mut().for_each(|list| list.retain(|one| !failed(one)));
    } else if is("process.apparmorProfile") {
        plan.process.apparmor = None;
    } else if is("process.selinuxLabel") {
        plan.process.selinux = None;
    } else if is("process.rlimits") {
        plan.process.rlimits.clear();
    } else if is("process.scheduler") {
        plan.process.scheduling.scheduler = None;
    } else if is("process.ioPriority") {
        plan.process.scheduling.io_priority = None;
    } else if is("linux.memoryPolicy") {
        plan.process.scheduling.memory_policy = None;
    } else if is("linux.personality") {
        plan.process.scheduling.personality = None;
    } else if is("process.cwd") {
        plan.process.cwd = c"/".to_owned();
    } else if is("hostname") {
        plan.hostname = None;
    } else if is("domainname") {
        plan.domainname = None;
    }
}

fn once(plan: &InitPlan, state: &State) -> Result<(), Error> {
    if !plan.rootfs.opened_by_init {
        let mut translator = Translator::new(&plan.namespaces, None);
        let mounts = &plan.rootfs.mounts;
        plan.rootfs.open_trees(&mut |index, tree| translator.translate(&mounts[index], tree))?;
    }
    let handover = Handover { plan, state, cgroup: None, listener: None, console: None };
    let (process, channel) = spawn::spawn(handover)?;
    let tried = converse(plan, process.pid, &channel);
    drop(channel);
    match tried {
        Err(Error::InitEnded { step, .. }) => {
            let how = process.wait().map_or_else(|e| e.to_string(), describe);
            Err(Error::InitEnded { step, how })
        }
        tried => {
            spawn::end(&process);
            tried
        }
    }
}

/// Answers init until it is ready.
fn converse(plan: &InitPlan, pid: i32, channel: &Channel) -> Result<(), Error> {
    let mut translator = Translator::new(&plan.namespaces, Some(pid));
    if plan.wait_for_parent {
        proceed(channel)?;
    }
    loop {
        match channel.receive().context(|| "wait for the container's init")? {
            Some(Message::Ready) if plan.priorities_by_parent => {
                return spawn::prioritise(pid, &plan.process);
            }
            Some(Message::Ready) => return Ok(()),
            Some(Message::Translate(index)) => {
                translator.answer(&plan.rootfs.mounts, index, channel)?;
                proceed(channel)?;
            }
            Some(Message::Failed(failure)) => return Err(Error::Init(failure)),
            _ => return Err(Error::InitEnded { step: "its set-up", how: String::new() }),
        }
    }
}
