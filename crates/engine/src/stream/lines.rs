//! Bytes into lines.

use bytes::{Buf, Bytes, BytesMut};

use crate::{EngineError, Limits};

/// Splits a stream into lines, each of bounded length, altogether of bounded size.
#[derive(Debug)]
pub(crate) struct Lines {
    buffer: BytesMut,
    /// How much of the buffer is known to hold no line end.
    searched: usize,
    seen: u64,
    line_limit: usize,
    stream_limit: u64,
}

impl Lines {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            buffer: BytesMut::new(),
            searched: 0,
            seen: 0,
            line_limit: limits.line_bytes,
            stream_limit: limits.stream_bytes,
        }
    }

    /// Takes the next bytes of the stream.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<(), EngineError> {
        self.seen = self.seen.saturating_add(bytes.len() as u64);
        if self.seen > self.stream_limit {
            return Err(EngineError::bad(format!("it is longer than {} bytes", self.stream_limit)));
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// Returns the next whole line that is not blank, without its end.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, EngineError> {
        loop {
            let unsearched = self.buffer.get(self.searched..).unwrap_or_default();
            let Some(place) = unsearched.iter().position(|byte| *byte == b'\n') else {
                self.searched = self.buffer.len();
                self.check(self.searched)?;
                return Ok(None);
            };
            let end = self.searched + place;
            self.check(end)?;
            let line = self.buffer.split_to(end).freeze();
            self.buffer.advance(1);
            self.searched = 0;
            if !is_blank(&line) {
                return Ok(Some(line));
            }
        }
    }

    /// Returns what follows the last line end, when the stream is over.
    pub(crate) fn rest(&mut self) -> Option<Bytes> {
        self.searched = 0;
        let rest = self.buffer.split().freeze();
        (!is_blank(&rest)).then_some(rest)
    }

    fn check(&self, length: usize) -> Result<(), EngineError> {
        if length > self.line_limit {
            return Err(EngineError::bad(format!("a line is longer than {} bytes", self.line_limit)));
        }
        Ok(())
    }
}

fn is_blank(line: &[u8]) -> bool {
    line.iter().all(u8::is_ascii_whitespace)
}

#[cfg(test)]
mod tests {
    use super::Lines;
    use crate::Limits;

    fn lines(limits: &Limits, pieces: &[&str]) -> Result<Vec<String>, crate::EngineError> {
        let (mut lines, mut found) = (Lines::new(limits), Vec::new());
        for piece in pieces {
            lines.feed(piece.as_bytes())?;
            while let Some(line) = lines.next()? {
                found.push(String::from_utf8(line.to_vec()).unwrap());
            }
        }
        found.extend(lines.rest().map(|rest| String::from_utf8(rest.to_vec()).unwrap()));
        Ok(found)
    }

    #[test]
    fn lines_are_put_together_from_any_pieces() {
        let expected = ["{\"a\":1}\r", "{}", "{2"];
        assert_eq!(lines(&Limits::default(), &["{\"a\"", ":1}\r\n", "\r\n\n{}\n{", "2"]).unwrap(), expected);
    }

    #[test]
    fn a_line_that_is_too_long_is_refused_before_it_ends() {
        let limits = Limits { line_bytes: 4, ..Limits::default() };
        assert_eq!(lines(&limits, &["1234\n1234"]).unwrap(), ["1234", "1234"]);
        assert!(lines(&limits, &["123", "45"]).is_err());
        assert!(lines(&limits, &["12345\n"]).is_err());
    }

    proptest::proptest! {
        #[test]
        fn how_the_bytes_are_cut_does_not_matter(text in "[a\n\r ]{0,64}", cut in 0_usize..64) {
            let (first, second) = text.split_at(cut.min(text.len()));
            let limits = Limits::default();
            proptest::prop_assert_eq!(lines(&limits, &[first, second]).unwrap(), lines(&limits, &[&text]).unwrap());
        }
    }

    #[test]
    fn an_endless_stream_is_refused() {
        let limits = Limits { stream_bytes: 8, ..Limits::default() };
        assert!(lines(&limits, &["123\n", "456\n"]).is_ok());
        assert!(lines(&limits, &["123\n", "456\n", "\n"]).is_err());
    }
}
