//! Promises that only hold under force: killed at any moment, many tools at once, no space, no right to write.
//!
//! The kill and load tests run for `CORACLE_STRESS_SECONDS` each (40 unless set; `contrib/stress` sets more).

#[path = "../harness/mod.rs"]
mod harness;

mod bad_store;
mod hostile_builds;
mod interrupted_copies;
mod kill;
mod killed_builds;
mod load;
mod prunes;

/// How long a test of force goes on.
fn stress_time() -> std::time::Duration {
    let seconds = std::env::var("CORACLE_STRESS_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(40);
    std::time::Duration::from_secs(seconds)
}

/// Random numbers for choices and delays; printed with its seed, so that a failure can be followed.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |age| age.subsec_nanos());
        let seed = std::env::var("CORACLE_STRESS_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(u64::from(now) | 1);
        eprintln!("CORACLE_STRESS_SEED={seed}");
        Self(seed)
    }

    /// A number below `limit` (xorshift64).
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit.max(1)
    }
}
