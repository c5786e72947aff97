//! Coracle: a daemonless, rootless container image builder.
//!
//! Imports point down one ladder: `commands` → `build` → `container` → `run`, `copier`, `transport` → `dockerfile`, `image`, `conf`, `http`,
//! `template`, `userns` → `sys`, `golang`, `spelling`; modules on one rung do not import each other. `containers_storage` stands under all of it.
#![deny(unsafe_code)]

pub mod build;
pub mod commands;
pub mod conf;
pub mod container;
pub mod copier;
pub mod dockerfile;
pub mod golang;
pub mod http;
pub mod image;
pub mod run;
pub mod spelling;
#[allow(unsafe_code)]
pub mod sys;
pub mod template;
pub mod transport;
pub mod userns;
