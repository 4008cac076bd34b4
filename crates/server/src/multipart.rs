//! The body of an upload: `multipart/form-data` whose file names are roles.
//!
//! Own code, because the file name's slashes are part of the role (libraries cut them off), because the reference's body
//! without parts begins with its closing boundary, and because every broken body must be an error of its own kind.

use memchr::memmem;

/// Most parts of an upload; a publication of everything has four and one for each delegation.
pub const MAX_PARTS: usize = 2000;
/// Longest header section of a part in bytes.
pub const MAX_PART_HEADER: usize = 16 * 1024;
/// Longest boundary in bytes (RFC 2046).
pub const MAX_BOUNDARY: usize = 70;

/// A part: the file name it gave and its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part<'a> {
    pub(crate) file_name: String,
    pub(crate) bytes: &'a [u8],
}

/// Why a body is no upload (publisher).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MultipartError {
    #[error("the content type is not multipart/form-data with a boundary of 1 to {MAX_BOUNDARY} characters")]
    ContentType,
    #[error("the body contains no boundary")]
    NoBoundary,
    #[error("the body ends without its closing boundary")]
    Unfinished,
    #[error("a part's header is longer than {MAX_PART_HEADER} bytes or never ends")]
    PartHeader,
    #[error("a part's header line is malformed")]
    HeaderLine,
    #[error("the body has more than {MAX_PARTS} parts")]
    TooManyParts,
    #[error("a part has no file name")]
    NoFilename,
}

/// Reads the boundary from a `Content-Type`.
pub(crate) fn boundary(content_type: &str) -> Result<String, MultipartError> {
    let (media_type, parameters) = content_type.split_once(';').ok_or(MultipartError::ContentType)?;
    if !media_type.trim().eq_ignore_ascii_case("multipart/form-data") {
        return Err(MultipartError::ContentType);
    }
    let boundary = parameter(parameters, "boundary").ok().flatten().ok_or(MultipartError::ContentType)?;
    let fits = (1..=MAX_BOUNDARY).contains(&boundary.len());
    let printable = boundary.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if fits && printable && !boundary.ends_with(' ') { Ok(boundary) } else { Err(MultipartError::ContentType) }
}

/// Splits a body into its parts, in order.
pub(crate) fn parts<'a>(body: &'a [u8], boundary: &str) -> Result<Vec<Part<'a>>, MultipartError> {
    let mut reader = Reader { body, at: 0, delimiter: format!("\r\n--{boundary}").into_bytes() };
    let mut parts = Vec::new();
    let mut more = reader.skip_preamble()?;
    while more == Next::Part {
        if parts.len() == MAX_PARTS {
            return Err(MultipartError::TooManyParts);
        }
        let file_name = reader.part_header()?;
        let (bytes, next) = reader.content(MultipartError::Unfinished)?;
        parts.push(Part { file_name, bytes });
        more = next;
    }
    Ok(parts)
}

#[derive(PartialEq, Eq)]
enum Next {
    Part,
    End,
}

struct Reader<'a> {
    body: &'a [u8],
    at: usize,
    delimiter: Vec<u8>,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a [u8] {
        self.body.get(self.at..).unwrap_or_default()
    }

    /// Goes past the first delimiter, which may stand at the very beginning, without the line break before it.
    fn skip_preamble(&mut self) -> Result<Next, MultipartError> {
        let bare = self.delimiter.get(2..).unwrap_or_default();
        if self.body.starts_with(bare)
            && let Some(next) = self.after_delimiter(bare.len())
        {
            return Ok(next);
        }
        self.content(MultipartError::NoBoundary).map(|(_, next)| next)
    }

    /// Returns everything up to the next delimiter and goes past it.
    fn content(&mut self, missing: MultipartError) -> Result<(&'a [u8], Next), MultipartError> {
        let start = self.at;
        let finder = memmem::Finder::new(&self.delimiter).into_owned();
        let mut from = start;
        while let Some(found) = self.body.get(from..).and_then(|rest| finder.find(rest)) {
            let delimiter = from + found;
            if let Some(next) = self.after_delimiter(delimiter + self.delimiter.len()) {
                return Ok((self.body.get(start..delimiter).unwrap_or_default(), next));
            }
            from = delimiter + 1;
        }
        Err(missing)
    }

    /// Reads what follows a delimiter; none when this was a longer line that only begins like one.
    fn after_delimiter(&mut self, at: usize) -> Option<Next> {
        let rest = self.body.get(at..)?;
        if let Some(epilogue) = rest.strip_prefix(b"--") {
            let ends = epilogue.is_empty() || matches!(epilogue.first(), Some(b'\r' | b' ' | b'\t'));
            return ends.then_some(Next::End);
        }
        let padding = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        rest.get(padding..)?.starts_with(b"\r\n").then(|| {
            // The line break stays unread: a part without any header begins with a second one.
            self.at = at + padding;
            Next::Part
        })
    }

    /// Reads a part's header section and returns the file name in it.
    fn part_header(&mut self) -> Result<String, MultipartError> {
        let rest = self.rest();
        let window = rest.get(..rest.len().min(MAX_PART_HEADER)).unwrap_or_default();
        let end = memmem::find(window, b"\r\n\r\n").ok_or(MultipartError::PartHeader)?;
        self.at += end + 4;
        let lines = window.get(..end).and_then(|header| header.strip_prefix(b"\r\n")).unwrap_or_default();
        let lines = std::str::from_utf8(lines).map_err(|_| MultipartError::HeaderLine)?;
        let mut file_name = None;
        for line in lines.split("\r\n").filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').ok_or(MultipartError::HeaderLine)?;
            if name.eq_ignore_ascii_case("content-disposition") {
                if file_name.is_some() {
                    return Err(MultipartError::HeaderLine);
                }
                file_name = Some(disposition_file_name(value)?);
            }
        }
        file_name.ok_or(MultipartError::NoFilename)
    }
}

fn disposition_file_name(value: &str) -> Result<String, MultipartError> {
    let (kind, parameters) = value.split_once(';').ok_or(MultipartError::NoFilename)?;
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return Err(MultipartError::NoFilename);
    }
    let name = parameter(parameters, "filename")?.ok_or(MultipartError::NoFilename)?;
    if name.is_empty() { Err(MultipartError::NoFilename) } else { Ok(name) }
}

/// Finds one parameter in `; a=b; c="d"`; a parameter given twice or a broken list is an error.
fn parameter(mut list: &str, wanted: &str) -> Result<Option<String>, MultipartError> {
    let mut found = None;
    loop {
        list = list.trim_start_matches([' ', '\t', ';']);
        if list.is_empty() {
            return Ok(found);
        }
        let (name, rest) = list.split_once('=').ok_or(MultipartError::NoFilename)?;
        let (value, rest) = parameter_value(rest).ok_or(MultipartError::NoFilename)?;
        if name.trim().eq_ignore_ascii_case(wanted) && found.replace(value).is_some() {
            return Err(MultipartError::NoFilename);
        }
        list = rest.trim_start_matches([' ', '\t']);
        if !(list.is_empty() || list.starts_with(';')) {
            return Err(MultipartError::NoFilename);
        }
    }
}

/// Reads a token or a quoted string and returns it with what follows.
fn parameter_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([';', ' ', '\t']).unwrap_or(text.len());
        let (token, rest) = text.split_at(end);
        return (!token.is_empty() && !token.contains('"')).then(|| (token.to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, quoted.get(at + 1..)?)),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(body: &str) -> Result<Vec<(String, String)>, MultipartError> {
        let parts = parts(body.as_bytes(), "B")?;
        Ok(parts.into_iter().map(|part| (part.file_name, String::from_utf8(part.bytes.to_vec()).unwrap())).collect())
    }

    fn part(role: &str, content: &str) -> String {
        format!(
            "--B\r\nContent-Disposition: form-data; name=\"files\"; filename=\"{role}\"\r\nContent-Type: application/octet-stream\r\n\r\n{content}\r\n"
        )
    }

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, content)| ((*name).to_owned(), (*content).to_owned())).collect()
    }

    #[test]
    fn parts_keep_their_slashes_and_bytes() {
        let body =
            part("root", "{}") + &part("targets/releases", "a\r\n--\r\n--BX\r\nb") + &part("targets", "") + "--B--\r\n";
        let expected = owned(&[("root", "{}"), ("targets/releases", "a\r\n--\r\n--BX\r\nb"), ("targets", "")]);
        assert_eq!(names(&body), Ok(expected));
    }

    #[test]
    fn a_body_without_parts_is_fine_in_every_spelling() {
        for body in ["\r\n--B--\r\n", "--B--\r\n", "--B--", "\r\n--B--", "preamble\r\n--B--\r\nepilogue"] {
            assert_eq!(names(body), Ok(vec![]), "{body:?}");
        }
    }

    #[test]
    fn disposition_may_be_spelled_freely() {
        for header in [
            "Content-Disposition: form-data; name=\"files\"; filename=\"root\"",
            "content-disposition:form-data;filename=root",
            "CONTENT-DISPOSITION: FORM-DATA; FILENAME=\"ro\\ot\"; name=x",
            "X: y\r\nContent-Disposition: form-data; filename=\"root\" ; name=\"a;b=c\"",
        ] {
            let body = format!("--B\r\n{header}\r\n\r\nx\r\n--B--\r\n");
            assert_eq!(names(&body), Ok(owned(&[("root", "x")])), "{header:?}");
        }
    }

    #[test]
    fn a_body_without_its_boundary_is_refused() {
        for body in ["", "x", "--C--\r\n", "--BX\r\n", "\r\n", "--B", "--B-", "--B--x"] {
            assert_eq!(names(body), Err(MultipartError::NoBoundary), "{body:?}");
        }
    }

    #[test]
    fn a_body_cut_anywhere_is_refused() {
        let body = part("root", "{}") + &part("targets", "{}") + "--B--";
        for end in 0..body.len() {
            assert!(names(&body[..end]).is_err(), "cut at {end}: {:?}", &body[..end]);
        }
        assert!(names(&body).is_ok());
    }

    #[test]
    fn a_part_without_a_file_name_is_refused() {
        for header in [
            "",
            "X: y\r\n",
            "Content-Disposition: form-data\r\n",
            "Content-Disposition: form-data; name=\"files\"\r\n",
            "Content-Disposition: form-data; filename=\"\"\r\n",
            "Content-Disposition: form-data; filename=\r\n",
            "Content-Disposition: attachment; filename=\"root\"\r\n",
            "Content-Disposition: form-data; filename*=utf-8''root\r\n",
            "Content-Disposition: form-data; filename=\"root\r\n",
            "Content-Disposition: form-data; filename=\"a\"; filename=\"b\"\r\n",
            "Content-Disposition: form-data; filename=\"a\"b\r\n",
            "Content-Disposition: form-data; filename\r\n",
        ] {
            let body = format!("--B\r\n{header}\r\nx\r\n--B--\r\n");
            assert_eq!(names(&body), Err(MultipartError::NoFilename), "{header:?}");
        }
    }

    #[test]
    fn a_broken_part_header_is_refused() {
        let line = format!("--B\r\n{}\r\n\r\nx\r\n--B--\r\n", "no colon");
        assert_eq!(names(&line), Err(MultipartError::HeaderLine));
        let twice = "--B\r\nContent-Disposition: form-data; filename=a\r\nContent-Disposition: form-data; filename=b\r\n\r\n\r\n--B--";
        assert_eq!(names(twice), Err(MultipartError::HeaderLine));
        let long = format!("--B\r\nX: {}\r\n\r\nx\r\n--B--\r\n", "y".repeat(MAX_PART_HEADER));
        assert_eq!(names(&long), Err(MultipartError::PartHeader));
        assert_eq!(parts(b"--B\r\nX: \xff\r\n\r\nx\r\n--B--", "B"), Err(MultipartError::HeaderLine));
    }

    #[test]
    fn too_many_parts_are_refused() {
        let body = part("root", "").repeat(MAX_PARTS + 1) + "--B--";
        assert_eq!(names(&body), Err(MultipartError::TooManyParts));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(body in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = parts(&body, "B");
        }

        #[test]
        fn no_arrangement_of_tokens_is_too_strange(tokens in proptest::collection::vec(0..9_usize, 0..40)) {
            let all: [&[u8]; 9] = [
                b"--B", b"--", b"\r\n", b"\r\n\r\n", b"\r\n--B\r\n", b"x", b": ", b"Content-Disposition: form-data; filename=\"", b"root\"",
            ];
            let body: Vec<u8> = tokens.iter().flat_map(|token| all[*token]).copied().collect();
            if let Ok(parts) = parts(&body, "B") {
                prop_assert!(parts.iter().all(|part| !part.file_name.is_empty()));
            }
        }

        #[test]
        fn what_was_put_in_comes_out(contents in proptest::collection::vec("[ -~\r\n]{0,60}", 0..6)) {
            prop_assume!(contents.iter().all(|content| !format!("\r\n{content}\r\n").contains("\r\n--B")));
            let body: String = contents.iter().map(|content| part("targets", content)).chain(["--B--".to_owned()]).collect();
            let found: Vec<String> = names(&body).unwrap().into_iter().map(|(_, content)| content).collect();
            prop_assert_eq!(found, contents);
        }
    }

    #[test]
    fn content_types_must_name_a_boundary() {
        let long = format!("multipart/form-data; boundary={}", "b".repeat(71));
        for bad in [
            "",
            "application/json",
            "multipart/form-data",
            "multipart/form-data;",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=\"\"",
            "multipart/mixed; boundary=B",
            "multipart/form-data; boundary=\"B",
            &long,
            "multipart/form-data; boundary=a; boundary=b",
            "multipart/form-data; boundary=\"a\r\nb\"",
        ] {
            assert_eq!(boundary(bad), Err(MultipartError::ContentType), "{bad:?}");
        }
        for good in [
            "multipart/form-data; boundary=B",
            "Multipart/Form-Data;boundary=\"B\"",
            "multipart/form-data; charset=x; boundary=B",
        ] {
            assert_eq!(boundary(good).as_deref(), Ok("B"), "{good:?}");
        }
    }
}
