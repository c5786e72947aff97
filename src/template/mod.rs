//! Go's `text/template`, as far as `--format` needs it: parse once, then render values to text.
//!
//! ```text
//! lex    text     → tokens
//! parse  tokens   → tree (`node`); unknown functions and variables are errors here
//! exec   tree     → text, with `functions` and `printf`
//! ```
//!
//! Pure and bounded: nesting, the number of actions run and the bytes printed ([`MAX_OUTPUT`]) have limits. What a template
//! prints is never read as a template again. Defining and calling other templates is refused by name.

mod exec;
mod functions;
mod lex;
mod node;
mod parse;
mod printf;
mod text;
mod time;
pub mod value;

pub use value::{Field, Value};

/// The most bytes that one rendering may print: 64 MiB.
pub const MAX_OUTPUT: usize = 64 << 20;

/// Why a template could not be parsed or rendered. Worded as Go words it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub(crate) String);

impl Error {
    fn too_long() -> Self {
        Self(format!("template prints more than {MAX_OUTPUT} bytes, or does not end"))
    }
}

/// What is rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Cells,
    Headings,
}

/// A parsed template.
#[derive(Debug, Clone)]
pub struct Template {
    name: String,
    text: String,
    nodes: Vec<node::Node>,
}

impl Template {
    /// Parses `text`; `name` is what errors call the template.
    pub fn parse(name: &str, text: &str) -> Result<Self, Error> {
        let nodes = parse::parse(name, text)?;
        Ok(Self { name: name.to_owned(), text: text.to_owned(), nodes })
    }

    /// Renders `data` as `.`.
    pub fn render(&self, data: &Value) -> Result<String, Error> {
        exec::render(&self.name, &self.text, &self.nodes, data, Mode::Cells)
    }

    /// Renders the headings of a table: functions that change a cell's text leave its heading as it is.
    pub fn render_headings(&self, headings: &Value) -> Result<String, Error> {
        exec::render(&self.name, &self.text, &self.nodes, headings, Mode::Headings)
    }

    /// Whether a text is a template at all: one of its lines holds a `{{…}}`.
    pub fn is_one(text: &str) -> bool {
        text.lines().any(|line| line.find("{{").is_some_and(|at| line[at..].contains("}}")))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rendered(text: &str, data: &Value) -> Result<String, String> {
        Template::parse("info", text).and_then(|template| template.render(data)).map_err(|error| error.to_string())
    }

    /// What podman 4.3 (Go 1.19) printed for these templates with `info --format`; names of Go types are ours.
    #[test]
    fn prints_and_refuses_what_go_does() {
        let cases: Vec<serde_json::Value> = serde_json::from_str(include_str!("testdata/go.json")).unwrap();
        let host = Value::Struct(vec![Field::new("OS", "linux"), Field::new("Arch", "amd64")]);
        let store = Value::Struct(vec![Field::new("GraphOptions", Value::Map([].into()))]);
        let data = Value::Struct(vec![Field::new("Host", host), Field::new("Store", store)]);
        assert!(cases.len() > 90);
        for case in cases {
            let text = case["template"].as_str().unwrap();
            let expected = match case["prints"].as_str() {
                Some(prints) => Ok(prints.to_owned()),
                None => Err(case["error"].as_str().unwrap().to_owned()),
            };
            let found = rendered(text, &data)
                .map(|out| out.trim_end_matches('\n').to_owned())
                .map_err(|error| error.trim_end().to_owned());
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn values_of_all_kinds() {
        let labels = Value::Map([("a".to_owned(), Value::from("b")), ("c d".to_owned(), Value::from("e"))].into());
        let data = Value::Struct(vec![
            Field::tagged("ID", "id", "4f53"),
            Field::new("Labels", labels),
            Field::new("None", Value::Null),
            Field::new("Empty", Value::Map([].into())),
            Field::new("Nil", Value::NilList),
            Field::new("Env", vec!["A=1", "B=2"]),
            Field::new("At", "2026-11-21T11:38:03.5Z".parse::<jiff::Timestamp>().unwrap()),
            Field::new("Epoch", jiff::Timestamp::UNIX_EPOCH),
            Field::new("Times", vec![jiff::Timestamp::UNIX_EPOCH]),
            Field::new("Inner", Value::Struct(vec![Field::new("X", 1), Field::new("Y", "z")])),
        ]);
        let cases = [
            ("{{.ID}}", "4f53"),
            ("{{.Labels}}", "map[a:b c d:e]"),
            ("{{.Labels.a}} {{.Labels.zz}}", "b <no value>"),
            ("{{index .Labels \"c d\"}}|{{index .Labels \"zz\"}}|{{index .Empty \"a\"}}", "e||"),
            ("{{.None}}", "<nil>"),
            ("{{.Empty}}", "map[]"),
            (
                "{{.Nil}} {{json .Nil}} {{len .Nil}} {{range .Nil}}x{{else}}none{{end}} {{printf \"%s\" .Nil}}",
                "[] null 0 none []",
            ),
            ("{{.Env}} {{len .Env}} {{index .Env 1}}", "[A=1 B=2] 2 B=2"),
            ("{{range .Env}}<{{.}}>{{end}}", "<A=1><B=2>"),
            ("{{range $k, $v := .Labels}}{{$k}}={{$v}};{{end}}", "a=b;c d=e;"),
            ("{{range .Empty}}x{{else}}none{{end}}{{range .None}}x{{else}}none{{end}}", "nonenone"),
            ("{{.At}}|{{.Epoch}}", "2026-11-21 11:38:03.5 +0000 UTC|1970-01-01 00:00:00 +0000 UTC"),
            ("{{.Inner}} {{printf \"%+v\" .Inner}}", "{1 z} {X:1 Y:z}"),
            ("{{json .Inner}} {{json .Labels}} {{json .None}}", r#"{"X":1,"Y":"z"} {"a":"b","c d":"e"} null"#),
            ("{{with .Labels.a}}{{.}}{{end}}{{with .Labels.zz}}x{{else}}-{{end}}", "b-"),
            ("{{join .Env \",\"}}", "A=1,B=2"),
            ("{{.Labels.zz.deeper}}", "<no value>"),
            ("{{range .Env}}{{$.ID}}{{end}}", "4f534f53"),
            ("{{.At.Year}} {{.At.Unix}} {{with .At}}{{.Month}}{{end}}", "2026 1795261083 November"),
            (r#"{{.At.Format "2006-01-02"}} {{"15:04" | .At.Format}} {{$x := .At}}{{$x.Format "05"}}"#, "2026-11-21 11:38 03"),
            (r#"{{(index .Times 0).Format "06"}} {{.At.UTC.Day}}"#, "70 21"),
            (
                "{{range 3}}{{.}}{{end}} {{range $i, $x := 2}}{{$i}}{{$x}};{{end}}{{range 0}}x{{else}}none{{end}}",
                "012 00;11;none",
            ),
        ];
        for (text, out) in cases {
            assert_eq!(rendered(text, &data).as_deref(), Ok(out), "{text}");
        }
        for (text, error) in [
            ("{{.At.Nope}}", "<.At.Nope>: can't evaluate field Nope in type time.Time"),
            ("{{.At.Format}}", "<.At.Format>: wrong number of args for Format: want 1 got 0"),
            ("{{.At.Format 1}}", "<.At.Format>: wrong type for value; expected string; got int"),
            ("{{.ID.Format 1}}", "<.ID.Format>: Format has arguments but cannot be invoked as function"),
        ] {
            assert!(rendered(text, &data).unwrap_err().ends_with(error), "{text}: {:?}", rendered(text, &data));
        }
        let error = rendered("{{.None.X}}", &data).unwrap_err();
        assert_eq!(error, "template: info:1:7: executing \"info\" at <.None.X>: nil pointer evaluating interface {}.X");
    }

    #[test]
    fn headings_stay_as_they_are() {
        let template =
            Template::parse("image", "{{.Name | lower}} {{json .Name}} {{truncate .Name 2}} {{pad .Name 1 1}}").unwrap();
        let headings = Value::Map([("Name".to_owned(), Value::from("NAME"))].into());
        assert_eq!(template.render_headings(&headings).as_deref(), Ok("NAME NAME NAME  NAME "));
    }

    #[test]
    fn a_template_has_an_action_in_one_line() {
        for (text, want) in
            [("{{.A}}", true), ("a{{.A}}b", true), ("a", false), ("{{.A", false), ("}}{{", false), ("{{\n}}", false)]
        {
            assert_eq!(Template::is_one(text), want, "{text:?}");
        }
    }

    #[test]
    fn other_templates_are_refused_by_name() {
        for keyword in ["define", "template", "block"] {
            let error = rendered(&format!("{{{{{keyword} \"x\"}}}}{{{{end}}}}"), &Value::Null).unwrap_err();
            assert_eq!(error, format!("template: info:1: {{{{{keyword}}}}} is not supported in a --format template"));
        }
    }

    /// Text from an image is data: it is never read as a template again (A146).
    #[test]
    fn values_are_not_expanded() {
        let data = Value::Struct(vec![Field::new("Name", "{{.Secret}}\n"), Field::new("Secret", "s")]);
        assert_eq!(rendered("{{.Name}}|{{printf \"%s\" .Name}}", &data).as_deref(), Ok("{{.Secret}}\n|{{.Secret}}\n"));
    }

    #[test]
    fn work_is_bounded() {
        let many = Value::List(vec![Value::List(vec![Value::Int(1); 3000]); 3000]);
        assert!(rendered("{{range .}}{{range $.}}{{range .}}{{end}}{{end}}{{end}}", &many).is_err());
        assert!(rendered("{{range .}}{{range .}}{{printf \"%100000s\" \"\"}}{{end}}{{end}}", &many).is_err());
        assert!(rendered(&format!("{{{{{}1{}}}}}", "(".repeat(100_000), ")".repeat(100_000)), &many).is_err());
        assert!(rendered(&"{{if 1}}".repeat(100_000), &many).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_a_template_or_an_error(text in "(\\{\\{|\\}\\}|[-a.$x|():=,'\"`% 0-9é\n]|range |if |end|else|with |printf |index |len ){0,30}") {
            let data = Value::Struct(vec![Field::new("a", vec!["x", "y"])]);
            let _ = rendered(&text, &data);
        }
    }
}
