//! The calls of list, ps, pause, resume, update, events, spec and features, and those without a command.

use super::Status::{Created, None, Paused, Running, Stopped};
use super::{Scene, better, help, newer, row, shape, table, usage};

pub const GLOBAL: &[Scene] = &[(
    None,
    &[
        help(""),
        help("--help"),
        help("-h"),
        help("help"),
        help("h"),
        usage("--bogus list"),
        usage("bogus"),
        usage("--log"),
        usage("--debug=maybe list"),
        usage("--root"),
        row("--log-format xml list"),
        better("--rootless maybe list", 1, "--rootless", "runc looks at it only in some commands"),
        newer("--root / list", 1, "should not be set to /"),
        row("--debug=false list -q"),
        row("-systemd-cgroup -log-format=json list -q"),
        row("--log-format xml --log-format text list -q"),
        row("--criu /nowhere list -q"),
        row("--rootless=true --rootless auto list -q"),
        row("--log $/log.json --log-format json state @nope"),
        row("--log /no/such/dir/log list"),
    ],
)];

const LIST_COLUMNS: &[&str] = &["PID", "CREATED"];

pub const LIST: &[Scene] = &[
    (
        None,
        &[
            help("list --help"),
            usage("list a"),
            usage("list --bogus"),
            usage("list --format"),
            row("list"),
            row("list -q"),
            row("list --format json"),
            row("list -f xml"),
            row("list -f xml -q"),
        ],
    ),
    (
        Running,
        &[
            table("list", LIST_COLUMNS),
            table("list --format=table", LIST_COLUMNS),
            table("list -f json -f table", LIST_COLUMNS),
            row("list -f json"),
            row("list -quiet"),
            row("list -q -f json"),
            row("list -q=false -format json"),
        ],
    ),
    (Created, &[table("list", LIST_COLUMNS)]),
    (Paused, &[table("list", LIST_COLUMNS), row("list -f json")]),
    (Stopped, &[table("list", LIST_COLUMNS), row("list -f json")]),
];

const PS_COLUMNS: &[&str] = &["PID", "PPID", "C", "STIME", "TIME"];

pub const PS: &[Scene] = &[
    (
        None,
        &[
            help("ps --help"),
            usage("ps"),
            usage("ps --bogus @"),
            row("ps @nope"),
            row("ps -f json @nope"),
            row("ps ''"),
        ],
    ),
    (
        Running,
        &[
            table("ps @", PS_COLUMNS),
            table("ps --format table @", PS_COLUMNS),
            table("ps @ -e -o pid,comm", PS_COLUMNS),
            table("ps @ axo pid,args", PS_COLUMNS),
            shape("ps -f json @"),
            shape("ps --format=json @"),
            row("ps -f xml @"),
            row("ps @ -o user"),
            row("ps @ --no-such-option"),
        ],
    ),
    (Created, &[shape("ps -f json @")]),
    (Paused, &[shape("ps -f json @")]),
    (Stopped, &[shape("ps -f json @"), row("ps @")]),
];

pub const PAUSE: &[Scene] = &[
    (
        None,
        &[
            help("pause --help"),
            usage("pause"),
            usage("pause a b"),
            usage("pause --bogus @"),
            row("pause @nope"),
        ],
    ),
    (Created, &[row("pause @")]),
    (Running, &[row("pause @"), row("pause -- @")]),
    (Paused, &[row("pause @")]),
    (Stopped, &[row("pause @")]),
];

pub const RESUME: &[Scene] = &[
    (
        None,
        &[
            help("resume --help"),
            usage("resume"),
            usage("resume a b"),
            usage("resume --bogus @"),
            row("resume @nope"),
        ],
    ),
    (Created, &[row("resume @")]),
    (Running, &[row("resume @")]),
    (Paused, &[row("resume @")]),
    (Stopped, &[row("resume @")]),
];

pub const UPDATE: &[Scene] = &[
    (
        None,
        &[
            help("update --help"),
            usage("update"),
            usage("update a b"),
            usage("update --bogus @"),
            usage("update --memory"),
            row("update @nope"),
            row("update --pids-limit 10 @nope"),
        ],
    ),
    (
        Running,
        &[
            row("update @"),
            row("update --memory 1x @"),
            row("update --memory-swap x @"),
            row("update --memory-reservation x @"),
            row("update --cpu-period x @"),
            row("update --cpu-quota x @"),
            row("update --cpu-share x @"),
            row("update --cpu-rt-period x @"),
            row("update --cpu-rt-runtime x @"),
            usage("update --blkio-weight x @"),
            usage("update --pids-limit x @"),
            row("update -r /no/such/file @"),
            row("update -r $ @"),
            row("update -r - @"),
            row("update --l3-cache-schema L3:0=f @"),
            row("update --mem-bw-schema MB:0=20 @"),
            row("update --kernel-memory 1 @"),
        ],
    ),
    (Stopped, &[row("update --pids-limit 10 @")]),
];

pub const EVENTS: &[Scene] = &[
    (
        None,
        &[
            help("events --help"),
            usage("events"),
            usage("events a b"),
            usage("events --bogus @"),
            usage("events --interval x @"),
            row("events @nope"),
            row("events --stats @nope"),
        ],
    ),
    (
        Running,
        &[
            row("events --interval 0 @"),
            usage("events --interval 1 @"),
            row("events --stats --interval -1s @"),
        ],
    ),
    (Stopped, &[row("events @"), row("events --stats @")]),
];

pub const SPEC: &[Scene] = &[(
    None,
    &[
        help("spec --help"),
        usage("spec --bogus"),
        usage("spec a"),
        usage("spec --rootless=maybe"),
        row("spec -b /no/such/dir"),
        row("spec"),
        row("spec"),
        row("spec --rootless"),
        row("spec -b %"),
    ],
)];

pub const FEATURES: &[Scene] = &[(
    None,
    &[help("features --help"), usage("features --bogus"), usage("features a"), usage("features")],
)];
