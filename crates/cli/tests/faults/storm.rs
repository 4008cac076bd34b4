//! One storm: a deployment, people who use it, and what happens to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use countersign_testkit::{Balancer, DatabaseServer, Deployment, Dice, Product, TrustService};
use tokio::runtime::Runtime;

use crate::checker;
use crate::http::Http;
use crate::publisher::Collection;
use crate::reader::Reader;
use crate::report::{Part, Report};
use crate::stranger::Stranger;

const PROGRAM: &str = env!("CARGO_BIN_EXE_countersign");
const SECONDS: &str = "COUNTERSIGN_TEST_FAULT_SECONDS";
const SEED: &str = "COUNTERSIGN_TEST_SEED";
/// How long a storm lasts unless told otherwise.
const BOUNDED: u64 = 15;
/// Collections with one publisher each.
const OWNERS: usize = 4;
/// Publishers of the one collection that several want.
const RIVALS: usize = 3;
const READERS: usize = 4;
const STRANGERS: u64 = 2;
/// How far the clock of the second process is ahead.
const SKEW: &str = "+20m";
/// How long the service may take to be itself again.
const RECOVERY: Duration = Duration::from_mins(1);
/// What a database server of a storm that fills its disk has room for, in megabytes, and how long such a storm lasts at
/// most: what is stored in it must not fill the disk.
const SMALL_DISK: (u32, Duration) = (384, Duration::from_mins(1));
/// The table that every publication and every reader needs.
const TABLE: &str = "countersign_current";

pub(crate) struct Storm {
    name: &'static str,
    faults: Vec<Fault>,
    pair: Option<Pair>,
    service: TrustService,
    dice: Dice,
    seed: u64,
    time: Duration,
    report: Arc<Report>,
}

/// A database server, its copy, and the way to whichever of them is written to.
struct Pair {
    primary: DatabaseServer,
    standby: DatabaseServer,
    way: Balancer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    KillService,
    PauseService,
    RestartService,
    KillKeyserver,
    KillDatabase,
    EndSessions,
    HoldTable,
    PowerCut,
    Failover,
    FillDisk,
}

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Self::KillService => "kills of a service",
            Self::PauseService => "pauses of a service",
            Self::RestartService => "restarts of all services",
            Self::KillKeyserver => "kills of the keyserver",
            Self::KillDatabase => "kills of the database",
            Self::EndSessions => "ends of all database sessions",
            Self::HoldTable => "locks held on a table",
            Self::PowerCut => "power cuts of everything",
            Self::Failover => "failovers of the database",
            Self::FillDisk => "full disks of the database",
        }
    }

    /// Those that can happen to a deployment.
    fn of(deployment: Deployment) -> Vec<Self> {
        let mut faults = vec![Self::KillService, Self::KillService, Self::PauseService, Self::RestartService];
        if matches!(deployment, Deployment::Keyserver | Deployment::Replicas) {
            faults.extend([Self::KillKeyserver, Self::KillKeyserver]);
        }
        if matches!(deployment, Deployment::Postgres | Deployment::MariaDb | Deployment::Replicas) {
            faults.extend([Self::KillDatabase, Self::EndSessions, Self::EndSessions, Self::HoldTable, Self::PowerCut]);
        }
        faults
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text}")))
}

impl Storm {
    pub(crate) fn over(deployment: Deployment) -> Self {
        let service = TrustService::builder(PROGRAM).deployed(deployment).skewed(SKEW).start();
        Self::with(deployment.name(), service, Fault::of(deployment), None)
    }

    /// A storm in which the database dies for good, and its copy takes its place.
    pub(crate) fn over_a_pair_of_databases() -> Self {
        let primary = DatabaseServer::start(Product::Postgres);
        let url = primary.database();
        let (standby, way) = (primary.standby(), Balancer::start(vec![primary.address()]));
        let url = url.replace(&primary.address().to_string(), &way.address().to_string());
        let service = TrustService::builder(PROGRAM).deployed(Deployment::Embedded).arg("--database").arg(&url).start();
        let faults = vec![Fault::KillService, Fault::PauseService, Fault::Failover, Fault::KillService];
        Self::with("a pair of databases", service, faults, Some(Pair { primary, standby, way }))
    }

    /// A storm in which the database's disk is full now and then.
    pub(crate) fn over_a_small_disk(deployment: Deployment) -> Self {
        let (megabytes, longest) = SMALL_DISK;
        let service = TrustService::builder(PROGRAM).deployed(deployment).small_disk(megabytes).start();
        let faults = vec![Fault::FillDisk, Fault::FillDisk, Fault::KillService, Fault::FillDisk];
        let storm = Self::with(deployment.name(), service, faults, None);
        Self { time: storm.time.min(longest), ..storm }
    }

    fn with(name: &'static str, service: TrustService, faults: Vec<Fault>, pair: Option<Pair>) -> Self {
        let seed = number(SEED).unwrap_or_else(|| u64::from(std::process::id()));
        let time = Duration::from_secs(number(SECONDS).unwrap_or(BOUNDED));
        Self { name, faults, pair, service, dice: Dice::of(seed), seed, time, report: Arc::default() }
    }

    /// Lets everything happen, and then looks at what is left.
    pub(crate) fn blow(mut self) {
        // Two tests of one process may both be first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let runtime = Runtime::new().unwrap();
        let http = Http::of(&self.service);
        let names =
            (0..OWNERS).map(|n| format!("storm.example.test/owner{n}")).chain(["storm.example.test/all".into()]);
        let collections: Vec<Arc<Collection>> =
            names.map(|gun| runtime.block_on(Collection::begin(&http, &gun))).collect();
        let people = self.people(&runtime, &http, &collections);
        self.inject();
        people.stop(&runtime);
        self.calm(&runtime, &http, &collections);
        let feed = runtime.block_on(checker::feed(&http));
        for collection in &collections {
            runtime.block_on(checker::check(&http, collection, &feed, &self.report));
        }
        self.conclude();
    }

    /// Publishers, readers and strangers, who go on until they are stopped.
    fn people(&self, runtime: &Runtime, http: &Http, collections: &[Arc<Collection>]) -> People {
        let mut people = People { go_on: Arc::new(AtomicBool::new(true)), tasks: Vec::new() };
        let contested = collections.last().unwrap();
        let publishers = collections.iter().take(OWNERS).chain(std::iter::repeat_n(contested, RIVALS));
        for (number, collection) in publishers.enumerate() {
            let (http, collection, report) = (http.clone(), Arc::clone(collection), Arc::clone(&self.report));
            let go_on = people.go_on();
            let name = format!("p{number}");
            let task = async move { collection.publish_on(&http, &name, &report, go_on).await };
            people.tasks.push(runtime.spawn(task));
        }
        for collection in collections.iter().rev().take(READERS) {
            let (http, collection, report) = (http.clone(), Arc::clone(collection), Arc::clone(&self.report));
            let go_on = people.go_on();
            let task = async move { Reader::default().read_on(&http, &collection, &report, go_on).await };
            people.tasks.push(runtime.spawn(task));
        }
        let stranger = Stranger::of(&self.service);
        for number in 0..STRANGERS {
            let (stranger, report, go_on) = (stranger.clone(), Arc::clone(&self.report), people.go_on());
            let seed = self.seed ^ (number + 1);
            people.tasks.push(runtime.spawn(async move { stranger.misbehave(seed, &report, go_on).await }));
        }
        people
    }

    fn inject(&mut self) {
        let mut faults = self.faults.clone();
        let end = Instant::now() + self.time;
        let mut turn = 0;
        while Instant::now() < end {
            self.wait(100, 700);
            // Each kind once, and then as they come.
            let next = if turn < faults.len() { turn as u64 } else { self.dice.below(faults.len() as u64) };
            turn += 1;
            let fault = faults[usize::try_from(next).unwrap()];
            self.strike(fault);
            self.report.count(Part::Injected, fault.name());
            if fault == Fault::Failover {
                // There is one copy.
                faults.retain(|fault| *fault != Fault::Failover);
            }
        }
    }

    fn strike(&mut self, fault: Fault) {
        let replica = usize::try_from(self.dice.below(self.service.replicas() as u64)).unwrap();
        match fault {
            Fault::KillService => {
                self.service.kill_replica(replica);
                self.wait(0, 400);
                self.service.start_replica(replica);
            }
            Fault::PauseService => {
                self.service.replica(replica).pause();
                self.wait(100, 1500);
                self.service.replica(replica).go_on();
            }
            Fault::RestartService => self.service.restart(),
            Fault::KillKeyserver => {
                self.service.keyserver().process().kill();
                self.wait(0, 600);
                self.service.keyserver().restart("first");
            }
            Fault::KillDatabase => {
                self.service.database().kill();
                self.wait(0, 600);
                self.service.database().resume();
            }
            Fault::EndSessions => self.service.database().end_sessions(),
            Fault::HoldTable => {
                let (url, time) = (self.service.database_url().to_owned(), 500 + self.dice.below(1500));
                let held = self.service.database().hold(&url, TABLE, Duration::from_millis(time));
                assert!(held, "nobody could lock the table");
            }
            Fault::PowerCut => {
                self.service.kill();
                self.service.database().kill();
                if self.faults.contains(&Fault::KillKeyserver) {
                    self.service.keyserver().process().kill();
                    self.service.keyserver().restart("first");
                }
                self.service.database().resume();
                self.service.restart();
            }
            Fault::FillDisk => {
                self.service.database().fill_disk();
                self.wait(500, 3000);
                self.service.database().clear_disk();
            }
            Fault::Failover => {
                let pair = self.pair.as_mut().expect("a copy");
                pair.primary.kill();
                pair.standby.promote();
                pair.way.redirect(vec![pair.standby.address()]);
            }
        }
    }

    fn wait(&mut self, least: u64, most: u64) {
        std::thread::sleep(Duration::from_millis(least + self.dice.below(most - least)));
    }

    /// Every collection can be published to again, soon after the last fault.
    fn calm(&self, runtime: &Runtime, http: &Http, collections: &[Arc<Collection>]) {
        let begun = Instant::now();
        for collection in collections {
            let wanted = collection.highest() + 1;
            let go_on = || collection.highest() < wanted && begun.elapsed() < RECOVERY;
            runtime.block_on(collection.publish_on(http, "calm", &self.report, go_on));
            assert!(collection.highest() >= wanted, "{}: not itself again\n{}", collection.gun, self.service.log());
        }
    }

    fn conclude(self) {
        let Self { name, report, seed, .. } = &self;
        println!("storm over {name}, {} s, seed {seed}\n{report}", self.time.as_secs());
        let violations = report.violations();
        if !violations.is_empty() {
            self.service.log().lines().filter(|line| line.contains("status=500")).for_each(|line| println!("{line}"));
        }
        assert!(violations.is_empty(), "{} violations: {violations:#?}", violations.len());
        let acknowledged = report.number(Part::Happened, "publications acknowledged");
        assert!(acknowledged > 20 && report.number(Part::Happened, "reads") > 20, "hardly anything happened");
        assert_eq!(report.number(Part::Checked, "collections"), (OWNERS + 1) as u64);
    }
}

struct People {
    go_on: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl People {
    fn go_on(&self) -> impl Fn() -> bool + Send + 'static {
        let flag = Arc::clone(&self.go_on);
        move || flag.load(Ordering::SeqCst)
    }

    fn stop(self, runtime: &Runtime) {
        self.go_on.store(false, Ordering::SeqCst);
        for task in self.tasks {
            runtime.block_on(task).expect("somebody who ends well");
        }
    }
}
