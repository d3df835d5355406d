//! What podman is asked wherever it can be: by root and by a user without privileges, with cgroups
//! of its own making and of systemd's. The table says what is asked where; each body starts few
//! containers and looks at much, as every call takes seconds on an emulated machine.

mod at_once;
mod build;
mod health;
mod ids;
mod life;
mod limits;
mod pod;
mod shut_in;
mod terminals;

use super::podman::{Manager, Podman};
use crate::case::{Case, Need, Outcome, Peer};
use crate::delegated::Delegated;
use crate::env::Env;

const CRUN: &[(Peer, &str)] = &[(Peer::Crun, "runc is the check of the engine's cases")];
const ROOT: &[Need] =
    &[Need::Native, Need::Controllers, Need::Command("podman"), Need::Command("conmon")];
const USER: &[Need] =
    &[Need::Native, Need::Command("podman"), Need::Command("conmon"), Need::Command("newuidmap")];
const USER_V1: &[Need] = &[
    Need::Native,
    Need::V1,
    Need::Command("podman"),
    Need::Command("conmon"),
    Need::Command("newuidmap"),
];
const DELEGATED: &[Need] = &[
    Need::V2Controllers,
    Need::Command("podman"),
    Need::Command("conmon"),
    Need::Command("newuidmap"),
];
const SYSTEMD: &[Need] = &[Need::Systemd, Need::Command("podman"), Need::Command("conmon")];

/// A case of one place, named after it.
macro_rules! case {
    (root, $name:literal, $ask:path) => {
        Case::new(concat!("podman/", $name), |env| as_root(env, Manager::Cgroupfs, $ask))
            .needs(ROOT)
            .not_on(CRUN)
    };
    (user, $name:literal, $ask:path) => {
        Case::new(concat!("podman-user/", $name), |env| $ask(Podman::of_user(env, None)?))
            .needs(USER)
            .not_on(CRUN)
    };
    // podman says that on v1 alone, and for v2 there is the delegated cgroup.
    (user_v1, $name:literal, $ask:path) => {
        Case::new(concat!("podman-user/", $name), |env| $ask(Podman::of_user(env, None)?))
            .needs(USER_V1)
            .not_on(CRUN)
    };
    (delegated, $name:literal, $ask:path) => {
        Case::new(concat!("podman-user/", $name, "-in-a-delegated-cgroup"), |env| {
            let delegated = Delegated::with_limits(&env.mark)?;
            $ask(Podman::of_user(env, Some(delegated))?)
        })
        .needs(DELEGATED)
        .not_on(CRUN)
    };
    (root_systemd, $name:literal, $ask:path) => {
        Case::new(concat!("podman-scopes/", $name), |env| as_root(env, Manager::Systemd, $ask))
            .needs(SYSTEMD)
            .not_on(CRUN)
    };
    (user_systemd, $name:literal, $ask:path) => {
        Case::new(concat!("podman-user-scopes/", $name), |env| {
            $ask(Podman::of_user_in_session(env)?)
        })
        .needs(SYSTEMD)
        .not_on(CRUN)
    };
}

macro_rules! table {
    ($($name:literal, $ask:path: $($place:ident)+;)+) => {
        &[$($(case!($place, $name, $ask),)+)+]
    };
}

/// The cases of this part.
pub const CASES: &[Case] = table![
    "life", life::life: root user root_systemd user_systemd;
    "limits", limits::limits: root user_v1 delegated root_systemd user_systemd;
    "terminals-and-attach", terminals::terminals: root user root_systemd user_systemd;
    "pod", pod::pod: root user root_systemd user_systemd;
    // Whoever makes the cgroups, the rest of what shuts a container in is the same.
    "shut-in", shut_in::shut_in: root user;
    "shut-in-at-once", at_once::at_once: root user root_systemd user_systemd;
    "build", build::build: root user root_systemd user_systemd;
    "health", health::health: root_systemd user_systemd;
];

fn as_root(env: &Env, manager: Manager, ask: fn(Podman) -> Outcome) -> Outcome {
    ask(Podman::with_manager(env, manager)?)
}
