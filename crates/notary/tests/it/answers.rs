//! What answers mean.

use crate::service::{BASE, Scripted};
use countersign_notary::ServiceError;
use countersign_testkit::Reply;
use countersign_tuf::RoleName;
use countersign_tuf::update::{Absence, Answer, Fetch, Which};
use std::collections::BTreeMap;

async fn fetched(reply: Reply) -> Answer {
    let scripted = Scripted::new();
    scripted.server.otherwise(reply);
    scripted.reader().fetch(Fetch { role: &RoleName::Timestamp, which: Which::Current, limit: 100 }).await
}

async fn published(reply: Reply) -> Result<(), ServiceError> {
    let scripted = Scripted::new();
    scripted.server.otherwise(reply);
    scripted.writer().publish(&BTreeMap::new()).await
}

fn kind(answer: &Answer) -> &'static str {
    match answer {
        Answer::File(_) => "file",
        Answer::Missing => "missing",
        Answer::Away(Absence::Unreachable(_)) => "away",
        Answer::Away(Absence::Refused(_)) => "refused",
        Answer::Away(Absence::Tls(_)) => "tls",
        Answer::Away(Absence::Hostile(_)) => "hostile",
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_status_is_sorted() {
    for (status, expected) in [
        (200, "file"),
        (404, "missing"),
        (401, "refused"),
        (403, "refused"),
        (408, "away"),
        (429, "away"),
        (500, "away"),
        (502, "away"),
        (503, "away"),
        (599, "away"),
        (201, "hostile"),
        (204, "hostile"),
        (206, "hostile"),
        (301, "hostile"),
        (302, "hostile"),
        (304, "hostile"),
        (400, "hostile"),
        (405, "hostile"),
        (410, "hostile"),
        (418, "hostile"),
    ] {
        let answer = fetched(Reply::status(status).header("Location", "/elsewhere")).await;
        assert_eq!(kind(&answer), expected, "{status}");
    }
}

#[tokio::test]
async fn an_odd_answer_to_a_reader_is_named_once_and_not_taken_for_a_refused_upload() {
    for status in [400, 410] {
        let Answer::Away(Absence::Hostile(reason)) = fetched(Reply::status(status)).await else { panic!("{status}") };
        assert!(reason.contains(&status.to_string()), "{reason}");
        assert!(!reason.contains("upload") && !reason.contains("bad response"), "{reason}");
    }
}

#[tokio::test]
async fn bodies_within_the_limit_count_and_no_others() {
    assert_eq!(kind(&fetched(Reply::ok(vec![b' '; 100])).await), "file");
    assert_eq!(kind(&fetched(Reply::ok(vec![b' '; 101])).await), "hostile");
    assert_eq!(kind(&fetched(Reply::ok("x").announcing(101).then_hang()).await), "hostile");
    assert_eq!(kind(&fetched(Reply::status(200).then_endlessly("abc")).await), "hostile");
    assert_eq!(kind(&fetched(Reply::ok("x").header("Content-Encoding", "gzip")).await), "hostile");
    assert_eq!(kind(&fetched(Reply::raw("junk\r\n\r\n")).await), "hostile");
    assert_eq!(kind(&fetched(Reply::ok("x").announcing(50).then_cut()).await), "away");
    assert_eq!(kind(&fetched(Reply::ok("x").announcing(50).then_hang()).await), "away");
    assert_eq!(kind(&fetched(Reply::silence()).await), "away");
}

#[tokio::test]
async fn a_refused_upload_is_told_apart_from_one_that_came_too_late() {
    let error = |code: &str, detail: &str| {
        Reply::status(400)
            .then(format!("{{\"errors\":[{{\"code\":\"{code}\",\"message\":\"m\",\"detail\":{detail}}}]}}"))
    };
    assert!(matches!(published(error("VERSION", "null")).await, Err(ServiceError::Conflict)));
    let refused = published(error("INVALID_UPDATE", r#"{"Error":{"Name":"ErrBadRoot","Msg":"no\u001b[2J\n"}}"#)).await;
    assert_eq!(refused.unwrap_err().to_string(), "the trust service refused the upload: no\\u{1b}[2J");
    for detail in ["null", "{}", "[]", "{\"Error\":1}", "\"x\""] {
        let refused = published(error("INVALID_UPDATE", detail)).await;
        assert!(matches!(refused, Err(ServiceError::Rejected(_))), "{detail}: {refused:?}");
    }
    for junk in ["", "<html>", "{\"errors\":", "null"] {
        let refused = published(Reply::status(400).then(junk)).await;
        assert!(matches!(refused, Err(ServiceError::Rejected(_))), "{junk}: {refused:?}");
    }
    for status in [201, 202, 204, 301, 413] {
        assert!(matches!(published(Reply::status(status)).await, Err(ServiceError::Hostile(_))), "{status}");
    }
    assert!(matches!(published(Reply::status(404)).await, Err(ServiceError::NoTrustData { .. })));
    assert!(matches!(published(Reply::status(401)).await, Err(ServiceError::Unauthorised(_))));
    assert!(published(Reply::status(200)).await.is_ok());
}

#[tokio::test]
async fn keys_larger_than_the_limit_or_in_no_known_form_are_refused() {
    let scripted = Scripted::new();
    for (reply, oversized) in [
        (Reply::json(vec![b' '; (256 << 10) + 1]), true),
        (Reply::json("junk"), false),
        (Reply::json(r#"{"keytype":"ecdsa"}"#), false),
        (Reply::json("{}").header("Content-Encoding", "br"), true),
    ] {
        scripted.server.on(&format!("{BASE}timestamp.key"), reply);
        let error = scripted.writer().key(&RoleName::Timestamp).await.unwrap_err();
        assert_eq!(matches!(error, ServiceError::Hostile(_)), oversized, "{error:?}");
        assert!(oversized || matches!(error, ServiceError::Key { .. }), "{error:?}");
    }
}
