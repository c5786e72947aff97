//! The one tar engine.
pub mod decompress;
pub mod pack;
pub mod reader;
pub mod unpack;
pub mod whiteout;
