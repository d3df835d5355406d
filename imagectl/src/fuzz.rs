//! Texts and documents that strangers write, mutated from good ones by a seeded generator: whatever comes,
//! the readers refuse it or read it, and what they read they write back the same.

use std::time::{Duration, Instant};

use crate::image::{Document, ImageConfig, Platform};
use crate::reference::Reference;

/// How long each target runs.
const TIME: Duration = Duration::from_secs(3);
/// How large an input may become, in bytes.
const SIZE: usize = 4096;

/// xorshift64*: quick, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `limit`, which is not 0.
    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % limit
    }
}

/// Changes the input here and there: bytes, runs, words of the format, pieces of other inputs.
fn mutate(random: &mut Random, input: &mut Vec<u8>, words: &[&str], other: &[u8]) {
    for _ in 0..=random.below(4) {
        let at = random.below(input.len() + 1);
        let end = (at + random.below(16)).min(input.len());
        match random.below(7) {
            0 => drop(input.drain(at..end)),
            1 => input.insert(at, u8::try_from(random.below(256)).unwrap()),
            2 if at < input.len() => input[at] ^= 1 << random.below(8),
            3 => {
                let run = input[at..end].to_vec();
                drop(input.splice(at..at, run));
            }
            4 => {
                let word = words[random.below(words.len())].bytes();
                drop(input.splice(at..end, word));
            }
            5 if !other.is_empty() => {
                let from = random.below(other.len());
                let to = (from + random.below(64)).min(other.len());
                drop(input.splice(at..at, other[from..to].iter().copied()));
            }
            _ => input.truncate(at.max(1)),
        }
    }
    input.truncate(SIZE);
}

/// Feeds the reader mutated inputs. Those that it takes become the ground for further ones.
fn run(seed: u64, good: &[&str], words: &[&str], mut take: impl FnMut(&[u8]) -> bool) {
    let mut random = Random(seed);
    let mut corpus: Vec<Vec<u8>> = good.iter().map(|text| text.as_bytes().to_vec()).collect();
    assert!(corpus.iter().all(|input| take(input)), "the inputs to begin with are good");
    let began = Instant::now();
    let mut count = 0_u64;
    while began.elapsed() < TIME {
        for _ in 0..256 {
            let mut input = corpus[random.below(corpus.len())].clone();
            let other = corpus[random.below(corpus.len())].clone();
            mutate(&mut random, &mut input, words, &other);
            count += 1;
            if take(&input) {
                match corpus.len() {
                    0..500 => corpus.push(input),
                    length => corpus[random.below(length)] = input,
                }
            }
        }
    }
    assert!(count > 1000, "{count} inputs in {TIME:?}");
}

#[test]
fn references() {
    let digest = "x@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let good = ["alpine", "ghcr.io/org/app:1.2", "[::1]:5000/a/b__c--d.e:t", "localhost/x", digest];
    let words =
        ["/", ":", "@", "@sha256:", "..", "[", "]", "docker.io/", "docker://", "\u{fe}", "A", "-"];
    run(1, &good, &words, |input| {
        let Ok(text) = std::str::from_utf8(input) else { return false };
        let Ok(name) = Reference::parse(text) else { return false };
        let full = name.to_string();
        assert_eq!(Reference::parse(&full).unwrap(), name);
        // It becomes a part of URLs, paths and lines.
        assert!(full.is_ascii() && !full.contains(|c: char| c.is_ascii_control() || c == ' '));
        assert!(!full.split('/').any(|part| part == "." || part == ".."), "{full}");
        assert!(!name.repository.is_empty() && name.repository.len() <= 263);
        true
    });
}

#[test]
fn platforms() {
    let words = ["/", "linux", "arm", "v", "v8", "x86_64", "macos", "armhf"];
    run(2, &["linux/amd64", "linux/arm/v7", "windows/arm64/v8"], &words, |input| {
        let Ok(text) = std::str::from_utf8(input) else { return false };
        let Ok(platform) = Platform::parse(text) else { return false };
        assert_eq!(Platform::parse(&platform.to_string()).unwrap(), platform);
        assert!(platform.runs(&platform), "{text}");
        true
    });
}

const DESCRIPTOR: &str = r#"{"mediaType":"application/vnd.oci.image.config.v1+json","size":7,"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}"#;

#[test]
fn manifests_and_indexes() {
    let manifest =
        format!(r#"{{"schemaVersion":2,"config":{DESCRIPTOR},"layers":[{DESCRIPTOR}]}}"#);
    let index = format!(r#"{{"schemaVersion":2,"manifests":[{DESCRIPTOR},{DESCRIPTOR}]}}"#);
    let words = [
        "\"layers\":[]",
        "\"manifests\":[]",
        "\"config\":",
        "null",
        "[",
        "]",
        "{",
        "}",
        ",",
        "-1",
        "1e99",
        "18446744073709551616",
        "\"mediaType\":\"application/vnd.oci.image.index.v1+json\",",
        DESCRIPTOR,
        "\"annotations\":null,",
        "\"platform\":{\"os\":\"linux\"},",
        "\"artifactType\":\"x\",",
        "\\u0000",
    ];
    run(3, &[&manifest, &index], &words, |input| {
        let Ok(document) = Document::parse("it", "", input) else { return false };
        // The same document to whoever calls it by its own type, and to nobody by the other.
        let own = document.own_media_type("");
        let written = match &document {
            Document::Manifest(manifest) => serde_json::to_vec(manifest),
            Document::Index(index) => serde_json::to_vec(index),
        };
        let mut value: serde_json::Value = serde_json::from_slice(&written.unwrap()).unwrap();
        value["schemaVersion"] = 2.into();
        let again = Document::parse("it", own, value.to_string().as_bytes()).unwrap();
        assert_eq!(again.own_media_type(""), own);
        if let Document::Manifest(manifest) = &document {
            // Whether it is an image, it says for good.
            let _ = manifest.check_image("it");
        }
        if let Document::Index(index) = &document {
            let _ = index.candidates("it", &Platform::host());
        }
        true
    });
}

#[test]
fn configs() {
    let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{"User":"a:b","Env":["A=b"],"Cmd":["x"],"Entrypoint":null,"WorkingDir":"/w","Labels":{{"a":"b"}},"ExposedPorts":{{"80/tcp":{{}}}},"Volumes":{{"/v":{{}}}}}},"rootfs":{{"type":"layers","diff_ids":["{digest}"]}}}}"#
    );
    let words = [
        "null", "[", "]", "{", "}", ",", ":", "\"\"", "-1", "\\u0000", "\\ud800", "1e400", "/..",
        digest,
    ];
    run(4, &[&config], &words, |input| {
        let Ok(config) = ImageConfig::parse("it", input, 1) else { return false };
        assert_eq!(config.rootfs.diff_ids.len(), 1);
        let _ = Platform::of(&config).to_string();
        true
    });
}
