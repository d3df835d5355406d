//! Says by sd_notify(3) that it is ready, then waits.

use std::os::unix::net::UnixDatagram;
use std::process::ExitCode;
use std::time::Duration;

/// Sends two messages to NOTIFY_SOCKET; exits 1 when it can't.
pub fn run() -> ExitCode {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return ExitCode::FAILURE };
    let sent = UnixDatagram::unbound().and_then(|socket| {
        socket.send_to(b"STATUS=almost\n", &path)?;
        socket.send_to(b"READY=1\nSTATUS=up\n", &path)
    });
    if sent.is_err() {
        return ExitCode::FAILURE;
    }
    let seconds = std::env::args().nth(2).and_then(|text| text.parse().ok()).unwrap_or(1000);
    std::thread::sleep(Duration::from_secs(seconds));
    ExitCode::SUCCESS
}
