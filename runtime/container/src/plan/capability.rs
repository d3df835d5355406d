//! Capability names as bits of the kernel's sets.

use nix::errno::Errno;
use oci_spec::runtime::{Capabilities, Capability};

/// The kernel's numbers, in its order, see capabilities(7).
const ORDER: &[Capability] = &[
    Capability::Chown,
    Capability::DacOverride,
    Capability::DacReadSearch,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setpcap,
    Capability::LinuxImmutable,
    Capability::NetBindService,
    Capability::NetBroadcast,
    Capability::NetAdmin,
    Capability::NetRaw,
    Capability::IpcLock,
    Capability::IpcOwner,
    Capability::SysModule,
    Capability::SysRawio,
    Capability::SysChroot,
    Capability::SysPtrace,
    Capability::SysPacct,
    Capability::SysAdmin,
    Capability::SysBoot,
    Capability::SysNice,
    Capability::SysResource,
    Capability::SysTime,
    Capability::SysTtyConfig,
    Capability::Mknod,
    Capability::Lease,
    Capability::AuditWrite,
    Capability::AuditControl,
    Capability::Setfcap,
    Capability::MacOverride,
    Capability::MacAdmin,
    Capability::Syslog,
    Capability::WakeAlarm,
    Capability::BlockSuspend,
    Capability::AuditRead,
    Capability::Perfmon,
    Capability::Bpf,
    Capability::CheckpointRestore,
];

/// One past the highest number that has a name.
pub(crate) const COUNT: u32 = ORDER.len() as u32;

/// The set as bits.
pub(crate) fn bits(set: Option<&Capabilities>) -> u64 {
    set.into_iter().flatten().fold(0, |bits, capability| {
        let number = ORDER.iter().position(|known| known == capability);
        number.map_or(bits, |number| bits | 1 << number)
    })
}

/// Splits off what this process can't grant: it is not in its own bounding set. The runtime-spec
/// wants a warning for those, not an error.
pub(crate) fn grantable(wanted: u64) -> Result<(u64, Vec<String>), Errno> {
    let mut granted = 0;
    let mut missing = Vec::new();
    for (number, capability) in ORDER.iter().enumerate().filter(|(n, _)| wanted >> n & 1 == 1) {
        match sys::identity::has_bounding(number as u32) {
            Ok(true) => granted |= 1 << number,
            // EINVAL: newer than the kernel.
            Ok(false) | Err(Errno::EINVAL) => missing.push(format!("CAP_{capability}")),
            Err(errno) => return Err(errno),
        }
    }
    Ok((granted, missing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_kernels() {
        for (capability, number) in [
            (Capability::Chown, 0),
            (Capability::SysAdmin, 21),
            (Capability::AuditRead, 37),
            (Capability::CheckpointRestore, 40),
        ] {
            assert_eq!(bits(Some(&[capability].into())), 1 << number);
        }
    }
}
