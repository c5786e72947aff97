//! The `coracle` program: hands the command line to `coracle::commands` and turns its answer into an exit status.

use std::process::ExitCode;

fn main() -> ExitCode {
    coracle::commands::main()
}
