//! Text from servers and helpers, made fit for messages.

/// Turns foreign bytes into one line of at most `limit` characters without anything a terminal acts on.
///
/// Invalid UTF-8 is replaced; control, format and private characters are written as escapes.
#[must_use]
pub fn foreign_text(bytes: &[u8], limit: usize) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut shown = String::new();
    for (count, c) in text.trim().chars().enumerate() {
        if count >= limit {
            shown.push('…');
            break;
        }
        match c {
            '\n' | '\t' => shown.push(' '),
            c if c.is_control() || is_invisible(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    shown
}

/// Characters that change the direction or the look of what follows.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e000}'..='\u{f8ff}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_escapes_and_direction_marks_are_defused() {
        assert_eq!(foreign_text(b"a\x1b[2Jb\r\nc\xff", 100), "a\\u{1b}[2Jb\\u{d} c\u{fffd}");
        assert_eq!(foreign_text("x\u{202e}y\u{9b}".as_bytes(), 100), "x\\u{202e}y\\u{9b}");
    }

    #[test]
    fn long_text_is_cut() {
        assert_eq!(foreign_text(b"abcdef", 3), "abc…");
    }
}
