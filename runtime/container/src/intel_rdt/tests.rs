//! On a directory that looks like resctrl. What the kernel does by itself is done by the tests: a new
//! group has files, and an empty group's files go with it.

use std::fs;
use std::path::PathBuf;

use super::*;

struct Fake {
    root: PathBuf,
}

impl Fake {
    fn new(name: &str) -> Fake {
        let root = std::env::temp_dir().join(format!("resctrl-{}-{name}", std::process::id()));
        for dir in ["info/L3", "info/MB", "mon_groups"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        fs::write(root.join("schemata"), "    L3:0=7ff;1=7ff\n    MB:0=100;1=100\n").unwrap();
        fs::write(root.join("info/last_cmd_status"), "ok\n").unwrap();
        Fake { root }
    }

    /// A group that is there before the container.
    fn group(&self, name: &str, schemata: &str) {
        fs::create_dir_all(self.root.join(name).join("mon_groups")).unwrap();
        fs::write(self.root.join(name).join("schemata"), schemata).unwrap();
        fs::write(self.root.join(name).join("tasks"), "").unwrap();
    }

    fn plan(&self, json: &str) -> Result<Plan, Error> {
        let text = json.as_bytes();
        let tree = crate::json_tree::Node::read(text).unwrap();
        let monitored = old_flags(|path| {
            let name = path.strip_prefix("linux.intelRdt.").unwrap();
            let chain = tree.along(&crate::json_path::names(name));
            chain.last().map(|member| &text[member.value.range.clone()])
        })?;
        plan(&serde_json::from_str(json).unwrap(), "c1", monitored, || Ok(Some(self.root.clone())))
    }

    fn created(&self, json: &str) -> Groups {
        let plan = self.plan(json).unwrap();
        let mut groups = plan.groups.clone();
        plan.make_control(&mut groups).unwrap();
        if let Some(monitor) = &groups.monitor {
            fs::create_dir_all(groups.control.join("mon_groups")).unwrap();
            make(monitor).unwrap();
            groups.made_monitor = true;
        }
        groups
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap()
    }

    /// Takes away a group's files, as the kernel does when the group goes.
    fn empty(&self, group: &str) {
        for file in ["tasks", "schemata"] {
            // A group without a schema has no such file here.
            drop(fs::remove_file(self.root.join(group).join(file)));
        }
    }

    fn has(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.root).unwrap();
    }
}

#[test]
fn a_group_of_its_own_comes_and_goes() {
    let fake = Fake::new("own");
    let groups = fake.created(r#"{"l3CacheSchema": "L3:0=7f0;1=1f", "memBwSchema": "MB:0=20"}"#);
    assert_eq!(fake.text("c1/schemata"), "L3:0=7f0;1=1f\nMB:0=20\n");
    groups.join(4711).unwrap();
    assert_eq!(fake.text("c1/tasks"), "4711");
    let saved = serde_json::to_string(&groups).unwrap();
    let groups: Groups = serde_json::from_str(&saved).unwrap();
    fake.empty("c1");
    groups.remove().unwrap();
    assert!(!fake.has("c1"));
    // A second time there is nothing to do.
    groups.remove().unwrap();
}

#[test]
fn a_group_that_was_there_stays() {
    let fake = Fake::new("shared");
    fake.group("gold", "L3:0=f;1=f\nMB:0=20;1=20\n");
    let groups = fake.created(r#"{"closID": "gold", "enableMonitoring": true}"#);
    assert!(fake.has("gold/mon_groups/c1"));
    groups.join(7).unwrap();
    assert_eq!(
        (fake.text("gold/tasks"), fake.text("gold/mon_groups/c1/tasks")),
        ("7".into(), "7".into())
    );
    fake.empty("gold/mon_groups/c1");
    groups.remove().unwrap();
    assert!(fake.has("gold") && !fake.has("gold/mon_groups/c1"));
    // The same schema is no change, another one is refused.
    let groups = fake.created(r#"{"closID": "gold", "l3CacheSchema": "L3:0=0f"}"#);
    assert_eq!(fake.text("gold/schemata"), "L3:0=f;1=f\nMB:0=20;1=20\n");
    groups.remove().unwrap();
    assert!(fake.has("gold"));
    let error = fake.plan(r#"{"closID": "gold", "schemata": ["MB:0=30"]}"#).unwrap_err();
    assert!(error.to_string().contains("\"MB:0=30\" is not what "), "{error}");
}

#[test]
fn a_named_group_that_was_made_goes_with_its_last_task() {
    let fake = Fake::new("named");
    let groups = fake.created(r#"{"closID": "silver", "schemata": ["L3:0=f"]}"#);
    assert_eq!(fake.text("silver/schemata"), "L3:0=f\n");
    fs::write(fake.root.join("silver/tasks"), "99\n").unwrap();
    groups.remove().unwrap();
    assert!(fake.has("silver"));
    fs::write(fake.root.join("silver/tasks"), "").unwrap();
    fake.empty("silver");
    groups.remove().unwrap();
    assert!(!fake.has("silver"));
}

#[test]
fn the_root_group_is_joined_and_never_touched() {
    let fake = Fake::new("root");
    let groups = fake.created(r#"{"closID": "/", "enableMonitoring": true}"#);
    groups.join(5).unwrap();
    assert_eq!((fake.text("tasks"), fake.text("mon_groups/c1/tasks")), ("5".into(), "5".into()));
    fake.empty("mon_groups/c1");
    groups.remove().unwrap();
    assert!(!fake.has("mon_groups/c1") && fake.has("schemata"));
    let error = fake.plan(r#"{"closID": "/", "l3CacheSchema": "L3:0=1"}"#).unwrap_err();
    assert!(error.to_string().contains("L3:0=1"), "{error}");
}

#[test]
fn monitoring_has_a_group_below_the_containers_own() {
    let fake = Fake::new("monitor");
    let groups = fake.created(r#"{"enableMonitoring": true}"#);
    groups.join(3).unwrap();
    assert_eq!(fake.text("c1/mon_groups/c1/tasks"), "3");
    let plan = fake.plan(r#"{"enableMonitoring": false, "closID": "/"}"#).unwrap();
    assert_eq!(plan.groups.monitor, None);
    for (json, monitored) in [
        (r#"{"enableCMT": true}"#, true),
        (r#"{"enableMBM": true, "enableCMT": false}"#, true),
        (r#"{"enableCMT": false, "enableMBM": null}"#, false),
    ] {
        let plan = fake.plan(&format!("{}, \"closID\": \"/\"}}", &json[..json.len() - 1])).unwrap();
        assert_eq!(plan.groups.monitor.is_some(), monitored, "{json}");
    }
}

#[test]
fn bad_values_are_named() {
    let fake = Fake::new("bad");
    fs::create_dir(fake.root.join("c1")).unwrap();
    fs::remove_dir(fake.root.join("info/MB")).unwrap();
    for (json, error) in [
        (r#"{"closID": "a/b"}"#, "linux.intelRdt.closID: \"a/b\" can't be"),
        (r#"{"closID": ".."}"#, "linux.intelRdt.closID: \"..\" can't be"),
        (r#"{"closID": "info"}"#, "linux.intelRdt.closID: \"info\" can't be"),
        (r#"{"enableCMT": "yes"}"#, "linux.intelRdt.enableCMT: \"yes\" is not a boolean"),
        (r#"{"enableMBM": 1}"#, "linux.intelRdt.enableMBM: 1 is not a boolean"),
        (r#"{"closID": "none"}"#, "linux.intelRdt.closID: no group \"none\""),
        (r#"{"closID": "x", "memBwSchema": "MB:0=1"}"#, "linux.intelRdt.memBwSchema: "),
        (r#"{"schemata": ["L3:0=1"]}"#, "linux.intelRdt: make resctrl group "),
    ] {
        let found = fake.plan(json).unwrap_err().to_string();
        assert!(found.starts_with(error), "{json}: {found}");
    }
}

#[test]
fn the_kernels_words_are_told() {
    let fake = Fake::new("words");
    fs::write(fake.root.join("info/last_cmd_status"), "Mask out of range\n").unwrap();
    fake.group("g", "");
    fs::create_dir(fake.root.join("g/file")).unwrap();
    let error = write(&fake.root.join("g"), "file", "L3:0=1\n").unwrap_err().to_string();
    assert!(error.contains("\"L3:0=1\"") && error.contains("(Mask out of range)"), "{error}");
}

#[test]
fn the_mount_is_found() {
    let table = b"22 1 0:5 / /proc rw - proc proc rw\n\
        30 22 0:9 / /sys/fs/res\\040ctrl rw,nosuid shared:3 - resctrl resctrl rw\n";
    assert_eq!(find_mount(table), Some(PathBuf::from("/sys/fs/res ctrl")));
    assert_eq!(find_mount(b"22 1 0:5 / /resctrl rw - tmpfs resctrl rw\n"), None);
    assert_eq!(find_mount(b""), None);
}

/// Somebody else was faster.
#[test]
fn only_what_was_made_is_removed() {
    let fake = Fake::new("race");
    let plan = fake.plan(r#"{"memBwSchema": "MB:0=20", "enableMonitoring": true}"#).unwrap();
    fake.group("c1", "MB:0=50\n");
    let mut groups = plan.groups.clone();
    plan.create(&mut groups).unwrap_err();
    fake.empty("c1");
    fs::remove_dir(fake.root.join("c1/mon_groups")).unwrap();
    groups.remove().unwrap();
    assert!(fake.has("c1"), "another's group of the same name is gone");
}

#[test]
fn a_group_that_others_made_stays() {
    let fake = Fake::new("shared-race");
    let plan = fake.plan(r#"{"closID": "gold", "memBwSchema": "MB:0=20"}"#).unwrap();
    fake.group("gold", "");
    let mut groups = plan.groups.clone();
    plan.create(&mut groups).unwrap();
    fake.empty("gold");
    fs::remove_dir(fake.root.join("gold/mon_groups")).unwrap();
    groups.remove().unwrap();
    assert!(fake.has("gold"), "the group is gone");
}

fn change_of(fake: &Fake, json: &str, groups: Option<&Groups>) -> Result<Change, Error> {
    change(&serde_json::from_str(json).unwrap(), "c1", groups, || Ok(Some(fake.root.clone())))
}

#[test]
fn other_schemas_are_written_and_taken_back() {
    let fake = Fake::new("change");
    let groups = fake.created(r#"{"l3CacheSchema": "L3:0=7f"}"#);
    let json = r#"{"l3CacheSchema": "L3:0=f", "memBwSchema": "MB:0=20"}"#;
    let mut change = change_of(&fake, json, Some(&groups)).unwrap();
    change.make(|| Ok(vec![])).unwrap();
    assert_eq!(fake.text("c1/schemata"), "L3:0=f\nMB:0=20\n");
    assert_eq!(change.groups, groups);
    change.undo();
    assert_eq!(fake.text("c1/schemata"), "L3:0=7f\n");
    for (json, field) in [
        (r#"{"l3CacheSchema": "L3"}"#, "linux.intelRdt.l3CacheSchema: \"L3\" is not"),
        (r#"{"memBwSchema": "MB:0"}"#, "linux.intelRdt.memBwSchema: \"MB:0\" is not"),
    ] {
        let error = change_of(&fake, json, Some(&groups)).err().unwrap().to_string();
        assert!(error.starts_with(field), "{error}");
    }
    fs::remove_dir(fake.root.join("info/MB")).unwrap();
    let error = change_of(&fake, r#"{"memBwSchema": "MB:0=20"}"#, Some(&groups)).err().unwrap();
    assert!(error.to_string().contains("offers no MB"), "{error}");
    let given = serde_json::from_str(r#"{"l3CacheSchema": "L3:0=f"}"#).unwrap();
    let error = super::change(&given, "c1", Some(&groups), || Ok(None)).err().unwrap();
    assert!(error.to_string().contains("no resctrl file system is mounted"), "{error}");
}

#[test]
fn a_container_without_a_group_gets_one() {
    let fake = Fake::new("change-makes");
    let mut change = change_of(&fake, r#"{"l3CacheSchema": "L3:0=f"}"#, None).unwrap();
    let own = std::process::id();
    change.make(|| Ok(vec![own.cast_signed(), i32::MAX])).unwrap();
    assert_eq!(fake.text("c1/schemata"), "L3:0=f\n");
    // The last of our threads: a file that is no group's keeps one write.
    let task = fake.text("c1/tasks");
    assert!(fs::exists(format!("/proc/{own}/task/{task}")).unwrap(), "{task}");
    fake.empty("c1");
    change.undo();
    assert!(!fake.has("c1"), "the group is left");
    // There is one of that name.
    fake.group("c1", "L3:0=1\n");
    let error = change_of(&fake, r#"{"l3CacheSchema": "L3:0=f"}"#, None).err().unwrap();
    assert!(error.to_string().contains("make resctrl group"), "{error}");
}
