//! Credentials that are kept, and forgotten.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Output, Stdio};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::archive::Archive;
use super::registry::{Answer, Registry};
use super::sandbox::Sandbox;

const PASSWORD: &str = "pass-word-of-the-test";

fn locked() -> Registry {
    let registry = Registry::start();
    registry.image("x", "t", &[Archive::new().file("a", "x").tar()], json!({}));
    let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("user:{PASSWORD}")));
    registry.rule(move |request| {
        if request.headers.get("authorization") != Some(&basic) {
            return Some(Answer::status(401).with("WWW-Authenticate", "Basic realm=\"x\""));
        }
        (request.path == "/v2/").then(|| Answer::ok("application/json", b"{}"))
    });
    registry
}

fn login(sandbox: &Sandbox, registry: &str, password: &str, more: &[&str]) -> Output {
    let mut child = sandbox
        .command()
        .args(["login", "--tls-verify=false", "-u", "user", "--password-stdin", registry])
        .args(more)
        .env("PATH", format!("{}:{}", sandbox.path.display(), std::env::var("PATH").unwrap()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(format!("{password}\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = format!("{output:?}");
    assert!(!said.contains(password), "{said}");
    output
}

#[test]
fn a_login_lasts_until_the_logout() {
    let registry = locked();
    let sandbox = Sandbox::new();
    let reference = format!("{}/x:t", registry.address);
    let file = sandbox.path.join("run/containers/auth.json");
    let wrong = login(&sandbox, &registry.address, "wrong-password", &[]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(!file.exists(), "what the registry refuses is not kept");

    assert!(
        login(&sandbox, &format!("https://{}/", registry.address), PASSWORD, &[]).status.success()
    );
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let parent = std::fs::metadata(file.parent().unwrap()).unwrap();
    assert_eq!(parent.permissions().mode() & 0o777, 0o700);
    sandbox.pull(&reference);

    // What others noted there stays.
    let mut value: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    value["auths"]["quay.io"] = json!({ "auth": "dTpw" });
    value["other"] = json!(1);
    std::fs::write(&file, value.to_string()).unwrap();
    sandbox.ok(&["logout", &registry.address]);
    let value: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(value, json!({ "auths": { "quay.io": { "auth": "dTpw" } }, "other": 1 }));
    assert!(sandbox.ok(&["logout", &registry.address]).contains("nothing to forget"));
    assert!(sandbox.fails(&["pull", "-q", "--tls-verify=false", &reference]).contains("401"));
    sandbox.ok(&["logout", "--all"]);
    assert!(!std::fs::read_to_string(&file).unwrap().contains("quay.io"));
}

#[test]
fn helpers_keep_what_the_file_gives_them() {
    let registry = locked();
    let sandbox = Sandbox::new();
    let helper = sandbox.path.join("docker-credential-test");
    let script = "#!/bin/sh\ncd \"$(dirname \"$0\")\"\ncase $1 in store) cat >kept;; erase) rm kept;;
get) test -e kept && cat kept || { echo credentials not found in native keychain; exit 1; };; esac\n";
    std::fs::write(&helper, script).unwrap();
    std::fs::set_permissions(&helper, PermissionsExt::from_mode(0o755)).unwrap();
    let file = sandbox.path.join("auth.json");
    let before = json!({ "credsStore": "test" }).to_string();
    std::fs::write(&file, &before).unwrap();
    let authfile = ["--authfile", file.to_str().unwrap()];
    let output = login(&sandbox, &registry.address, PASSWORD, &authfile);
    assert!(output.status.success(), "{output:?}");
    let kept: Value =
        serde_json::from_slice(&std::fs::read(sandbox.path.join("kept")).unwrap()).unwrap();
    assert_eq!(
        kept,
        json!({ "ServerURL": registry.address, "Username": "user", "Secret": PASSWORD })
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), before);
    let logout = || {
        let path = format!("{}:{}", sandbox.path.display(), std::env::var("PATH").unwrap());
        let mut command = sandbox.command();
        command.args(["logout", &registry.address]).args(authfile).env("PATH", path);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    assert!(logout().contains("docker-credential-test"));
    assert!(!sandbox.path.join("kept").exists());
    assert!(logout().contains("nothing to forget"));
}

#[test]
fn logins_that_make_no_sense() {
    let sandbox = Sandbox::new();
    for (arguments, words) in [
        (&["login", "quay.io/x"][..], "no registry's host"),
        (&["login", "-u", "a:b", "--password-stdin"], "without a colon"),
        (&["login", "quay.io"], "--username"),
        (&["login", "-u", "a", "quay.io"], "--password-stdin"),
        (&["login", "-u", "a", "--password-stdin", "quay.io"], "empty"),
    ] {
        let error = sandbox.fails(arguments);
        assert!(error.contains(words), "{arguments:?}: {error}");
    }
    let bad = sandbox.path.join("bad.json");
    std::fs::write(&bad, format!("{{\"auths\": \"{PASSWORD}\"}}")).unwrap();
    let error = sandbox.fails(&["logout", "--authfile", bad.to_str().unwrap()]);
    assert!(error.contains("not a JSON object") && !error.contains(PASSWORD), "{error}");
}

#[test]
fn registries_conf_says_where_credentials_are() {
    let registry = locked();
    let sandbox = Sandbox::new();
    let helper = sandbox.path.join("docker-credential-test");
    // One program for what is kept, and its list.
    let script = "#!/bin/sh\ncd \"$(dirname \"$0\")\"\ncase $1 in store) cat >kept;; erase) rm kept;;
list) printf '{\"%s\":\"user\"}' \"$(sed 's/.*ServerURL\":\"//; s/\".*//' kept)\";;
get) test -e kept && cat kept || { echo credentials not found in native keychain; exit 1; };; esac\n";
    std::fs::write(&helper, script).unwrap();
    std::fs::set_permissions(&helper, PermissionsExt::from_mode(0o755)).unwrap();
    let own = sandbox.path.join("home/.config/containers");
    std::fs::create_dir_all(own.join("registries.conf.d")).unwrap();
    let stores = |text: &str| {
        let text = format!("credential-helpers = [{text}]\n");
        std::fs::write(own.join("registries.conf.d/10-stores.conf"), text).unwrap();
    };
    let reference = format!("{}/x:t", registry.address);
    let run = |arguments: &[&str]| {
        let path = format!("{}:{}", sandbox.path.display(), std::env::var("PATH").unwrap());
        sandbox.command().args(arguments).env("PATH", path).output().unwrap()
    };
    let pull = ["pull", "-q", "--tls-verify=false", &reference];
    let file = sandbox.path.join("run/containers/auth.json");

    stores(r#""test", "containers-auth.json""#);
    let output = login(&sandbox, &registry.address, PASSWORD, &[]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("noted in docker-credential-test"), "{said}");
    assert!(!file.exists());
    assert!(run(&pull).status.success());
    let gone = run(&["logout", &registry.address]);
    assert_eq!(gone.stdout, b"forgotten in docker-credential-test\n");
    assert!(!run(&pull).status.success());
    assert!(login(&sandbox, &registry.address, PASSWORD, &[]).status.success());
    assert!(run(&["logout", "--all"]).status.success());
    assert!(!sandbox.path.join("kept").exists());

    // A helper that is not there is no obstacle where another store has it, and is named where none has.
    stores(r#""missing", "containers-auth.json""#);
    let output = login(&sandbox, &registry.address, PASSWORD, &[]);
    assert!(output.status.success() && file.exists(), "{output:?}");
    assert!(run(&pull).status.success());
    std::fs::remove_file(&file).unwrap();
    let errors = String::from_utf8(run(&pull).stderr).unwrap();
    assert!(errors.contains("credentials from docker-credential-missing"), "{errors}");
}

/// A helper on the PATH of its own sandbox: a script that is given the verb, and the server's name as `$server`.
fn helper(sandbox: &Sandbox, name: &str, script: &str) {
    let path = sandbox.path.join(format!("docker-credential-{name}"));
    let script = format!("#!/bin/sh\nserver=$(cat); test \"$1\" = get || exit 9\n{script}\n");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
}

/// A pull whose only auth file is this, with helpers on the PATH.
fn pull_by(sandbox: &Sandbox, file: &Value, reference: &str) -> Output {
    let path = sandbox.path.join("auth.json");
    std::fs::write(&path, file.to_string()).unwrap();
    sandbox
        .command()
        .args(["pull", "-q", "--tls-verify=false", "--authfile", "auth.json", reference])
        .env("PATH", format!("{}:{}", sandbox.path.display(), std::env::var("PATH").unwrap()))
        .output()
        .unwrap()
}

#[test]
fn pulls_with_what_helpers_keep() {
    let registry = locked();
    let reference = format!("{}/x:t", registry.address);
    // Credentials for the server by the very name that it has in the file, and for no other.
    let answer = format!(
        "case $server in {address}) echo '{{\"ServerURL\":\"{address}\",\"Username\":\"user\",\"Secret\":\"{PASSWORD}\"}}';;
         *) echo credentials not found in native keychain; exit 1;; esac",
        address = registry.address
    );
    let own = |name: &str| json!({ &registry.address: name });
    for file in [
        json!({ "credHelpers": own("good") }),
        json!({ "credsStore": "good" }),
        // Docker notes an empty entry for what its store has; the registry's own helper wins.
        json!({ "auths": { &registry.address: {} }, "credsStore": "good" }),
        json!({ "credHelpers": own("good"), "credsStore": "broken" }),
        json!({ "credHelpers": { "quay.io": "broken" }, "credsStore": "good" }),
        json!({ "auths": { &registry.address: { "auth": "dTpw" } }, "credHelpers": own("good") }),
    ] {
        let sandbox = Sandbox::new();
        helper(&sandbox, "good", &answer);
        helper(&sandbox, "broken", "exit 3");
        let output = pull_by(&sandbox, &file, &reference);
        assert!(output.status.success(), "{file}: {output:?}");
        sandbox.ok(&["unpack", &reference, "tree"]);
    }
    // A helper that knows nothing is no failure, but the registry's refusal is.
    let sandbox = Sandbox::new();
    helper(&sandbox, "empty", "echo credentials not found in native keychain; exit 1");
    let output = pull_by(&sandbox, &json!({ "credsStore": "empty" }), &reference);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("401") && errors.contains("no credentials"), "{errors}");
}

#[test]
fn a_helpers_token_is_exchanged() {
    let registry = Registry::start();
    registry.image("x", "t", &[Archive::new().file("a", "x").tar()], json!({}));
    let realm = format!("http://{}/token", registry.address);
    registry.rule(move |request| {
        if request.path.starts_with("/token") {
            let body = String::from_utf8_lossy(&request.body).into_owned();
            let right = body.contains(&format!("refresh_token={PASSWORD}"));
            let token = || Answer::ok("application/json", br#"{"access_token":"tok-en"}"#);
            return Some(if right { token() } else { Answer::status(403) });
        }
        let bearer = request.headers.get("authorization").is_some_and(|v| v == "Bearer tok-en");
        let challenge = format!("Bearer realm=\"{realm}\",service=\"s\"");
        (!bearer).then(|| Answer::status(401).with("WWW-Authenticate", &challenge))
    });
    let reference = format!("{}/x:t", registry.address);
    let answer = format!("echo '{{\"Username\":\"<token>\",\"Secret\":\"{PASSWORD}\"}}'");
    for file in [json!({ "credHelpers": { &registry.address: "t" } }), json!({ "credsStore": "t" })]
    {
        let sandbox = Sandbox::new();
        helper(&sandbox, "t", &answer);
        let output = pull_by(&sandbox, &file, &reference);
        assert!(output.status.success(), "{file}: {output:?}");
    }
    // As the name and password that it isn't it goes nowhere.
    let basic = |request: &super::registry::Request| {
        request.headers.get("authorization").is_some_and(|value| value.starts_with("Basic"))
    };
    assert!(!registry.requests().iter().any(basic));
}

#[test]
fn helpers_that_fail_are_named_without_what_they_said() {
    let registry = locked();
    let reference = format!("{}/x:t", registry.address);
    for (script, words) in [
        (format!("echo {PASSWORD}; echo {PASSWORD} >&2; exit 3"), "exit status: 3"),
        (format!("echo {PASSWORD}"), "its answer is not JSON"),
        (format!("echo '{{\"Username\":\"u\",\"Password\":\"{PASSWORD}\"}}'"), "not JSON"),
        ("kill -9 $$".to_owned(), "signal: 9"),
    ] {
        let sandbox = Sandbox::new();
        helper(&sandbox, "bad", &script);
        let output = pull_by(&sandbox, &json!({ "credsStore": "bad" }), &reference);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{script}");
        assert!(errors.contains("docker-credential-bad: ") && errors.contains(words), "{errors}");
        assert!(!errors.contains(PASSWORD), "{errors}");
        sandbox.assert_store_is_empty();
    }
    for (name, words) in [
        ("missing", "docker-credential-missing: No such file"),
        ("../bad", "docker-credential-../bad: not the name of a credential helper"),
    ] {
        let sandbox = Sandbox::new();
        let output = pull_by(&sandbox, &json!({ "credsStore": name }), &reference);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(errors.contains(words), "{errors}");
    }
    assert!(!registry.requests().iter().any(|r| r.headers.contains_key("authorization")));
}
