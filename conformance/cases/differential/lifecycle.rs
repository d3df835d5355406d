//! The calls of create, start, state, kill, delete and run.

use super::Status::{Created, None, Paused, Running, Stopped};
use super::{Scene, better, help, newer, row, streams, usage};

/// Why another descriptor is named.
pub const OWN_FDS: &str = "runc names the first that it does not have open itself";

pub const CREATE: &[Scene] = &[
    (
        None,
        &[
            help("create --help"),
            help("create -h"),
            help("help create"),
            usage("create"),
            usage("create a b"),
            usage("create --bogus x"),
            usage("create -b"),
            usage("create --preserve-fds x -b % @new"),
            usage("create --no-pivot=maybe -b % @new"),
            row("create -b % @new"),
            row("create @new -b %"),
            row("create -bundle % @new"),
            row("create --bundle=% @new"),
            row("create -b /nowhere -b % @new"),
            row("create -b % -- @new"),
            row("create --pid-file $/pid --pid-file= -b % @new"),
            row("create --no-new-keyring --no-new-keyring=false --preserve-fds 0 -b % @new"),
            row("create -b /nowhere @new"),
            row("create @new"),
            row("create -b % a/b"),
            row("create -b % .."),
            row("create -b % ''"),
            row("create --pid-file /no/such/dir/pid -b % @new"),
            better("create --preserve-fds 7 -b % @new", 1, "preserved-fd 3 (of 7)", OWN_FDS),
            row("create --console-socket $/none -b % @new"),
            row("create --no-pivot -b % @new"),
            usage("create --no-new-keyring=maybe -b % @new"),
        ],
    ),
    (Created, &[row("create -b % @"), row("create -b /nowhere @")]),
    (Stopped, &[row("create -b % @")]),
];

pub const START: &[Scene] = &[
    (
        None,
        &[
            help("start --help"),
            help("help start"),
            usage("start"),
            usage("start a b"),
            usage("start --bogus @"),
            row("start @nope"),
            row("start ''"),
            row("start a/b"),
        ],
    ),
    (Created, &[row("start @"), row("start -- @")]),
    (Running, &[row("start @")]),
    (Paused, &[row("start @")]),
    (Stopped, &[row("start @")]),
];

pub const STATE: &[Scene] = &[
    (
        None,
        &[
            help("state --help"),
            help("state -h"),
            help("h state"),
            usage("state"),
            usage("state a b"),
            usage("state --bogus @"),
            row("state @nope"),
            row("state ''"),
            row("state ../x"),
        ],
    ),
    (Created, &[row("state @"), row("state -- @")]),
    (Running, &[row("state @"), row("--debug=false state @"), row("--systemd-cgroup state @")]),
    (Paused, &[row("state @")]),
    (Stopped, &[row("state @")]),
];

pub const KILL: &[Scene] = &[
    (
        None,
        &[
            help("kill --help"),
            help("help kill"),
            usage("kill"),
            usage("kill a b c"),
            usage("kill --bogus @"),
            usage("kill --all=maybe @"),
            row("kill @nope"),
            row("kill @nope KILL"),
            row("kill --all @nope KILL"),
            row("kill ''"),
        ],
    ),
    (
        Running,
        &[
            row("kill @ FOO"),
            row("kill @ SIGFOO"),
            row("kill @ 1x"),
            row("kill @ 0"),
            row("kill @ WINCH"),
            row("kill @ sigwinch"),
            row("kill @ 28"),
            row("kill @ ''"),
            row("kill @"),
            row("kill @ KILL"),
            row("kill --all @ KILL"),
            row("kill -a @ 9"),
            row("kill @ KILL --all"),
            row("kill --all --all=false @ kill"),
            row("kill -- @ KILL"),
        ],
    ),
    (Created, &[row("kill @ WINCH"), row("kill @ KILL")]),
    (Paused, &[row("kill @ WINCH")]),
    (Stopped, &[row("kill @"), row("kill @ KILL"), newer("kill --all @ KILL", 0, "")]),
];

pub const DELETE: &[Scene] = &[
    (
        None,
        &[
            help("delete --help"),
            help("help delete"),
            usage("delete"),
            usage("delete a b"),
            usage("delete --bogus @"),
            usage("delete -f=maybe @"),
            row("delete @nope"),
            row("delete --force @nope"),
            row("delete -f=false @nope"),
            row("delete ''"),
            row("delete -f ''"),
            row("delete ../x"),
        ],
    ),
    (
        Running,
        &[
            row("delete @"),
            row("delete --force=false @"),
            row("delete --force @"),
            row("delete @ --force"),
            row("delete -force @"),
            row("delete -f -f @"),
        ],
    ),
    (Created, &[row("delete @"), row("delete -f @")]),
    (Paused, &[row("delete @"), row("delete -f @")]),
    (Stopped, &[row("delete @"), row("delete -f @")]),
];

pub const RUN: &[Scene] = &[
    (
        None,
        &[
            help("run --help"),
            help("help run"),
            usage("run"),
            usage("run a b"),
            usage("run --bogus x"),
            usage("run --bundle"),
            better(
                "run -d --preserve-fds -1 -b % @new",
                1,
                "--preserve-fds",
                "runc takes it for none",
            ),
            usage("run --keep=maybe -b % @new"),
            row("run -d -b % @new"),
            row("run @new -d -b %"),
            row("run -detach -no-subreaper -bundle=% @new"),
            row("run -d -d --keep --keep -b % @new"),
            row("run -d -d=true --pid-file $/pid -b % @new"),
            row("run -d --no-pivot=false --no-new-keyring -b % @new"),
            row("run -b /nowhere @new"),
            row("run -b % a/b"),
            row("run -b % ''"),
            row("run -d --pid-file /no/such/dir/pid -b % @new"),
            better("run -d --preserve-fds 7 -b % @new", 1, "preserved-fd 3 (of 7)", OWN_FDS),
            usage("run --no-subreaper=maybe -b % @new"),
            usage("run --no-pivot=maybe -b % @new"),
            usage("run --no-new-keyring=maybe -b % @new"),
            row("run -d --preserve-fds=0 -b % @new"),
            streams("run -b %(echo~out;~echo~err~>&2) @new"),
            streams("run --bundle %(printf~'a\\000b\\tc\\n';~exit~7) @new"),
            streams("run -b %(kill~-TERM~^^) @new"),
            streams("run -b %(kill~-KILL~^^) @new"),
            streams("run @new --no-pivot -b %(cat;~env;~pwd;~id)"),
            streams("run --keep --pid-file $/pid -b %(echo~kept;~exit~3) @new"),
            streams("run --no-subreaper --no-new-keyring -b %(sleep~0.1~&~exit~4) @new"),
            streams("run --preserve-fds 0 -b %(ls~/proc/self/fd;~exec~/no/such) @new"),
            row("run --console-socket $/none -b % @new"),
            row("run -d --console-socket $/none -b % @new"),
        ],
    ),
    (Running, &[row("run -b % @"), row("run -d -b % @")]),
    (Stopped, &[row("run -b % @")]),
];
