//! `commit`: an image from a working container.
