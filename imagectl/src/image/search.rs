//! The way through indexes to the one image that is meant. Reading what is found is the caller's.

use std::collections::HashSet;

use super::{Bounds, Choice, Descriptor, Index, Platform};
use crate::digest::Digest;
use crate::error::{Error, Result};

/// How many manifests and indexes an index may lead to.
pub const DOCUMENT_COUNT: usize = 1000;

/// A search, depth first: an inner index that has no image for the platform is left for the next.
#[derive(Debug)]
pub struct Search {
    platform: Platform,
    /// What is yet to be looked at, with its depth; the next is the last.
    waiting: Vec<(usize, Descriptor)>,
    seen: HashSet<Digest>,
    depth: usize,
    bounds: Bounds,
    /// What the first index without the platform has instead.
    refusal: Option<Error>,
}

impl Search {
    /// A search for what the choice means.
    #[must_use]
    pub fn new(choice: &Choice, bounds: Bounds) -> Self {
        Self {
            platform: choice.platform(),
            waiting: Vec::new(),
            seen: HashSet::new(),
            depth: 0,
            bounds,
            refusal: None,
        }
    }

    /// Goes into the index that was found. `what` names it in errors.
    pub fn enter(&mut self, what: &str, index: &Index) {
        match index.candidates(what, &self.platform) {
            Ok(candidates) => {
                let inner = candidates.into_iter().rev();
                let new = inner.filter(|descriptor| !self.seen.contains(&descriptor.digest));
                self.waiting.extend(new.map(|descriptor| (self.depth + 1, descriptor.clone())));
            }
            Err(error) => self.refusal = self.refusal.take().or(Some(error)),
        }
    }

    /// The document to look at next. `what` names the outermost index in errors.
    ///
    /// # Errors
    /// [`Error::Document`] if no index has an image for the platform, or if there are too many indexes,
    /// or one too deep.
    pub fn next(&mut self, what: impl FnOnce() -> String) -> Result<Descriptor> {
        let refuse = |reason: String| Err(Error::Document { what: what(), reason });
        match self.waiting.pop() {
            Some((depth, _)) if depth > self.bounds.depth => refuse(self.bounds.too_deep()),
            Some(_) if self.seen.len() >= DOCUMENT_COUNT => {
                refuse(format!("leads to more than {DOCUMENT_COUNT} manifests"))
            }
            Some((depth, descriptor)) => {
                self.depth = depth;
                self.seen.insert(descriptor.digest);
                Ok(descriptor)
            }
            None => match self.refusal.take() {
                Some(refusal) => Err(refusal),
                None => refuse("leads to no image".into()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::media_type;

    fn descriptor(name: &str, media_type: &str, platform: Option<&str>) -> Descriptor {
        let platform = platform.map(|text| Platform::parse(text).unwrap());
        Descriptor { platform, ..Descriptor::new(media_type, Digest::of(name.as_bytes()), 1) }
    }

    #[test]
    fn an_inner_index_without_the_platform_is_left() {
        let inner = |name| descriptor(name, media_type::OCI_INDEX, None);
        let image = |name, platform| descriptor(name, media_type::OCI_MANIFEST, Some(platform));
        let index = |manifests: &[Descriptor]| Index { manifests: manifests.to_vec() };
        let (arm, amd) = (image("arm", "linux/arm64"), image("amd", "linux/amd64"));
        let choice = Choice::One(Platform::parse("linux/arm64").unwrap());
        let mut search = Search::new(&choice, Bounds::default());
        search.enter("outer", &index(&[inner("a"), inner("b")]));
        assert_eq!(search.next(String::new).unwrap(), inner("a"));
        search.enter("a", &index(std::slice::from_ref(&amd)));
        assert_eq!(search.next(String::new).unwrap(), inner("b"));
        search.enter("b", &index(&[amd.clone(), arm.clone()]));
        assert_eq!(search.next(String::new).unwrap(), arm);

        let mut search = Search::new(&choice, Bounds::default());
        search.enter("outer", &index(&[inner("a"), inner("b")]));
        for name in ["a", "b"] {
            assert_eq!(search.next(String::new).unwrap(), inner(name));
            search.enter(name, &index(std::slice::from_ref(&amd)));
        }
        let error = search.next(String::new).unwrap_err().to_string();
        assert_eq!(error, "a: has no image for linux/arm64; it has linux/amd64");

        // One that leads to itself ends.
        let mut search = Search::new(&choice, Bounds::default());
        search.enter("outer", &index(&[inner("a")]));
        assert_eq!(search.next(String::new).unwrap(), inner("a"));
        search.enter("a", &index(&[inner("a")]));
        let error = search.next(|| "it".into()).unwrap_err().to_string();
        assert_eq!(error, "it: leads to no image");
    }
}
