//! Sections of config.json for other platforms: the spec has a runtime ignore them, whatever is in.

use serde_json::json;

use crate::case::{Case, Outcome};
use crate::ensure_eq;
use crate::env::Env;

/// The cases of this area.
pub const CASES: &[Case] = &[
    Case::new("other-platforms/sections-are-ignored", sections),
    Case::new("other-platforms/mappings-beside-linux-are-ignored", mappings),
];

fn sections(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    bundle.set("/solaris", json!({"milestone": "svc:/milestone/dream", "maxShmMemory": "1"}))?;
    bundle.set("/windows", json!({"layerFolders": ["C:\\dream"], "servicing": true}))?;
    bundle.set("/vm", json!({"kernel": {"path": "/no/such/kernel"}}))?;
    bundle.set("/zos", json!({"namespaces": []}))?;
    bundle.set("/freebsd", json!({"jail": {"parent": "dream"}}))?;
    bundle.args(&["echo", "ran"]);
    ensure_eq!(env.run(&bundle)?.ok()?.stdout, "ran\n", "stdout");
    Ok(())
}

/// oci-spec has them beside `linux` too; the schema does not.
fn mappings(env: &mut Env) -> Outcome {
    let mut bundle = env.bundle()?;
    let map = json!([{"containerID": 0, "hostID": 4000, "size": 10}]);
    bundle.set("/uidMappings", map.clone())?;
    bundle.set("/gidMappings", map)?;
    bundle.args(&["cat", "/proc/self/uid_map"]);
    let output = env.run(&bundle)?.ok()?;
    ensure_eq!(output.stdout.split_whitespace().nth(1), Some("0"), "uid_map");
    Ok(())
}
