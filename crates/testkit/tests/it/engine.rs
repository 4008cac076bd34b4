use countersign_testkit::{DockerClient, DockerRegistry, Dockerd, Image, MemoryRegistry};

fn processes_naming(text: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let commands = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    commands
        .map(|command| String::from_utf8_lossy(&command).replace('\0', " "))
        .filter(|command| command.contains(text))
        .collect()
}

#[test]
fn both_clients_build_push_and_pull_and_the_engine_leaves_nothing_running() {
    let (engine, registry) = (Dockerd::start(), DockerRegistry::start());
    let name = format!("{}/acme/app:v1", registry.host());
    engine.build(&name, "one");
    for client in [DockerClient::newest(), DockerClient::v20()] {
        let client = client.with_engine(&engine);
        let pushed = client.run(&["push", &name]).succeeded();
        assert!(pushed.stdout.contains("v1: digest: sha256:"), "{pushed}");
        client.run(&["rmi", &name]).succeeded();
        client.run(&["pull", &name]).succeeded();
        let version = client.run(&["version", "--format", "{{.Server.Version}}"]).succeeded();
        assert!(version.stdout.starts_with("20.10"), "{version}");
    }
    let folder = engine.socket().parent().unwrap().to_owned();
    assert!(!processes_naming(&folder.to_string_lossy()).is_empty());
    drop(engine);
    assert_eq!(processes_naming(&folder.to_string_lossy()), Vec::<String>::new());
    assert!(!folder.exists(), "{} is left", folder.display());
}

#[test]
fn the_engine_pulls_from_and_pushes_to_the_registry_in_memory() {
    let (engine, registry) = (Dockerd::start(), MemoryRegistry::start().unwrap());
    let digest = registry.put_image("acme/app", "v1", &Image::with_message("from memory")).unwrap();
    let client = DockerClient::newest().with_engine(&engine);
    let name = format!("{}/acme/app@{digest}", registry.host());
    let pulled = client.run(&["pull", &name]).succeeded();
    assert!(pulled.stdout.contains(&format!("Digest: {digest}")), "{pulled}");
    let copy = format!("{}/acme/copy:v1", registry.host());
    client.run(&["tag", &name, &copy]).succeeded();
    let pushed = client.run(&["push", &copy]).succeeded();
    let copied = registry.tag("acme/copy", "v1").unwrap();
    assert!(pushed.stdout.contains(&format!("v1: digest: {copied}")), "{pushed}");
}

#[test]
fn docker_28_is_the_version_it_is_named_for() {
    for client in [DockerClient::v28(), DockerClient::newest()] {
        assert!(client.run(&["--version"]).succeeded().stdout.starts_with("Docker version 28.2.2"));
    }
}

#[test]
fn the_client_of_debian_is_the_version_it_is_named_for() {
    assert!(DockerClient::v20().run(&["--version"]).succeeded().stdout.starts_with("Docker version 20.10"));
}
