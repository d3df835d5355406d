//! Cgroups below a container's own, which it made for itself.

use std::path::{Component, Path, PathBuf};

use crate::{Cgroup, Error, Mode, Result};

impl Cgroup {
    /// The same, with sub-cgroups that are there: what `exec --cgroup` names, as runc does it. Each
    /// text is a path below the container's cgroup; on v1 the controllers it is for may come first,
    /// as in "cpu,memory:path", and the other hierarchies keep the container's own.
    ///
    /// # Errors
    ///
    /// [`Error::SubCgroup`] when a text is not of that form, leads out of the container's cgroup, or
    /// names a controller twice or one that there is not.
    pub fn below(&self, texts: &[String]) -> Result<Cgroup> {
        let mut sub = self.clone();
        let mut seen: Vec<&str> = Vec::new();
        for text in texts {
            let failed = |reason| Error::SubCgroup { text: text.clone(), reason };
            let (controllers, path) = match text.split_once(':') {
                Some((controllers, path)) => (Some(controllers), path),
                None if texts.len() == 1 => (None, text.as_str()),
                None => return Err(failed("lacks the controllers it is for")),
            };
            let path = inside(path).ok_or_else(|| failed("leads out of the container's cgroup"))?;
            let Some(controllers) = controllers else {
                sub.hierarchies.iter_mut().for_each(|one| one.path = join(&one.path, &path));
                continue;
            };
            if self.mode == Mode::V2 {
                return Err(failed("names controllers, which v2 keeps in one cgroup"));
            }
            for controller in controllers.split(',') {
                if controller.is_empty() {
                    return Err(failed("has an empty name for a controller"));
                }
                if seen.contains(&controller) {
                    return Err(failed("names a controller a second time"));
                }
                seen.push(controller);
                let place = sub.hierarchies.iter_mut().find(|one| one.has(controller));
                let place = place.ok_or_else(|| failed("names a controller that is not there"))?;
                place.path = join(&place.path, &path);
            }
        }
        Ok(sub)
    }
}

/// As [`Path::join`], but nothing leaves no slash behind.
fn join(path: &Path, sub: &Path) -> PathBuf {
    path.components().chain(sub.components()).collect()
}

/// The path without what leads nowhere; none when it leads out.
fn inside(path: &str) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir if !clean.pop() => return None,
            _ => {}
        }
    }
    Some(clean)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Hierarchy;

    fn cgroup(mode: Mode, controllers: &[&str]) -> Cgroup {
        let one = |controllers: &&str| Hierarchy {
            controllers: (*controllers).into(),
            name: (*controllers).into(),
            path: "/c".into(),
        };
        let hierarchies = controllers.iter().map(one).collect();
        serde_json::from_value(serde_json::json!({
            "mode": mode, "hierarchies": serde_json::to_value::<Vec<Hierarchy>>(hierarchies).unwrap(),
        }))
        .unwrap()
    }

    fn paths(cgroup: &Cgroup, texts: &[&str]) -> std::result::Result<Vec<String>, &'static str> {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        match cgroup.below(&texts) {
            Ok(sub) => Ok(sub.hierarchies.iter().map(|h| h.path.display().to_string()).collect()),
            Err(Error::SubCgroup { reason, .. }) => Err(reason),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn on_v1_each_controller_may_have_its_own() {
        let v1 = cgroup(Mode::V1, &["cpu,cpuacct", "memory", "pids"]);
        assert_eq!(paths(&v1, &["a/b"]).unwrap(), ["/c/a/b", "/c/a/b", "/c/a/b"]);
        assert_eq!(paths(&v1, &["cpu:/a", "pids:b"]).unwrap(), ["/c/a", "/c", "/c/b"]);
        for texts in
            [&["a", "b"][..], &["cpu:a", "cpu:b"], &["net:a"], &[",cpu:a"], &["cpu:../x"], &[".."]]
        {
            paths(&v1, texts).unwrap_err();
        }
    }

    #[test]
    fn on_v2_there_is_one() {
        let v2 = cgroup(Mode::V2, &[""]);
        assert_eq!(paths(&v2, &["/"]).unwrap(), ["/c"]);
        assert_eq!(paths(&v2, &["a/../b/./c"]).unwrap(), ["/c/b/c"]);
        paths(&v2, &["memory:a"]).unwrap_err();
        paths(&v2, &["a/../.."]).unwrap_err();
    }
}
