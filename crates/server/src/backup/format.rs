//! The archive: a line that says what it is, one zstd frame of parts, and the SHA-256 of all before it.
//!
//! A part is the length of its text and of its data (four bytes each, the highest first), the text in JSON, the data, and the
//! SHA-256 of all four. The first part says what was backed up, the last one how much; between them are files by
//! collection, role and version, then changes by number, then keys by id. Nothing is believed of an archive before all of it
//! was read: lengths are bounded, and so is what unpacking takes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Take, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use countersign_crypto::KeyType;
use countersign_crypto::digest::{Sha256Digest, Sha256Hasher};
use countersign_storage::{
    Category, Change, EncryptedKey, Kept, KeptFile, KeptKey, NewServiceKey, ServiceKey, ServiceRole,
};
use countersign_tuf::{Gun, RoleName, Version};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::BackupError;

/// What every archive begins with. Another format gets another number.
pub(super) const MAGIC: &[u8] = b"countersign service backup 1\n";
/// Bytes of a SHA-256.
const DIGEST: usize = 32;
/// The base-two logarithm of the furthest that is looked back, and so of what unpacking takes in memory.
const WINDOW: u32 = 23;
/// Files are compressed already, or are hashes for the most part.
const LEVEL: i32 = 3;
/// Most bytes of a part's text.
const MAX_TEXT: usize = 1024 * 1024;
/// Most bytes of a part's data, and of a file that is unpacked from it: no store has larger ones.
const MAX_DATA: usize = 1 << 30;
/// Changes of one part.
pub(super) const CHANGES: usize = 256;

/// What an archive says of itself at its beginning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct About {
    pub(super) created_at: Timestamp,
    pub(super) program: String,
    pub(super) database: String,
    /// The fingerprint of the secret that opens the keys, if it was at hand.
    pub(super) secret: Option<String>,
}

/// How much an archive holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contents {
    /// Collections.
    pub collections: u64,
    /// Versions of files.
    pub files: u64,
    /// Bytes that these take as they are stored.
    pub bytes: u64,
    /// Changes in the feed.
    pub changes: u64,
    /// Deletions among them.
    pub deletions: u64,
    /// The highest number that a change ever had.
    pub last_change: i64,
    /// Keys that are held by the service, encrypted under its secret; retired ones too.
    pub keys: u64,
    /// Keys that are at a keyserver.
    pub keys_at_keyserver: u64,
}

/// The text of a part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "part", rename_all = "lowercase")]
pub(super) enum Part {
    Service(About),
    File(FilePart),
    Changes { changes: Vec<ChangePart> },
    Key(KeyPart),
    End { contents: Contents },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FilePart {
    gun: String,
    role: String,
    version: u64,
    sha256: String,
    stored_at: i64,
    current: bool,
    length: u64,
    base: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangePart {
    id: i64,
    at: i64,
    gun: String,
    /// Version and digest of the timestamp; none for a deletion.
    timestamp: Option<(u64, String)>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyPart {
    id: String,
    gun: String,
    role: String,
    algorithm: String,
    public: String,
    private: String,
    created_at: i64,
    last_used: Option<i64>,
    retired_at: Option<i64>,
}

impl From<&KeptFile> for FilePart {
    fn from(file: &KeptFile) -> Self {
        Self {
            gun: file.gun.to_string(),
            role: file.role.to_string(),
            version: file.version.get(),
            sha256: file.sha256.hex(),
            stored_at: file.stored_at.as_microsecond(),
            current: file.is_current,
            length: file.length,
            base: file.base.map_or(0, Version::get),
        }
    }
}

impl From<&Change> for ChangePart {
    fn from(change: &Change) -> Self {
        let timestamp = match &change.category {
            Category::Update { version, sha256 } => Some((version.get(), sha256.hex())),
            Category::Deletion => None,
        };
        Self { id: change.id, at: change.created_at.as_microsecond(), gun: change.gun.to_string(), timestamp }
    }
}

impl From<&KeptKey> for KeyPart {
    fn from(kept: &KeptKey) -> Self {
        let key = &kept.key.key;
        Self {
            id: key.id.to_string(),
            gun: key.gun.to_string(),
            role: key.role.to_string(),
            algorithm: key.algorithm.as_str().to_owned(),
            public: STANDARD.encode(&key.public),
            private: key.private.as_str().to_owned(),
            created_at: kept.key.created_at.as_microsecond(),
            last_used: kept.key.last_used.map(Timestamp::as_microsecond),
            retired_at: kept.retired_at.map(Timestamp::as_microsecond),
        }
    }
}

fn wrong(what: &str) -> BackupError {
    BackupError::Malformed(what.to_owned())
}

fn gun(text: &str) -> Result<Gun, BackupError> {
    Gun::parse(text).map_err(|_| wrong("a collection's name"))
}

fn digest(text: &str) -> Result<Sha256Digest, BackupError> {
    Sha256Digest::from_hex(text).map_err(|_| wrong("a digest"))
}

fn version(number: u64) -> Result<Version, BackupError> {
    Version::new(number).ok_or_else(|| wrong("a version"))
}

fn time(micros: i64) -> Result<Timestamp, BackupError> {
    Timestamp::from_microsecond(micros).map_err(|_| wrong("a time"))
}

impl FilePart {
    fn kept(self, data: Vec<u8>) -> Result<Kept, BackupError> {
        if usize::try_from(self.length).map_or(true, |length| length > MAX_DATA) {
            return Err(wrong("the length of a file"));
        }
        let (own, base) = (version(self.version)?, Some(self.base).filter(|base| *base > 0));
        let base = base.map(version).transpose()?;
        if base.is_some_and(|base| base >= own || self.length == 0) {
            return Err(wrong("what a file is a difference from"));
        }
        Ok(Kept::File(KeptFile {
            gun: gun(&self.gun)?,
            role: RoleName::parse(&self.role).map_err(|_| wrong("a role"))?,
            version: own,
            sha256: digest(&self.sha256)?,
            stored_at: time(self.stored_at)?,
            is_current: self.current,
            length: self.length,
            base,
            data,
        }))
    }
}

impl ChangePart {
    fn change(self) -> Result<Change, BackupError> {
        let category = match self.timestamp {
            Some((number, sha256)) => Category::Update { version: version(number)?, sha256: digest(&sha256)? },
            None => Category::Deletion,
        };
        Ok(Change { id: self.id, created_at: time(self.at)?, gun: gun(&self.gun)?, category })
    }
}

impl KeyPart {
    fn kept(self) -> Result<Kept, BackupError> {
        let role = match self.role.as_str() {
            "snapshot" => ServiceRole::Snapshot,
            "timestamp" => ServiceRole::Timestamp,
            _ => return Err(wrong("the role of a key")),
        };
        let key = NewServiceKey {
            id: self.id.parse().map_err(|_| wrong("the id of a key"))?,
            gun: gun(&self.gun)?,
            role,
            algorithm: KeyType::from(self.algorithm.as_str()),
            public: STANDARD.decode(&self.public).map_err(|_| wrong("a public key"))?,
            private: EncryptedKey::new(self.private),
        };
        let last_used = self.last_used.map(time).transpose()?;
        let key = ServiceKey { key, created_at: time(self.created_at)?, last_used };
        Ok(Kept::Key(KeptKey { key, retired_at: self.retired_at.map(time).transpose()? }))
    }
}

/// Hashes what passes through.
struct Hashing<W> {
    inner: W,
    hasher: Sha256Hasher,
    bytes: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or_default());
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Writes an archive.
pub(super) struct Writer<W: Write> {
    inner: zstd::Encoder<'static, Hashing<W>>,
}

impl<W: Write> Writer<W> {
    pub(super) fn begin(to: W, about: About) -> Result<Self, BackupError> {
        let mut hashing = Hashing { inner: to, hasher: Sha256Hasher::default(), bytes: 0 };
        hashing.write_all(MAGIC).map_err(BackupError::Write)?;
        let mut inner = zstd::Encoder::new(hashing, LEVEL).map_err(BackupError::Write)?;
        inner.window_log(WINDOW).map_err(BackupError::Write)?;
        let mut writer = Self { inner };
        writer.part(&Part::Service(about), &[])?;
        Ok(writer)
    }

    pub(super) fn part(&mut self, part: &Part, data: &[u8]) -> Result<(), BackupError> {
        let text = serde_json::to_vec(part).map_err(|error| BackupError::Write(error.into()))?;
        let too_large = || BackupError::Write(io::Error::other("something stored is too large for a backup"));
        if text.len() > MAX_TEXT || data.len() > MAX_DATA {
            return Err(too_large());
        }
        let mut hasher = Sha256Hasher::default();
        let lengths = [text.len(), data.len()].map(|length| u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
        for bytes in [lengths.as_flattened(), &text, data] {
            hasher.update(bytes);
            self.inner.write_all(bytes).map_err(BackupError::Write)?;
        }
        self.inner.write_all(hasher.finish().as_bytes()).map_err(BackupError::Write)
    }

    /// Ends the archive; returns how many bytes it has.
    pub(super) fn end(mut self, contents: Contents) -> Result<(W, u64), BackupError> {
        self.part(&Part::End { contents }, &[])?;
        let Hashing { mut inner, hasher, bytes } = self.inner.finish().map_err(BackupError::Write)?;
        inner.write_all(hasher.finish().as_bytes()).map_err(BackupError::Write)?;
        inner.flush().map_err(BackupError::Write)?;
        Ok((inner, bytes + DIGEST as u64))
    }
}

/// Reads an archive whose digest is right.
pub(super) struct Reader {
    inner: zstd::Decoder<'static, Take<BufReader<File>>>,
    pub(super) about: About,
}

fn read(error: io::Error) -> BackupError {
    match error.kind() {
        ErrorKind::UnexpectedEof => BackupError::Altered,
        _ => BackupError::Read(error),
    }
}

/// What the decoder says of bytes that nobody wrote.
fn unpacked(error: io::Error) -> BackupError {
    match error.raw_os_error() {
        Some(_) => BackupError::Read(error),
        None => BackupError::Altered,
    }
}

/// Checks the digest of the whole archive; returns how many bytes its frame has.
fn check_digest(archive: &mut File) -> Result<u64, BackupError> {
    let length = archive.seek(SeekFrom::End(0)).map_err(read)?;
    archive.rewind().map_err(read)?;
    let mut magic = vec![0; MAGIC.len()];
    archive.read_exact(&mut magic).map_err(read)?;
    if magic != MAGIC {
        return Err(BackupError::NoBackup);
    }
    let framed = length.checked_sub((MAGIC.len() + DIGEST) as u64).ok_or(BackupError::Altered)?;
    let mut hasher = Sha256Hasher::default();
    hasher.update(&magic);
    let (mut left, mut buffer) = (framed, vec![0; 256 * 1024]);
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let part = buffer.get_mut(..wanted).unwrap_or_default();
        archive.read_exact(part).map_err(read)?;
        hasher.update(part);
        left -= wanted as u64;
    }
    let mut digest = [0; DIGEST];
    archive.read_exact(&mut digest).map_err(read)?;
    if hasher.finish().as_bytes()[..] == digest { Ok(framed) } else { Err(BackupError::Altered) }
}

impl Reader {
    pub(super) fn open(archive: &File) -> Result<Self, BackupError> {
        let mut archive = archive.try_clone().map_err(read)?;
        let framed = check_digest(&mut archive)?;
        archive.seek(SeekFrom::Start(MAGIC.len() as u64)).map_err(read)?;
        let frame = BufReader::new(archive).take(framed);
        let mut inner = zstd::Decoder::with_buffer(frame).map_err(read)?.single_frame();
        inner.window_log_max(WINDOW).map_err(read)?;
        let about =
            About { created_at: Timestamp::UNIX_EPOCH, program: String::new(), database: String::new(), secret: None };
        let mut reader = Self { inner, about };
        match reader.part()? {
            (Part::Service(about), _) => reader.about = about,
            _ => return Err(wrong("its first part")),
        }
        Ok(reader)
    }

    fn bytes(&mut self, length: usize) -> Result<Vec<u8>, BackupError> {
        let mut bytes = Vec::new();
        // No more memory than there are bytes.
        let found = Read::by_ref(&mut self.inner).take(length as u64).read_to_end(&mut bytes).map_err(unpacked)?;
        if found == length { Ok(bytes) } else { Err(BackupError::Altered) }
    }

    fn part(&mut self) -> Result<(Part, Vec<u8>), BackupError> {
        let mut lengths = [[0; 4]; 2];
        self.inner.read_exact(lengths.as_flattened_mut()).map_err(unpacked)?;
        let [text, data] = lengths.map(|bytes| usize::try_from(u32::from_be_bytes(bytes)).unwrap_or(usize::MAX));
        if text > MAX_TEXT || data > MAX_DATA {
            return Err(wrong("a part's length"));
        }
        let (text, data) = (self.bytes(text)?, self.bytes(data)?);
        let mut hasher = Sha256Hasher::default();
        for bytes in [lengths.as_flattened(), &text, &data] {
            hasher.update(bytes);
        }
        if self.bytes(DIGEST)? != hasher.finish().as_bytes()[..] {
            return Err(BackupError::Altered);
        }
        let part = serde_json::from_slice(&text).map_err(|error| BackupError::Malformed(error.to_string()))?;
        if !data.is_empty() && !matches!(part, Part::File(_)) {
            return Err(wrong("a part with data"));
        }
        Ok((part, data))
    }

    /// Hands over everything in its order; returns how much there was. What does not stand in its order is refused.
    pub(super) fn each(
        mut self,
        mut take: impl FnMut(Kept) -> Result<(), BackupError>,
    ) -> Result<Contents, BackupError> {
        let mut count = Count::default();
        loop {
            let (part, data) = self.part()?;
            match part {
                Part::Service(_) => return Err(wrong("a second beginning")),
                Part::File(file) => give(&mut count, &mut take, file.kept(data)?)?,
                Part::Changes { changes } => {
                    for change in changes {
                        give(&mut count, &mut take, Kept::Change(change.change()?))?;
                    }
                }
                Part::Key(key) => give(&mut count, &mut take, key.kept()?)?,
                Part::End { contents } => {
                    give(&mut count, &mut take, Kept::LastChange(contents.last_change))?;
                    return if count.contents == contents {
                        self.end().map(|()| contents)
                    } else {
                        Err(wrong("its count"))
                    };
                }
            }
        }
    }

    /// Nothing may follow the last part.
    fn end(mut self) -> Result<(), BackupError> {
        let mut rest = [0; 1];
        let unpacked_more = self.inner.read(&mut rest).map_err(unpacked)? > 0;
        let mut frame = self.inner.finish();
        let more = !frame.fill_buf().map_err(read)?.is_empty();
        if unpacked_more || more { Err(BackupError::Altered) } else { Ok(()) }
    }
}

fn give(
    count: &mut Count,
    take: &mut impl FnMut(Kept) -> Result<(), BackupError>,
    kept: Kept,
) -> Result<(), BackupError> {
    if !count.add(&kept) {
        return Err(wrong("the order of its parts"));
    }
    take(kept)
}

/// Counts what an archive holds, and sees to its order.
#[derive(Debug, Default)]
pub(super) struct Count {
    pub(super) contents: Contents,
    last: Last,
}

#[derive(Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Last {
    #[default]
    Nothing,
    File(Vec<u8>, Vec<u8>, Version),
    Change(i64),
    Key(String),
    All,
}

impl Count {
    /// Counts a thing; tells whether it comes after the one before.
    pub(super) fn add(&mut self, kept: &Kept) -> bool {
        let contents = &mut self.contents;
        let next = match kept {
            Kept::File(file) => {
                let gun = file.gun.as_str().as_bytes().to_vec();
                let is_new = !matches!(&self.last, Last::File(last, _, _) if *last == gun);
                contents.collections += u64::from(is_new);
                contents.files += 1;
                contents.bytes += file.data.len() as u64;
                Last::File(gun, file.role.as_str().as_bytes().to_vec(), file.version)
            }
            Kept::Change(change) => {
                contents.changes += 1;
                contents.deletions += u64::from(change.category == Category::Deletion);
                contents.last_change = change.id;
                Last::Change(change.id)
            }
            Kept::Key(key) => {
                if key.key.key.private.as_str() == crate::server_keys::AT_KEYSERVER {
                    contents.keys_at_keyserver += 1;
                } else {
                    contents.keys += 1;
                }
                Last::Key(key.key.key.id.to_string())
            }
            Kept::LastChange(last) => {
                if *last < contents.last_change {
                    return false;
                }
                contents.last_change = *last;
                Last::All
            }
        };
        let in_order = self.last < next;
        self.last = next;
        in_order
    }
}
