pub fn shout(text: &str) -> String { format!("{text}!") }
