//! How much memory the service takes for large collections, measured from outside.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::owner::Owner;
use crate::service::{TestService, client, multipart};

const GUN: &str = "example.com/memory";
const TAGS: usize = 100_000;
/// The most resident memory in KiB.
const LIMIT: u64 = 100 * 1000 * 1000 / 1024;
/// The most memory that reading and publishing a file takes, in sizes of the file.
const COPIES: u64 = 5;

/// A service in a process of its own.
pub(crate) struct Apart {
    child: Child,
    pub(crate) base: String,
}

impl Apart {
    pub(crate) fn start(folder: &std::path::Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "lifecycle::child", "--nocapture"])
            .env("COUNTERSIGN_TEST_FAILPOINT", "never")
            .env("COUNTERSIGN_TEST_FOLDER", folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let base =
            lines.map_while(Result::ok).find_map(|line| Some(line.split_once("listening on ")?.1.to_owned())).unwrap();
        Self { child, base }
    }

    /// The most memory that was ever resident, in KiB.
    fn peak(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// The memory that is resident now, in KiB.
    pub(crate) fn resident(&self) -> u64 {
        self.status("VmRSS:")
    }

    fn status(&self, name: &str) -> u64 {
        let status = fs_err::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn one_more_tag_in_a_very_large_collection_takes_little_memory() {
    let service = TestService::start().await;
    let owner = Owner::of(&service, GUN).await;
    let tags: Vec<String> = (0..=TAGS).map(|n| format!("release-{n:07}")).collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    let (first, second) = (owner.targets(1, &tags[..TAGS]), owner.targets(2, &tags));
    service.upload(GUN, &[("root", owner.root(1)), ("targets", first.clone())]).await.ok();
    let TestService { running, folder, .. } = service;
    running.shut_down().await;
    let apart = Apart::start(&folder.path().join("data"));
    let url = format!("{}/v2/{GUN}/_trust/tuf/", apart.base);
    let idle = apart.peak();
    assert!(client().get(format!("{url}targets.json")).send().await.unwrap().bytes().await.unwrap() == first);
    let read = apart.peak();
    let upload = client().post(&url).header("Content-Type", "multipart/form-data; boundary=BOUNDARY");
    assert_eq!(upload.body(multipart(&[("targets", second.clone())])).send().await.unwrap().status(), 200);
    let published = apart.peak();
    println!(
        "{} bytes; KiB at the peak: idle {idle}, after reading {read}, after publishing {published}",
        second.len()
    );
    let copies = (published - idle) * 1024 / second.len() as u64;
    assert!(published < LIMIT && copies < COPIES, "{published} KiB after {read} and {idle}: {copies} copies");
}
