//! The log that `--log`, `--log-format` and `--debug` ask for, in logrus's two formats.
//!
//! Warnings go there without a flag, as the runtime-spec demands them of some values. What fails is
//! one line, which podman decodes the whole file as; warnings of a command that fails are rare. With
//! a file, the error also goes to standard error, plain.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use log::{LevelFilter, Metadata, Record};

use crate::cli::Globals;
use crate::error::Error;
use crate::output::json;

/// The form of a log line.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `time="…" level=error msg="…"`
    #[default]
    Text,
    /// `{"level":"error","msg":"…","time":"…"}`
    Json,
}

/// Where log lines go. The default is text on standard error.
#[derive(Debug, Default)]
pub struct Logger {
    file: Option<Arc<File>>,
    format: Format,
}

impl Logger {
    /// Opens the log of the global flags, appending to what is there.
    pub fn open(globals: &Globals) -> Result<Logger, Error> {
        let format = match globals.log_format.as_str() {
            "" | "text" => Format::Text,
            "json" => Format::Json,
            other => return Err(Error::LogFormat { format: other.to_owned() }),
        };
        let open = |path: &PathBuf| {
            let mut options = OpenOptions::new();
            let options = options.append(true).create(true).mode(0o644);
            options.open(path).map_err(|source| Error::file("open", path, source))
        };
        let file = globals.log.as_ref().map(open).transpose()?.map(Arc::new);
        Ok(Logger { file, format })
    }

    /// Takes the records of the log macros too: warnings, and with `--debug` all.
    pub fn take_records(&self, debug: bool) {
        let logger = Logger { file: self.file.clone(), format: self.format };
        if log::set_boxed_logger(Box::new(logger)).is_ok() {
            log::set_max_level(if debug { LevelFilter::Debug } else { LevelFilter::Warn });
        }
    }

    /// Writes the one error line.
    pub fn error(&self, message: &str) {
        self.line("error", message);
        if self.file.is_some() {
            // Nobody is left to tell when standard error is gone.
            let _ = writeln!(std::io::stderr(), "{message}");
        }
    }

    fn line(&self, level: &str, message: &str) {
        let line = line(self.format, level, message, &now());
        // A log that can't be written must not change what the command does.
        let _ = match self.file.as_ref() {
            Some(file) => (&**file).write_all(line.as_bytes()),
            None => std::io::stderr().write_all(line.as_bytes()),
        };
    }
}

impl log::Log for Logger {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let level = match record.level() {
            // logrus's word.
            log::Level::Warn => "warning".to_owned(),
            level => level.as_str().to_ascii_lowercase(),
        };
        self.line(&level, &record.args().to_string());
    }

    fn flush(&self) {}
}

/// With whole seconds, as logrus prints it.
fn now() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    container::rfc3339(UNIX_EPOCH + Duration::from_secs(seconds))
}

fn line(format: Format, level: &str, message: &str, time: &str) -> String {
    match format {
        Format::Json => format!(
            "{{\"level\":{},\"msg\":{},\"time\":{}}}\n",
            json::string(level),
            json::string(message),
            json::string(time)
        ),
        Format::Text => format!("time={} level={level} msg={}\n", value(time), value(message)),
    }
}

/// logrus quotes what is not made of these characters alone.
fn value(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._/@^+".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text.to_owned() } else { quote(text) }
}

/// Go's `%q`.
fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0b' => out.push_str("\\v"),
            '\x0c' => out.push_str("\\f"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => {
                // A String takes every write.
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "2026-11-22T12:57:18Z";

    #[test]
    fn a_json_line_has_logrus_keys_in_its_order() {
        assert_eq!(
            line(Format::Json, "error", "a \"b\" <c>", TIME),
            "{\"level\":\"error\",\"msg\":\"a \\\"b\\\" \\u003cc\\u003e\",\
             \"time\":\"2026-11-22T12:57:18Z\"}\n"
        );
    }

    #[test]
    fn a_text_line_quotes_what_needs_it() {
        assert_eq!(
            line(Format::Text, "error", "container does not exist", TIME),
            "time=\"2026-11-22T12:57:18Z\" level=error msg=\"container does not exist\"\n"
        );
        assert_eq!(
            line(Format::Text, "debug", "/run/x", TIME),
            "time=\"2026-11-22T12:57:18Z\" level=debug msg=/run/x\n"
        );
    }

    #[test]
    fn quoting_is_that_of_go() {
        for (text, quoted) in [
            ("a\nb\tc\\", r#""a\nb\tc\\""#),
            ("\x01\x7f", r#""\x01\x7f""#),
            ("", r#""""#),
            ("é", r#""é""#),
        ] {
            assert_eq!(quote(text), quoted);
        }
    }
}
