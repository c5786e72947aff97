//! Any text as a `--format` template: no panic, and no rendering without end.
#![no_main]

use coracle::template::{Field, MAX_OUTPUT, Template, Value};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(template) = Template::parse("fuzz", text) else { return };
    let labels = Value::Map([("a".to_owned(), Value::from("b")), ("{{.ID}}".to_owned(), Value::Null)].into());
    let data = Value::Struct(vec![
        Field::new("ID", "0123456789abcdef"),
        Field::new("Names", vec!["x", "y\n"]),
        Field::new("Labels", labels),
        Field::new("Size", Value::Int(-1)),
        Field::new("Ratio", Value::Float(0.5)),
        Field::new("ReadOnly", Value::Bool(true)),
        Field::new("None", Value::NilList),
    ]);
    for rendered in [template.render(&data), template.render_headings(&data)].into_iter().flatten() {
        assert!(rendered.len() <= MAX_OUTPUT);
    }
});
