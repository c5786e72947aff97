//! The verbs on a working container.

pub mod add;
