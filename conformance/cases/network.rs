//! Network devices that move into the container (linux.netDevices), each case in a network namespace of
//! its own.

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::call::{Call, Output};
use crate::case::{Case, Failure, Need, Outcome, Peer};
use crate::env::Env;
use crate::{ensure, ensure_eq};

const IP: &[Need] = &[Need::Command("ip")];
const NEWER: &[(Peer, &str)] = &[
    (Peer::Runc, "linux.netDevices is of runc 1.4, and passed over before"),
    (Peer::Crun, "Debian's passes over linux.netDevices"),
];

const fn case(name: &'static str, run: fn(&mut Env) -> Outcome) -> Case {
    Case::new(name, run).needs(IP).not_on(NEWER)
}

/// The cases of this area.
pub const CASES: &[Case] = &[
    case("network/device-moved-with-its-addresses", moved),
    case("network/devices-exchange-names", exchange),
    case("network/device-into-a-joined-namespace", joined),
    case("network/device-into-a-user-namespace", user_namespace),
    case("network/device-ends-with-the-container", ends),
    case("network/bad-devices-are-refused", bad),
    case("network/devices-without-a-namespace", no_namespace),
    case("network/devices-without-privileges", no_privileges),
    case("network/features-say-so", features),
    case("network/no-device-moves-when-one-can-not", one_fails),
    case("network/check-tells-what-can-not-move", check),
    case("network/devices-come-back-from-a-failed-create", late_failure),
    case("network/device-comes-back-from-a-joined-namespace", back_from_a_joined_one),
];

/// A device `h0` and what belongs to it; `p0` is its other end.
const H0: &str = "ip link set lo up
ip link add h0 type veth peer name p0
ip link set h0 mtu 1400 address 02:00:00:00:00:07 up
ip addr add 10.1.2.3/24 brd + dev h0
ip addr add 10.9.9.9/32 dev h0 scope link
ip addr add 10.8.8.8/32 dev h0 valid_lft 1000 preferred_lft 1000
ip addr add 10.1.7.1 peer 10.1.7.2/32 dev h0
ip -6 addr add 2001:db8::7/64 dev h0 nodad
ip route add 192.0.2.0/24 via 10.1.2.9 dev h0
";

/// How `h0` looks where it has not moved, or has come back.
const H0_IS_AS_BEFORE: &[&str] = &[
    "2: h0",
    ",UP",
    "mtu 1400",
    "02:00:00:00:00:07",
    "inet 10.1.2.3/24 brd 10.1.2.255",
    "inet6 2001:db8::7/64",
];

fn bundle(env: &Env, devices: Value, script: &str) -> Result<Bundle, Failure> {
    let mut bundle = env.bundle()?;
    bundle.set("/linux/netDevices", devices)?;
    bundle.shell(script);
    Ok(bundle)
}

/// `run` of the bundle in a new network namespace, between two shell scripts of the host; the second
/// one's output comes last.
fn between(env: &Env, bundle: &Bundle, before: &str, after: &str) -> Result<Call, Failure> {
    Ok(around(env.run(bundle)?, before, after))
}

fn around(call: Call, before: &str, after: &str) -> Call {
    let script = format!("set -e\n{before}\nset +e\n\"$@\"\ncode=$?\n{after}\nexit $code");
    call.under(&["unshare", "--net", "--mount", "sh", "-c", &script, "sh"])
}

fn shows(output: &Output, words: &[&str]) -> Outcome {
    for word in words {
        ensure!(output.stdout.contains(word), "{word:?} is missing: {output}");
    }
    Ok(())
}

fn moved(env: &mut Env) -> Outcome {
    let devices = json!({"h0": {"name": "eth9"}, "p0": {}});
    let script = "ip addr; ip route; cat /proc/sys/net/ipv4/conf/eth9/forwarding";
    let mut bundle = bundle(env, devices, script)?;
    bundle.set("/linux/sysctl", json!({"net.ipv4.conf.eth9.forwarding": "1"}))?;
    let output = between(env, &bundle, H0, "echo host:; ip link")?.ok()?;
    let (inside, host) = output.stdout.split_once("host:").unwrap_or_default();
    for word in [
        "eth9@",
        ",UP",
        "mtu 1400",
        "02:00:00:00:00:07",
        "inet 10.1.2.3/24 brd 10.1.2.255",
        "10.1.7.1 peer 10.1.7.2",
        "inet6 2001:db8::7/64",
        "p0@",
        "10.1.2.0/24 dev eth9",
    ] {
        ensure!(inside.contains(word), "{word:?} is missing: {output}");
    }
    // What is only good where it was: addresses of the link or for a while, and routes.
    for word in ["10.9.9.9", "10.8.8.8", "192.0.2.0", "h0", "DOWN> mtu 1400"] {
        ensure!(!inside.contains(word), "{word:?} was taken along: {output}");
    }
    ensure!(inside.trim_end().ends_with('1'), "the sysctl of the device: {output}");
    ensure!(!host.contains("h0") && !host.contains("eth9"), "left on the host: {output}");
    Ok(())
}

fn exchange(env: &mut Env) -> Outcome {
    let devices = json!({"h0": {"name": "p0"}, "p0": {"name": "h0"}});
    let output = between(env, &bundle(env, devices, "ip addr show p0")?, H0, "")?.ok()?;
    shows(&output, &["02:00:00:00:00:07", "10.1.2.3/24"])
}

fn joined(env: &mut Env) -> Outcome {
    let file = env.dir.join("netns");
    let path = file.to_string_lossy().into_owned();
    let mut bundle = bundle(env, json!({"h0": {"name": "eth9"}}), "ip addr show eth9")?;
    bundle.namespace("network", Some(&path))?;
    // The namespace, and with it the device, outlive the container.
    let before = format!("{H0}\ntouch {path}\nunshare --net={path} true");
    let after = format!("nsenter --net={path} ip addr show eth9; umount {path}");
    let output = between(env, &bundle, &before, &after)?.ok()?;
    ensure_eq!(output.stdout.matches("inet 10.1.2.3/24").count(), 2, "addresses: {output}");
    Ok(())
}

fn user_namespace(env: &mut Env) -> Outcome {
    let mut bundle = bundle(env, json!({"h0": {}}), "ip addr show h0")?;
    let map = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
    bundle.namespace("user", None)?;
    bundle.set("/linux/uidMappings", map.clone())?.set("/linux/gidMappings", map)?;
    let output = between(env, &bundle, H0, "")?.ok()?;
    shows(&output, &["inet 10.1.2.3/24", ",UP"])
}

fn ends(env: &mut Env) -> Outcome {
    let bundle = bundle(env, json!({"h0": {"name": "eth9"}}), "sleep 1000")?;
    bundle.save()?;
    let id = env.id("c");
    env.adopt(&id);
    let dir = bundle.dir.to_string_lossy().into_owned();
    let call = env.runtime(&["create", "--bundle", &dir, &id]);
    // The kernel ends what is no hardware together with its namespace, some time after that.
    let delete = "\"$1\" --root \"$3\" delete --force \"$7\" || exit 7
for i in $(seq 1000); do ip link show p0 > /dev/null 2>&1 || break; sleep 0.01; done
ip link";
    let output = around(call, H0, delete).ok()?;
    ensure!(output.stdout.contains("lo:"), "no list of devices: {output}");
    ensure!(!output.stdout.contains("p0"), "the other end is there still: {output}");
    env.nothing_left()
}

/// The error of a `run` with these devices, after which `h0` is as before.
fn refused(env: &Env, devices: Value, wanted: &[&str]) -> Outcome {
    let bundle = bundle(env, devices, "true")?;
    let output = between(env, &bundle, H0, "ip addr show dev h0 | sed 's/^[0-9]*/2/'")?.exits(1)?;
    // In the log's line, quotes are escaped.
    let said = output.stderr.replace('\\', "");
    for word in wanted {
        ensure!(said.contains(word), "{word:?} is missing: {output}");
    }
    shows(&output, H0_IS_AS_BEFORE)?;
    env.nothing_left()
}

fn bad(env: &mut Env) -> Outcome {
    for name in ["a/b", "a b", "eth%d", "a:b", "..", "1234567890123456"] {
        let field = "linux.netDevices[h0].name: ";
        refused(env, json!({"h0": {"name": name}}), &[field, name, "is not a device name"])?;
        let field = format!("linux.netDevices[{name}]: ");
        refused(env, json!({name: {"name": "eth0"}, "h0": {}}), &[&field, "is not a device name"])?;
    }
    let twice = json!({"h0": {"name": "eth0"}, "p0": {"name": "eth0"}});
    let wanted = "linux.netDevices[p0].name: \"eth0\" is the name of linux.netDevices[h0] already";
    refused(env, twice, &[wanted])
}

fn no_namespace(env: &mut Env) -> Outcome {
    for path in [None, Some("/proc/self/ns/net")] {
        let mut bundle = bundle(env, json!({"h0": {}}), "true")?;
        bundle.drop_namespace("network")?;
        if path.is_some() {
            bundle.namespace("network", path)?;
        }
        let output = between(env, &bundle, H0, "ip addr show h0")?.exits(1)?;
        let wanted = "linux.netDevices: unable to move network devices without a private NET";
        ensure!(output.stderr.contains(wanted), "{output}");
        shows(&output, &["inet 10.1.2.3/24"])?;
    }
    env.nothing_left()
}

fn no_privileges(env: &mut Env) -> Outcome {
    env.become_user()?;
    let mut bundle = bundle(env, json!({"lo": {"name": "eth0"}}), "true")?;
    bundle.namespace("network", None)?;
    let output = env.run(&bundle)?.exits(1)?;
    let wanted = "linux.netDevices: only root can move network devices";
    ensure!(output.stderr.contains(wanted), "{output}");
    env.nothing_left()
}

fn features(env: &mut Env) -> Outcome {
    let features: Value = serde_json::from_str(&env.runtime(&["features"]).ok()?.stdout)?;
    ensure_eq!(features["linux"]["netDevices"]["enabled"], true, "netDevices");
    Ok(())
}

fn one_fails(env: &mut Env) -> Outcome {
    let missing = ["linux.netDevices[zz]: find the device", "no such device"];
    refused(env, json!({"h0": {}, "zz": {}}), &missing)?;
    let taken = ["linux.netDevices[h0].name: the container has a device \"lo\" already"];
    refused(env, json!({"h0": {"name": "lo"}}), &taken)?;
    // The loopback device can't be moved, which shows when h0 has been.
    let fixed = ["linux.netDevices[lo]: move it into the container as \"lo9\""];
    refused(env, json!({"h0": {"name": "eth9"}, "lo": {"name": "lo9"}}), &fixed)
}

/// The findings of `check` in a new network namespace, after a shell script there.
fn findings(env: &Env, bundle: &Bundle, before: &str, code: i32) -> Result<Vec<Value>, Failure> {
    bundle.save()?;
    let dir = bundle.dir.to_string_lossy().into_owned();
    let call = env.runtime(&["check", "-f", "json", "-b", &dir]);
    Ok(serde_json::from_str(&around(call, before, "").exits(code)?.stdout)?)
}

fn check(env: &mut Env) -> Outcome {
    let devices = json!({"h0": {"name": "lo"}, "p0": {}, "zz": {"name": "eth0"}});
    let mut bundle = bundle(env, devices, "true")?;
    let expect = |findings: Vec<Value>, wanted: &[(&str, &str)]| -> Outcome {
        ensure_eq!(findings.len(), wanted.len(), "findings: {findings:?}");
        for (path, words) in wanted {
            let told = |finding: &&Value| {
                let message = finding["message"].as_str().unwrap_or_default();
                finding["path"] == *path && finding["kind"] == "host" && message.contains(words)
            };
            ensure!(findings.iter().any(|finding| told(&finding)), "no {path}: {findings:?}");
            ensure!(findings.iter().all(|finding| finding["line"].is_u64()), "{findings:?}");
        }
        Ok(())
    };
    let taken = "the container has a device";
    let wanted = [("linux.netDevices[h0].name", taken), ("linux.netDevices[zz]", "no such device")];
    expect(findings(env, &bundle, H0, 1)?, &wanted)?;
    bundle.set("/linux/netDevices", json!({"h0": {"name": "eth7"}}))?;
    expect(findings(env, &bundle, H0, 0)?, &[])?;
    // Another container's, which has a device of that name.
    let id = env.detach(&env.bundle_with(&["sleep", "1000"])?, "other", &[])?;
    let path = format!("/proc/{}/ns/net", env.pid(&id)?);
    let net = format!("--net={path}");
    let add = ["ip", "link", "add", "eth7", "type", "veth", "peer", "name", "eth8"];
    env.command(&[&["nsenter", &net], &add[..]].concat()).ok()?;
    bundle.namespace("network", Some(&path))?;
    expect(findings(env, &bundle, H0, 1)?, &[("linux.netDevices[h0].name", taken)])?;
    Ok(())
}

fn late_failure(env: &mut Env) -> Outcome {
    let hook = json!([{"path": "/bin/false", "args": ["false"]}]);
    for hooks in [json!({"createRuntime": hook}), json!({"createContainer": hook})] {
        let mut bundle = bundle(env, json!({"h0": {"name": "eth9"}}), "true")?;
        bundle.set("/hooks", hooks)?;
        // Under the number that it had, too.
        let number = "ip link show dev h0 | cut -d: -f1";
        let before = format!("{H0}\n{number} > before");
        let after = format!("{number} | cmp - before || exit 7\nip addr show dev h0");
        let after = format!("{after} | sed 's/^[0-9]*/2/'");
        let output = between(env, &bundle, &before, &after)?.cwd(&env.dir).exits(1)?;
        shows(&output, H0_IS_AS_BEFORE)?;
        env.nothing_left()?;
    }
    Ok(())
}

/// Where others have taken the device's number, and it can't have its addresses.
fn back_from_a_joined_one(env: &mut Env) -> Outcome {
    let file = env.dir.join("netns");
    let path = file.to_string_lossy().into_owned();
    let mut bundle = bundle(env, json!({"h0": {"name": "eth9"}}), "true")?;
    bundle.namespace("network", Some(&path))?;
    let theirs = "ip link add o2 index 2 type veth peer name o3 index 3; \
                  ip link add o4 index 4 type veth peer name o5 index 5; \
                  echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6";
    let before = format!("{H0}\ntouch {path}\nunshare --net={path} sh -c '{theirs}'");
    let after = format!(
        "ip addr show dev h0 | sed 's/^[0-9]*/2/'; nsenter --net={path} ip link; umount {path}"
    );
    let output = between(env, &bundle, &before, &after)?.exits(1)?;
    ensure!(output.stderr.contains("linux.netDevices[h0]: set it up in the container"), "{output}");
    shows(&output, H0_IS_AS_BEFORE)?;
    shows(&output, &["2: o2@", "3: o3@", "4: o4@", "5: o5@"])?;
    ensure!(!output.stdout.contains("eth9"), "it is still there: {output}");
    env.nothing_left()
}
