//! The `coracle` program: hands the command line to `coracle::commands` and turns its answer into an exit status.

fn main() {}
