//! registries.conf: where images come from, and what short names mean.

use base64::Engine;
use serde_json::json;

use super::archive::Archive;
use super::registry::{Answer, Registry};
use super::sandbox::Sandbox;

fn with_image(repository: &str) -> Registry {
    let registry = Registry::start();
    registry.image(repository, "t", &[Archive::new().file("a", "x").tar()], json!({}));
    registry
}

/// Writes the configuration to be read and gives the command with it.
fn configured(sandbox: &Sandbox, text: &str, arguments: &[&str]) -> std::process::Output {
    let path = sandbox.path.join("registries.conf");
    std::fs::write(&path, text).unwrap();
    let mut command = sandbox.command();
    command.env("CONTAINERS_REGISTRIES_CONF", path).args(arguments).output().unwrap()
}

fn ok(sandbox: &Sandbox, text: &str, arguments: &[&str]) -> String {
    let output = configured(sandbox, text, arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn fails(sandbox: &Sandbox, text: &str, arguments: &[&str]) -> String {
    let output = configured(sandbox, text, arguments);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn asked(registry: &Registry) -> usize {
    registry.requests().iter().filter(|request| request.path.starts_with("/v2/")).count()
}

#[test]
fn a_location_stands_for_a_name() {
    let registry = with_image("moved/x");
    let sandbox = Sandbox::new();
    let conf = format!(
        "[[registry]]\nprefix = \"quay.io/org\"\nlocation = \"{}/moved\"\ninsecure = true",
        registry.address
    );
    // The name stays the one that was asked for.
    let said = ok(&sandbox, &conf, &["pull", "-q", "quay.io/org/x:t"]);
    assert!(said.starts_with("quay.io/org/x:t sha256:"), "{said}");
    sandbox.ok(&["unpack", "quay.io/org/x:t", "tree"]);
    // The command line's word on TLS wins.
    let strict = ["pull", "-q", "--tls-verify", "quay.io/org/x:t"];
    fails(&sandbox, &conf, &strict);
}

#[test]
fn mirrors_are_asked_before_the_registry() {
    let (first, second, own) = (Registry::start(), with_image("m/x"), with_image("x"));
    let sandbox = Sandbox::new();
    let mirror = |registry: &Registry, path: &str| {
        format!("[[registry.mirror]]\nlocation = \"{}{path}\"\ninsecure = true\n", registry.address)
    };
    let conf = format!(
        "[[registry]]\nlocation = \"{}\"\ninsecure = true\n{}{}",
        own.address,
        mirror(&first, ""),
        mirror(&second, "/m")
    );
    let reference = format!("{}/x:t", own.address);
    ok(&sandbox, &conf, &["pull", "-q", &reference]);
    assert_eq!((asked(&first), asked(&own)), (1, 0), "the second mirror has it");
    assert!(asked(&second) > 1, "manifest and blobs");

    // A mirror that is not there, and one that has it not: the registry itself.
    let gone = "127.0.0.1:1".to_owned();
    let conf = format!(
        "[[registry]]\nlocation = \"{}\"\ninsecure = true\n[[registry.mirror]]\nlocation = \"{gone}\"\ninsecure = true\n{}",
        own.address,
        mirror(&first, "")
    );
    let other = Sandbox::new();
    ok(&other, &conf, &["pull", "-q", &reference]);
    assert!(asked(&own) > 1);
    let error = fails(&other, &conf, &["pull", "-q", &format!("{}/x:none", own.address)]);
    for place in [&gone, &first.address, &own.address] {
        assert!(error.contains(place.as_str()), "{error}");
    }

    // By digest alone.
    let conf = conf.replacen("insecure = true", "insecure = true\nmirror-by-digest-only = true", 1);
    let before = asked(&first);
    ok(&Sandbox::new(), &conf, &["pull", "-q", &reference]);
    assert_eq!(asked(&first), before);
}

#[test]
fn credentials_of_a_registry_are_not_its_mirrors() {
    let (mirror, own) = (Registry::start(), with_image("x"));
    mirror.rule(|_| Some(Answer::status(401).with("WWW-Authenticate", "Basic realm=\"m\"")));
    own.rule(|request| {
        let known = request.headers.contains_key("authorization");
        (!known).then(|| Answer::status(401).with("WWW-Authenticate", "Basic realm=\"x\""))
    });
    let conf = format!(
        "[[registry]]\nlocation = \"{}\"\ninsecure = true\n[[registry.mirror]]\nlocation = \"{}\"\ninsecure = true",
        own.address, mirror.address
    );
    let reference = format!("{}/x:t", own.address);
    ok(&Sandbox::new(), &conf, &["pull", "-q", "--creds", "u:p", &reference]);
    assert!(mirror.requests().iter().all(|r| !r.headers.contains_key("authorization")));

    // A mirror's own, from the auth file.
    let sandbox = Sandbox::new();
    let auth = base64::prelude::BASE64_STANDARD.encode("m:secret");
    let file = json!({ "auths": { &mirror.address: { "auth": auth } } });
    std::fs::write(sandbox.path.join("auth.json"), file.to_string()).unwrap();
    fails(&sandbox, &conf, &["pull", "-q", "--authfile", "auth.json", &reference]);
    let basic = format!("Basic {auth}");
    assert!(mirror.requests().iter().any(|r| r.headers.get("authorization") == Some(&basic)));
    assert!(own.requests().iter().all(|r| r.headers.get("authorization") != Some(&basic)));
}

#[test]
fn blocked_registries() {
    let registry = with_image("x");
    let sandbox = Sandbox::new();
    let conf = format!("[[registry]]\nlocation = \"{}\"\nblocked = true", registry.address);
    let reference = format!("{}/x:t", registry.address);
    let pull = ["pull", "-q", "--tls-verify=false", &reference];
    let error = fails(&sandbox, &conf, &pull);
    assert!(error.contains("is blocked by") && error.contains("registries.conf"), "{error}");
    sandbox.pull(&reference);
    let before = asked(&registry);
    for arguments in [
        &["push", "-q", "--tls-verify=false", &reference][..],
        &["login", "--creds", "u:p", "--tls-verify=false", &registry.address],
        &["copy", "-q", "--tls-verify=false", &reference, "oci:copied"],
    ] {
        let error = fails(&sandbox, &conf, arguments);
        assert!(error.contains("is blocked by"), "{error}");
    }
    assert_eq!(asked(&registry), before);
    // What is here already may be used.
    ok(&sandbox, &conf, &["unpack", &reference, "tree"]);
}

#[test]
fn short_names() {
    let (first, second) = (Registry::start(), with_image("some/x"));
    let insecure = |registry: &Registry| {
        format!("[[registry]]\nlocation = \"{}\"\ninsecure = true\n", registry.address)
    };
    let search = format!(
        "unqualified-search-registries = [\"{}\", \"{}\"]\n",
        first.address, second.address
    );
    let registries = format!("{}{}", insecure(&first), insecure(&second));
    let conf = format!("{search}{registries}");
    let full = format!("{}/some/x:t", second.address);

    let sandbox = Sandbox::new();
    let said = ok(&sandbox, &conf, &["pull", "-q", "some/x:t"]);
    assert!(said.starts_with(&format!("{full} ")), "{said}");
    assert_eq!(asked(&first), 1);
    // The name means the same where nothing is pulled.
    ok(&sandbox, &conf, &["unpack", "some/x:t", "tree"]);
    ok(&sandbox, &conf, &["tag", "some/x:t", "localhost/y"]);
    ok(&sandbox, &conf, &["rm", "some/x:t"]);
    let error = fails(&sandbox, &conf, &["pull", "-q", "some/x:none"]);
    assert!(error.contains(&first.address) && error.contains(&second.address), "{error}");

    let enforcing = format!("short-name-mode = \"enforcing\"\n{conf}");
    let error = fails(&sandbox, &enforcing, &["pull", "-q", "some/x:t"]);
    assert!(error.contains("short-name-mode is enforcing: write the whole name"), "{error}");
    let alias = format!("{enforcing}[aliases]\nz = \"{}/some/x\"\n", second.address);
    let said = ok(&sandbox, &alias, &["pull", "-q", "z:t"]);
    assert!(said.starts_with(&format!("{full} ")), "{said}");
}

#[test]
fn where_the_files_are() {
    let registry = with_image("x");
    let sandbox = Sandbox::new();
    let own = sandbox.path.join("home/.config/containers");
    std::fs::create_dir_all(own.join("registries.conf.d")).unwrap();
    let blocked = format!("[[registry]]\nlocation = \"{}\"\nblocked = true", registry.address);
    std::fs::write(own.join("registries.conf"), &blocked).unwrap();
    let reference = format!("{}/x:t", registry.address);
    let error = sandbox.fails(&["pull", "-q", &reference]);
    assert!(error.contains("home/.config/containers/registries.conf"), "{error}");
    // A later one says otherwise.
    let open = blocked.replace("blocked", "insecure");
    std::fs::write(own.join("registries.conf.d/10-open.conf"), open).unwrap();
    std::fs::write(own.join("registries.conf.d/20-other"), &blocked).unwrap();
    sandbox.ok(&["pull", "-q", &reference]);
    // The named file stands for the one file; the drop-ins stay.
    ok(&sandbox, &blocked, &["pull", "-q", &reference]);

    let output = configured(&sandbox, "[[registry]\n", &["pull", "-q", &reference]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("registries.conf: line 1: "), "{error}");
    let mut missing = sandbox.command();
    let output = missing.env("CONTAINERS_REGISTRIES_CONF", "nowhere").args(["pull", "x"]).output();
    let error = String::from_utf8(output.unwrap().stderr).unwrap();
    assert!(error.contains("read nowhere: No such file"), "{error}");
}
