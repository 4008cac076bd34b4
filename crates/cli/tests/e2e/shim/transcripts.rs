//! The recorded sections about docker's own commands, played by the shim in front of docker 28.

mod docker_28 {
    use crate::client::Client;
    use crate::stage::{Shop, Stage};
    use crate::transcript::{Part, Personality, Transcript};
    use countersign_testkit::{FakeServer, Image, Port, Reply, TestCa, Tool};

    const OURS: Personality = Personality::Shim;

    /// A person whose docker 28 is behind the shim.
    fn person(stage: &Stage) -> Client {
        before_28(stage.countersign())
    }

    fn before_28(client: Client) -> Client {
        let client = client.env("DOCKER_CONTENT_TRUST", "1");
        client.env("COUNTERSIGN_DOCKER", Tool::DOCKER_28.path().to_str().unwrap())
    }

    /// The same person with a trust service at which nobody listens.
    fn away(person: Client, transcript: &mut Transcript) -> Client {
        let nobody = Port::take().address().to_string();
        transcript.call("down.test:1", &nobody);
        person.env("DOCKER_CONTENT_TRUST_SERVER", &format!("https://{nobody}"))
    }

    fn set(mut transcript: Transcript, stage: &Stage) -> Transcript {
        transcript.call("reg.test:5000", &stage.registry.host());
        transcript.call("trust.test:4443", stage.service.url().trim_start_matches("https://"));
        transcript
    }

    #[test]
    fn push() {
        let stage = Stage::set();
        let mut transcript = set(Transcript::of("push", Part::Docker, OURS), &stage);
        let owner = person(&stage);
        let app = stage.repository("acme/app");
        for tag in ["v1", "v2", "v3"] {
            stage.engine.build(&format!("{app}:{tag}"), tag);
        }
        let wrong_root = format!("{}:1", stage.repository("acme/wrongroot"));
        stage.engine.build(&wrong_root, "v1");
        for comment in [
            "first signed push",
            "second push new tag",
            "re-push same tag",
            "push without tag (default latest, not present locally)",
            "push -a",
            "push -q tagged",
            "push --disable-content-trust v3",
        ] {
            transcript.play(comment, &owner);
        }
        let cold = away(person(&stage), &mut transcript);
        transcript.play("server down, cold cache", &cold);
        let warm = away(owner, &mut transcript);
        transcript.play("server down, warm cache: image pushed, signing fails", &warm);
        let newcomer = person(&stage);
        newcomer.run(&["docker", "push", "--disable-content-trust", &wrong_root]).succeeded();
        transcript.play("1-character passphrases from the environment", &newcomer);
        transcript.finish();
    }

    fn dockerfile(person: &Client, text: &str) {
        let folder = person.folder().join("b1");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("Dockerfile"), text).unwrap();
        std::fs::write(folder.join("hello2"), "hello").unwrap();
    }

    #[test]
    fn create_run_build_and_service() {
        let stage = Stage::set();
        let mut transcript = set(Transcript::of("run", Part::Docker, OURS), &stage);
        let owner = person(&stage);
        let app = stage.repository("acme/signme");
        // What the image of the recording would run, and what ours would.
        transcript.call("/hello", "/message");
        let (signed, unsigned) = (format!("{app}:1.0"), format!("{app}:9"));
        stage.engine.build(&signed, "one");
        stage.engine.build(&unsigned, "nine");
        stage.engine.build(&format!("{}:1", stage.repository("acme/built")), "built");
        let docker = |arguments: &[&str]| {
            let mut command = std::process::Command::new(Tool::DOCKER_28.path());
            owner.set(&mut command);
            countersign_testkit::Finished::of(command.args(arguments).env_remove("DOCKER_CONTENT_TRUST"), b"")
        };
        let pushed = owner.run(&["docker", "push", &signed]).succeeded();
        let digest = crate::stage::pushed_digest(&pushed);
        let forget = || docker(&["rmi", "-f", &signed, &format!("{app}@{digest}")]);
        docker(&["rmi", "-f", &unsigned]);
        forget();
        transcript.play("run, image not local (exit 126: test image has no runnable program)", &owner);
        stage.engine.build(&unsigned, "nine");
        docker(&["tag", &signed, "kept:1"]).succeeded();
        forget();
        transcript.play("image not local", &owner);
        transcript.play("create --pull always", &owner);
        transcript.play("create unsigned local image", &owner);
        transcript.play("create local only image, no trust", &owner);
        transcript.play("create by image ID", &owner);
        transcript.play("run unsigned", &owner);
        dockerfile(&owner, &format!("FROM {signed}\nCOPY hello2 /hello2\n"));
        forget();
        transcript.play("signed base", &owner);
        dockerfile(&owner, &format!("FROM {unsigned}\nCOPY hello2 /hello2\n"));
        transcript.play("unsigned base", &owner);
        dockerfile(&owner, "FROM scratch\nCOPY hello2 /hello2\n");
        transcript.play("FROM scratch", &owner);
        dockerfile(&owner, &format!("FROM --platform=linux/amd64 {signed}\nCOPY hello2 /hello2\n"));
        transcript.play("FROM --platform", &owner);
        transcript.play("unsigned", &owner);
        transcript.finish();
    }
    /// The reader has seen the collection; everybody else has not.
    fn services_that_do_not_answer_well(stage: &Stage, transcript: &mut Transcript, reader: Client) {
        let slash = person(stage).env("DOCKER_CONTENT_TRUST_SERVER", &format!("{}/", stage.service.url()));
        transcript.play("server URL with trailing slash, cold cache", &slash);
        let cold = away(person(stage), transcript);
        transcript.play("server down, cold cache", &cold);
        let warm = away(reader, transcript);
        transcript.play("server down, warm cache: succeeds", &warm);

        let ca = TestCa::new();
        let server = FakeServer::tls(ca.loopback_server().server_config());
        let of_fake = |person: Client| person.of_fake(&server, &ca);
        for (comment, reply) in [
            ("401 from the trust server without a challenge, cold cache", Reply::status(401)),
            ("403, cold cache", Reply::status(403)),
            ("HTML page with status 200", Reply::ok("<html>please pay</html>")),
            (
                "Basic challenge, no credentials, cold cache",
                Reply::status(401).header("WWW-Authenticate", "Basic realm=\"x\""),
            ),
        ] {
            server.otherwise(reply);
            transcript.play(comment, &of_fake(person(stage)));
        }
        server.on("/token", Reply::status(401).then("{\"details\":\"incorrect username or password\"}"));
        let challenge = format!("Bearer realm=\"{}/token\",service=\"trust\"", server.url());
        server.otherwise(Reply::status(401).header("WWW-Authenticate", &challenge));
        transcript.play("token server answers 401, cold cache", &of_fake(person(stage)));
        server.otherwise(Reply::status(404));
        transcript.play("404 for everything, warm cache", &of_fake(warm));
    }

    #[test]
    fn pull() {
        let stage = Stage::set();
        let mut transcript = set(Transcript::of("pull", Part::Docker, OURS), &stage);
        let owner = person(&stage);
        let app = stage.repository("acme/app");
        let mut digests = Vec::new();
        for tag in ["v1", "v2", "v3"] {
            let name = format!("{app}:{tag}");
            stage.engine.build(&name, tag);
            let arguments: &[&str] = if tag == "v3" { &["--disable-content-trust"] } else { &[] };
            let pushed = owner.run(&[&["docker", "push"], arguments, &[name.as_str()]].concat()).succeeded();
            digests.push(crate::stage::pushed_digest(&pushed));
        }
        let forget = || {
            for (tag, digest) in ["v1", "v2", "v3"].iter().zip(&digests) {
                owner.run(&["docker", "rmi", "-f", &format!("{app}:{tag}"), &format!("{app}@{digest}")]);
            }
        };
        transcript.call(
            "06d8e101e206b14871c2b3cbe640ac22efdb3bf662c9866d53c44c9279313b03",
            digests[2].trim_start_matches("sha256:"),
        );
        forget();
        let reader = person(&stage);
        for comment in [
            "trusted pull v1",
            "trusted pull -q v2",
            "trusted pull default tag, not signed",
            "trusted pull v3 unsigned",
            "pull by digest of unsigned v3",
            "pull tag+digest",
        ] {
            transcript.play(comment, &reader);
        }
        forget();
        for comment in ["pull -a", "pull -a -q", "pull -a with tag", "variable 0, flag =false"] {
            transcript.play(comment, &reader);
        }
        services_that_do_not_answer_well(&stage, &mut transcript, reader);

        crate::indexes::put_index(&stage.registry.host(), "acme/multi", "latest");
        owner.run(&["sign", &stage.repository("acme/multi")]).succeeded();
        let multi = stage.repository("acme/multi");
        for arguments in
            [&["pull", "--disable-content-trust", &multi][..], &["tag", &multi, "kept:1"], &["rmi", &multi]]
        {
            owner.run(&[&["docker"], arguments].concat()).succeeded();
        }
        transcript.play("the signed digest is a manifest list", &person(&stage));
        transcript.finish();
    }

    #[test]
    fn reading() {
        let shop = Shop::open();
        let mut transcript = Transcript::of("reading", Part::Docker, OURS);
        transcript.call("reg.test:5000", &shop.registry.host());
        transcript.call("trust.test:4443", shop.service.url().trim_start_matches("https://"));
        transcript.play("pull, repository unknown", &before_28(shop.client()));
        transcript.finish();
    }

    #[test]
    fn configuration() {
        let shop = Shop::open();
        let mut transcript = Transcript::of("tls", Part::Docker, OURS);
        transcript.call("reg.test:5000", &shop.registry.host());
        transcript.call("<unwritable>", "/proc/countersign");
        let with_file = |name: &str| {
            let folder = tempfile::tempdir().unwrap();
            let client = Client::new().sharing(folder.path()).of(&shop.service);
            let files = folder.path().join("tls").join(shop.service.url().trim_start_matches("https://"));
            std::fs::write(files.join(name), "").unwrap();
            (before_28(client), folder)
        };
        transcript.play("cert without key", &with_file("a.cert").0);
        transcript.play("key without cert", &with_file("a.key").0);
        let stranger = Client::new().env("DOCKER_CONTENT_TRUST_SERVER", &shop.service.url());
        transcript.play("unknown CA", &before_28(stranger));
        let unset = before_28(Client::new());
        transcript.play("no server variable, registry speaks plain http", &unset);
        // The authority is the system's, so that the directory is all that is missing.
        shop.registry.put_image("acme/signme", "1.0", &Image::with_message("one")).unwrap();
        shop.client().run(&["sign", &format!("{}/acme/signme:1.0", shop.registry.host())]).succeeded();
        let person = before_28(shop.client());
        let authority = person.folder().join("authority.pem");
        std::fs::write(&authority, shop.service.authority_pem()).unwrap();
        transcript
            .play("config directory cannot be created", &person.env("SSL_CERT_FILE", authority.to_str().unwrap()));
        transcript.finish();
    }

    /// What docker 29 does without content trust: the same lines with the shim in front of the last docker that had it.
    #[test]
    fn docker_29() {
        let stage = Stage::set();
        let mut transcript = set(Transcript::of("docker29", Part::Docker, OURS), &stage);
        let owner = person(&stage);
        let app = stage.repository("acme/signme");
        for tag in ["1.0", "9"] {
            stage.engine.build(&format!("{app}:{tag}"), tag);
        }
        owner.run(&["docker", "push", &format!("{app}:1.0")]).succeeded();
        owner.run(&["docker", "push", "--disable-content-trust", &format!("{app}:9")]).succeeded();
        let refused = transcript.play("unsigned tag, variable set to 1", &person(&stage));
        assert_eq!((refused.code, refused.stdout.as_str()), (3, ""), "{refused}");
        let pushed = transcript.play("variable set to 1", &owner).succeeded();
        assert!(pushed.stdout.contains(&format!("Successfully signed {app}:9")), "{pushed}");
        transcript.play("flag warning is on stdout", &owner).succeeded();
        let created = transcript.play("create: flag warning is on stdout", &owner).succeeded();
        assert_eq!(created.stdout.trim_end().len(), 64, "only an id: {created}");
        transcript.finish();
    }
}
