//! The calls of checkpoint and restore that fail before criu is asked: it does not work on every kernel.

use super::Status::{Created, None, Stopped};
use super::{Scene, help, row, usage};

pub const CHECKPOINT: &[Scene] = &[
    (
        None,
        &[
            help("checkpoint --help"),
            help("checkpoint -h"),
            usage("checkpoint"),
            usage("checkpoint a b"),
            usage("checkpoint --bogus @nope"),
            usage("checkpoint --image-path"),
            usage("checkpoint --leave-running=maybe @nope"),
            usage("checkpoint --status-fd"),
            row("checkpoint @nope"),
            row("checkpoint --image-path $/i --work-path $/w --parent-path ../p @nope"),
            row("checkpoint --leave-running --tcp-established --ext-unix-sk --shell-job @nope"),
            row("checkpoint --file-locks --pre-dump --auto-dedup --empty-ns network @nope"),
            row("checkpoint --lazy-pages --status-fd 1 --page-server 127.0.0.1:1 @nope"),
            row("checkpoint -manage-cgroups-mode full --manage-cgroups-mode=strict @nope"),
        ],
    ),
    (Created, &[row("checkpoint --image-path $/created @")]),
    (Stopped, &[row("checkpoint --image-path $/stopped @")]),
];

/// runc makes a directory of images that is missing, which has nothing to restore from: it is there in
/// all of these.
pub const RESTORE: &[Scene] = &[(
    None,
    &[
        help("restore --help"),
        help("restore -h"),
        usage("restore"),
        usage("restore a b"),
        usage("restore --bogus @nope"),
        usage("restore --image-path"),
        // podman asks this way whether there is the flag.
        usage("restore --lsm-mount-context"),
        usage("restore --detach=maybe @nope"),
        row("restore -b /nowhere --image-path $ @nope"),
        row("restore --bundle /nowhere --image-path $ --work-path $/w @nope"),
        row("restore -b /nowhere --image-path $ --tcp-established --ext-unix-sk --shell-job @nope"),
        row("restore -b /nowhere --image-path $ --file-locks --auto-dedup --lazy-pages @nope"),
        row(
            "restore -b /nowhere --image-path $ -d --no-subreaper --no-pivot --pid-file $/pid @nope",
        ),
        row(
            "restore -b /nowhere --image-path $ --empty-ns network --manage-cgroups-mode soft @nope",
        ),
        row(
            "restore -b /nowhere --image-path $ --lsm-profile apparmor:x --lsm-mount-context x @nope",
        ),
        row("restore -b /nowhere --image-path $ --console-socket $/console @nope"),
    ],
)];
