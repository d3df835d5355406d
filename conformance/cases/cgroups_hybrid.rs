//! A hybrid host, as far as a machine on cgroup v2 can be made one for a case: the controllers that
//! nothing uses, on v1 hierarchies of their own, beside v2.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::{Value, json};

use super::limits_v1::{refused, set};
use crate::call::wait_until;
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

const CONTROLLERS: &[Need] = &[Need::V2Controllers];
const ROOT: &str = "/sys/fs/cgroup";

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("cgroups-hybrid/network", network).needs(CONTROLLERS),
    Case::new("cgroups-hybrid/huge-pages", huge_pages)
        .needs(CONTROLLERS)
        .not_on(&[(Peer::Runc, "runc 1.1 leaves the reservations alone")]),
    Case::new("cgroups-hybrid/rdma", rdma).needs(CONTROLLERS),
    Case::new("cgroups-hybrid/device-rules", device_rules).needs(CONTROLLERS),
];

/// The mounts, taken back when dropped.
struct Hybrid(Vec<PathBuf>);

impl Hybrid {
    fn new() -> Result<Self, Failure> {
        take_back(Path::new(ROOT));
        let none: Option<&std::ffi::CStr> = None;
        let mut made = Self(Vec::new());
        mount("cgroup", ROOT, "tmpfs", MountFlags::empty(), none)?;
        made.0.push(ROOT.into());
        let directory = |name: &str| -> Result<PathBuf, Failure> {
            let path = Path::new(ROOT).join(name);
            fs::create_dir(&path)?;
            Ok(path)
        };
        let unified = directory("unified")?;
        mount("cgroup2", &unified, "cgroup2", MountFlags::empty(), none)?;
        made.0.push(unified);
        for controllers in ["devices", "net_cls,net_prio", "hugetlb", "rdma"] {
            let path = directory(controllers)?;
            let data = std::ffi::CString::new(controllers)
                .map_err(|error| Failure(format!("{controllers}: {error}")))?;
            // Those of cgroups that are gone take a while to go.
            wait_until(
                Duration::from_secs(20),
                &format!("a mount of {controllers}"),
                || match mount("cgroup", &path, "cgroup", MountFlags::empty(), Some(&*data)) {
                    Err(Errno::BUSY) => Ok(None),
                    result => Ok(Some(result?)),
                },
            )?;
            made.0.push(path);
        }
        Ok(made)
    }
}

/// Takes controllers out of v2 that an earlier container has had handed down to it: they could not be
/// mounted elsewhere.
fn take_back(group: &Path) {
    for child in fs::read_dir(group).into_iter().flatten().flatten() {
        if child.file_type().is_ok_and(|kind| kind.is_dir()) {
            take_back(&child.path());
        }
    }
    for controller in ["-hugetlb", "-rdma"] {
        // It may not be there: then it is in nobody's way.
        let _ = fs::write(group.join("cgroup.subtree_control"), controller);
    }
}

impl Drop for Hybrid {
    fn drop(&mut self) {
        for path in self.0.iter().rev() {
            // A case that failed may have left something in it; the machine is a throwaway.
            let _ = unmount(path, UnmountFlags::DETACH);
        }
    }
}

/// The files of a container with these limits, by their paths below its place in a hierarchy.
fn check(env: &Env, resources: &Value, table: &[(&str, &str, &str)]) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.args(&["sleep", "1000"]);
    set(&mut bundle, resources)?;
    let id = env.detach(&bundle, "c", &[])?;
    for (controllers, file, wanted) in table {
        let path = Path::new(ROOT).join(controllers).join(&id).join(file);
        let text = fs::read_to_string(&path)
            .map_err(|error| Failure(format!("read {}: {error}", path.display())))?;
        ensure!(text.lines().any(|line| line == *wanted), "{file}: {text:?}, wanted {wanted:?}");
    }
    env.runtime(&["delete", "--force", &id]).ok()?;
    for (controllers, ..) in table {
        let path = Path::new(ROOT).join(controllers).join(&id);
        ensure!(!path.exists(), "{} is left", path.display());
    }
    Ok(())
}

fn network(env: &mut Env) -> Outcome {
    let _hybrid = Hybrid::new()?;
    let network = json!({
        "classID": 1_048_577, "priorities": [{"name": "lo", "priority": 500}],
    });
    check(
        env,
        &json!({"network": network}),
        &[
            ("net_cls,net_prio", "net_cls.classid", "1048577"),
            ("net_cls,net_prio", "net_prio.ifpriomap", "lo 500"),
        ],
    )?;
    // An interface that is not there.
    let network = json!({"priorities": [{"name": "none0", "priority": 5}]});
    refused(env, &json!({"network": network}), &["net_prio.ifpriomap"])
}

fn huge_pages(env: &mut Env) -> Outcome {
    let _hybrid = Hybrid::new()?;
    check(
        env,
        &json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 4_194_304}]}),
        &[
            ("hugetlb", "hugetlb.2MB.limit_in_bytes", "4194304"),
            ("hugetlb", "hugetlb.2MB.rsvd.limit_in_bytes", "4194304"),
        ],
    )
}

fn rdma(env: &mut Env) -> Outcome {
    let _hybrid = Hybrid::new()?;
    // Without such a device the kernel refuses the line, which shows that it was written.
    let words: &[&str] = match env.is(Peer::Ghost) {
        true => &["rdma.max", "mlx5_0 hca_handle=3"],
        false => &["rdma.max"],
    };
    refused(env, &json!({"rdma": {"mlx5_0": {"hcaHandles": 3}}}), words)
}

fn device_rules(env: &mut Env) -> Outcome {
    let _hybrid = Hybrid::new()?;
    let answers = super::cgroups_v1::device_answers(
        env,
        json!([
            {"allow": false, "access": "rwm"},
            {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "r"},
        ]),
    )?;
    ensure_eq!(answers, "1\nread\nnull\nmade\n", "fuse may be read");
    Ok(())
}
