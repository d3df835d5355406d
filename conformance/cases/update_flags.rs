//! `update`, a case a flag: the kernel's file has what the flag gave, and what JSON gave, and not what
//! the kernel refuses.

use std::fs;

use serde_json::{Value, json};

use super::update::{is_v1, read, running, update_to};
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

const LIMITS: &[Need] = &[Need::Controllers];
const NEWER: &[(Peer, &str)] =
    &[(Peer::Runc, "runc 1.1 has no --cpu-burst"), (Peer::Crun, "crun 1.8 has no --cpu-burst")];

/// The cases of this area that update.rs does not have.
pub const CASES: &[Case] = &[
    Case::new("update/memory-reservation", reservation).needs(LIMITS),
    Case::new("update/memory-and-swap", swap).needs(LIMITS),
    Case::new("update/cpu-burst", burst).needs(LIMITS).not_on(NEWER),
    Case::new("update/real-time", real_time).needs(&[Need::V1, Need::RealTimeGroups]),
    Case::new("update/block-weight", block_weight).needs(LIMITS),
    Case::new("update/pids-limit", pids).needs(LIMITS),
];

/// A file of a controller on v1, and what stands for it on v2.
type Place = ((&'static str, &'static str), &'static str);

/// Updates by flags, and then by JSON: `wanted` is what the file has, on v1 and on v2.
struct Step {
    flags: &'static [&'static str],
    resources: Value,
    wanted: [&'static str; 2],
}

fn follows(env: &Env, given: &[(&str, Value)], place: Place, steps: &[Step]) -> Outcome {
    let file = place.0.1;
    let id = running(env, &format!("flags-{file}"), given)?;
    let other = running(env, &format!("json-{file}"), given)?;
    for step in steps {
        let wanted = step.wanted[usize::from(!is_v1())];
        env.runtime(&[&["update"], step.flags, &[id.as_str()]].concat()).ok()?;
        ensure_eq!(read(env, &id, place.0, place.1)?, wanted, "after {:?}", step.flags);
        update_to(env, &other, step.resources.clone())?.ok()?;
        ensure_eq!(read(env, &other, place.0, place.1)?, wanted, "after {}", step.resources);
    }
    Ok(())
}

/// What the kernel, or the runtime before it, refuses: the file is as it was.
fn refuses(
    env: &Env,
    given: &[(&str, Value)],
    place: Place,
    flags: &[&str],
    word: &str,
) -> Outcome {
    let id = running(env, "r", given)?;
    let before = read(env, &id, place.0, place.1)?;
    let output = env.runtime(&[&["update"], flags, &[id.as_str()]].concat()).exits(1)?;
    let names = output.stderr.contains(word);
    ensure!(names || !env.is(Peer::Ghost), "{word} is not named: {output}");
    ensure_eq!(read(env, &id, place.0, place.1)?, before, "after {flags:?}");
    Ok(())
}

const UNLIMITED: [&str; 2] = ["9223372036854771712", "max"];

fn reservation(env: &mut Env) -> Outcome {
    let place = (("memory", "memory.soft_limit_in_bytes"), "memory.low");
    let given = [("memory", json!({"limit": 67_108_864}))];
    let steps = [
        Step {
            flags: &["--memory-reservation", "16m"],
            resources: json!({"memory": {"reservation": 16_777_216}}),
            wanted: ["16777216"; 2],
        },
        Step {
            flags: &["--memory-reservation=8388608"],
            resources: json!({"memory": {"reservation": 8_388_608}}),
            wanted: ["8388608"; 2],
        },
        Step {
            flags: &["--memory-reservation", "-1"],
            resources: json!({"memory": {"reservation": -1}}),
            wanted: UNLIMITED,
        },
    ];
    follows(env, &given, place, &steps)?;
    refuses(env, &given, place, &["--memory-reservation", "1x"], "memory-reservation")
}

/// v1 counts memory and swap together, v2 swap alone.
fn swap(env: &mut Env) -> Outcome {
    let place = (("memory", "memory.memsw.limit_in_bytes"), "memory.swap.max");
    let given = [("memory", json!({"limit": 67_108_864, "swap": 83_886_080}))];
    let steps = [
        Step {
            flags: &["--memory", "64M", "--memory-swap", "96M"],
            resources: json!({"memory": {"limit": 67_108_864, "swap": 100_663_296}}),
            wanted: ["100663296", "33554432"],
        },
        // Both go up, past what the other allowed.
        Step {
            flags: &["--memory", "128M", "--memory-swap", "160M"],
            resources: json!({"memory": {"limit": 134_217_728, "swap": 167_772_160}}),
            wanted: ["167772160", "33554432"],
        },
        // And down.
        Step {
            flags: &["--memory", "32M", "--memory-swap", "32M"],
            resources: json!({"memory": {"limit": 33_554_432, "swap": 33_554_432}}),
            wanted: ["33554432", "0"],
        },
        Step {
            flags: &["--memory", "32M", "--memory-swap", "-1"],
            resources: json!({"memory": {"limit": 33_554_432, "swap": -1}}),
            wanted: UNLIMITED,
        },
    ];
    follows(env, &given, place, &steps)?;
    refuses(env, &given, place, &["--memory", "64M", "--memory-swap", "32M"], "memory.swap")
}

fn burst(env: &mut Env) -> Outcome {
    let place = (("cpu", "cpu.cfs_burst_us"), "cpu.max.burst");
    let given = [("cpu", json!({"quota": 50_000, "period": 100_000}))];
    let steps = [
        Step {
            flags: &["--cpu-burst", "20000"],
            resources: json!({"cpu": {"burst": 20_000}}),
            wanted: ["20000"; 2],
        },
        Step {
            flags: &["--cpu-burst", "0"],
            resources: json!({"cpu": {"burst": 0}}),
            wanted: ["0"; 2],
        },
    ];
    follows(env, &given, place, &steps)?;
    // More than the quota.
    refuses(env, &given, place, &["--cpu-burst", "50001"], "50001")
}

fn real_time(env: &mut Env) -> Outcome {
    let runtime = (("cpu", "cpu.rt_runtime_us"), "");
    let given = [("cpu", json!({"realtimePeriod": 500_000, "realtimeRuntime": 1000}))];
    let steps = [
        Step {
            flags: &["--cpu-rt-runtime", "2000"],
            resources: json!({"cpu": {"realtimeRuntime": 2000}}),
            wanted: ["2000"; 2],
        },
        Step {
            flags: &["--cpu-rt-period", "400000", "--cpu-rt-runtime", "500"],
            resources: json!({"cpu": {"realtimePeriod": 400_000, "realtimeRuntime": 500}}),
            wanted: ["500"; 2],
        },
    ];
    follows(env, &given, runtime, &steps)?;
    let period = (("cpu", "cpu.rt_period_us"), "");
    let steps = [Step {
        flags: &["--cpu-rt-period", "300000"],
        resources: json!({"cpu": {"realtimePeriod": 300_000}}),
        wanted: ["300000"; 2],
    }];
    follows(env, &given, period, &steps)?;
    refuses(env, &given, runtime, &["--cpu-rt-runtime", "600000"], "600000")
}

fn block_weight(env: &mut Env) -> Outcome {
    let id = running(env, "w", &[("blockIO", json!({"weight": 500}))])?;
    // v2 counts from 1 to 10,000 where there is no file of BFQ's.
    let weight = |weight: u32| -> Outcome {
        let (text, scaled) = (weight.to_string(), (1 + (weight - 10) * 9999 / 990).to_string());
        if is_v1() {
            let found = read(env, &id, ("blkio", "blkio.bfq.weight"), "")?;
            ensure_eq!(found, text, "blkio.bfq.weight");
            return Ok(());
        }
        let of = |file: &str| -> Result<Option<String>, Failure> {
            let path = super::cgroups_v2::group_of(env.pid(&id)?)?.join(file);
            Ok(fs::read_to_string(path).ok().map(|text| text.trim().to_owned()))
        };
        let (bfq, plain) = (of("io.bfq.weight")?, of("io.weight")?);
        let wanted = [format!("default {text}"), text, format!("default {scaled}")];
        let found = bfq.or(plain).unwrap_or_default();
        ensure!(wanted.contains(&found), "weight {weight} is {found}, wanted one of {wanted:?}");
        Ok(())
    };
    weight(500)?;
    env.runtime(&["update", "--blkio-weight", "300", &id]).ok()?;
    weight(300)?;
    update_to(env, &id, json!({"blockIO": {"weight": 700}}))?.ok()?;
    weight(700)?;
    let output = env.runtime(&["update", "--blkio-weight", "1x", &id]).exits(1)?;
    ensure!(output.stderr.contains("blkio-weight"), "{output}");
    env.runtime(&["update", "--blkio-weight", "10001", &id]).exits(1)?;
    weight(700)
}

fn pids(env: &mut Env) -> Outcome {
    let place = (("pids", "pids.max"), "pids.max");
    let given = [("pids", json!({"limit": 20}))];
    let steps = [
        Step {
            flags: &["--pids-limit", "44"],
            resources: json!({"pids": {"limit": 44}}),
            wanted: ["44"; 2],
        },
        Step {
            flags: &["--pids-limit", "-1"],
            resources: json!({"pids": {"limit": -1}}),
            wanted: ["max"; 2],
        },
    ];
    follows(env, &given, place, &steps)?;
    refuses(env, &given, place, &["--pids-limit", "x"], "pids-limit")
}
