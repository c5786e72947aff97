//! `config`: changes to the image config that the next commit writes.
