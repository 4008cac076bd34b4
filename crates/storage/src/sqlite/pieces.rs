//! Large files in pieces, because `SQLite` and its driver hold every value in memory several times over.

use sqlx::sqlite::SqliteConnection;

use crate::StoreError;

/// Bytes of a piece; only the last one is shorter.
const PIECE: usize = 256 * 1024;

/// Splits a file into its first piece, which stands in the file's own row, and the rest.
pub(super) fn split(file: &[u8]) -> (&[u8], &[u8]) {
    file.split_at(file.len().min(PIECE))
}

/// Stores what follows the first piece.
pub(super) async fn write(connection: &mut SqliteConnection, file_id: i64, rest: &[u8]) -> Result<(), StoreError> {
    for (number, piece) in (1_i64..).zip(rest.chunks(PIECE)) {
        sqlx::query("INSERT INTO file_pieces (file_id, number, data) VALUES (?, ?, ?)")
            .bind(file_id)
            .bind(number)
            .bind(piece)
            .execute(&mut *connection)
            .await
            .map_err(StoreError::database("stored a piece of a file"))?;
    }
    Ok(())
}

/// Returns the whole file, given its first piece.
///
/// Files stored by the first release have a first piece of any size and no other.
pub(super) async fn read(
    connection: &mut SqliteConnection,
    file_id: i64,
    first: Vec<u8>,
) -> Result<Vec<u8>, StoreError> {
    let mut file = first;
    if file.len() < PIECE {
        return Ok(file);
    }
    for number in 1_i64.. {
        let piece: Option<(Vec<u8>,)> = sqlx::query_as("SELECT data FROM file_pieces WHERE file_id = ? AND number = ?")
            .bind(file_id)
            .bind(number)
            .fetch_optional(&mut *connection)
            .await
            .map_err(StoreError::database("read a piece of a file"))?;
        let Some((piece,)) = piece else { break };
        file.extend_from_slice(&piece);
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use countersign_crypto::digest::sha256;
    use countersign_testkit::Dice;
    use countersign_tuf::{Gun, RoleName, Version};
    use jiff::Timestamp;

    use super::*;
    use crate::{Base, MetadataStore, NewMetadata, SqliteStore};

    async fn open() -> (SqliteStore, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        (SqliteStore::open(&folder.path().join("trust.db")).await.unwrap(), folder)
    }

    async fn count(store: &SqliteStore) -> i64 {
        let (count,): (i64,) =
            sqlx::query_as("SELECT count(*) FROM file_pieces").fetch_one(&store.readers).await.unwrap();
        count
    }

    /// Bytes that cannot be made fewer.
    fn bytes(length: usize) -> Vec<u8> {
        let mut dice = Dice::of(length as u64);
        std::iter::repeat_with(|| dice.roll().to_le_bytes()).flatten().take(length).collect()
    }

    #[tokio::test]
    async fn files_around_every_border_come_back_and_go_with_their_collection() {
        let (store, _folder) = open().await;
        let (gun, role) = (Gun::parse("example.com/pieces").unwrap(), RoleName::Targets);
        let lengths = [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE - 1, 2 * PIECE, 2 * PIECE + 1, 9 * PIECE + 7];
        for (version, length) in (1..).zip(lengths) {
            let file = NewMetadata::new(role.clone(), Version::new(version).unwrap(), bytes(length));
            let before = count(&store).await;
            store.publish(&gun, Base::Anything, std::slice::from_ref(&file), Timestamp::UNIX_EPOCH).await.unwrap();
            let pieces = length.div_ceil(PIECE).saturating_sub(1);
            assert_eq!(count(&store).await - before, i64::try_from(pieces).unwrap(), "{length} bytes");
            assert!(store.current(&gun, &role).await.unwrap().unwrap().bytes == *file.bytes(), "{length} bytes");
        }
        store.delete(&gun, Timestamp::UNIX_EPOCH).await.unwrap();
        assert_eq!(count(&store).await, 0);
    }

    #[tokio::test]
    async fn a_large_file_that_stands_in_one_row_is_read_whole() {
        let (store, _folder) = open().await;
        let (gun, file) = (Gun::parse("example.com/whole").unwrap(), bytes(3 * PIECE + 5));
        sqlx::query(
            "INSERT INTO tuf_files (gun, role, version, sha256, created_at, data) VALUES (?, 'targets', 1, ?, 0, ?)",
        )
        .bind(gun.as_str())
        .bind(sha256(&file).hex())
        .bind(file.as_slice())
        .execute(&store.writer)
        .await
        .unwrap();
        let read = store.by_version(&gun, &RoleName::Targets, Version::FIRST).await.unwrap().unwrap();
        assert!(read.bytes == file);
    }

    #[tokio::test]
    async fn a_missing_piece_is_an_error() {
        let (store, _folder) = open().await;
        let (gun, role) = (Gun::parse("example.com/missing").unwrap(), RoleName::Targets);
        let file = NewMetadata::new(role.clone(), Version::FIRST, bytes(3 * PIECE));
        store.publish(&gun, Base::Nothing, &[file], Timestamp::UNIX_EPOCH).await.unwrap();
        sqlx::query("DELETE FROM file_pieces WHERE number = 1").execute(&store.writer).await.unwrap();
        assert!(matches!(store.current(&gun, &role).await, Err(StoreError::Damaged { what: "data", .. })));
    }
}
