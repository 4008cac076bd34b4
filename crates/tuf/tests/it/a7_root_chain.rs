//! The chain of roots.

use crate::workshop::*;
use countersign_tuf::update::{Answer, MAX_ROTATIONS, UpdateError, Which};
use countersign_tuf::{RoleName, RootError, Version};

fn version(number: u64) -> Which {
    Which::Version(Version::new(number).unwrap())
}

/// Attack catalogue A7-70.
#[test]
fn a_new_root_needs_the_old_keys_and_its_own() {
    let mut repository = Repository::new();
    let mut client = repository.warm_client();
    let (old, new) = (repository.keys["root"].clone(), vec![Key::root()]);
    for signers in [&new, &old, &vec![Key::root()], &Vec::new()] {
        let mut forged = repository.clone();
        forged.next_root(&new, signers, |_| ());
        forged.link();
        let error = client.refuses(&forged.service());
        assert!(matches!(error, UpdateError::Root(RootError::NotRotated(_) | RootError::NotSigned(_))), "{error}");
    }
    repository.next_root(&new, &[old, new.clone()].concat(), |_| ());
    repository.link();
    client.update(&repository.service()).unwrap();
}

/// Attack catalogue A7-71.
#[test]
fn a_broken_or_missing_link_ends_the_chain_until_it_is_mended() {
    let mut repository = Repository::new();
    let mut client = repository.warm_client();
    for _ in 0..3 {
        repository.rotate("root");
    }
    for (link, place) in [(2, 1), (3, 2)] {
        let other = Repository::new().files["root"].clone();
        let honest = repository.history.iter().filter(|(name, _)| name == "root").nth(place).unwrap().1.clone();
        let mut damaged = honest.to_vec();
        let signature = damaged.windows(7).rposition(|window| window == b"\"sig\":\"").unwrap() + 9;
        damaged[signature] = if damaged[signature] == b'A' { b'B' } else { b'A' };
        for answer in [Answer::Missing, Answer::File("junk".into()), Answer::File(other), Answer::File(damaged.into())]
        {
            client.refuses(&repository.service().lie_about("root", version(link), answer));
        }
    }
    assert_eq!(client.update(&repository.service()).unwrap().root().version.get(), 4);
}

/// Attack catalogue A7-72.
#[test]
fn every_link_has_exactly_the_next_version() {
    let mut repository = Repository::new();
    let mut client = repository.warm_client();
    let (one, five) = (repository.keys["root"].clone(), vec![Key::root()]);
    let mut jump = repository.clone();
    jump.next_root(&five, &[one.clone(), five.clone()].concat(), |root| root["version"] = 5.into());
    jump.link();
    client.refuses(&jump.service());
    // The jump served as every link of the way.
    let five_at_once = jump.files["root"].clone();
    let mut service = jump.service();
    for number in 2..5 {
        service = service.lie_about("root", version(number), Answer::File(five_at_once.clone()));
    }
    assert!(matches!(client.refuses(&service), UpdateError::Root(RootError::Version { .. })));
    repository.rotate("root");
    repository.rotate("root");
    let third = repository.files["root"].clone();
    let swapped = repository.service().lie_about("root", version(2), Answer::File(third));
    assert!(matches!(client.refuses(&swapped), UpdateError::Root(RootError::Version { .. })));
    client.update(&repository.service()).unwrap();
}

/// Attack catalogue A7-73.
#[test]
fn a_root_that_announces_an_absurd_version_is_refused_quickly() {
    for announced in [2_147_483_647_u64, 1 << 53] {
        let mut repository = Repository::new();
        let mut client = repository.warm_client();
        let keys = repository.keys["root"].clone();
        repository.next_root(&keys, &keys, |root| root["version"] = announced.into());
        repository.link();
        let service = repository.service();
        assert!(matches!(client.update(&service), Err(UpdateError::TooManyRotations { .. })));
        assert!(service.asked.borrow().len() <= 4, "{:?}", service.asked.borrow());
    }
}

/// Attack catalogue A7-74: every root of the chain is valid, but it does not end.
#[test]
fn an_endless_chain_of_valid_roots_is_cut_off() {
    let mut repository = Repository::new();
    let mut client = repository.warm_client();
    let keys = repository.keys["root"].clone();
    for _ in 0..=MAX_ROTATIONS {
        repository.next_root(&keys, &keys, |_| ());
    }
    repository.link();
    assert!(matches!(client.refuses(&repository.service()), UpdateError::TooManyRotations { .. }));
    // A service that has a further root each time it is asked gets one look per update.
    let mut growing = Repository::new();
    let mut client = growing.warm_client();
    let keys = growing.keys["root"].clone();
    growing.next_root(&keys, &keys, |_| ());
    growing.tag("targets", "v1", "x");
    let listed_wrongly = growing.service().serve("targets", "junk");
    client.refuses(&listed_wrongly);
    let roots = listed_wrongly.asked.borrow().iter().filter(|(role, _)| *role == RoleName::Root).count();
    assert!(roots <= 8, "{roots} in four attempts");
}

/// Attack catalogue A7-75 and A7-76.
#[test]
fn thresholds_of_the_old_and_of_the_new_root_both_count() {
    let mut keys = Repository::new().keys;
    let old = vec![Key::root(), Key::root()];
    keys.insert("root".into(), old.clone());
    let mut repository = Repository::with_keys(GUN, keys);
    let two = |root: &mut serde_json::Value| root["roles"]["root"]["threshold"] = 2.into();
    repository.edit("root", two);
    repository.link();
    let mut client = repository.warm_client();
    let new = vec![Key::root(), Key::root()];
    let twice = |key: &Key| vec![key.clone(), key.clone()];
    for signers in [
        [vec![old[0].clone()], new.clone()].concat(),
        [twice(&old[0]), new.clone()].concat(),
        [old.clone(), vec![new[0].clone()]].concat(),
        [old.clone(), twice(&new[0])].concat(),
        vec![old[0].clone(), new[0].clone()],
        old.clone(),
        new.clone(),
    ] {
        let mut forged = repository.clone();
        forged.next_root(&new, &signers, two);
        forged.link();
        client.refuses(&forged.service());
    }
    repository.next_root(&new, &[old, new.clone()].concat(), two);
    repository.link();
    client.update(&repository.service()).unwrap();
}

/// Attack catalogue A7-77.
#[test]
fn neither_an_unverifiable_root_nor_one_built_on_it_gets_into_the_cache() {
    let mut repository = Repository::new();
    let mut client = repository.warm_client();
    let trusted = client.cache[&RoleName::Root].clone();
    let (evil, further) = (vec![Key::root()], vec![Key::root()]);
    let mut forged = repository.clone();
    forged.next_root(&evil, &evil, |_| ());
    forged.link();
    client.refuses(&forged.service());
    forged.next_root(&further, &[evil, further.clone()].concat(), |_| ());
    forged.link();
    client.refuses(&forged.service());
    assert_eq!(client.cache[&RoleName::Root], trusted);
    repository.rotate("root");
    client.update(&repository.service()).unwrap();
}

/// Attack catalogue A7-78: those who saw the change refuse; at first contact nobody can know.
#[test]
fn a_replaced_root_key_makes_no_further_roots() {
    let mut repository = Repository::new();
    let replaced = repository.keys["root"].clone();
    let before = repository.clone();
    repository.rotate("root");
    let mut client = repository.warm_client();
    let thief = vec![Key::root()];
    let mut forged = before.clone();
    forged.next_root(&thief, &[replaced.clone(), thief.clone()].concat(), |_| ());
    forged.link();
    forged.edit("timestamp", |timestamp| timestamp["version"] = 100.into());
    client.refuses(&forged.service());
    let mut continued = repository.clone();
    continued.next_root(&thief, &[replaced, thief.clone()].concat(), |_| ());
    continued.link();
    client.refuses(&continued.service());
}

/// Attack catalogue A7-79: only the newest root is kept, and only when everything has verified.
#[test]
fn an_interrupted_walk_along_the_chain_keeps_no_intermediate_root() {
    let mut repository = Repository::new();
    let mut client = repository.warm_client();
    for _ in 0..3 {
        repository.rotate("root");
    }
    repository.tag("targets", "v1", "x");
    for interrupted in [
        repository.service().lie_about("root", version(3), Answer::Missing),
        repository.service().without("snapshot"),
        repository.service().without("targets"),
    ] {
        client.refuses(&interrupted);
    }
    let collection = client.update(&repository.service()).unwrap();
    assert_eq!(collection.downloaded()[&RoleName::Root], repository.files["root"]);
}
