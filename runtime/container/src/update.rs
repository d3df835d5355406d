//! update: other limits for a container that is there.

use oci_spec::runtime::LinuxResources;
use serde_json::{Map, Value, json};

use crate::container::{Container, Status};
use crate::error::Error;

/// Limits whose values the kernel or the cgroup files tie together: where one changes, the others
/// are set again as they were.
const TIED: [(&str, &[&str]); 2] = [("cpu", &["quota", "period"]), ("memory", &["limit", "swap"])];

impl Container {
    /// Sets the limits that `changes` has and leaves the others. Device rules are left out, as in
    /// runc: hooks and engines' plugins change them behind our back.
    ///
    /// # Errors
    ///
    /// When the container has stopped, a value is invalid, or the kernel refuses one. What limits there
    /// were before are set again then; one that there was not may stay.
    pub fn update(mut self, changes: &LinuxResources) -> Result<(), Error> {
        let _lock = self.entry.lock()?;
        self.state = self.entry.load()?;
        if self.status()? == Status::Stopped {
            return Err(Error::NotRunning);
        }
        let changes = without_devices(&self.state.id, changes)?;
        let before = self.state.resources.clone().unwrap_or_else(|| json!({}));
        let mut after = before.clone();
        overlay(&mut after, &changes);
        let request = self.resources(&request(&changes, &after))?;
        if let Err(error) = self.state.cgroup.apply(&request) {
            let old = self.resources(&part(&before, &changes))?;
            if let Err(error) = self.state.cgroup.apply(&old) {
                log::warn!("set the limits of before: {error}");
            }
            return Err(error.into());
        }
        self.state.resources = Some(after);
        self.entry.save(&self.state)
    }

    fn resources(&self, value: &Value) -> Result<LinuxResources, Error> {
        // By way of the text: decoding from values would be all of it once more in the binary.
        serde_json::to_vec(value)
            .and_then(|text| serde_json::from_slice(&text))
            .map_err(|error| broken(&self.state.id, &error))
    }
}

/// What a container's state keeps of its limits; none where there are none.
pub(crate) fn saved(id: &str, resources: Option<&LinuxResources>) -> Result<Option<Value>, Error> {
    let value = resources.map(|resources| without_devices(id, resources)).transpose()?;
    Ok(value.filter(|value| value.as_object().is_some_and(|object| !object.is_empty())))
}

/// `resources` as JSON, without the devices.
fn without_devices(id: &str, resources: &LinuxResources) -> Result<Value, Error> {
    let mut value: Value = serde_json::to_vec(resources)
        .and_then(|text| serde_json::from_slice(&text))
        .map_err(|error| broken(id, &error))?;
    if let Some(object) = value.as_object_mut() {
        object.remove("devices");
    }
    Ok(value)
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
    request
}

/// The sections of `base` that `changes` touches.
fn part(base: &Value, changes: &Value) -> Value {
    let touched = |key: &String| changes.get(key).is_some();
    let sections = base.as_object().into_iter().flatten().filter(|(key, _)| touched(key));
    Value::Object(sections.map(|(key, value)| (key.clone(), value.clone())).collect::<Map<_, _>>())
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
        assert_eq!(part(&before, &changes), json!({"cpu": before["cpu"]}));
        let shares = json!({"cpu": {"shares": 9}});
        assert_eq!(request(&shares, &after), shares);
    }

    #[test]
    fn null_changes_nothing() {
        let mut base = json!({"memory": {"limit": 1}});
        overlay(&mut base, &json!({"memory": {"limit": null}, "cpu": null}));
        assert_eq!(base["memory"], json!({"limit": 1}));
    }
}
