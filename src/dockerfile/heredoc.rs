//! Here-documents: a word `<<NAME` in a line, and the lines that follow until one that is `NAME`.

use super::words::split_words;

/// A here-document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The word that ends it, and the name of the file that it becomes.
    pub name: String,
    /// The lines as written, each with its end.
    pub text: String,
    /// Where that begins in the whole text.
    pub(super) start: usize,
    /// What happens to variables in it: unless its name is quoted, COPY and ADD replace them (RUN leaves them to the shell).
    pub expansion: Expansion,
    /// Whether tabs at the start of lines go away (`<<-`).
    pub tabs: Tabs,
}

/// Whether variables in a here-document are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expansion {
    /// They are.
    Variables,
    /// Its name is quoted: they are not.
    Nothing,
}

/// What becomes of the tabs at the start of a here-document's lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tabs {
    /// They stay.
    Keep,
    /// They go.
    Strip,
}

impl Heredoc {
    /// The text, without the tabs that `<<-` takes away.
    pub fn content(&self) -> String {
        match self.tabs {
            Tabs::Keep => self.text.clone(),
            Tabs::Strip => self.text.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect(),
        }
    }

    /// The place in the whole text that begins at an offset of [`Self::content`] and goes to the end of that line.
    pub(super) fn place(&self, offset: usize) -> (usize, usize) {
        let content = self.content();
        let before = content.get(..offset).unwrap_or_default();
        let column = offset - before.rfind('\n').map_or(0, |newline| newline + 1);
        let number = before.matches('\n').count();
        let mut lines = self.text.split_inclusive('\n');
        let start = self.start + lines.by_ref().take(number).map(str::len).sum::<usize>();
        let line = lines.next().unwrap_or_default().trim_end();
        let tabs = match self.tabs {
            Tabs::Keep => 0,
            Tabs::Strip => line.len() - line.trim_start_matches('\t').len(),
        };
        (start + tabs + column, start + line.len())
    }

    /// The document that a word announces, still without its text: digits, `<<`, perhaps `-`, and a name.
    pub(super) fn announced(word: &str) -> Option<Self> {
        let rest = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
        let (tabs, rest) = match rest.strip_prefix('-') {
            Some(rest) => (Tabs::Strip, rest),
            None => (Tabs::Keep, rest),
        };
        if rest.is_empty() || rest.contains('<') {
            return None;
        }
        let name = unquoted(rest)?;
        let expansion = if name == rest { Expansion::Variables } else { Expansion::Nothing };
        Some(Self { name, text: String::new(), start: 0, expansion, tabs })
    }

    /// The documents that the words of an instruction's arguments announce, in their order, each with its word.
    pub(super) fn all_announced(arguments: &str) -> Vec<(Self, &str)> {
        split_words(arguments, '\\').into_iter().filter_map(|word| Some((Self::announced(word)?, word))).collect()
    }

    /// Whether `line` is the end of the document.
    pub(super) fn is_ended_by(&self, line: &str) -> bool {
        let line = line.trim_end_matches(['\r', '\n']);
        match self.tabs {
            Tabs::Keep => line == self.name,
            Tabs::Strip => line.trim_start_matches('\t') == self.name,
        }
    }
}

/// A word without quotes and escapes; `None` if a quote is open.
fn unquoted(word: &str) -> Option<String> {
    let mut out = String::new();
    let mut quote = None;
    let mut characters = word.chars();
    while let Some(c) = characters.next() {
        match (quote, c) {
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            (None | Some('"'), '\\') => out.extend(characters.next()),
            (_, c) => out.push(c),
        }
    }
    quote.is_none().then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_announce() {
        let cases = [
            ("<<EOF", Some(("EOF", Expansion::Variables, Tabs::Keep))),
            ("<<-EOF", Some(("EOF", Expansion::Variables, Tabs::Strip))),
            ("<<'EOF'", Some(("EOF", Expansion::Nothing, Tabs::Keep))),
            ("<<-\"E O F\"", Some(("E O F", Expansion::Nothing, Tabs::Strip))),
            ("<<\\EOF", Some(("EOF", Expansion::Nothing, Tabs::Keep))),
            ("<<E\"O\"F", Some(("EOF", Expansion::Nothing, Tabs::Keep))),
            ("3<<EOF", Some(("EOF", Expansion::Variables, Tabs::Keep))),
            ("<<a.txt", Some(("a.txt", Expansion::Variables, Tabs::Keep))),
            ("<<\"\"", Some(("", Expansion::Nothing, Tabs::Keep))),
            ("<<", None),
            ("<<-", None),
            ("<<<EOF", None),
            ("<EOF", None),
            ("x<<EOF", None),
            ("<<'EOF", None),
        ];
        for (word, expected) in cases {
            let found = Heredoc::announced(word);
            let found = found.as_ref().map(|heredoc| (heredoc.name.as_str(), heredoc.expansion, heredoc.tabs));
            assert_eq!(found, expected, "{word:?}");
        }
    }

    #[test]
    fn words_in_quotes_do_not_announce() {
        let names = |arguments: &str| -> Vec<String> {
            Heredoc::all_announced(arguments).into_iter().map(|(heredoc, _)| heredoc.name).collect()
        };
        assert_eq!(names("cat <<A 3<<B > x"), ["A", "B"]);
        assert_eq!(names("echo \"a <<A\" 'b <<B' \\<<C"), Vec::<String>::new());
        assert_eq!(names("echo $((1<<2)) <<A"), ["A"]);
    }

    #[test]
    fn tabs_go_and_blanks_stay() {
        let mut heredoc = Heredoc::announced("<<-E").expect("announced");
        heredoc.text = "\t\ta\n \tb\n\t\n".to_owned();
        assert_eq!(heredoc.content(), "a\n \tb\n\n");
        assert!(
            heredoc.is_ended_by("\tE\r\n")
                && heredoc.is_ended_by("E")
                && !heredoc.is_ended_by(" E")
                && !heredoc.is_ended_by("E ")
        );
        let keep = Heredoc::announced("<<E").expect("announced");
        assert!(!keep.is_ended_by("\tE"));
    }
}
