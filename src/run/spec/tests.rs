//! Tables for the specification builder.
