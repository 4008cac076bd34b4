//! A database server that is away for a while.

use std::time::Duration;

use countersign_server::{Connections, DatabaseUrl, Storage};
use countersign_testkit::{DatabaseServer, Product};

use crate::owner::Owner;
use crate::service::TestService;

const GUN: &str = "example.com/away";

#[tokio::test(flavor = "multi_thread")]
async fn without_its_database_the_service_says_when_to_ask_again_and_then_goes_on() {
    for product in [Product::Postgres, Product::MariaDb] {
        let mut server = DatabaseServer::start(product);
        let url = Box::new(DatabaseUrl::parse(&server.database()).unwrap());
        let connections = Connections { most: 4, patience: Duration::from_secs(1) };
        let service = TestService::with(|config| config.storage = Storage::Database { url, connections }).await;
        let owner = Owner::of(&service, GUN).await;
        owner.publish_first(&service).await;
        server.kill();
        for answer in [
            service.file(GUN, "timestamp.json").await,
            service.upload(GUN, &[("targets", owner.targets(2, &["second"]))]).await,
            service.file("another", "timestamp.key").await,
            service.get("/v2/_trust/changefeed?records=1").await,
            service.delete(GUN).await,
        ] {
            assert_eq!(answer.error(), "503 UNAVAILABLE", "{product:?}: {}", answer.text());
            assert_eq!(answer.header("Retry-After"), "5");
        }
        assert_eq!(service.get("/_notary_server/health").await.status, 503);
        server.resume();
        assert_eq!(
            service.file(GUN, "targets.json").await.ok().json()["signed"]["version"],
            1,
            "nothing of it is there"
        );
        service.upload(GUN, &[("targets", owner.targets(2, &["second"]))]).await.ok();
        assert_eq!(service.file(GUN, "targets.json").await.ok().json()["signed"]["version"], 2);
        service.get("/_notary_server/health").await.ok();
    }
}
