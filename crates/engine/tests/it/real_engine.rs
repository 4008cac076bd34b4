//! Against dockerd and docker-registry.

use countersign_engine::{Engine, EngineError, Event, ImageName, Limits, PushTarget, RegistryAuth, pushed_manifest};
use countersign_image::{Digest, Reference};
use countersign_testkit::{Account, DockerRegistry, Dockerd, Image, MemoryRegistry, TokenService, Tool};
use futures_util::{StreamExt, TryStreamExt};

use crate::{connect, endpoint, repository, tag};

fn statuses(events: &[Event]) -> Vec<&str> {
    let texts = events.iter().map(|event| match event {
        Event::Status(status) => status.text.as_str(),
        _ => "",
    });
    texts.filter(|text| !text.is_empty()).collect()
}

#[tokio::test]
async fn an_image_is_pushed_pulled_by_digest_and_tagged() {
    let (docker, registry) = (Dockerd::start(), DockerRegistry::start());
    let engine = connect(&docker.host()).await;
    assert_eq!((engine.facts().version.to_string().as_str(), engine.facts().os.as_deref()), ("1.41", Some("linux")));
    let app = repository(&format!("{}/acme/app", registry.host()));
    docker.build(&format!("{app}:v1"), "one");

    let (mut events, auth) = (Vec::new(), RegistryAuth::anonymous());
    let push = engine.push(&app, PushTarget::Tag(&tag("v1")), &auth);
    let pushed = pushed_manifest(push, &app, &tag("v1"), |event| events.push(event.clone())).await.unwrap();
    assert_eq!(pushed.size, 524);
    let texts = statuses(&events);
    assert_eq!(texts[0], format!("The push refers to repository [{app}]"));
    assert!(texts.contains(&"Pushed"));
    let summary = format!("v1: digest: {} size: 524", pushed.digest);
    assert!(texts.contains(&summary.as_str()), "{texts:?}");

    engine.remove_reference(&app.with_tag(tag("v1"))).await.unwrap();
    let by_digest = app.with_digest(pushed.digest.clone());
    let _ = engine.remove_reference(&by_digest).await;
    assert_eq!(engine.inspect(&ImageName::from(&by_digest)).await.unwrap(), None);
    let missing = engine.confirm(&app, &pushed.digest).await.unwrap_err();
    assert!(matches!(missing, EngineError::NotPulled { .. }), "{missing}");

    let events: Vec<Event> = engine.pull(&app, &pushed.digest, None, &auth).try_collect().await.unwrap();
    let status = format!("Status: Downloaded newer image for {by_digest}");
    assert_eq!(statuses(&events).last(), Some(&status.as_str()));
    let facts = engine.confirm(&app, &pushed.digest).await.unwrap();
    assert_eq!((facts.os.as_str(), facts.repo_tags.len()), ("linux", 0));
    engine.tag(&ImageName::from(&by_digest), &app, &tag("v1")).await.unwrap();
    let tagged = engine.inspect(&ImageName::from(&app.with_tag(tag("v1")))).await.unwrap().unwrap();
    assert_eq!((tagged.id.clone(), tagged.repo_tags), (facts.id.clone(), vec![format!("{app}:v1")]));
    assert_eq!(engine.inspect(&ImageName::id(&facts.id)).await.unwrap().unwrap().id, tagged.id);
}

#[tokio::test]
async fn all_tags_are_pushed_with_a_digest_each() {
    let (docker, registry) = (Dockerd::start(), DockerRegistry::start());
    let engine = connect(&docker.host()).await;
    let app = repository(&format!("{}/acme/app", registry.host()));
    for text in ["v1", "v2"] {
        docker.build(&format!("{app}:{text}"), text);
    }
    let push = engine.push(&app, PushTarget::AllTags, &RegistryAuth::anonymous());
    let events: Vec<Event> = push.try_collect().await.unwrap();
    let pushed = events.iter().filter_map(|event| match event {
        Event::Pushed(pushed) => Some(pushed.tag.as_str().to_owned()),
        _ => None,
    });
    assert_eq!(pushed.collect::<Vec<_>>(), ["v1", "v2"]);
}

#[tokio::test]
async fn an_image_without_the_tag_is_refused_in_the_engines_words() {
    let (docker, registry) = (Dockerd::start(), DockerRegistry::start());
    let engine = connect(&docker.host()).await;
    let app = repository(&format!("{}/acme/app", registry.host()));
    let push = engine.push(&app, PushTarget::Tag(&tag("v1")), &RegistryAuth::anonymous());
    let error = push.finish().await.unwrap_err();
    assert_eq!(error.to_string(), format!("An image does not exist locally with the tag: {app}"));
    docker.build(&format!("{app}:v2"), "two");
    let push = engine.push(&app, PushTarget::Tag(&tag("v1")), &RegistryAuth::anonymous());
    let error = push.finish().await.unwrap_err();
    assert_eq!(error.to_string(), format!("tag does not exist: {app}:v1"));
    assert!(matches!(error, EngineError::Api { status: None, .. }));
    let unknown = ImageName::from(&Reference::parse("nothing:1").unwrap());
    let error = engine.tag(&unknown, &app, &tag("v3")).await.unwrap_err();
    assert!(error.is_not_found(), "{error}");
}

#[tokio::test]
async fn credentials_reach_the_registry() {
    let (docker, registry) = (Dockerd::start(), DockerRegistry::builder().passwords().start());
    let engine = connect(&docker.host()).await;
    let app = repository(&format!("{}/acme/app", registry.host()));
    docker.build(&format!("{app}:v1"), "one");
    let tag = tag("v1");
    let push = |auth: &RegistryAuth| engine.push(&app, PushTarget::Tag(&tag), auth).finish();
    assert!(matches!(push(&RegistryAuth::anonymous()).await, Err(EngineError::Api { .. })));
    let wrong = RegistryAuth::password(registry.host(), "alice", "guess".into());
    assert!(matches!(push(&wrong).await, Err(EngineError::Api { .. })));
    let account = Account::ALICE;
    push(&RegistryAuth::password(registry.host(), account.name, account.password.into())).await.unwrap();
}

#[tokio::test]
async fn a_refresh_token_reaches_the_registrys_token_service() {
    let tokens = TokenService::start();
    let (docker, registry) = (Dockerd::start(), DockerRegistry::builder().tokens(&tokens).start());
    let engine = connect(&docker.host()).await;
    let app = repository(&format!("{}/acme/app", registry.host()));
    docker.build(&format!("{app}:v1"), "one");
    let tag = tag("v1");
    let push = |account: Account| {
        let auth = RegistryAuth::identity_token(registry.host(), TokenService::refresh_token(account).into());
        engine.push(&app, PushTarget::Tag(&tag), &auth).finish()
    };
    push(Account::ALICE).await.unwrap();
    let refused = push(Account::BOB).await.unwrap_err();
    assert!(refused.to_string().contains("denied"), "{refused}");
}

#[tokio::test]
async fn a_tag_that_moved_does_not_change_what_is_pulled() {
    let (docker, registry) = (Dockerd::start(), MemoryRegistry::start().unwrap());
    let engine = connect(&docker.host()).await;
    let app = repository(&format!("{}/acme/app", registry.host()));
    let good = registry.put_image("acme/app", "v1", &Image::with_message("good")).unwrap();
    let evil = registry.put_image("acme/app", "evil", &Image::with_message("evil")).unwrap();
    registry.repoint_tag("acme/app", "v1", &evil).unwrap();
    let digest = Digest::parse(&good).unwrap();
    engine.pull(&app, &digest, None, &RegistryAuth::anonymous()).finish().await.unwrap();
    let facts = engine.confirm(&app, &digest).await.unwrap();
    assert_eq!(facts.id, Digest::of(&Image::with_message("good").config));
    assert!(registry.take_request_lines().iter().all(|line| !line.contains("/manifests/v1")));
}

#[tokio::test]
async fn a_manifest_with_other_bytes_is_not_taken() {
    let (docker, registry) = (Dockerd::start(), MemoryRegistry::start().unwrap());
    let engine = connect(&docker.host()).await;
    let app = repository(&format!("{}/acme/app", registry.host()));
    let good = registry.put_image("acme/app", "v1", &Image::with_message("good")).unwrap();
    registry.put_image("acme/app", "evil", &Image::with_message("evil")).unwrap();
    let evil = registry.manifest("acme/app", "evil").unwrap();
    registry.corrupt_manifest("acme/app", &good, evil.bytes).unwrap();
    let digest = Digest::parse(&good).unwrap();
    let pulled = engine.pull(&app, &digest, None, &RegistryAuth::anonymous()).finish().await;
    assert!(matches!(pulled, Err(EngineError::Api { .. })), "{pulled:?}");
    assert!(matches!(engine.confirm(&app, &digest).await, Err(EngineError::NotPulled { .. })));
}

#[tokio::test]
async fn an_image_goes_through_an_archive() {
    let docker = Dockerd::start();
    let engine = connect(&docker.host()).await;
    docker.build("acme/app:v1", "one");
    let name = ImageName::from(&Reference::parse("acme/app:v1").unwrap());
    let id = engine.inspect(&name).await.unwrap().unwrap().id;
    let saved: Vec<_> = engine.save(std::slice::from_ref(&name)).await.unwrap().try_collect().await.unwrap();
    engine.remove_reference(&Reference::parse("acme/app:v1").unwrap()).await.unwrap();
    assert_eq!(engine.inspect(&name).await.unwrap(), None);
    let loaded = engine.load(futures_util::stream::iter(saved).map(Ok));
    let events: Vec<Event> = loaded.try_collect().await.unwrap();
    assert!(events.contains(&Event::Output("Loaded image: acme/app:v1\n".to_owned())), "{events:?}");
    assert_eq!(engine.inspect(&name).await.unwrap().unwrap().id, id);
    let unknown = ImageName::from(&Reference::parse("nothing:1").unwrap());
    assert!(engine.save(&[unknown]).await.unwrap_err().is_not_found());
    let broken = futures_util::stream::iter([Err(std::io::Error::other("disk gone"))]);
    let error = engine.load(broken).finish().await.unwrap_err();
    assert!(matches!(&error, EngineError::Input(cause) if cause.to_string().contains("disk gone")), "{error:?}");
}

#[tokio::test]
async fn an_engine_is_reached_through_ssh() {
    let docker = Dockerd::start();
    // A stand-in for ssh: it checks how it is called, and does on this machine what ssh would do on the other.
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "#!/bin/sh\n[ \"$*\" = '-o ConnectTimeout=30 -T -l me -p 22 -- far.test docker system dial-stdio' ] || exit 9\n\
         exec {} --host {} system dial-stdio\n",
        Tool::DOCKER_20.path().display(),
        docker.host()
    );
    let ssh = folder.path().join("ssh");
    std::fs::write(&ssh, script).unwrap();
    std::fs::set_permissions(&ssh, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut far = endpoint("ssh://me@far.test:22");
    far.program_path = Some(format!("{}:/usr/bin:/bin", folder.path().display()).into());
    let engine = Engine::connect(far, Limits::default()).await.unwrap();
    docker.build("acme/app:v1", "one");
    let name = ImageName::from(&Reference::parse("acme/app:v1").unwrap());
    assert!(engine.inspect(&name).await.unwrap().is_some());
    let mut unknown = endpoint("ssh://else.test");
    unknown.program_path = Some(folder.path().into());
    let error = Engine::connect(unknown, Limits::default()).await.unwrap_err();
    assert!(matches!(error, EngineError::Unreachable { .. }), "{error}");
}
