//! `hooks`.

use super::{Bad, bad};

/// What is looked at in every kind.
macro_rules! kind {
    ($kind:literal) => {
        [
            bad(concat!("/hooks/", $kind, "/0/path"), "\"hook\"", &["hook"]),
            bad(concat!("/hooks/", $kind, "/0/path"), "\"/a\\u0000b\"", &["NUL"]),
            bad(concat!("/hooks/", $kind, "/0/args/0"), "\"a\\u0000b\"", &["NUL"])
                .with(&[(concat!("/hooks/", $kind, "/0/path"), "\"/bin/true\"")]),
            bad(concat!("/hooks/", $kind, "/0/env/0"), "\"AB\"", &["\"AB\"", "'='"])
                .with(&[(concat!("/hooks/", $kind, "/0/path"), "\"/bin/true\"")]),
            bad(concat!("/hooks/", $kind, "/0/timeout"), "-5", &["-5"])
                .with(&[(concat!("/hooks/", $kind, "/0/path"), "\"/bin/true\"")]),
        ]
    };
}

const GOOD: &[(&str, &str)] = &[("/hooks/poststop/0/path", "\"/bin/true\"")];

/// Every kind, field by field.
pub const KINDS: &[Bad] = [
    kind!("prestart"),
    kind!("createRuntime"),
    kind!("createContainer"),
    kind!("startContainer"),
    kind!("poststart"),
    kind!("poststop"),
]
.as_flattened();

/// What is the same for all.
pub const ROWS: &[Bad] = &[
    bad("/hooks", "3", &["3"]),
    bad("/hooks/poststop", "{}", &["map"]),
    bad("/hooks/poststop/0", "{}", &["missing"]).field("hooks.poststop[0].path"),
    bad("/hooks/poststop/0/path", "7", &["7"]),
    bad("/hooks/poststop/0/args", "\"a\"", &["a"]).with(GOOD),
    bad("/hooks/poststop/0/args/0", "7", &["7"]).with(GOOD),
    bad("/hooks/poststop/0/env", "\"A=b\"", &["A=b"]).with(GOOD),
    bad("/hooks/poststop/0/env/0", "\"A=\\u0000b\"", &["NUL"]).with(GOOD),
    bad("/hooks/poststop/0/env/0", "\"=b\"", &["=b", "name"]).with(GOOD),
    bad("/hooks/poststop/0/env/0", "7", &["7"]).with(GOOD),
    bad("/hooks/poststop/0/timeout", "0", &["0"]).with(GOOD),
    bad("/hooks/poststop/0/timeout", "1.5", &["1.5"]).with(GOOD),
];
