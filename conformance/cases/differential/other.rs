//! The calls of list, ps, pause, resume, update, events, spec and features, and those without a command.

use super::Status::{Created, None, Paused, Running, Stopped};
use super::{Scene, better, help, known, newer, row, shape, stats, table, usage};

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
        row("--log $/empty list -q"),
        row("-log=$/other --log $/empty --debug=false list -q"),
        row("--root $/sub list"),
        row("--root /nowhere -root $/sub list -q"),
        usage("--criu"),
        usage("--log-format"),
        usage("--rootless"),
        usage("--systemd-cgroup=maybe list"),
        // Behind the command they are not its flags.
        usage("list --root $/sub"),
        usage("list --debug"),
        usage("state --log $/empty @nope"),
        usage("state --systemd-cgroup @nope"),
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
            usage("list -q=maybe"),
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
            row("update --memory 64M @"),
            row("update -memory=33554432 @"),
            row("update --memory 1G --memory=96m @"),
            row("update --memory-reservation 16M @"),
            row("update --memory 64M --memory-swap 128M @"),
            row("update --memory-swap 96M @"),
            row("update --memory-swap -1 @"),
            row("update --memory-reservation -1 --memory -1 @"),
            row("update @ --memory 128M"),
            row("update --cpu-period 50000 --cpu-quota 20000 @"),
            row("update --cpu-quota 30000 @"),
            row("update --cpu-period 60000 @"),
            row("update --cpu-quota -1 @"),
            row("update --cpu-share 512 @"),
            usage("update --cpu-shares 512 @"),
            row("update --cpuset-cpus 0 @"),
            row("update --cpuset-mems 0 @"),
            row("update --cpuset-cpus 4000 @"),
            row("update --cpuset-mems 4000 @"),
            row("update --cpuset-cpus x @"),
            row("update --pids-limit 33 @"),
            row("update --pids-limit -1 @"),
            row("update --blkio-weight 300 @"),
            row("update --blkio-weight 9 @"),
            row("update --resources $/resources.json @"),
            // Flags beside a file count for nothing.
            row("update -r $/resources.json --pids-limit 99 --memory 1G @"),
            row("update --resources /no/such/file --resources $/resources.json @"),
            // Nothing to Debian's; a limit of 1 to 1.5, as systemd has no 0.
            newer("update --pids-limit 0 @", 0, ""),
        ],
    ),
    (Created, &[row("update --pids-limit 10 --memory 64M @")]),
    (Paused, &[row("update --pids-limit 10 --cpu-share 256 @")]),
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
            usage("events --stats=maybe @"),
            stats("events --stats @"),
            stats("events -stats -interval 1h @"),
            stats("events @ --stats --interval=5s"),
        ],
    ),
    (Paused, &[stats("events --stats @")]),
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
        usage("spec --bundle"),
        // What is in it, formats/spec and formats/spec-rootless compare byte by byte.
        row("spec -bundle $/sub --rootless"),
    ],
)];

pub const FEATURES: &[Scene] = &[(
    None,
    &[help("features --help"), usage("features --bogus"), usage("features a"), known("features")],
)];
