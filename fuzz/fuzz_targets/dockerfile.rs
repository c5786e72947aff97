//! Any text as a Dockerfile: no panic; places lie in the text and can be shown; what can be read with values was found sound before.
#![no_main]

use coracle::dockerfile::{parse, parse_trigger, render};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let lookup = |name: &str| (name != "N").then(|| "a b".to_owned());
    let _ = parse_trigger(text);
    match parse(text) {
        Ok(file) => {
            for stage in &file.stages {
                let _ = stage.from.base(&lookup);
                assert!(stage.span().end <= text.len());
                for step in &stage.steps {
                    assert!(step.span().end <= text.len());
                    if let Err(error) = step.instruction(&lookup) {
                        assert!(error.span.start <= error.span.end && error.span.end <= text.len());
                    }
                }
            }
        }
        Err(error) => {
            assert!(error.span.start <= error.span.end && error.span.end <= text.len());
            assert_eq!(render::render("Dockerfile", text, error.span).lines().count(), 3);
        }
    }
});
