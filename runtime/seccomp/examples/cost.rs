//! What the default profiles cost: time to compile, length, instructions run for a call, and
//! time of a call in the kernel, beside libseccomp's program for the same profile.
//!
//! `cargo run --release -p seccomp --example cost`

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

#[allow(dead_code)]
#[path = "../tests/bpf/mod.rs"]
mod bpf;
#[allow(dead_code)]
#[path = "../tests/oracle/mod.rs"]
mod oracle;

use oci_spec::runtime::LinuxSeccomp;
use seccomp::{Architecture, Instruction, compile};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Instant;

const FAMILY: [Architecture; 3] = [Architecture::X86_64, Architecture::X86, Architecture::X32];

/// Calls by name, number and arguments.
const CALLS: [(&str, u32, [u64; 2]); 5] = [
    ("getpid", 39, [0, 0]),
    ("read", 0, [u64::MAX, 0]),
    ("futex", 202, [0, u64::MAX]),
    ("personality", 135, [0xffff_ffff, 0]),
    ("socket", 41, [45, u64::MAX]),
];

/// How often a call is timed with each program; the least counts.
const ROUNDS: u32 = 5;

fn main() {
    let mut oracle = oracle::Oracle::start();
    for file in ["docker-default.json", "containers-default.json"] {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../bundles/examples/seccomp/");
        let text = std::fs::read_to_string(format!("{dir}{file}")).unwrap();
        let mut profile: LinuxSeccomp = serde_json::from_str(&text).unwrap();
        println!("{file}: compiled in {:.1} µs (median of 1000)", median(&profile));
        oracle.forget_unknown(&mut profile);
        let ours = compile(&profile).unwrap().instructions;
        let theirs = oracle.program(&profile, &FAMILY).unwrap();
        println!("{:28}{:>12}{:>12}", "", "ghost-runc", "libseccomp");
        println!("{:28}{:>12}{:>12}", "instructions", ours.len(), theirs.len());
        for (name, number, args) in CALLS {
            let run = |program: &[Instruction]| {
                let mut call = bpf::Call { number, audit: FAMILY[0].audit(), ..Default::default() };
                call.args[..2].copy_from_slice(&args);
                let mut count = 0;
                bpf::trace(program, &call, |_| count += 1);
                count
            };
            println!("{:28}{:>12}{:>12}", format!("run for {name}"), run(&ours), run(&theirs));
        }
        println!("{:28}{:>12}{:>12}{:>12}", "", "ghost-runc", "libseccomp", "no filter");
        for (name, number, args) in CALLS {
            let mut best = [f64::MAX; 3];
            for _ in 0..ROUNDS {
                // One after the other, so that all see the same machine.
                for (best, program) in best.iter_mut().zip([&ours[..], &theirs, &[]]) {
                    *best = best.min(in_kernel(program, number, &args));
                }
            }
            let [ours, theirs, none] = best;
            println!("{:28}{ours:>12.0}{theirs:>12.0}{none:>12.0}", format!("ns for {name}"));
        }
    }
}

/// Microseconds to compile.
fn median(profile: &LinuxSeccomp) -> f64 {
    let mut times = (0..1000)
        .map(|_| {
            let start = Instant::now();
            std::hint::black_box(compile(std::hint::black_box(profile)).unwrap());
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect::<Vec<_>>();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Nanoseconds for a call, the least of several rounds; no instructions are no filter.
fn in_kernel(program: &[Instruction], number: u32, args: &[u64]) -> f64 {
    let words = program.iter().map(|i| serde_json::json!([i.code, i.jt, i.jf, i.k]));
    let order = serde_json::json!({
        "flags": 4,
        "program": words.collect::<Vec<_>>(),
        "time": [number, args[0], args[1]],
    });
    let mut child = Command::new("python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/load.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is needed to time calls");
    child.stdin.take().unwrap().write_all(order.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}
