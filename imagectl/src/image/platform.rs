//! Platforms: what an image runs on, and which of an index's images to take.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Descriptor;
use crate::error::{Error, Result};

/// Operating system, architecture and variant in Go's words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// As in `linux`.
    #[serde(default)]
    pub os: String,
    /// As in `amd64`.
    #[serde(default)]
    pub architecture: String,
    /// As in `v7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// Parses `os/arch[/variant]`; the common other names of an architecture are understood.
    ///
    /// # Errors
    /// [`Error::Argument`] naming `--platform`.
    pub fn parse(text: &str) -> Result<Self> {
        let parts: Vec<&str> = text.split('/').collect();
        let (os, arch, variant) = match parts[..] {
            [os, arch] => (os, arch, None),
            [os, arch, variant] => (os, arch, Some(variant)),
            _ => ("", "", None),
        };
        let word = |w: &str| {
            !w.is_empty() && w.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        };
        if !word(os) || !word(arch) || !variant.is_none_or(word) {
            return Err(Error::Argument {
                option: "--platform",
                reason: format!("'{text}' is not os/arch or os/arch/variant"),
            });
        }
        Ok(normal(os, arch, variant))
    }

    /// What an image says that it is for.
    #[must_use]
    pub fn of(config: &super::ImageConfig) -> Self {
        Self {
            os: config.os.clone(),
            architecture: config.architecture.clone(),
            variant: config.variant.clone(),
        }
    }

    /// This machine's.
    #[must_use]
    pub fn host() -> Self {
        let arch = match std::env::consts::ARCH {
            "x86" => "386",
            "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
            "loongarch64" => "loong64",
            arch => arch,
        };
        normal("linux", arch, None)
    }

    /// Takes the best fit of an index: the exact variant, else the nearest lower one that runs here.
    #[must_use]
    pub fn pick<'a>(&self, manifests: &'a [Descriptor]) -> Option<&'a Descriptor> {
        let mut best: Option<(u32, &Descriptor)> = None;
        for descriptor in manifests {
            let Some(rank) = descriptor.platform.as_ref().and_then(|p| self.rank(p)) else {
                continue;
            };
            // The first of equals wins, as it does with every other client.
            if best.is_none_or(|(other, _)| rank > other) {
                best = Some((rank, descriptor));
            }
        }
        best.map(|(_, descriptor)| descriptor)
    }

    /// Can what is made for `offer` run here?
    #[must_use]
    pub fn runs(&self, offer: &Self) -> bool {
        self.rank(offer).is_some()
    }

    /// How well `offer` serves `self`; `None` if it doesn't run there.
    fn rank(&self, offer: &Self) -> Option<u32> {
        let offer = normal(&offer.os, &offer.architecture, offer.variant.as_deref());
        if offer.os != self.os || offer.architecture != self.architecture {
            return None;
        }
        let (wanted, offered) = (level(self), level(&offer));
        match (wanted, offered) {
            (Some(wanted), Some(offered)) if offered <= wanted => Some(1 + offered),
            (Some(_), Some(_)) => None,
            _ if self.variant == offer.variant => Some(1),
            _ if offer.variant.is_none() => Some(0),
            _ => None,
        }
    }
}

/// The variant as a number on architectures where a higher one runs all lower ones.
fn level(platform: &Platform) -> Option<u32> {
    let baseline = match platform.architecture.as_str() {
        "arm" => 7,
        "arm64" => 8,
        "amd64" => 1,
        _ => return None,
    };
    match &platform.variant {
        None => Some(baseline),
        Some(variant) => variant.strip_prefix('v').and_then(|n| n.parse().ok()),
    }
}

/// Brings other names to Go's, and drops the variant that every machine of the kind has.
fn normal(os: &str, arch: &str, variant: Option<&str>) -> Platform {
    let os = os.to_ascii_lowercase();
    let os = if os == "macos" { "darwin".to_owned() } else { os };
    let (arch, variant) = match (arch.to_ascii_lowercase().as_str(), variant) {
        ("x86_64" | "x86-64", v) => ("amd64".to_owned(), v),
        ("aarch64", v) => ("arm64".to_owned(), v),
        ("i386" | "i686", v) => ("386".to_owned(), v),
        ("armhf", None) => ("arm".to_owned(), Some("v7")),
        ("armel", None) => ("arm".to_owned(), Some("v6")),
        (arch, v) => (arch.to_owned(), v),
    };
    let variant = match (arch.as_str(), variant) {
        (_, Some("")) | ("amd64", Some("v1")) | ("arm64", Some("v8" | "8")) => None,
        ("arm", Some(v @ ("5" | "6" | "7" | "8"))) => Some(format!("v{v}")),
        ("arm", None) => Some("v7".to_owned()),
        (_, v) => v.map(str::to_ascii_lowercase),
    };
    Platform { os, architecture: arch, variant }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // These are an image's own words, and what it says may be meant for the terminal.
        write!(f, "{}/{}", self.os.escape_debug(), self.architecture.escape_debug())?;
        match &self.variant {
            Some(variant) => write!(f, "/{}", variant.escape_debug()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    fn index(platforms: &[(&str, &str, Option<&str>)]) -> Vec<Descriptor> {
        platforms
            .iter()
            .enumerate()
            .map(|(i, (os, arch, variant))| Descriptor {
                media_type: String::new(),
                digest: Digest::of(&[u8::try_from(i).unwrap()]),
                size: i as u64,
                platform: Some(Platform {
                    os: (*os).to_owned(),
                    architecture: (*arch).to_owned(),
                    variant: variant.map(str::to_owned),
                }),
                artifact_type: None,
                annotations: Default::default(),
            })
            .collect()
    }

    #[test]
    fn picks_the_best_fit() {
        let all = index(&[
            ("unknown", "unknown", None),
            ("linux", "arm", Some("v5")),
            ("linux", "arm", Some("v6")),
            ("linux", "arm", Some("v7")),
            ("linux", "arm64", Some("v8")),
            ("linux", "amd64", None),
            ("linux", "amd64", Some("v3")),
            ("windows", "amd64", None),
            ("linux", "riscv64", None),
            ("linux", "386", None),
        ]);
        for (wanted, size) in [
            ("linux/amd64", Some(5)),
            ("linux/amd64/v2", Some(5)),
            ("linux/amd64/v4", Some(6)),
            ("linux/x86_64", Some(5)),
            ("linux/arm64", Some(4)),
            ("linux/aarch64", Some(4)),
            ("linux/arm", Some(3)),
            ("linux/arm/v7", Some(3)),
            ("linux/arm/v6", Some(2)),
            ("linux/arm/v5", Some(1)),
            ("linux/i386", Some(9)),
            ("linux/riscv64", Some(8)),
            ("linux/s390x", None),
            ("windows/amd64", Some(7)),
        ] {
            let picked = Platform::parse(wanted).unwrap().pick(&all).map(|d| d.size);
            assert_eq!(picked, size, "{wanted}");
        }
    }

    #[test]
    fn no_variant_too_new_for_the_machine() {
        let all = index(&[("linux", "arm", Some("v7"))]);
        assert!(Platform::parse("linux/arm/v6").unwrap().pick(&all).is_none());
    }

    #[test]
    fn refused_platforms() {
        for text in ["", "linux", "linux/", "/amd64", "a/b/c/d", "linux/amd 64", "linux/arm/"] {
            assert!(Platform::parse(text).is_err(), "{text}");
        }
    }
}
