//! What a docker engine saves is read here, and what is written here an engine loads.

use countersign_image::Reference;
use countersign_layout::{LayoutWriter, choose, open};
use countersign_testkit::{DockerClient, Dockerd};

use crate::support::{check_whole, put_image};

#[test]
fn an_engine_loads_our_archive_and_we_read_what_it_saves() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ours.tar");
    let writer = LayoutWriter::create(&path).unwrap();
    let image = put_image(&writer, "through the engine");
    writer.name(&image, Some(&Reference::parse("reg.test/acme/app:v1").unwrap()));
    writer.finish_docker_archive().unwrap();
    let engine = Dockerd::start();
    let docker = DockerClient::newest().with_engine(&engine);
    let loaded = docker.run(&["load", "-i", path.to_str().unwrap()]).succeeded();
    assert!(loaded.stdout.contains("reg.test/acme/app:v1"), "{}", loaded.stdout);
    docker.run(&["tag", "reg.test/acme/app:v1", "other:v2"]).succeeded();
    let saved = folder.path().join("saved.tar");
    docker.run(&["save", "-o", saved.to_str().unwrap(), "reg.test/acme/app:v1", "other:v2"]).succeeded();
    let (ours, theirs) = (open(&path).unwrap(), open(&saved).unwrap());
    let descriptor = |images: &countersign_layout::LocalImages, name| {
        choose(images.images(), Some(name)).unwrap().descriptor.clone()
    };
    assert_eq!(descriptor(&theirs, "reg.test/acme/app:v1"), descriptor(&ours, "reg.test/acme/app:v1"));
    assert_eq!(check_whole(&theirs, &descriptor(&theirs, "other:v2")), 3);
}
