//! `from`: a new working container on an image of the store or on nothing.
