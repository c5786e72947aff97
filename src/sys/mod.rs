//! The only `unsafe` of the program: kernel interfaces that neither nix nor rustix wraps safely.

pub mod fork;
