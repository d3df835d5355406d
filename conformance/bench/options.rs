//! The words of the command line.

use std::path::PathBuf;

use crate::Failure;

/// A view of control groups.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// A mount of v2 alone.
    V2,
    /// What the machine has.
    Host,
}

impl View {
    /// Its name on the command line and in the results.
    pub fn name(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::Host => "host",
        }
    }
}

/// What to measure.
pub struct Options {
    /// Rounds of the interleaved figures.
    pub rounds: usize,
    /// The views, one after the other.
    pub views: Vec<View>,
    /// The groups of figures; empty for all.
    pub only: Vec<String>,
    /// Contenders by name and command.
    pub with: Vec<(String, String)>,
    /// Where the results go.
    pub out: PathBuf,
}

impl Options {
    /// Take `words` apart.
    pub fn parse(words: &[String]) -> Result<Self, Failure> {
        let mut options = Self {
            rounds: 30,
            views: vec![View::V2, View::Host],
            only: Vec::new(),
            with: Vec::new(),
            out: PathBuf::from("conformance/bench"),
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| format!("{word} wants a value"))?;
            match word.as_str() {
                "--rounds" => {
                    options.rounds = value.parse().map_err(|e| format!("--rounds {value}: {e}"))?;
                }
                "--view" => options.views = vec![view(value)?],
                "--only" => options.only = value.split(',').map(str::to_owned).collect(),
                "--with" => {
                    let (name, command) =
                        value.split_once('=').ok_or("--with wants NAME=COMMAND")?;
                    options.with.push((name.to_owned(), command.to_owned()));
                }
                "--out" => options.out = PathBuf::from(value),
                _ => return Err(format!("{word}: no such option\n{}", crate::USAGE).into()),
            }
        }
        Ok(options)
    }

    /// Is this group of figures asked for?
    pub fn wants(&self, group: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == group)
    }
}

fn view(name: &str) -> Result<View, Failure> {
    [View::V2, View::Host]
        .into_iter()
        .find(|view| view.name() == name)
        .ok_or_else(|| format!("--view {name}: neither host nor v2").into())
}
