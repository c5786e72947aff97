//! `run`: a command in a working container.
