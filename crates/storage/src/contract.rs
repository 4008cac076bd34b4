//! The contract suite: what [`MetadataStore`] and [`KeyStore`] promise, as checks that every implementation runs.
//!
//! A test module of an implementation calls [`store_contract!`](crate::store_contract) with the name of a function that opens an empty
//! database twice, the way two processes would.
#![expect(clippy::unwrap_used, reason = "these are tests; a failure is the answer")]
#![expect(clippy::missing_panics_doc, reason = "each check panics when the promise is broken")]

pub mod audit;
pub mod changes;
pub mod key_races;
pub mod keys;
pub mod metadata;
pub mod races;
pub mod retention;
pub mod signing_keys;

use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;

use countersign_tuf::{Gun, RoleName, Version};
use jiff::Timestamp;

use crate::{KeyStore, MetadataStore, NewMetadata};

/// One process's connection to the database under test.
#[derive(Clone)]
pub struct Handle {
    /// Its metadata.
    pub metadata: Arc<dyn MetadataStore>,
    /// Its keys.
    pub keys: Arc<dyn KeyStore>,
}

/// An empty database, opened twice.
pub struct Subject {
    /// The handle most checks use.
    pub first: Handle,
    /// A second, independent handle on the same database.
    pub second: Handle,
    /// Whatever must live as long as the database.
    pub keep: Box<dyn Any + Send + Sync>,
}

/// Makes a test of every check; the argument names an `async fn() -> contract::Subject` in scope.
#[macro_export]
macro_rules! store_contract {
    ($open:ident) => {
        $crate::store_contract!(@all test $open);
    };
    // One function that runs every check, several at a time, and names those that failed: for servers, which take long to
    // start.
    ($name:ident($server:ty): $open:path) => {
        pub(crate) async fn $name(argument: std::sync::Arc<$server>) {
            let mut checks: Vec<(&str, $crate::contract::Check)> = Vec::new();
            $crate::store_contract!(@all list (checks, argument, $open));
            $crate::contract::run(checks).await;
        }
    };
    // The same without the checks of keys, and without checks that an implementation cannot pass for reasons it gives.
    ($name:ident($server:ty): $open:path, metadata without [$($without:literal),* $(,)?]) => {
        pub(crate) async fn $name(argument: std::sync::Arc<$server>) {
            let mut checks: Vec<(&str, $crate::contract::Check)> = Vec::new();
            $crate::store_contract!(@metadata list (checks, argument, $open));
            let without = [$($without),*];
            checks.retain(|(name, _)| !without.contains(name));
            $crate::contract::run(checks).await;
        }
    };
    (@all $how:ident $open:tt) => {
        $crate::store_contract!(@metadata $how $open);
        $crate::store_contract!(@keys $how $open);
        $crate::store_contract!(@$how $open, retention: [
            old_versions_go_and_all_others_read_back, what_has_to_stay_stays_whatever_is_asked,
            nothing_goes_after_another_publication, retention_beside_publishers_and_readers,
            old_versions_go_as_fast_from_a_long_history,
        ]);
        $crate::store_contract!(@$how $open, audit: [
            a_publication_and_its_entry_are_one, every_chain_has_its_own_head,
            one_chain_grows_in_sequence_whoever_adds_to_it,
        ]);
    };
    (@metadata $how:ident $open:tt) => {
        $crate::store_contract!(@$how $open, metadata: [
            a_new_collection_has_nothing, the_first_publication_is_found_every_way, gaps_between_versions_are_fine,
            an_equal_version_is_refused, an_older_version_is_refused, one_old_file_refuses_the_whole_publication,
            the_same_role_twice_with_one_version_is_refused, an_older_publication_after_a_newer_one_is_refused,
            a_role_not_published_again_stays_current, versions_of_other_collections_do_not_matter,
            a_superseded_base_is_refused, a_base_of_before_a_deletion_is_refused, names_are_compared_byte_by_byte,
            a_checksum_is_found_only_under_its_role, deletion_takes_exactly_one_collection,
            deletion_of_nothing_says_so, versions_begin_anew_after_a_deletion, the_highest_version_can_be_stored,
            a_version_too_far_ahead_is_refused, imports_may_leap, moves_may_leap_with_what_was_there_before,
            files_are_returned_byte_for_byte, large_files_come_back_whatever_came_before_them, state_tells_the_base, stale_pages_through_old_timestamps, health_is_good,
        ]);
        $crate::store_contract!(@$how $open, changes: [
            a_publication_is_recorded_with_its_timestamp, a_publication_without_timestamp_is_not_recorded,
            a_refused_publication_is_not_recorded, only_a_real_deletion_is_recorded, pages_go_forwards_and_backwards,
            one_collections_changes_are_filtered, pages_are_bounded, ids_are_never_reused,
        ]);
        $crate::store_contract!(@$how $open, races: [
            of_twenty_conflicting_publishers_exactly_one_wins, of_ten_first_publications_exactly_one_wins,
            readers_always_see_whole_publications, publishing_and_deleting_leave_no_half,
        ]);
    };
    (@keys $how:ident $open:tt) => {
        $crate::store_contract!(@$how $open, keys: [
            any_key_tells_whether_there_are_keys, keys_are_listed_and_let_go_one_by_one, a_pending_key_is_returned_again, a_used_key_is_no_longer_pending, a_key_is_found_only_under_its_collection,
            roles_and_algorithms_have_their_own_pending_keys, the_limit_on_pending_keys_holds,
            old_pending_keys_of_nothing_give_way, pending_keys_of_published_collections_never_give_way,
            published_collections_get_keys_above_the_limit,
            using_an_unknown_key_changes_nothing, a_deletion_retires_the_keys_of_its_collection,
        ]);
        $crate::store_contract!(@$how $open, key_races: [of_twenty_askers_all_get_the_same_pending_key]);
    };
    (@list ($checks:ident, $argument:ident, $open:path), $group:ident: [$($check:ident),* $(,)?]) => {
        $({
            let argument = std::sync::Arc::clone(&$argument);
            let check = async move {
                let subject: $crate::contract::Subject = $open(&argument).await;
                $crate::contract::$group::$check(&subject).await;
            };
            $checks.push((stringify!($check), Box::pin(check)));
        })*
    };
    (@test $open:ident, $group:ident: [$($check:ident),* $(,)?]) => {
        mod $group {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $check() {
                    let subject: $crate::contract::Subject = super::$open().await;
                    $crate::contract::$group::$check(&subject).await;
                }
            )*
        }
    };
}

/// Makes a test of every check; the argument names an `async fn() -> contract::signing_keys::KeySubject` in scope.
#[macro_export]
macro_rules! signing_key_contract {
    ($open:ident) => {
        $crate::signing_key_contract!(@all each $open);
    };
    // One function that runs every check, for servers.
    ($name:ident($server:ty): $open:path) => {
        pub(crate) async fn $name(argument: std::sync::Arc<$server>) {
            let mut checks: Vec<(&str, $crate::contract::Check)> = Vec::new();
            $crate::signing_key_contract!(@all list (checks, argument, $open));
            $crate::contract::run(checks).await;
        }
    };
    (@all $how:ident $open:tt) => {
        $crate::signing_key_contract!(@$how $open: [
            a_pending_key_is_returned_again, a_used_key_is_no_longer_pending, a_deleted_key_is_found_no_more,
            the_limit_on_pending_keys_holds, old_pending_keys_give_way_and_used_ones_never,
            collections_that_have_signed_get_keys_above_the_limit, a_key_is_sealed_anew_only_if_nobody_was_faster,
            every_alias_in_use_is_known, of_twenty_askers_all_get_the_same_pending_key, health_is_good,
        ]);
    };
    (@list ($checks:ident, $argument:ident, $open:path): [$($check:ident),* $(,)?]) => {
        $({
            let argument = std::sync::Arc::clone(&$argument);
            let check = async move {
                let subject: $crate::contract::signing_keys::KeySubject = $open(&argument).await;
                $crate::contract::signing_keys::$check(&subject).await;
            };
            $checks.push((stringify!($check), Box::pin(check)));
        })*
    };
    (@each $open:ident: [$($check:ident),* $(,)?]) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $check() {
                let subject: $crate::contract::signing_keys::KeySubject = super::$open().await;
                $crate::contract::signing_keys::$check(&subject).await;
            }
        )*
    };
}

/// A check that runs when it is awaited.
pub type Check = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Checks that run at the same time.
const AT_ONCE: usize = 8;

/// Runs all checks and names those that failed.
pub async fn run(checks: Vec<(&'static str, Check)>) {
    let permits = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
    let mut running = Vec::new();
    for (name, check) in checks {
        let permits = Arc::clone(&permits);
        let task = tokio::spawn(async move {
            let _permit = permits.acquire().await.unwrap();
            check.await;
        });
        running.push((name, task));
    }
    let mut failed = Vec::new();
    for (name, task) in running {
        if task.await.is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "the contract is broken: {failed:?}");
}

fn gun(name: &str) -> Gun {
    Gun::parse(name).unwrap()
}

fn role(name: &str) -> RoleName {
    RoleName::parse(name).unwrap()
}

/// A file whose bytes depend on everything about it.
fn file(name: &str, version: u64, text: &str) -> NewMetadata {
    NewMetadata::new(role(name), Version::new(version).unwrap(), format!("{name} {version} {text}").into_bytes())
}

/// All base roles in one version, as a first publication would bring them.
fn whole(version: u64, text: &str) -> Vec<NewMetadata> {
    ["root", "targets", "snapshot", "timestamp"].map(|name| file(name, version, text)).to_vec()
}

/// The n-th second of the tests.
fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_795_300_000 + second).unwrap()
}
