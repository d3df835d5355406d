//! From an image config to a config.json, by the image-spec's conversion rules.

use serde_json::{Map, Value, json};

use super::defaults;
use super::user::ProcessUser;
use crate::error::{Error, Result};
use crate::image::ImageConfig;

/// What the rules need beside the image config.
#[derive(Clone, Debug)]
pub struct Conversion {
    /// The image's user, looked up in its rootfs.
    pub user: ProcessUser,
    /// The command to run instead of the image's; empty for the image's own.
    pub args: Vec<String>,
    /// Give the process a terminal.
    pub tty: bool,
    /// The container's host name.
    pub hostname: String,
}

/// Converts an image config.
///
/// # Errors
/// [`Error::Argument`] if neither the image nor the caller names a command, [`Error::Document`] for
/// a working directory or volume that is not absolute.
pub fn convert(image: &ImageConfig, conversion: &Conversion) -> Result<Value> {
    let run = &image.config;
    let mut spec = defaults::spec();
    let args = match conversion.args.as_slice() {
        [] => run.entrypoint.iter().chain(&run.cmd).cloned().collect(),
        args => args.to_vec(),
    };
    if args.is_empty() {
        return Err(Error::Argument {
            option: "-- COMMAND",
            reason: "the image names no command to run, so one must be given".into(),
        });
    }
    let absolute = |what: &str, path: &str| match path.starts_with('/') {
        true => Ok(path.to_owned()),
        false => Err(Error::Document {
            what: "the image config".into(),
            reason: format!("{what} '{}' is not absolute", path.escape_debug()),
        }),
    };
    let process = &mut spec["process"];
    process["args"] = json!(args);
    process["env"] = json!(environment(&run.env, conversion.tty));
    process["terminal"] = json!(conversion.tty);
    process["user"] = user(&conversion.user);
    if !run.working_dir.is_empty() {
        process["cwd"] = json!(absolute("the working directory", &run.working_dir)?);
    }
    spec["hostname"] = json!(conversion.hostname);
    for volume in run.volumes.keys() {
        let destination = absolute("the volume", volume)?;
        if hides_kernel(&destination) {
            return Err(Error::Document {
                what: "the image's configuration".into(),
                reason: format!("the volume {destination:?} would hide what the kernel shows"),
            });
        }
        let mount = json!({
            "destination": destination,
            "type": "tmpfs",
            "source": "none",
            "options": ["rw", "nosuid", "nodev", "noexec", "relatime"],
        });
        if let Some(mounts) = spec["mounts"].as_array_mut() {
            mounts.push(mount);
        }
    }
    spec["annotations"] = Value::Object(annotations(image));
    Ok(spec)
}

/// An empty directory over these is no volume, but a way round the masked paths.
fn hides_kernel(path: &str) -> bool {
    let mut parts = path.split('/').filter(|part| !part.is_empty() && *part != ".");
    match (parts.next(), parts.next()) {
        (None | Some("proc" | "sys"), _) | (Some("dev"), None) => true,
        _ => path.split('/').any(|part| part == ".."),
    }
}

/// The image's environment, and what every process needs where the image says nothing of it.
fn environment(image: &[String], tty: bool) -> Vec<String> {
    let has = |name: &str| image.iter().any(|e| e.split('=').next() == Some(name));
    let mut env = Vec::new();
    if !has("PATH") {
        env.push(defaults::PATH.to_owned());
    }
    env.extend_from_slice(image);
    if tty && !has("TERM") {
        env.push("TERM=xterm".to_owned());
    }
    env
}

fn user(user: &ProcessUser) -> Value {
    let mut value = json!({ "uid": user.uid, "gid": user.gid });
    if !user.additional_gids.is_empty() {
        value["additionalGids"] = json!(user.additional_gids);
    }
    value
}

/// The image-spec's own annotations, then the image's labels, which win.
fn annotations(image: &ImageConfig) -> Map<String, Value> {
    let ports: Vec<&str> = image.config.exposed_ports.keys().map(String::as_str).collect();
    let features = image.os_features.join(",");
    let ports = ports.join(",");
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let own = [
        ("os", image.os.clone()),
        ("architecture", image.architecture.clone()),
        ("variant", text(&image.variant)),
        ("os.version", text(&image.os_version)),
        ("os.features", features),
        ("author", text(&image.author)),
        ("created", text(&image.created)),
        ("stopSignal", image.config.stop_signal.clone()),
        ("exposedPorts", ports),
    ];
    let mut annotations = Map::new();
    for (name, value) in own {
        if !value.is_empty() {
            annotations.insert(format!("org.opencontainers.image.{name}"), value.into());
        }
    }
    for (name, value) in &image.config.labels {
        annotations.insert(name.clone(), value.clone().into());
    }
    annotations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(json: Value) -> ImageConfig {
        serde_json::from_value(json).unwrap()
    }

    fn conversion(args: &[&str]) -> Conversion {
        Conversion {
            user: ProcessUser { uid: 7, gid: 8, additional_gids: vec![9] },
            args: args.iter().map(|a| (*a).to_owned()).collect(),
            tty: false,
            hostname: "h".into(),
        }
    }

    #[test]
    fn everything_converted() {
        let image = image(json!({
            "os": "linux", "architecture": "arm", "variant": "v7", "author": "me",
            "created": "2020-01-01T00:00:00Z", "os.features": ["a", "b"],
            "config": {
                "Env": ["PATH=/bin", "A=b=c d"], "WorkingDir": "/tmp", "Entrypoint": ["/e"],
                "Cmd": ["c", "d"], "StopSignal": "SIGQUIT", "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
                "Volumes": {"/data": {}},
                "Labels": {"x": "1", "org.opencontainers.image.author": "label"},
            },
        }));
        let spec = convert(&image, &conversion(&[])).unwrap();
        let process = &spec["process"];
        assert_eq!(process["args"], json!(["/e", "c", "d"]));
        assert_eq!(process["env"], json!(["PATH=/bin", "A=b=c d"]));
        assert_eq!(process["cwd"], "/tmp");
        assert_eq!(process["terminal"], false);
        assert_eq!(process["user"], json!({ "uid": 7, "gid": 8, "additionalGids": [9] }));
        let mounts = spec["mounts"].as_array().unwrap();
        assert_eq!(mounts.last().unwrap()["destination"], "/data");
        assert_eq!(
            spec["annotations"],
            json!({
                "org.opencontainers.image.os": "linux",
                "org.opencontainers.image.architecture": "arm",
                "org.opencontainers.image.variant": "v7",
                "org.opencontainers.image.os.features": "a,b",
                "org.opencontainers.image.author": "label",
                "org.opencontainers.image.created": "2020-01-01T00:00:00Z",
                "org.opencontainers.image.stopSignal": "SIGQUIT",
                "org.opencontainers.image.exposedPorts": "53/udp,80/tcp",
                "x": "1",
            })
        );
    }

    #[test]
    fn result_is_a_runtime_spec() {
        let image = image(json!({ "config": { "Cmd": ["sh"], "Volumes": {"/v": {}} } }));
        let spec = convert(&image, &Conversion { tty: true, ..conversion(&[]) }).unwrap();
        let typed: oci_spec::runtime::Spec = serde_json::from_value(spec).unwrap();
        let process = typed.process().as_ref().unwrap();
        assert_eq!(process.terminal(), Some(true));
        let env = process.env().as_ref().unwrap();
        assert_eq!(env[..], [defaults::PATH, "TERM=xterm"]);
    }

    #[test]
    fn the_command_given_replaces_entrypoint_and_cmd() {
        let image = image(json!({ "config": { "Entrypoint": ["/e"], "Cmd": ["c"] } }));
        let spec = convert(&image, &conversion(&["/bin/true", "x"])).unwrap();
        assert_eq!(spec["process"]["args"], json!(["/bin/true", "x"]));
    }

    #[test]
    fn refused_configs() {
        for (config, word) in [
            (json!({}), "no command"),
            (json!({ "Cmd": ["x"], "WorkingDir": "tmp" }), "not absolute"),
            (json!({ "Cmd": ["x"], "Volumes": {"data": {}} }), "not absolute"),
            (json!({ "Cmd": ["x"], "Volumes": {"/": {}} }), "hide"),
            (json!({ "Cmd": ["x"], "Volumes": {"//proc/sys": {}} }), "hide"),
            (json!({ "Cmd": ["x"], "Volumes": {"/a/../sys": {}} }), "hide"),
            (json!({ "Cmd": ["x"], "Volumes": {"/dev": {}} }), "hide"),
        ] {
            let error = convert(&image(json!({ "config": config })), &conversion(&[])).unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
        }
    }
}
