//! How much memory the service takes for large collections, measured from outside.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::owner::Owner;
use crate::service::{TestService, client, multipart};

const GUN: &str = "example.com/memory";
const TAGS: usize = 100_000;
/// The most resident memory in KiB.
const LIMIT: u64 = 100 * 1000 * 1000 / 1024;
/// As many tags as make a file that is too large to be kept.
const TOO_MANY: usize = 180_000;
/// Readers who ask and take nothing.
const SLOW_READERS: usize = 24;
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

/// Two versions of a collection with so many tags.
fn two_versions(owner: &Owner, count: usize) -> (Vec<u8>, Vec<u8>) {
    let tags: Vec<String> = (0..=count).map(|n| format!("release-{n:07}")).collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    (owner.targets(1, &tags[..count]), owner.targets(2, &tags))
}

/// Somebody who asks for a file and takes the beginning of the answer; returns the connection, and what was taken.
async fn slow_reader(base: &str, name: &str) -> (TcpStream, Vec<u8>) {
    let mut stream = TcpStream::connect(base.trim_start_matches("http://")).await.unwrap();
    let request = format!("GET /v2/{GUN}/_trust/tuf/{name} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut beginning = vec![0; 64];
    stream.read_exact(&mut beginning).await.unwrap();
    (stream, beginning)
}

#[tokio::test]
async fn readers_who_do_not_take_a_large_file_share_one_copy_of_it() {
    let service = TestService::start().await;
    let owner = Owner::of(&service, GUN).await;
    let (first, _) = two_versions(&owner, TOO_MANY);
    service.upload(GUN, &[("root", owner.root(1)), ("targets", first.clone())]).await.ok();
    let TestService { running, folder, .. } = service;
    running.shut_down().await;
    let apart = Apart::start(&folder.path().join("data"));
    let idle = apart.peak();
    let mut readers = Vec::new();
    for number in 0..SLOW_READERS {
        let name = if number % 2 == 0 { "targets.json" } else { "1.targets.json" };
        readers.push(slow_reader(&apart.base, name).await);
    }
    let peak = apart.peak();
    let copies = (peak - idle) * 1024 / first.len() as u64;
    println!("{} bytes; KiB at the peak: idle {idle}, with {SLOW_READERS} readers {peak}", first.len());
    assert!(copies < COPIES, "{peak} KiB after {idle}: {copies} copies");
}

#[tokio::test]
async fn what_readers_do_not_take_has_a_limit_and_whoever_wants_another_file_is_told_to_come_again() {
    let service = TestService::with(|config| {
        config.limits.large_uploads = 1;
        config.limits.upload_bytes = 16 << 20;
        config.limits.memory = 8 << 20;
    })
    .await;
    let owner = Owner::of(&service, GUN).await;
    let (first, second) = two_versions(&owner, TAGS);
    assert!(first.len() + second.len() > 16 << 20, "both would find room");
    service.upload(GUN, &[("root", owner.root(1)), ("targets", first.clone())]).await.ok();
    service.upload(GUN, &[("targets", second.clone())]).await.ok();
    let (mut slow, mut taken) = slow_reader(&service.base, "1.targets.json").await;
    assert_eq!(service.file(GUN, "1.targets.json").await.ok().body, first, "the copy that is there");
    let refused = service.file(GUN, "2.targets.json").await;
    assert_eq!((refused.status.as_u16(), refused.headers.contains_key("retry-after")), (503, true));
    assert_eq!(service.file(GUN, "timestamp.json").await.status, 200, "small files find their way");
    slow.read_to_end(&mut taken).await.unwrap();
    assert!(taken.ends_with(&first));
    drop(slow);
    assert_eq!(service.file(GUN, "2.targets.json").await.ok().body, second);
}

#[tokio::test]
async fn one_more_tag_in_a_very_large_collection_takes_little_memory() {
    let service = TestService::start().await;
    let owner = Owner::of(&service, GUN).await;
    let (first, second) = two_versions(&owner, TAGS);
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
