//! PEM text: reading it with headers, and writing it as the reference does.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::error::KeyFileError;
use crate::{MAX_BLOCKS, MAX_BODY, MAX_HEADERS, MAX_TEXT};

/// Base64 columns of a line.
const COLUMNS: usize = 64;

/// The header that is written before all others.
pub(crate) const PROC_TYPE: &str = "Proc-Type";

/// One block as it stands in the text.
pub(crate) struct Armored {
    pub(crate) label: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Zeroizing<Vec<u8>>,
}

pub(crate) fn read(text: &[u8]) -> Result<Vec<Armored>, KeyFileError> {
    if text.len() > MAX_TEXT {
        return Err(KeyFileError::TooLarge("the text"));
    }
    let blocks = pem::parse_many(text).map_err(|error| KeyFileError::NotPem(describe(&error)))?;
    if blocks.is_empty() {
        return Err(KeyFileError::Empty);
    }
    if blocks.len() > MAX_BLOCKS {
        return Err(KeyFileError::TooLarge("the number of blocks"));
    }
    blocks.into_iter().map(one).collect()
}

fn one(block: pem::Pem) -> Result<Armored, KeyFileError> {
    let label = block.tag().to_owned();
    let headers: Vec<_> = block.headers().iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let body = Zeroizing::new(block.into_contents());
    if headers.len() > MAX_HEADERS {
        return Err(KeyFileError::TooLarge("the number of headers"));
    }
    if body.len() > MAX_BODY {
        return Err(KeyFileError::TooLarge("the body of a block"));
    }
    Ok(Armored { label, headers, body })
}

/// Says what is wrong without repeating what may be a private key.
fn describe(error: &pem::PemError) -> &'static str {
    match error {
        pem::PemError::MalformedFraming => "the BEGIN or END line is broken",
        pem::PemError::MissingBeginTag | pem::PemError::MissingEndTag => "a BEGIN or END line is empty",
        pem::PemError::MissingData => "there is nothing between the BEGIN and END lines",
        pem::PemError::MismatchedTags(..) => "the BEGIN and END lines do not fit together",
        pem::PemError::InvalidHeader(_) => "a header line has no colon",
        pem::PemError::InvalidData(_) => "the base64 is broken",
        pem::PemError::NotUtf8(_) => "it is not UTF-8",
    }
}

/// Writes a block: `Proc-Type` first, the other headers sorted, 64 columns, LF.
///
/// The pem crate refuses colons in header values, which every GUN with a port has.
pub(crate) fn write(label: &str, headers: &[(String, String)], body: &[u8], out: &mut Zeroizing<String>) {
    let mut sorted: Vec<_> = headers.iter().collect();
    sorted.sort_by_key(|(name, _)| (name != PROC_TYPE, name));
    let mut base64 = Zeroizing::new(String::with_capacity(body.len().div_ceil(3) * 4));
    STANDARD.encode_string(body, &mut base64);

    let lines = base64.len().div_ceil(COLUMNS);
    let headers_length: usize = sorted.iter().map(|(name, value)| name.len() + value.len() + 3).sum();
    out.reserve(2 * label.len() + 40 + headers_length + base64.len() + lines);
    for part in ["-----BEGIN ", label, "-----\n"] {
        out.push_str(part);
    }
    for (name, value) in &sorted {
        for part in [name, ": ", value, "\n"] {
            out.push_str(part);
        }
    }
    if !sorted.is_empty() {
        out.push('\n');
    }
    for (position, character) in base64.chars().enumerate() {
        if position > 0 && position.is_multiple_of(COLUMNS) {
            out.push('\n');
        }
        out.push(character);
    }
    for part in [if base64.is_empty() { "" } else { "\n" }, "-----END ", label, "-----\n"] {
        out.push_str(part);
    }
}
