//! A copy of what is being packed, made from the same reads (the copying commit: one read of each file).
