//! The words of the command line that every benchmark takes.

use std::path::PathBuf;

use crate::Failure;

/// What to measure.
pub struct Options {
    /// Rounds of the interleaved figures.
    pub rounds: usize,
    /// The parts of the benchmark; empty for all.
    pub only: Vec<String>,
    /// What is measured beside the known ones, or in their place: names and commands.
    pub with: Vec<(String, String)>,
    /// Where the results go.
    pub out: PathBuf,
}

impl Options {
    /// Take `words` apart. `own` gets the name and the value of an option that is not every
    /// benchmark's, and says whether it knows that one.
    pub fn parse(
        words: &[String],
        rounds: usize,
        mut own: impl FnMut(&str, &str) -> Result<bool, Failure>,
    ) -> Result<Self, Failure> {
        let (only, with) = (Vec::new(), Vec::new());
        let mut options = Self { rounds, only, with, out: PathBuf::from("conformance/bench") };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| format!("{word} wants a value"))?;
            match word.as_str() {
                "--rounds" => {
                    options.rounds = value.parse().map_err(|e| format!("--rounds {value}: {e}"))?;
                }
                "--only" => options.only = value.split(',').map(str::to_owned).collect(),
                "--with" => {
                    let (name, command) =
                        value.split_once('=').ok_or("--with wants NAME=COMMAND")?;
                    options.with.push((name.to_owned(), command.to_owned()));
                }
                "--out" => options.out = PathBuf::from(value),
                name if own(name, value)? => {}
                _ => return Err(format!("{word}: no such option\n{}", crate::USAGE).into()),
            }
        }
        Ok(options)
    }

    /// Is this part asked for?
    pub fn wants(&self, part: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == part)
    }
}

#[cfg(test)]
mod tests {
    use super::Options;

    fn parse(line: &str) -> Result<(Options, Vec<String>), String> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let mut views = Vec::new();
        let options = Options::parse(&words, 30, |name, value| {
            let known = name == "--view";
            views.extend(known.then(|| value.to_owned()));
            Ok(known)
        });
        options.map(|options| (options, views)).map_err(|failure| failure.to_string())
    }

    #[test]
    fn takes_every_benchmarks_options_and_hands_on_the_others() {
        let line = "--only a,b --view v2 --with x=A=1 --with z=w --out /tmp --rounds 3";
        let (options, views) = parse(line).unwrap();
        assert_eq!((options.rounds, views), (3, vec!["v2".to_owned()]));
        assert_eq!(options.with[0], ("x".to_owned(), "A=1".to_owned()));
        assert!(options.wants("b") && !options.wants("c"));
        assert!(parse("--view v2").unwrap().0.wants("c"));
    }

    #[test]
    fn names_what_it_does_not_take() {
        for (line, text) in [
            ("--rounds", "--rounds wants a value"),
            ("--rounds x", "--rounds x: invalid digit"),
            ("--with x", "--with wants NAME=COMMAND"),
            ("--image app", "--image: no such option\nUsage: "),
        ] {
            let failure = parse(line).err().unwrap();
            assert!(failure.starts_with(text), "{line}: {failure}");
        }
    }
}
