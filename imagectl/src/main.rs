//! imagectl: the command line.

fn main() {}
