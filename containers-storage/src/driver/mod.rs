//! Graph drivers.
pub mod overlay;
