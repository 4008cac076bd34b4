//! Compressed forms of files, and which of them a client takes (RFC 9110, Accept-Encoding).

use std::cell::RefCell;

use bytes::Bytes;
use flate2::{Compress, Compression, Crc, FlushCompress, Status};
use http::header::ACCEPT_ENCODING;
use http::{HeaderMap, HeaderValue};
use zstd::bulk::Compressor;

/// What the levels cost is paid once for each file; beyond them little is gained, because most of a file are digests.
const ZSTD_LEVEL: i32 = 3;
const GZIP_LEVEL: u32 = 6;

/// The method is deflate; no name, no time, an unknown system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// A way to compress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Coding {
    Zstd,
    Gzip,
}

impl Coding {
    /// In the order in which they are preferred.
    pub(crate) const ALL: [Self; 2] = [Self::Zstd, Self::Gzip];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }

    pub(crate) fn header(self) -> HeaderValue {
        HeaderValue::from_static(self.name())
    }

    /// Returns the compressed form, if it is shorter.
    pub(crate) fn compress(self, plain: &[u8]) -> Option<Bytes> {
        let compressed = match self {
            Self::Zstd => zstd(plain),
            Self::Gzip => gzip(plain),
        };
        let compressed = compressed.filter(|compressed| compressed.len() < plain.len())?;
        // Without the room that was reserved for more.
        Some(Bytes::from(compressed.into_boxed_slice()))
    }
}

thread_local! {
    // Made once for each thread: hundreds of kilobytes, asked for and given back for each file, would leave holes between
    // the small forms that stay, and memory would grow.
    static ZSTD: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DEFLATE: RefCell<Compress> = RefCell::new(Compress::new(Compression::new(GZIP_LEVEL), false));
}

fn zstd(plain: &[u8]) -> Option<Vec<u8>> {
    ZSTD.with_borrow_mut(|kept| {
        if kept.is_none() {
            *kept = Compressor::new(ZSTD_LEVEL).ok();
        }
        kept.as_mut()?.compress(plain).ok()
    })
}

/// Writes one member (RFC 1952), without name and time; none where it would not be shorter.
fn gzip(plain: &[u8]) -> Option<Vec<u8>> {
    let mut member = Vec::with_capacity(plain.len() + GZIP_HEADER.len());
    member.extend_from_slice(&GZIP_HEADER);
    DEFLATE.with_borrow_mut(|deflate| {
        deflate.reset();
        let ended = deflate.compress_vec(plain, &mut member, FlushCompress::Finish);
        matches!(ended, Ok(Status::StreamEnd)).then_some(())
    })?;
    let mut check = Crc::new();
    check.update(plain);
    member.extend_from_slice(&check.sum().to_le_bytes());
    member.extend_from_slice(&check.amount().to_le_bytes());
    Some(member)
}

/// Which codings a client takes, the best first, before the plain form.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Accepted([Option<Coding>; 2]);

impl Accepted {
    /// Reads what a request says; one that says nothing takes the plain form.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut lines = headers.get_all(ACCEPT_ENCODING).iter().peekable();
        if lines.peek().is_none() {
            return Self::default();
        }
        let text: Vec<&str> = lines.filter_map(|line| line.to_str().ok()).collect();
        Self::parse(&text.join(","))
    }

    fn parse(text: &str) -> Self {
        let weights = |name: &str| {
            let mut found = None;
            let mut others = 0;
            for member in text.split(',') {
                let (coding, weight) = member.split_once(';').unwrap_or((member, "q=1"));
                let (coding, weight) = (coding.trim(), thousandths(weight));
                if coding.eq_ignore_ascii_case(name) || (name == "gzip" && coding.eq_ignore_ascii_case("x-gzip")) {
                    found = Some(weight);
                } else if coding == "*" {
                    others = weight;
                }
            }
            found.unwrap_or(others)
        };
        let plain = weights("identity");
        let [first, second] = Coding::ALL.map(|coding| (coding, weights(coding.name())));
        let (first, second) = if second.1 > first.1 { (second, first) } else { (first, second) };
        // What the client likes less than the plain form it is not sent.
        let taken = |(coding, weight)| (weight > 0 && weight >= plain).then_some(coding);
        Self([taken(first), taken(second)])
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Coding> {
        self.0.into_iter().flatten()
    }
}

/// Reads a weight; one that is none counts as refusal.
fn thousandths(parameter: &str) -> u16 {
    let Some((name, value)) = parameter.split_once('=') else { return 0 };
    if !name.trim().eq_ignore_ascii_case("q") {
        return 0;
    }
    match value.trim().parse::<f32>() {
        Ok(weight) if (0.0..=1.0).contains(&weight) => {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1000")]
            let thousandths = (weight * 1000.0).round() as u16;
            thousandths
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;

    fn accepted(text: &str) -> Vec<&'static str> {
        Accepted::parse(text).iter().map(Coding::name).collect()
    }

    #[test]
    fn clients_get_the_coding_that_they_take_and_like_best() {
        for (text, codings) in [
            ("gzip", &["gzip"][..]),
            ("gzip, deflate, br, zstd", &["zstd", "gzip"]),
            ("zstd;q=0.5, gzip;q=0.8", &["gzip", "zstd"]),
            ("gzip;q=0", &[]),
            ("*", &["zstd", "gzip"]),
            ("*;q=0.1, zstd;q=0", &["gzip"]),
            ("identity, gzip;q=0.5", &[]),
            ("identity;q=0.5, GZIP", &["gzip"]),
            ("x-gzip", &["gzip"]),
            ("", &[]),
            ("br", &[]),
            ("gzip;q=x, zstd;q=2, *;q=", &[]),
            ("gzip;level=9", &[]),
        ] {
            assert_eq!(accepted(text), codings, "{text:?}");
        }
        assert_eq!(Accepted::of(&HeaderMap::new()), Accepted::default());
    }

    #[test]
    fn what_does_not_become_shorter_is_not_compressed() {
        for coding in Coding::ALL {
            assert_eq!(coding.compress(b"{}"), None);
            assert!(coding.compress(&[b'a'; 1000]).unwrap().len() < 100);
        }
    }

    proptest! {
        #[test]
        fn no_header_is_too_strange(text in ".*") {
            let _ = accepted(&text);
        }

        #[test]
        fn compressed_forms_are_those_of_the_file(text in "[a-f0-9\"{}:]{100,4000}") {
            if let Some(compressed) = Coding::Gzip.compress(text.as_bytes()) {
                let mut plain = String::new();
                flate2::read::GzDecoder::new(&*compressed).read_to_string(&mut plain).unwrap();
                prop_assert_eq!(&plain, &text);
            }
            if let Some(compressed) = Coding::Zstd.compress(text.as_bytes()) {
                prop_assert_eq!(zstd::bulk::decompress(&compressed, 5000).unwrap(), text.as_bytes());
            }
        }
    }
}
