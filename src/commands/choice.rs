//! Which of several: a list on a terminal, of which a person selects one line.
//!
//! Invariant: nobody is asked unless standard input and output are both a terminal, as with the other tools: in `x=$(coracle from y)`
//! there is nobody. The list goes to stderr and is taken away afterwards; Ctrl-C is read as a key, so that the terminal stays whole.

use std::io::{self, IsTerminal as _};

use super::Ui;
use super::password::{self, Hidden};

/// Whether there is somebody to ask.
pub(super) fn can_be_made() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal() && io::stderr().is_terminal()
}

/// Asks which of these images is meant. The answer is a place in the list.
pub(super) fn of_an_image(names: &[String]) -> io::Result<usize> {
    let heading = "? Please select an image:";
    // Without cursor movement a number is as good.
    if std::env::var_os("TERM").is_none_or(|terminal| terminal == "dumb") {
        by_number(heading, names)
    } else {
        by_keys(heading, names)
    }
}

fn by_number(heading: &str, names: &[String]) -> io::Result<usize> {
    Ui::progress(heading);
    for (index, name) in names.iter().enumerate() {
        Ui::progress(format!("  {}  {name}", index + 1));
    }
    Ui::ask(format!("1-{}: ", names.len()));
    let typed = password::line()?;
    let number = typed.trim().parse::<usize>().ok().filter(|number| (1..=names.len()).contains(number));
    number
        .map(|number| number - 1)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("{typed:?} is no line of the list")))
}

fn by_keys(heading: &str, names: &[String]) -> io::Result<usize> {
    let _keys = Hidden::new()?;
    let mut selected = 0;
    let mut drawn = 0;
    let chosen = loop {
        let marked = |(index, name): (usize, &String)| format!("  {} {name}", if index == selected { '>' } else { ' ' });
        let lines: Vec<String> = std::iter::once(heading.to_owned()).chain(names.iter().enumerate().map(marked)).collect();
        Ui::redraw(drawn, &lines);
        drawn = lines.len();
        match key(names.len())? {
            Key::Up => selected = selected.checked_sub(1).unwrap_or(names.len() - 1),
            Key::Down => selected = (selected + 1) % names.len(),
            Key::Line(index) => selected = index,
            Key::Enter => break Ok(selected),
            Key::Stop(kind) => break Err(kind.into()),
            Key::Other => {}
        }
    };
    Ui::redraw(drawn, &[]);
    chosen
}

enum Key {
    Up,
    Down,
    Line(usize),
    Enter,
    Stop(io::ErrorKind),
    Other,
}

/// The next key, in a list of `count` lines.
fn key(count: usize) -> io::Result<Key> {
    Ok(match password::byte()? {
        // The end, Ctrl-D.
        None | Some(4) => Key::Stop(io::ErrorKind::UnexpectedEof),
        // Ctrl-C.
        Some(3) => Key::Stop(io::ErrorKind::Interrupted),
        Some(b'\n' | b'\r') => Key::Enter,
        // Ctrl-P, Ctrl-N.
        Some(b'k' | 16) => Key::Up,
        Some(b'j' | 14) => Key::Down,
        Some(digit @ b'1'..=b'9') if usize::from(digit - b'1') < count => Key::Line(usize::from(digit - b'1')),
        // Arrows: ESC [ A, or ESC O A where the terminal is told so.
        Some(0x1b) => match password::byte()? {
            Some(b'[' | b'O') => match password::byte()? {
                Some(b'A') => Key::Up,
                Some(b'B') => Key::Down,
                _ => Key::Other,
            },
            Some(0x1b | 3) | None => Key::Stop(io::ErrorKind::Interrupted),
            _ => Key::Other,
        },
        _ => Key::Other,
    })
}
