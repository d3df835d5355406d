//! The architectures and what the compiler must know of each; no system call tables.

use crate::tables;
use oci_spec::runtime::Arch;

/// An architecture that a profile may name.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    X86,
    X86_64,
    X32,
    Arm,
    Aarch64,
    Loongarch64,
    Mips,
    Mips64,
    Mips64N32,
    Mipsel,
    Mipsel64,
    Mipsel64N32,
    Ppc,
    Ppc64,
    Ppc64Le,
    Riscv64,
    S390,
    S390X,
}

/// Bit that marks x32's system calls.
pub(crate) const X32_BIT: u32 = 0x4000_0000;

/// What is constant about an architecture.
#[derive(Clone, Copy)]
struct Facts {
    name: &'static str,
    /// AUDIT_ARCH_* of linux/audit.h.
    audit: u32,
    /// Column of the system call table.
    column: usize,
    /// What every system call number starts from.
    base: u32,
    /// Arguments are 64 bits wide.
    wide: bool,
    big_endian: bool,
    /// Has socketcall(2) and ipc(2).
    multiplexed: bool,
}

impl Architecture {
    /// The architecture this crate was built for.
    pub const NATIVE: Architecture = native();

    /// The architecture of an OCI name; `None` when there is no table for it.
    pub fn from_spec(arch: Arch) -> Option<Architecture> {
        Some(match arch {
            Arch::ScmpArchNative => Architecture::NATIVE,
            Arch::ScmpArchX86 => Architecture::X86,
            Arch::ScmpArchX86_64 => Architecture::X86_64,
            Arch::ScmpArchX32 => Architecture::X32,
            Arch::ScmpArchArm => Architecture::Arm,
            Arch::ScmpArchAarch64 => Architecture::Aarch64,
            Arch::ScmpArchLoongarch64 => Architecture::Loongarch64,
            Arch::ScmpArchMips => Architecture::Mips,
            Arch::ScmpArchMips64 => Architecture::Mips64,
            Arch::ScmpArchMips64n32 => Architecture::Mips64N32,
            Arch::ScmpArchMipsel => Architecture::Mipsel,
            Arch::ScmpArchMipsel64 => Architecture::Mipsel64,
            Arch::ScmpArchMipsel64n32 => Architecture::Mipsel64N32,
            Arch::ScmpArchPpc => Architecture::Ppc,
            Arch::ScmpArchPpc64 => Architecture::Ppc64,
            Arch::ScmpArchPpc64le => Architecture::Ppc64Le,
            Arch::ScmpArchRiscv64 => Architecture::Riscv64,
            Arch::ScmpArchS390 => Architecture::S390,
            Arch::ScmpArchS390x => Architecture::S390X,
            Arch::ScmpArchParisc
            | Arch::ScmpArchParisc64
            | Arch::ScmpArchM68k
            | Arch::ScmpArchSh
            | Arch::ScmpArchSheb => return None,
        })
    }

    /// The OCI name, such as `SCMP_ARCH_X86_64`.
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// The kernel's AUDIT_ARCH_* value; x32 has that of x86_64.
    pub fn audit(self) -> u32 {
        self.facts().audit
    }

    /// Most significant byte first.
    pub fn big_endian(self) -> bool {
        self.facts().big_endian
    }

    /// Arguments are compared as 64 bits.
    pub(crate) fn wide(self) -> bool {
        self.facts().wide
    }

    /// Has socketcall(2) and ipc(2), and libseccomp knows it.
    pub(crate) fn multiplexed(self) -> bool {
        self.facts().multiplexed
    }

    /// The number of a system call, if the architecture has it.
    pub(crate) fn number(self, syscall: tables::Syscall) -> Option<u32> {
        let facts = self.facts();
        syscall.number(facts.column).map(|number| facts.base + number)
    }

    fn facts(self) -> Facts {
        const LITTLE_32: Facts = Facts {
            name: "",
            audit: 0,
            column: 0,
            base: 0,
            wide: false,
            big_endian: false,
            multiplexed: false,
        };
        const LITTLE_64: Facts = Facts { wide: true, ..LITTLE_32 };
        const BIG_32: Facts = Facts { big_endian: true, ..LITTLE_32 };
        const BIG_64: Facts = Facts { wide: true, ..BIG_32 };
        match self {
            Architecture::X86 => Facts {
                name: "SCMP_ARCH_X86",
                audit: 0x4000_0003,
                column: tables::X86,
                multiplexed: true,
                ..LITTLE_32
            },
            Architecture::X86_64 => Facts {
                name: "SCMP_ARCH_X86_64",
                audit: 0xc000_003e,
                column: tables::X86_64,
                ..LITTLE_64
            },
            // libseccomp compares only the low half of x32's arguments, as the ABI's pointers.
            Architecture::X32 => Facts {
                name: "SCMP_ARCH_X32",
                audit: 0xc000_003e,
                column: tables::X32,
                base: X32_BIT,
                ..LITTLE_32
            },
            Architecture::Arm => Facts {
                name: "SCMP_ARCH_ARM",
                audit: 0x4000_0028,
                column: tables::ARM,
                ..LITTLE_32
            },
            Architecture::Aarch64 => Facts {
                name: "SCMP_ARCH_AARCH64",
                audit: 0xc000_00b7,
                column: tables::AARCH64,
                ..LITTLE_64
            },
            Architecture::Loongarch64 => Facts {
                name: "SCMP_ARCH_LOONGARCH64",
                audit: 0xc000_0102,
                column: tables::LOONGARCH64,
                ..LITTLE_64
            },
            Architecture::Mips => Facts {
                name: "SCMP_ARCH_MIPS",
                audit: 0x0000_0008,
                column: tables::MIPS,
                base: 4000,
                multiplexed: true,
                ..BIG_32
            },
            Architecture::Mips64 => Facts {
                name: "SCMP_ARCH_MIPS64",
                audit: 0x8000_0008,
                column: tables::MIPS64,
                base: 5000,
                ..BIG_64
            },
            Architecture::Mips64N32 => Facts {
                name: "SCMP_ARCH_MIPS64N32",
                audit: 0xa000_0008,
                column: tables::MIPS64N32,
                base: 6000,
                ..BIG_32
            },
            Architecture::Mipsel => Facts {
                name: "SCMP_ARCH_MIPSEL",
                audit: 0x4000_0008,
                column: tables::MIPS,
                base: 4000,
                multiplexed: true,
                ..LITTLE_32
            },
            Architecture::Mipsel64 => Facts {
                name: "SCMP_ARCH_MIPSEL64",
                audit: 0xc000_0008,
                column: tables::MIPS64,
                base: 5000,
                ..LITTLE_64
            },
            Architecture::Mipsel64N32 => Facts {
                name: "SCMP_ARCH_MIPSEL64N32",
                audit: 0xe000_0008,
                column: tables::MIPS64N32,
                base: 6000,
                ..LITTLE_32
            },
            Architecture::Ppc => Facts {
                name: "SCMP_ARCH_PPC",
                audit: 0x0000_0014,
                column: tables::PPC,
                multiplexed: true,
                ..BIG_32
            },
            Architecture::Ppc64 => Facts {
                name: "SCMP_ARCH_PPC64",
                audit: 0x8000_0015,
                column: tables::PPC64,
                multiplexed: true,
                ..BIG_64
            },
            Architecture::Ppc64Le => Facts {
                name: "SCMP_ARCH_PPC64LE",
                audit: 0xc000_0015,
                column: tables::PPC64,
                multiplexed: true,
                ..LITTLE_64
            },
            Architecture::Riscv64 => Facts {
                name: "SCMP_ARCH_RISCV64",
                audit: 0xc000_00f3,
                column: tables::RISCV64,
                ..LITTLE_64
            },
            Architecture::S390 => Facts {
                name: "SCMP_ARCH_S390",
                audit: 0x0000_0016,
                column: tables::S390,
                multiplexed: true,
                ..BIG_32
            },
            Architecture::S390X => Facts {
                name: "SCMP_ARCH_S390X",
                audit: 0x8000_0016,
                column: tables::S390X,
                multiplexed: true,
                ..BIG_64
            },
        }
    }
}

const fn native() -> Architecture {
    if cfg!(target_arch = "x86_64") {
        if cfg!(target_pointer_width = "32") { Architecture::X32 } else { Architecture::X86_64 }
    } else if cfg!(target_arch = "x86") {
        Architecture::X86
    } else if cfg!(target_arch = "aarch64") {
        Architecture::Aarch64
    } else if cfg!(target_arch = "arm") {
        Architecture::Arm
    } else if cfg!(target_arch = "riscv64") {
        Architecture::Riscv64
    } else if cfg!(target_arch = "loongarch64") {
        Architecture::Loongarch64
    } else if cfg!(target_arch = "s390x") {
        Architecture::S390X
    } else if cfg!(target_arch = "powerpc") {
        Architecture::Ppc
    } else if cfg!(target_arch = "powerpc64") {
        if cfg!(target_endian = "little") { Architecture::Ppc64Le } else { Architecture::Ppc64 }
    } else if cfg!(target_arch = "mips64") {
        if cfg!(target_endian = "little") { Architecture::Mipsel64 } else { Architecture::Mips64 }
    } else if cfg!(target_arch = "mips") {
        if cfg!(target_endian = "little") { Architecture::Mipsel } else { Architecture::Mips }
    } else {
        panic!("no system call table for this architecture")
    }
}
