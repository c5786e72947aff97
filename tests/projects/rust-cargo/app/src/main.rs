fn main() { println!("{}", words::shout("built by cargo")); }
