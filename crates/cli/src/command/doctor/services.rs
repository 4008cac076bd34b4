//! Trust services: whether they are there, are trust services at all, and have the same time.

use super::finding::{Finding, Report};
use super::{Bench, Network, kind, repair};
use crate::context::Context;
use countersign_registry::http::{HttpError, TlsFault};
use countersign_trust::{ConnectionError, Destination, Greeting};
use futures_util::StreamExt as _;
use futures_util::stream;
use jiff::{SignedDuration, Timestamp};

/// How many services or collections are asked at once.
pub(super) const AT_ONCE: usize = 8;
/// Docker's own service.
const HUB: &str = "notary.docker.io";
/// When it closes, in seconds since 1970: 2026-12-08T00:00:00Z.
const HUB_CLOSES: i64 = 1_796_688_000;
/// Difference of clocks that is not worth a word.
const CLOCK_LEEWAY: SignedDuration = SignedDuration::from_mins(5);
/// Difference of clocks that breaks things.
const CLOCK_FAR: SignedDuration = SignedDuration::from_hours(24);

/// How a service stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It answers.
    Answers,
    /// It does not answer as it should: that was found already.
    Fails,
    /// It was not asked.
    NotAsked,
}

/// The services and how they stand.
pub(super) struct Standings(Vec<(Destination, Standing)>);

impl Standings {
    pub(super) fn of(&self, to: &Destination) -> Standing {
        let found = self.0.iter().find(|(known, _)| known.address == to.address);
        found.map_or(Standing::NotAsked, |(_, standing)| *standing)
    }
}

/// Asks all services at once.
pub(super) async fn check(
    bench: &Bench,
    context: &Context,
    destinations: &[Destination],
    report: &mut Report,
) -> Standings {
    for to in destinations {
        report.extend(closing(bench, to));
    }
    let asked = stream::iter(destinations).map(|to| async move {
        if bench.network == Network::LeftAlone {
            return (to, Standing::NotAsked, Vec::new());
        }
        let (standing, findings) = ask(bench, context, to).await;
        (to, standing, findings)
    });
    let asked: Vec<_> = asked.buffered(AT_ONCE).collect().await;
    let mut standings = Vec::new();
    for (to, standing, findings) in asked {
        report.extend(findings);
        standings.push((to.clone(), standing));
    }
    Standings(standings)
}

fn closing(bench: &Bench, to: &Destination) -> Option<Finding> {
    if to.address.url().host_str() != Some(HUB) {
        return None;
    }
    let closes = Timestamp::from_second(HUB_CLOSES).ok()?;
    let advice = "move to a trust service of your own: countersign serve, and a service in the settings file \
         (docs/guides/several-trust-services.md); sign there what you rely on";
    let server = "export DOCKER_CONTENT_TRUST_SERVER=https://YOUR_TRUST_SERVICE";
    let (kind, verb) =
        if bench.now < closes { (&kind::SERVICE_CLOSES, "closes") } else { (&kind::SERVICE_CLOSED, "has closed") };
    let message = format!("{HUB} {verb} on 2026-12-08: what is signed there cannot be verified after that");
    Some(Finding::new(kind, &to.address, message).about(&to.address).command(server).advice(advice))
}

async fn ask(bench: &Bench, context: &Context, to: &Destination) -> (Standing, Vec<Finding>) {
    match context.connection.greet(to, bench.patience()).await {
        Ok(greeting) => of_greeting(to, &greeting),
        // These were found when the files were looked at.
        Err(ConnectionError::Tls(_)) => (Standing::Fails, Vec::new()),
        Err(error) => (Standing::Fails, vec![of_connection_error(bench, context, to, &error)]),
    }
}

fn of_greeting(to: &Destination, greeting: &Greeting) -> (Standing, Vec<Finding>) {
    let mut findings: Vec<Finding> = greeting.date.and_then(|date| clock(to, date)).into_iter().collect();
    let status = greeting.status;
    let standing = match status {
        200 if greeting.speaks_json => Standing::Answers,
        401 | 403 => Standing::Answers,
        408 | 429 | 500..=599 => {
            let finding = Finding::new(&kind::SERVICE_UNWELL, &to.address, format!("it answers with status {status}"));
            findings.push(
                finding.about(&to.address).advice("its operator has to look after it: the service's log says more"),
            );
            Standing::Fails
        }
        _ => {
            findings.push(not_one(to, &format!("it answers with status {status}, and not as a trust service does")));
            Standing::Fails
        }
    };
    (standing, findings)
}

/// Says that something else answers.
pub(super) fn not_one(to: &Destination, message: &str) -> Finding {
    Finding::new(&kind::NOT_A_TRUST_SERVICE, &to.address, message)
        .about(&to.address)
        .command("export DOCKER_CONTENT_TRUST_SERVER=https://YOUR_TRUST_SERVICE")
        .advice(
            "countersign trust show IMAGE says what named the address; several services go into the settings file \
             (docs/guides/several-trust-services.md)",
        )
}

fn clock(to: &Destination, date: Timestamp) -> Option<Finding> {
    let difference = date.duration_since(Timestamp::now());
    let off = SignedDuration::from_secs(difference.as_secs().abs());
    let direction = if difference.is_positive() { "behind" } else { "ahead of" };
    let message = format!("this machine's clock is {} minutes {direction} the service's", off.as_mins());
    let kind = match () {
        () if off >= CLOCK_FAR => &kind::CLOCK_FAR_OFF,
        () if off > CLOCK_LEEWAY => &kind::CLOCK_OFF,
        () => return None,
    };
    let advice = "or the service's clock is wrong: then its operator has to set it";
    Some(Finding::new(kind, &to.address, message).command("timedatectl set-ntp true").advice(advice))
}

/// Says why there was no answer.
pub(super) fn of_connection_error(
    bench: &Bench,
    context: &Context,
    to: &Destination,
    error: &ConnectionError,
) -> Finding {
    let finding = |kind| Finding::new(kind, &to.address, error).about(&to.address);
    let there =
        "is the trust service running, and is this its address? countersign trust show IMAGE says what named it";
    match error {
        ConnectionError::Http(HttpError::Tls { fault, .. }) => of_fault(context, to, fault, finding),
        ConnectionError::Http(HttpError::Timeout { .. }) => {
            let longer = bench.commands.ours(&["doctor", "--timeout", "2m"]);
            finding(&kind::SERVICE_SLOW).command(longer).advice(there)
        }
        ConnectionError::Http(
            HttpError::Protocol { .. } | HttpError::Oversized { .. } | HttpError::Redirect { .. },
        ) => not_one(to, &error.to_string()),
        ConnectionError::Http(HttpError::Setup(_)) => {
            finding(&kind::TLS_FAILED).command("apt-get install ca-certificates")
        }
        _ => {
            let url = to.address.entrance().to_string();
            finding(&kind::SERVICE_UNREACHABLE).command(repair::line(["curl", "-v", &*url])).advice(there)
        }
    }
}

fn of_fault(
    context: &Context,
    to: &Destination,
    fault: &TlsFault,
    finding: impl Fn(&'static kind::Kind) -> Finding,
) -> Finding {
    let file = context.connection.tls.authority_file(to);
    let place = repair::line(["install", "-D", "-m", "644", "CA_FILE", &*file.to_string_lossy()]);
    match fault {
        TlsFault::UnknownAuthority => finding(&kind::TLS_UNKNOWN_AUTHORITY).command(place).advice(
            "CA_FILE is the service's authority in PEM, from its operator; for countersign serve on this machine: \
             countersign serve --trust-ca",
        ),
        TlsFault::WrongName => finding(&kind::TLS_WRONG_NAME).advice(
            "use the address that the certificate is for; for countersign serve: countersign serve --tls-name NAME",
        ),
        TlsFault::Expired => finding(&kind::TLS_CERTIFICATE_EXPIRED)
            .command("timedatectl set-ntp true")
            .advice("if this machine's clock is right, the operator of the trust service has to renew the certificate"),
        TlsFault::NotTls => {
            finding(&kind::TLS_NOT_SPOKEN).advice("trust services are asked over https only: is this the right port?")
        }
        TlsFault::Refused(_) => {
            let folder = super::tls::folder(context, to);
            let (certificate, key) = (folder.join("client.cert"), folder.join("client.key"));
            finding(&kind::TLS_REFUSED)
                .command(repair::line([
                    "install",
                    "-D",
                    "-m",
                    "644",
                    "CLIENT_CERTIFICATE",
                    &*certificate.to_string_lossy(),
                ]))
                .command(repair::line(["install", "-D", "-m", "600", "CLIENT_KEY", &*key.to_string_lossy()]))
                .advice("the service wants a client certificate that it knows, from its operator")
        }
        TlsFault::CutOff | TlsFault::Other(_) => finding(&kind::TLS_FAILED).advice(
            "something between here and there may answer in the service's place: ask the operator of the network",
        ),
    }
}
