//! A Dockerfile instruction that only changes the config, as `image::Change`s.
