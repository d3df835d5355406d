//! The words of the profile language, for `features`; each list is sorted as runc prints it.

use crate::profile::{
    FLAG_LOG, FLAG_NEW_LISTENER, FLAG_SPEC_ALLOW, FLAG_TSYNC, FLAG_WAIT_KILLABLE_RECV,
};

/// Actions that a profile may name.
pub fn known_actions() -> &'static [&'static str] {
    &[
        "SCMP_ACT_ALLOW",
        "SCMP_ACT_ERRNO",
        "SCMP_ACT_KILL",
        "SCMP_ACT_KILL_PROCESS",
        "SCMP_ACT_KILL_THREAD",
        "SCMP_ACT_LOG",
        "SCMP_ACT_NOTIFY",
        "SCMP_ACT_TRACE",
        "SCMP_ACT_TRAP",
    ]
}

/// Compare operators that a profile may name.
pub fn known_operators() -> &'static [&'static str] {
    &[
        "SCMP_CMP_EQ",
        "SCMP_CMP_GE",
        "SCMP_CMP_GT",
        "SCMP_CMP_LE",
        "SCMP_CMP_LT",
        "SCMP_CMP_MASKED_EQ",
        "SCMP_CMP_NE",
    ]
}

/// Architectures that there is a system call table for.
pub fn known_archs() -> &'static [&'static str] {
    &[
        "SCMP_ARCH_AARCH64",
        "SCMP_ARCH_ARM",
        "SCMP_ARCH_LOONGARCH64",
        "SCMP_ARCH_MIPS",
        "SCMP_ARCH_MIPS64",
        "SCMP_ARCH_MIPS64N32",
        "SCMP_ARCH_MIPSEL",
        "SCMP_ARCH_MIPSEL64",
        "SCMP_ARCH_MIPSEL64N32",
        "SCMP_ARCH_PPC",
        "SCMP_ARCH_PPC64",
        "SCMP_ARCH_PPC64LE",
        "SCMP_ARCH_RISCV64",
        "SCMP_ARCH_S390",
        "SCMP_ARCH_S390X",
        "SCMP_ARCH_X32",
        "SCMP_ARCH_X86",
        "SCMP_ARCH_X86_64",
    ]
}

/// Filter flags that a profile may name, in runc's order.
pub fn known_flags() -> &'static [&'static str] {
    &[
        "SECCOMP_FILTER_FLAG_TSYNC",
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
        "SECCOMP_FILTER_FLAG_LOG",
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
    ]
}

/// What seccomp(2) takes for one of [`known_flags`]. WAIT_KILLABLE_RECV is only good with a listener.
pub fn flag_bits(name: &str) -> Option<u32> {
    Some(match name {
        "SECCOMP_FILTER_FLAG_TSYNC" => FLAG_TSYNC,
        "SECCOMP_FILTER_FLAG_LOG" => FLAG_LOG,
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => FLAG_SPEC_ALLOW,
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => FLAG_NEW_LISTENER | FLAG_WAIT_KILLABLE_RECV,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Architecture;
    use oci_spec::runtime::{
        Arch, LinuxSeccompAction, LinuxSeccompFilterFlag, LinuxSeccompOperator,
    };

    #[test]
    fn every_word_parses_as_the_specs_type() {
        for name in known_actions() {
            assert_eq!(name.parse::<LinuxSeccompAction>().unwrap().to_string(), *name);
        }
        for name in known_operators() {
            assert_eq!(name.parse::<LinuxSeccompOperator>().unwrap().to_string(), *name);
        }
        for name in known_flags() {
            assert!(flag_bits(name).is_some(), "{name}");
            assert_eq!(name.parse::<LinuxSeccompFilterFlag>().unwrap().to_string(), *name);
        }
    }

    #[test]
    fn every_architecture_has_facts() {
        for name in known_archs() {
            let json = format!("\"{name}\"");
            let arch: Arch = serde_json::from_str(&json).unwrap();
            assert_eq!(Architecture::from_spec(arch).unwrap().name(), *name);
        }
    }
}
