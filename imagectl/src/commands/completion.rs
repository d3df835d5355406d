//! `imagectl completion` and `imagectl man`.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Arguments;
use crate::error::{Error, Result};

#[derive(Debug, Args)]
pub struct Completion {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

#[derive(Debug, Args)]
pub struct Man {
    /// Where the pages go
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

impl Completion {
    pub fn run(self, out: &mut dyn Write) -> Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Arguments::command(), "imagectl", &mut script);
        out.write_all(&script).map_err(Error::step("write the result"))
    }
}

impl Man {
    pub fn run(self) -> Result<()> {
        let path = &self.directory;
        clap_mangen::generate_to(Arguments::command(), path).map_err(Error::io("write to", path))
    }
}
