//! libseccomp as an oracle: a python process that calls the library by ctypes.

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction, LinuxSeccompOperator};
use seccomp::{Architecture, Instruction};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// libseccomp's token of an architecture: the audit value, but x32 has its own.
pub fn token(architecture: Architecture) -> u32 {
    if architecture == Architecture::X32 { 0x4000_003e } else { architecture.audit() }
}

/// The running process.
pub struct Oracle {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Oracle {
    pub fn start() -> Oracle {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oracle/libseccomp.py");
        let mut child = Command::new("python3")
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is needed to compare with libseccomp");
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Oracle { child, input, output }
    }

    fn ask(&mut self, question: &Value) -> Value {
        writeln!(self.input, "{question}").expect("the oracle died: is libseccomp2 installed?");
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the oracle died: is libseccomp2 installed?");
        serde_json::from_str(&line).unwrap()
    }

    /// Numbers of names; negative where the library knows the name, but not on this architecture
    /// or only behind a multiplexing call; -1 where it does not know the name.
    pub fn numbers(&mut self, architecture: Architecture, names: &[&str]) -> BTreeMap<String, i64> {
        let answer = self.ask(&json!({"arch": token(architecture), "names": names}));
        serde_json::from_value(answer).unwrap()
    }

    /// Numbers of all names, also of calls that a multiplexer hides from `numbers`.
    pub fn direct_numbers(&mut self, architecture: Architecture) -> BTreeMap<String, i64> {
        let answer = self.ask(&json!({"by_number": token(architecture)}));
        serde_json::from_value(answer).unwrap()
    }

    /// Takes away the names that this libseccomp is too old for.
    pub fn forget_unknown(&mut self, profile: &mut LinuxSeccomp) -> Vec<String> {
        let mut unknown = Vec::new();
        let mut entries = profile.syscalls().clone().unwrap_or_default();
        for entry in &mut entries {
            let names = entry.names().iter().map(String::as_str).collect::<Vec<_>>();
            let numbers = self.numbers(Architecture::X86_64, &names);
            let (known, lost) =
                entry.names().iter().cloned().partition::<Vec<_>, _>(|name| numbers[name] != -1);
            unknown.extend(lost);
            entry.set_names(known);
        }
        profile.set_syscalls(Some(entries));
        unknown
    }

    /// The program that libseccomp makes when asked as runc asks it, without runc's ENOSYS stub.
    pub fn program(
        &mut self,
        profile: &LinuxSeccomp,
        architectures: &[Architecture],
    ) -> Result<Vec<Instruction>, String> {
        let default = action(profile.default_action(), profile.default_errno_ret());
        let mut rules = Vec::new();
        for entry in profile.syscalls().iter().flatten() {
            let action = action(entry.action(), entry.errno_ret());
            if action == default {
                continue;
            }
            let args = entry.args().clone().unwrap_or_default();
            let mut counts = [0; 6];
            args.iter().for_each(|arg| counts[arg.index()] += 1);
            let compare = |arg: &oci_spec::runtime::LinuxSeccompArg| {
                json!([arg.index(), operator(arg.op()), arg.value(), arg.value_two().unwrap_or(0)])
            };
            let compares = args.iter().map(compare).collect::<Vec<_>>();
            if counts.iter().any(|count| *count > 1) {
                for one in compares {
                    rules.push(json!({"action": action, "names": entry.names(), "args": [one]}));
                }
            } else {
                rules.push(json!({"action": action, "names": entry.names(), "args": compares}));
            }
        }
        let architectures_json = architectures.iter().map(|a| token(*a)).collect::<Vec<_>>();
        let answer = self.ask(&json!({"build": {
            "default": default,
            "architectures": architectures_json,
            "rules": rules,
            // runc counts names, equal to the default or not.
            "tree": profile.syscalls().iter().flatten().flat_map(|e| e.names()).count() > 32,
        }}));
        if let Some(error) = answer.get("error") {
            return Err(error.as_str().unwrap().to_owned());
        }
        let bytes: Vec<u8> = serde_json::from_value(answer["program"].clone()).unwrap();
        // The library writes the target's byte order.
        let big = architectures[0].big_endian();
        let half =
            |raw: [u8; 2]| if big { u16::from_be_bytes(raw) } else { u16::from_le_bytes(raw) };
        let word =
            |raw: [u8; 4]| if big { u32::from_be_bytes(raw) } else { u32::from_le_bytes(raw) };
        let actions = rules.iter().map(|rule| rule["action"].as_u64().unwrap() as u32);
        let actions = actions.chain([default, 0]).collect::<Vec<_>>();
        let decode = |raw: &[u8]| {
            let code = half([raw[0], raw[1]]);
            let mut k = word([raw[4], raw[5], raw[6], raw[7]]);
            // Of the other byte order's returns, libseccomp turns some twice.
            if code == 0x06 && !actions.contains(&k) {
                k = k.swap_bytes();
            }
            Instruction { code, jt: raw[2], jf: raw[3], k }
        };
        Ok(bytes.chunks_exact(8).map(decode).collect())
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// An action as libseccomp's number, as runc makes it.
pub fn action(kind: LinuxSeccompAction, code: Option<u32>) -> u32 {
    kind.as_u32(code)
}

fn operator(operator: LinuxSeccompOperator) -> u32 {
    operator as u32
}
