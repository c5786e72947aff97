//! The C library's allocator, which is also Rust's.

/// Has all threads allocate from two arenas. By itself glibc gives each thread one of its own, up to eight for each core, and each keeps
/// what was freed in it: layers that move at once would hold tens of megabytes that nobody uses. Small blocks come from a cache of each
/// thread in any case. To be called before there are threads; elsewhere than with glibc it does nothing.
pub fn share_arenas() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt(3) takes two numbers and touches the allocator's settings only; that it must not race with another call of itself is
    // kept by calling it first of all. A number that it does not like it refuses, which changes nothing.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
    }
}
