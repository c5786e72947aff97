//! Which of the three standard descriptors were open when the program was started.
//!
//! The runtime of Rust opens `/dev/null` in the place of those that were not, so that no file gets their numbers; afterwards nobody can
//! tell. A function in `.init_array` is called before that (System V ABI, "Initialization and Termination Functions").

use std::sync::atomic::{AtomicBool, Ordering};

static STDOUT_CLOSED: AtomicBool = AtomicBool::new(false);

#[used]
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

extern "C" fn look() {
    // SAFETY: the call takes two integers and changes nothing. It needs nothing of Rust's runtime, which is not set up yet.
    let flags = unsafe { libc::fcntl(libc::STDOUT_FILENO, libc::F_GETFD) };
    STDOUT_CLOSED.store(flags < 0, Ordering::Relaxed);
}

/// Whether the program was started without a stdout (`>&-`).
pub fn stdout_was_closed() -> bool {
    STDOUT_CLOSED.load(Ordering::Relaxed)
}
