//! Terminals, and who attaches to what runs already.

use std::time::Duration;

use crate::call::wait_until;
use crate::case::Outcome;
use crate::console::Terminal;
use crate::suites::asked::{self, Client};
use crate::suites::engine;
use crate::suites::podman::Podman;
use crate::{ensure, ensure_eq};

const ECHO: &str = "echo ready; while read line; do echo got $line; done; echo end; exit 4";

/// The keys that leave a container to itself: podman knows them only when it reads each by itself.
const DETACH: [&str; 2] = ["\u{10}", "\u{11}"];
const BETWEEN_KEYS: Duration = Duration::from_millis(200);

pub fn terminals(podman: Podman) -> Outcome {
    asked::run_terminal(&podman)?;
    podman.run(&["-di", "--name", "a"], &["sh", "-c", ECHO]).ok()?;
    asked::exec_terminal(&podman, "a")?;
    // The end of stdin is the container's, too.
    let output = podman.call(&["attach", "a"]).stdin(podman.input("one\ntwo\n")?).output()?;
    ensure!(output.stdout.contains("got one\ngot two\nend\n"), "attach: {output}");
    ensure_eq!(podman.call(&["wait", "a"]).ok()?.stdout, "4\n", "exit code");

    let mut made = Ok(());
    let talked = engine::talk_over(podman.env(), 0, |script| {
        made = podman.run(&["-dit", "--name", "t"], script).ok().map(drop);
        podman.call(&["attach", "t"])
    });
    made.and(talked)?;
    ensure_eq!(podman.call(&["wait", "t"]).ok()?.stdout, "4\n", "exit code");
    podman.call(&["start", "t"]).ok()?;
    let (mut terminal, slave) = Terminal::open(37, 91)?;
    let mut attached = podman.call(&["attach", "t"]).on_terminal(&slave)?.spawn()?;
    drop(slave);
    terminal.expect("sized", podman.env().shared.limit * 3)?;
    wait_until(podman.env().shared.limit * 3, "the end of attach", || {
        for key in DETACH {
            terminal.write(key)?;
            std::thread::sleep(BETWEEN_KEYS);
        }
        Ok(attached.child.try_wait()?.map(drop))
    })?;
    attached.wait()?.expect_code(0)?;
    ensure_eq!(podman.inspect("t", "{{.State.Status}}")?, "running", "status");
    podman.end()
}
