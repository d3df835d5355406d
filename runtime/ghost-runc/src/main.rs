//! ghost-runc: the command line.

fn main() {}
