//! Which of an index's images to take.

use super::{Descriptor, Index, Platform, media_type};
use crate::error::{Error, Result};

/// What of an index is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The image for this machine; a name that has but one image is taken as it is.
    #[default]
    Host,
    /// The image for a platform, and no other.
    One(Platform),
    /// The whole index.
    All,
}

impl Choice {
    /// The platform that decides where one image must be picked.
    #[must_use]
    pub fn platform(&self) -> Platform {
        match self {
            Self::One(platform) => platform.clone(),
            Self::Host | Self::All => Platform::host(),
        }
    }
}

impl Index {
    /// What may serve the platform: the image for it, else all inner indexes, else the only thing there is.
    /// `what` names the index in errors.
    ///
    /// # Errors
    /// [`Error::Document`] naming the platforms that it has.
    pub fn candidates(&self, what: &str, platform: &Platform) -> Result<Vec<&Descriptor>> {
        // Attestations and the like stand in indexes as images of an unknown platform.
        let images: Vec<Descriptor> =
            self.manifests.iter().filter(|d| d.artifact_type.is_none()).cloned().collect();
        let picked = platform.pick(&images).map(|d| d.digest);
        if let Some(image) = self.manifests.iter().find(|d| Some(d.digest) == picked) {
            return Ok(vec![image]);
        }
        let inner = |d: &&Descriptor| d.platform.is_none() && is_index(&d.media_type);
        let nested: Vec<&Descriptor> = self.manifests.iter().filter(inner).collect();
        match &self.manifests[..] {
            _ if !nested.is_empty() => Ok(nested),
            [only] if only.platform.is_none() => Ok(vec![only]),
            _ => {
                let mut offered: Vec<String> = images
                    .iter()
                    .filter_map(|d| d.platform.as_ref())
                    .filter(|p| p.os != "unknown")
                    .map(ToString::to_string)
                    .collect();
                offered.dedup();
                Err(Error::Document {
                    what: what.to_owned(),
                    reason: format!("has no image for {platform}; it has {}", offered.join(", ")),
                })
            }
        }
    }
}

/// Is it the media type of an index?
#[must_use]
pub fn is_index(media_type: &str) -> bool {
    matches!(media_type, media_type::OCI_INDEX | media_type::DOCKER_LIST)
}
