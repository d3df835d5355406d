//! Environment variables, of a process or of a hook. runtime-spec: they are what POSIX has in environ.

use std::collections::HashMap;

/// The last of several values of one variable counts, as runc has it.
pub(super) fn last(env: &[String]) -> Vec<&str> {
    let name = |variable: &'_ str| variable.split('=').next().unwrap_or_default().to_owned();
    let mut last = HashMap::with_capacity(env.len());
    for (index, variable) in env.iter().enumerate() {
        last.insert(name(variable), index);
    }
    let kept = env.iter().enumerate().filter(|(index, v)| last.get(&name(v)) == Some(index));
    kept.map(|(_, variable)| variable.as_str()).collect()
}

/// Why it is none. runc refuses the same of a process.
pub(super) fn refusal(variable: &str) -> Option<String> {
    let why = match variable.find('=') {
        None => "has no '='",
        Some(0) => "has no name before the '='",
        Some(_) if variable.contains('\0') => "has a NUL byte",
        Some(_) => return None,
    };
    Some(format!("{variable:?} {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_of_a_variable_counts() {
        let env = ["A=1", "B=2", "A=3", "C="].map(str::to_owned);
        assert_eq!(last(&env), ["B=2", "A=3", "C="]);
    }

    #[test]
    fn a_variable_has_a_name_and_a_value() {
        for variable in ["A=", "A=b=c", "A b=c", "\u{e4}=1"] {
            assert_eq!(refusal(variable), None, "{variable:?}");
        }
        for variable in ["A", "", "=b", "A=\0", "\0"] {
            assert!(refusal(variable).is_some(), "{variable:?}");
        }
    }
}
