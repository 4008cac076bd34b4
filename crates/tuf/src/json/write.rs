//! Writing: canonical strings, and the reference's spelling of a canonical value on the wire.

/// Appends a string in canonical form: quoted, only `"` and `\` escaped.
pub fn write_string(output: &mut Vec<u8>, text: &str) {
    output.push(b'"');
    for byte in text.bytes() {
        if matches!(byte, b'"' | b'\\') {
            output.push(b'\\');
        }
        output.push(byte);
    }
    output.push(b'"');
}

/// How many bytes are looked at together.
const STRETCH: usize = 256;

/// Tells whether a byte may have to be escaped, alone or with those that follow.
fn is_special(byte: u8) -> bool {
    byte < 0x20 || matches!(byte, b'<' | b'>' | b'&' | 0xe2)
}

/// Appends a canonical value as the reference spells it in files: `<`, `>`, `&`, U+2028 and U+2029 escaped.
///
/// These characters occur only inside strings, so the value is not parsed. Control characters below U+0020, which the
/// canonical form holds raw, are escaped too: raw they are no JSON.
pub fn write_wire(output: &mut Vec<u8>, canonical: &[u8]) {
    let mut kept = 0;
    let mut position = 0;
    let mut replace = |from: usize, length: usize, text: &[u8]| {
        output.extend_from_slice(canonical.get(kept..from).unwrap_or_default());
        output.extend_from_slice(text);
        kept = from + length;
    };
    while position < canonical.len() {
        // Most stretches have nothing to escape; counting instead of stopping lets the compiler look at many bytes at once.
        if let Some(stretch) = canonical.get(position..position + STRETCH)
            && stretch.iter().filter(|byte| is_special(**byte)).count() == 0
        {
            position += STRETCH;
            continue;
        }
        let end = (position + STRETCH).min(canonical.len());
        while let Some(byte) = canonical.get(position).filter(|_| position < end) {
            match byte {
                b'<' => replace(position, 1, b"\\u003c"),
                b'>' => replace(position, 1, b"\\u003e"),
                b'&' => replace(position, 1, b"\\u0026"),
                0..=0x1f => replace(position, 1, format!("\\u{byte:04x}").as_bytes()),
                0xe2 if canonical.get(position + 1) == Some(&0x80) => match canonical.get(position + 2) {
                    Some(0xa8) => replace(position, 3, b"\\u2028"),
                    Some(0xa9) => replace(position, 3, b"\\u2029"),
                    _ => {}
                },
                _ => {}
            }
            position += 1;
        }
    }
    output.extend_from_slice(canonical.get(kept..).unwrap_or_default());
}
