//! Loading the seccomp filter, as late as possible: it holds for every call after it.

use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};

use seccomp::Encoded;
use sys::identity::capset;

use super::identity::{SYS_ADMIN, final_sets};
use super::{Result, Step};
use crate::plan::ProcessPlan;
use crate::sync::{Channel, Message};

/// A filter to load.
pub(crate) struct Filter {
    pub program: Encoded,
    /// The runtime, which is not root, takes the listener.
    pub rootless: bool,
}

/// Loads the filter, and waits until somebody has its listener, if it has one.
pub(crate) fn load(filter: &Filter, plan: &ProcessPlan, channel: &Channel) -> Result<()> {
    let program = &filter.program;
    let step = || "load the seccomp filter";
    let privileged = !plan.no_new_privileges;
    if privileged {
        let mut sets = final_sets(&plan.capabilities);
        sets.permitted |= SYS_ADMIN;
        sets.effective |= SYS_ADMIN;
        capset(sets).step(step)?;
    }
    if let Some(listener) =
        sys::seccomp::load(program.instructions(), program.flags()).step(step)?
    {
        hand_over(listener, filter, channel)?;
    }
    if privileged && plan.capabilities.effective & SYS_ADMIN == 0 {
        capset(final_sets(&plan.capabilities)).step(|| "drop capabilities after seccomp")?;
    }
    Ok(())
}

fn hand_over(listener: OwnedFd, filter: &Filter, channel: &Channel) -> Result<()> {
    if filter.rootless {
        // Else only a parent or root may take a descriptor from this process.
        // Not before the filter: who may ptrace this process now is bound by one as well.
        sys::process::set_dumpable(true)
            .step(|| "prctl PR_SET_DUMPABLE under the seccomp filter, which rootless takes")?;
    }
    let message = Message::Listener(listener.as_raw_fd());
    let go_on = channel.ask_to_go_on(&message).step(|| "report the seccomp listener")?;
    // The exec closes it; a close would be one more call for the filter to judge.
    let _ = listener.into_raw_fd();
    if go_on { Ok(()) } else { sys::process::exit_now(1) }
}
