use std::time::{Duration, Instant};

use countersign_crypto::KeyType;
use countersign_signer_rpc::CallError;
use countersign_tuf::Gun;

use crate::liar::{Code, Lie, Scene, scene};

fn gun() -> Gun {
    Gun::parse("example.com/a").unwrap()
}

async fn create(scene: &Scene) -> Result<(), CallError> {
    scene.client.create_key(&KeyType::Ecdsa, &gun(), "timestamp").await.map(drop)
}

async fn sign(scene: &Scene) -> Result<(), CallError> {
    scene.client.sign(scene.liar.key.public_key(), &gun(), b"a message").await.map(drop)
}

#[tokio::test]
async fn an_honest_service_is_believed() {
    let scene = scene(Lie::Nothing).await;
    create(&scene).await.unwrap();
    sign(&scene).await.unwrap();
    let id = scene.liar.key.public_key().canonical_id();
    assert_eq!(scene.client.key_info(&id).await.unwrap().0, *scene.liar.key.public_key());
    scene.client.delete_key(&id).await.unwrap();
    scene.client.health().await.unwrap();
}

#[tokio::test]
async fn a_signature_that_does_not_verify_is_no_signature() {
    for lie in [Lie::SignatureOfAnotherKey, Lie::SignatureOfAnotherMessage, Lie::AnotherMethod, Lie::EmptySignature] {
        let refused = sign(&scene(lie).await).await;
        assert!(matches!(refused, Err(CallError::Wrong(_))), "{lie:?}: {refused:?}");
    }
}

#[tokio::test]
async fn a_key_that_is_not_the_one_asked_for_is_not_taken() {
    for lie in [Lie::AnotherKeysId, Lie::AnotherAlgorithm, Lie::NoPointOnTheCurve] {
        let refused = create(&scene(lie).await).await;
        assert!(matches!(refused, Err(CallError::Wrong(_))), "{lie:?}: {refused:?}");
    }
    let scene = scene(Lie::AnotherKeysDescription).await;
    let refused = scene.client.key_info(&scene.liar.key.public_key().canonical_id()).await;
    assert!(matches!(refused, Err(CallError::Wrong(_))), "{refused:?}");
}

#[tokio::test]
async fn what_may_pass_is_told_from_what_will_not() {
    for (code, away) in [
        (Code::Away, true),
        (Code::Exhausted, true),
        (Code::NoKey, false),
        (Code::NotForThis, false),
        (Code::NotSigned, false),
    ] {
        let scene = scene(Lie::Refuses(code)).await;
        for refused in [create(&scene).await, sign(&scene).await] {
            let refused = refused.unwrap_err();
            assert_eq!(refused.is_away(), away, "{code:?}: {refused}");
            assert_eq!(matches!(refused, CallError::NoKey(_)), code == Code::NoKey, "{refused}");
        }
        assert!(scene.client.health().await.unwrap_err().is_away());
    }
}

#[tokio::test]
async fn a_service_that_does_not_answer_is_given_up() {
    let scene = scene(Lie::Silence).await;
    let begun = Instant::now();
    assert!(sign(&scene).await.unwrap_err().is_away());
    assert!(begun.elapsed() < Duration::from_secs(10));
    create(&scene).await.unwrap();
}
