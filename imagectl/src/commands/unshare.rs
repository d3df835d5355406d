//! `imagectl unshare`.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;

use clap::Args;

use crate::error::{Error, Result};
use crate::user_namespace;

#[derive(Debug, Args)]
pub struct Unshare {
    /// The command and its arguments [default: the shell]
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

impl Unshare {
    /// Becomes the command: this process is in the namespace already.
    pub fn run(self) -> Result<()> {
        if !user_namespace::is_own() {
            let reason = match user_namespace::has_all_ids() && rustix::process::geteuid().is_root()
            {
                true => "root has all rights without a user namespace",
                false => "this machine lets this user have no user namespace",
            };
            return Err(Error::Argument { option: "unshare", reason: reason.into() });
        }
        let mut words = self.command.into_iter();
        let program = words
            .next()
            .or_else(|| std::env::var_os("SHELL").filter(|shell| !shell.is_empty()))
            .unwrap_or_else(|| "/bin/sh".into());
        let error = std::process::Command::new(&program).args(words).exec();
        Err(Error::io("run", program)(error))
    }
}
