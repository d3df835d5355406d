//! update: other limits for a container that is there.

use std::path::Path;

use oci_spec::runtime::{LinuxIntelRdt, LinuxResources};
use serde_json::{Map, Value, json};

use crate::container::{Container, Status};
use crate::error::Error;
use crate::intel_rdt::{Change, change, mount_point};
use crate::store::Unread;
use crate::type_errors;

/// Limits whose values the kernel or the cgroup files tie together: where one changes, the others
/// are set again as they were.
const TIED: [(&str, &[&str]); 2] = [("cpu", &["quota", "period"]), ("memory", &["limit", "swap"])];

impl Container {
    /// Sets the limits that `changes` has and leaves the others; and so for the schemas of `rdt`, which
    /// a container without groups gets one of its own for.
    ///
    /// Device rules replace those of the container when they say something else: engines send the
    /// whole list with every change of a limit, and hooks and plugins open more behind our back,
    /// which is to stay.
    ///
    /// # Errors
    ///
    /// When the container has stopped, a value is invalid, or the kernel refuses one. The limits are
    /// those of before then.
    pub fn update(
        mut self,
        changes: &LinuxResources,
        rdt: Option<&LinuxIntelRdt>,
    ) -> Result<(), Error> {
        let _lock = self.entry.lock()?;
        self.state = self.entry.load()?;
        if self.status()? == Status::Stopped {
            return Err(Error::NotRunning);
        }
        let (before, limits_before) = match &self.state.resources {
            Some(text) => {
                (self.entry.decode("resources", text)?, self.entry.decode("resources", text)?)
            }
            None => (json!({}), self.resources(&json!({}))?),
        };
        let mut changes = as_json(&self.state.id, changes)?;
        keep_devices(&mut changes, &before);
        let mut after = before.clone();
        overlay(&mut after, &changes);
        let request = self.resources(&request(&changes, &after))?;
        let groups = self.state.intel_rdt.as_ref();
        let mut schemas =
            rdt.map(|rdt| change(rdt, &self.state.id, groups, mount_point)).transpose()?;
        self.state.resources = Some(Unread::new(&self.state.id, "resources", &after)?);
        if let Some(schemas) = &mut schemas {
            schemas.make(|| self.pids())?;
            self.state.intel_rdt = Some(schemas.groups.clone());
        }
        // Written before anything changes: there may be no room for it.
        let applied = self
            .entry
            .draft(&self.state)
            .and_then(|()| Ok(self.state.cgroup.apply(&request, &limits_before)?));
        if let Err(error) = applied {
            schemas.iter().for_each(Change::undo);
            self.entry.discard().unwrap_or_else(|left| log::warn!("{left}"));
            return Err(error);
        }
        self.entry.publish()
    }

    fn resources(&self, value: &Value) -> Result<LinuxResources, Error> {
        // By way of the text: decoding from values would be all of it once more in the binary.
        serde_json::to_vec(value)
            .and_then(|text| serde_json::from_slice(&text))
            .map_err(|error| broken(&self.state.id, &error))
    }
}

/// Reads `linux.resources` alone, as `update --resources` takes it; `name` is its file's, for errors.
///
/// # Errors
///
/// All that is not of its type, each with its place in the text.
pub fn read_resources(name: &Path, text: &[u8]) -> Result<LinuxResources, Error> {
    // As an object first: a structure would be read from an array too.
    let read = serde_json::from_slice::<Map<String, Value>>(text)
        .and_then(|_| serde_json::from_slice(text));
    read.or_else(|error| Ok(type_errors::all(name, text, error).value()?.0))
}

fn as_json(id: &str, resources: &LinuxResources) -> Result<Value, Error> {
    serde_json::to_vec(resources)
        .and_then(|text| serde_json::from_slice(&text))
        .map_err(|error| broken(id, &error))
}

/// Leaves device rules out of the changes where they are not meant to change any.
///
/// That is so for the rules that are in force; and, beside other limits, for those that lack some of
/// them and say nothing new. An engine sends such when what wraps the runtime has added rules to
/// config.json, as NVIDIA's does for the devices of a GPU: the engine does not know of them.
fn keep_devices(changes: &mut Value, before: &Value) {
    let Some(object) = changes.as_object_mut() else { return };
    let rules =
        |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let (new, old) = (rules(object.get("devices")), rules(before.get("devices")));
    let mut rest = old.iter();
    let nothing_new = new.iter().all(|rule| rest.any(|one| one == rule));
    let alone = object.keys().all(|key| key == "devices");
    if new.is_empty() || new == old || nothing_new && !alone {
        object.remove("devices");
    }
}

fn broken(id: &str, error: &serde_json::Error) -> Error {
    Error::State { id: id.to_owned(), reason: format!("resources: {error}") }
}

/// Puts what `changes` sets over `base`.
fn overlay(base: &mut Value, changes: &Value) {
    match (base, changes) {
        (_, Value::Null) => {}
        (Value::Object(base), Value::Object(changes)) => {
            for (key, value) in changes {
                overlay(base.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (base, value) => *base = value.clone(),
    }
}

/// What to set: the changes, and what is tied to them.
fn request(changes: &Value, after: &Value) -> Value {
    let mut request = changes.clone();
    for (section, keys) in TIED {
        let Some(values) = request.get_mut(section).and_then(Value::as_object_mut) else {
            continue;
        };
        if keys.iter().any(|key| values.contains_key(*key)) {
            for key in keys {
                if let Some(value) = after[section].get(*key) {
                    values.entry(*key).or_insert_with(|| value.clone());
                }
            }
        }
    }
    if let Some(cpu) = request.get_mut("cpu").and_then(Value::as_object_mut) {
        // The kernel gives a group that is no longer idle the default weight, and an idle one none.
        let wanted = if cpu.get("idle") == Some(&json!(0)) { "shares" } else { "idle" };
        if (wanted == "shares" || cpu.contains_key("shares"))
            && let Some(value) = after["cpu"].get(wanted)
        {
            cpu.entry(wanted).or_insert_with(|| value.clone());
        }
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_tied_to_a_change_is_set_again() {
        let before =
            json!({"cpu": {"quota": 1000, "period": 5000, "shares": 7}, "pids": {"limit": 3}});
        let changes = json!({"cpu": {"quota": 2000}});
        let mut after = before.clone();
        overlay(&mut after, &changes);
        assert_eq!(after["cpu"], json!({"quota": 2000, "period": 5000, "shares": 7}));
        assert_eq!(after["pids"], json!({"limit": 3}));
        assert_eq!(request(&changes, &after), json!({"cpu": {"quota": 2000, "period": 5000}}));
        let shares = json!({"cpu": {"shares": 9}});
        assert_eq!(request(&shares, &after), shares);
    }

    #[test]
    fn shares_follow_the_end_of_idleness() {
        let after = |changes: &Value| {
            let mut after = json!({"cpu": {"idle": 1, "shares": 7}});
            overlay(&mut after, changes);
            after
        };
        for (changes, wanted) in [
            (json!({"cpu": {"idle": 0}}), json!({"cpu": {"idle": 0, "shares": 7}})),
            (json!({"cpu": {"idle": 1}}), json!({"cpu": {"idle": 1}})),
            (json!({"cpu": {"shares": 9}}), json!({"cpu": {"idle": 1, "shares": 9}})),
        ] {
            assert_eq!(request(&changes, &after(&changes)), wanted);
        }
    }

    #[test]
    fn devices_change_when_they_say_something_else() {
        let deny = json!({"allow": false, "access": "rwm"});
        let allow = |major| json!({"allow": true, "type": "c", "major": major, "access": "r"});
        let before = json!({"devices": [deny, allow(1), allow(2)]});
        let kept = |mut changes: Value| {
            keep_devices(&mut changes, &before);
            changes.get("devices").is_none()
        };
        assert!(kept(json!({"pids": {"limit": 3}})));
        assert!(kept(json!({"devices": []})));
        assert!(kept(before.clone()));
        // Less, from who knows less; less, and nothing else asked for.
        assert!(kept(json!({"devices": [deny, allow(1)], "pids": {"limit": 3}})));
        assert!(!kept(json!({"devices": [deny, allow(1)]})));
        assert!(!kept(json!({"devices": [deny, allow(3)], "pids": {"limit": 3}})));
        assert!(!kept(json!({"devices": [deny, allow(2), allow(1)], "pids": {"limit": 3}})));
    }

    #[test]
    fn null_changes_nothing() {
        let mut base = json!({"memory": {"limit": 1}});
        overlay(&mut base, &json!({"memory": {"limit": null}, "cpu": null}));
        assert_eq!(base["memory"], json!({"limit": 1}));
    }
}
