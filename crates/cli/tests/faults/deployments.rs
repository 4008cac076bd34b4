//! One storm for each way to deploy the service.

use countersign_testkit::Deployment;

use crate::storm::Storm;

#[test]
fn with_the_embedded_database() {
    Storm::over(Deployment::Embedded).blow();
}

#[test]
fn with_the_keys_at_a_keyserver() {
    Storm::over(Deployment::Keyserver).blow();
}

#[test]
fn with_mariadb() {
    Storm::over(Deployment::MariaDb).blow();
}

#[test]
fn with_two_replicas_whose_clocks_differ_over_postgresql_and_a_keyserver() {
    Storm::over(Deployment::Replicas).blow();
}

#[test]
fn with_a_database_that_dies_and_a_copy_that_takes_its_place() {
    Storm::over_a_pair_of_databases().blow();
}

#[test]
fn with_postgresql_on_a_disk_that_is_full_now_and_then() {
    Storm::over_a_small_disk(Deployment::Postgres).blow();
}

#[test]
fn with_mariadb_on_a_disk_that_is_full_now_and_then() {
    Storm::over_a_small_disk(Deployment::MariaDb).blow();
}
