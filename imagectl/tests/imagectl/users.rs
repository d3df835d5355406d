//! The image's own passwd and group files, and its directories, by which it would have more of the host
//! than its user.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::archive::Archive;
use super::hostile::{assert_untouched, prepare};
use super::sandbox::Sandbox;
use super::store::put_image;

const IMAGE: &str = "docker.io/library/x:latest";
const PASSWD: &str = "app:x:1000:1000::/:\n";
const GROUP: &str = "more:x:4242:app\n";

/// Bundles the image with files of its own and as an overlay; gives what each said, or its config.json.
fn bundled(sandbox: &Sandbox, archive: Archive, run: &Value) -> [Result<Value, String>; 2] {
    put_image(sandbox, IMAGE, &[archive.tar()], run.clone());
    ["--copy", "--hostname=x"].map(|how| {
        let begun = Instant::now();
        // Something that can't be opened without waiting for somebody must not be opened.
        let script = format!(
            "timeout 60 $imagectl bundle {how} x b 2>&1 >/dev/null || exit 0
             cat b/config.json; $imagectl unbundle b >/dev/null"
        );
        let said = sandbox.script(&script);
        assert!(begun.elapsed() < Duration::from_secs(20), "{how}: {:?}", begun.elapsed());
        assert!(!sandbox.path.join("b").exists(), "{how}");
        match said.strip_prefix("imagectl: ") {
            Some(error) => Err(error.to_owned()),
            None => Ok(serde_json::from_str(&said).unwrap()),
        }
    })
}

/// Ways for a file of the image to be another's, or no file at all: a name, the archive, and what is said of
/// the file; of those that are followed inside of the rootfs there is nothing to be found.
fn files(
    sandbox: &Sandbox,
    path: &str,
    content: &str,
) -> Vec<(&'static str, Archive, &'static str)> {
    let outside = sandbox.path.join("outside");
    let _ = std::fs::create_dir(&outside);
    let file = outside.join(path.rsplit('/').next().unwrap());
    std::fs::write(&file, content).unwrap();
    let (outside, file) = (outside.to_str().unwrap(), file.to_str().unwrap());
    let up = "../".repeat(20);
    let new = || Archive::new().dir("etc");
    // Longer than a header has room for.
    let link = |archive: Archive, name: &str, target: &str| {
        archive.pax(&[("linkpath", target)]).symlink(name, "")
    };
    let plain = "is no plain file";
    let huge = |size: &str| {
        new().pax(&[("GNU.sparse.size", size), ("GNU.sparse.map", "0,1")]).file(path, "x")
    };
    vec![
        ("absolute", link(new(), path, file), ""),
        ("relative", link(new(), path, &format!("{up}{}", &file[1..])), ""),
        ("by way of another", link(new().symlink("a", "/"), path, &format!("../a{file}")), ""),
        ("process", new().symlink(path, "/proc/self/root/etc/passwd"), ""),
        ("directory", link(Archive::new(), "etc", outside), ""),
        ("file for a directory", Archive::new().file("etc", content), ""),
        (
            "loop",
            new().symlink("etc/passwd", "group").symlink("etc/group", "passwd"),
            "Too many levels of symbolic links",
        ),
        ("pipe", new().entry(b'6', path, "", b""), plain),
        ("link to a pipe", new().entry(b'6', "pipe", "", b"").symlink(path, "/pipe"), plain),
        ("zeros", new().device(b'3', path, (1, 5)), plain),
        ("terminal", new().device(b'3', path, (5, 0)), plain),
        ("disk", new().device(b'4', path, (7, 0)), plain),
        ("a directory itself", new().dir(path), plain),
        ("large", huge("4194305"), "is larger than 4194304 bytes"),
        ("huge", huge("90000000000"), "is larger than 4194304 bytes"),
    ]
}

#[test]
fn passwd_is_the_images_own_and_a_plain_file() {
    let sandbox = Sandbox::new();
    for (name, archive, word) in files(&sandbox, "etc/passwd", PASSWD) {
        let word = if word.is_empty() { "no such user" } else { word };
        for said in bundled(&sandbox, archive, &json!({ "Cmd": ["/x"], "User": "app" })) {
            let error = said.unwrap_err();
            assert!(
                error.contains("user 'app' of the image") && error.contains(word),
                "{name}: {error}"
            );
        }
    }
}

#[test]
fn group_is_the_images_own_and_a_plain_file() {
    let sandbox = Sandbox::new();
    for (name, archive, word) in files(&sandbox, "etc/group", GROUP) {
        // Where etc is no directory, a lookup by number needs none.
        let (user, archive) = match name {
            "loop" | "directory" | "file for a directory" => ("1000:more", archive),
            _ => ("app", archive.file("etc/passwd", PASSWD)),
        };
        for said in bundled(&sandbox, archive, &json!({ "Cmd": ["/x"], "User": user })) {
            match said {
                Err(error) => {
                    let word = if word.is_empty() { "no such group" } else { word };
                    assert!(
                        error.contains("of the image") && error.contains(word),
                        "{name}: {error}"
                    );
                }
                Ok(config) => {
                    assert!(user == "app" && word.is_empty(), "{name} is taken");
                    let user = &config["process"]["user"];
                    assert_eq!(*user, json!({ "uid": 1000, "gid": 1000 }), "{name}");
                }
            }
        }
    }
}

/// IDs that wrap round somewhere, as many groups as a process can have, and one more.
#[test]
fn ids_and_groups_without_measure() {
    let sandbox = Sandbox::new();
    for number in ["2147483648", "4294967296", "4294967297", "-1"] {
        let passwd = format!("app:x:{number}:0::/:\n");
        let archive = Archive::new().file("etc/passwd", &passwd);
        for user in ["app", number] {
            for said in bundled(&sandbox, archive.clone(), &json!({ "Cmd": ["/x"], "User": user }))
            {
                let error = said.unwrap_err();
                assert!(error.contains(&format!("user '{user}' of the image: ")), "{error}");
            }
        }
    }
    for (count, taken) in [(65_536, true), (65_537, false)] {
        // Each twice, and the name in a list of others.
        let group = |n: usize| format!("g:x:{n}:a,app\n").repeat(2);
        let group: String = (1_000_000..1_000_000 + count).map(group).collect();
        let archive = Archive::new().file("etc/passwd", PASSWD).file("etc/group", &group);
        for said in bundled(&sandbox, archive, &json!({ "Cmd": ["/x"], "User": "app" })) {
            match said {
                Ok(config) => {
                    let gids = config["process"]["user"]["additionalGids"].as_array().unwrap();
                    assert!(taken && gids.len() == count, "{}", gids.len());
                }
                Err(error) => {
                    let word = "user 'app' of the image: is in more than 65536 groups";
                    assert!(!taken && error.contains(word), "{error}");
                }
            }
        }
    }
}

/// A link of the image's on the way to the working directory leads on inside of the rootfs, or the bundle is
/// refused; what is made is made inside.
#[test]
fn working_directories_are_made_inside_or_not_at_all() {
    let sandbox = Sandbox::new();
    let outside = sandbox.path.join("outside");
    prepare(&outside);
    let up = "../".repeat(20);
    let relative = format!("{up}{}", &outside.to_str().unwrap()[1..]);
    let outside_path = outside.to_str().unwrap();
    let new = || Archive::new().dir("real");
    let link = |target: &str| new().pax(&[("linkpath", target)]).symlink("a", "");
    let nothing = "is a link to nothing";
    let deep = "/d".repeat(1500);
    let long = format!("/{}", "n".repeat(256));
    for (name, archive, directory, made) in [
        ("absolute", link(outside_path), "/a/made", Err(nothing)),
        ("absolute itself", link(outside_path), "/a", Err(nothing)),
        ("relative", link(&relative), "/a/made", Err(nothing)),
        (
            "chain",
            link("b").pax(&[("linkpath", outside_path)]).symlink("b", ""),
            "/a/m",
            Err(nothing),
        ),
        ("process", link("/proc/self/root"), "/a/made", Err(nothing)),
        ("loop", link("a"), "/a/made", Err("Too many levels of symbolic links")),
        ("file", new().file("a", "x"), "/a/made", Err("/a is no directory")),
        ("pipe", new().entry(b'6', "a", "", b""), "/a/made", Err("/a is no directory")),
        ("disk", new().device(b'4', "a", (7, 0)), "/a", Err("/a is no directory")),
        ("long", new(), &long, Err("File name too long")),
        ("nul", new(), "/a\0b", Err("working directory")),
        ("inside", link("/real"), "/a/made", Ok("real/made 1000:7")),
        ("inside relative", link("../../real"), "/a/made", Ok("real/made 1000:7")),
        ("the root", link("/"), "/a/made", Ok("made 1000:7")),
        ("above the root", link(&up), "/a/made", Ok("made 1000:7")),
        ("up", link("/real"), "/a/../../../../made", Ok("real 0:0")),
        ("deep", new(), &deep, Ok(&deep[1..])),
    ] {
        let run = json!({ "Cmd": ["/x"], "WorkingDir": directory, "User": "1000:7" });
        put_image(&sandbox, IMAGE, &[archive.tar()], run);
        for how in ["--copy", "--hostname=x"] {
            let said = sandbox.script(&format!(
                "$imagectl bundle {how} x b 2>&1 >/dev/null || exit 0
                 cd b/rootfs; find . -path ./d/d/d -prune -o -name made -printf '%P %U:%G\n' -o -type d -printf '%P %U:%G\n'
                 cd ../..; cp b/config.json config.json; $imagectl unbundle b >/dev/null"
            ));
            assert_untouched(&outside, name);
            assert!(!sandbox.path.join("b").exists(), "{name}, {how}");
            match made {
                Err(word) => assert!(
                    said.starts_with("imagectl: the working directory '") && said.contains(word),
                    "{name}, {how}: {said}"
                ),
                Ok(made) => {
                    let shown = if made.len() > 100 { "d/d 1000:7" } else { made };
                    assert!(
                        said.lines().any(|line| line.starts_with(shown)),
                        "{name}, {how}: {said}"
                    );
                    let config = std::fs::read(sandbox.path.join("config.json")).unwrap();
                    let config: Value = serde_json::from_slice(&config).unwrap();
                    assert_eq!(config["process"]["cwd"], directory, "{name}");
                }
            }
        }
    }
}

/// A volume is a mount of config.json: nothing is made in the rootfs, and no runtime follows the image's links
/// out of it.
#[test]
fn volumes_stay_inside() {
    let sandbox = Sandbox::new();
    let outside = sandbox.path.join("outside");
    prepare(&outside);
    let outside_path = outside.to_str().unwrap();
    let relative = format!("{}{}", "../".repeat(20), &outside_path[1..]);
    let busybox = std::fs::read("/bin/busybox").unwrap();
    for (name, target, volume) in [
        ("absolute", outside_path, "/a/v"),
        ("absolute itself", outside_path, "/a"),
        ("relative", &relative, "/a/v"),
        ("process", "/proc/self/root", "/a/v"),
        ("loop", "a", "/a/v"),
    ] {
        let archive = ["dev", "proc", "sys"].iter().fold(Archive::new(), |a, name| a.dir(name));
        let archive =
            archive.program("busybox", &busybox).pax(&[("linkpath", target)]).symlink("a", "");
        let run = json!({ "Cmd": ["/busybox", "touch", format!("{volume}/f")], "Volumes": { volume: {} } });
        put_image(&sandbox, IMAGE, &[archive.tar()], run);
        for runtime in super::settings::runtimes() {
            let said = sandbox.script(&format!(
                "$imagectl bundle --copy x b >/dev/null; ls -A b/rootfs | tr '\\n' ' '
                 PATH=$PATH:/usr/sbin:/sbin
                 {} --root $PWD/run run --bundle b volume-{} >/dev/null 2>&1 && echo ran || true
                 $imagectl unbundle b >/dev/null",
                runtime.display(),
                std::process::id()
            ));
            let said = said.strip_prefix("a busybox dev proc sys ").unwrap();
            match name {
                "loop" => assert_eq!(said, "", "{name}"),
                // runc follows it inside of the rootfs, and ghost-runc not at all.
                "process" => {}
                _ => assert_eq!(said, "ran\n", "{name}"),
            }
            assert_untouched(&outside, name);
        }
    }
}
