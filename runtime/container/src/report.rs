//! Collects what is wrong with a configuration, so that all of it is told at once.
//!
//! A function that checks several things has a report of its own and returns one [`Error`]: the only
//! one as it is, several as [`Error::Many`], which the caller's report takes apart again.

use crate::error::{Error, Violation};

/// The errors so far, in the order of the checks.
#[derive(Debug, Default)]
pub(crate) struct Report {
    found: Vec<Violation>,
}

impl Report {
    /// A value of config.json that can't take effect.
    pub fn add(&mut self, field: impl Into<String>, reason: impl Into<String>) {
        self.push(Error::invalid(field, reason));
    }

    /// Any error; several in one count one by one. What was said before is not said again.
    pub fn push(&mut self, error: impl Into<Error>) {
        for violation in error.into().violations() {
            let text = violation.error.text();
            if !self.found.iter().any(|before| before.error.text() == text) {
                self.found.push(violation);
            }
        }
    }

    /// Nothing is wrong so far.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// All that is wrong so far.
    pub fn found(self) -> Vec<Violation> {
        self.found
    }

    /// The value, or where it is wrong the type's empty one, with which the checks go on.
    pub fn take<T: Default>(&mut self, result: Result<T, impl Into<Error>>) -> T {
        self.keep(result).unwrap_or_default()
    }

    /// The value, or where it is wrong none.
    pub fn keep<T>(&mut self, result: Result<T, impl Into<Error>>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }

    /// What was planned, unless anything is wrong. None goes with an error that was pushed.
    pub fn finish<T>(self, planned: Option<T>) -> Result<T, Error> {
        match planned {
            Some(planned) if self.found.is_empty() => Ok(planned),
            _ => Err(Error::of(self.found)),
        }
    }
}

/// All values, or all that is wrong.
pub(crate) fn each<T>(results: impl Iterator<Item = Result<T, Error>>) -> Result<Vec<T>, Error> {
    let mut report = Report::default();
    let values = results.filter_map(|result| report.keep(result)).collect();
    report.finish(Some(values))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_error_stays_what_it_is_and_several_are_told_together() {
        let mut inner = Report::default();
        inner.add("a", "is bad");
        let mut outer = Report::default();
        outer.take(inner.finish(Some(())));
        assert!(outer.found.len() == 1);
        outer.add("b", "is worse");
        assert_eq!(outer.finish(Some(1)).unwrap_err().to_string(), "a: is bad; b: is worse");
        assert_eq!(Report::default().finish(Some(1)).unwrap(), 1);
    }

    #[test]
    fn a_list_is_checked_to_its_end() {
        let odd = |n: i32| if n % 2 == 1 { Ok(n) } else { Err(Error::invalid("n", n.to_string())) };
        assert_eq!(each([1, 3].into_iter().map(odd)).unwrap(), [1, 3]);
        assert_eq!(each((1..5).map(odd)).unwrap_err().to_string(), "n: 2; n: 4");
    }
}
