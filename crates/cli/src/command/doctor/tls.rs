//! Files of authorities and client certificates, before any service is asked.

use super::finding::{Finding, Report};
use super::{Bench, kind, repair};
use crate::context::Context;
use countersign_crypto::certificate::Certificate;
use countersign_registry::http::TlsFileError;
use countersign_trust::{ConnectionError, Destination};
use std::path::{Path, PathBuf};

/// Largest file that is looked at, in bytes.
const MAX_FILE: u64 = 1 << 20;
/// Most files of one folder.
const MAX_FILES: usize = 256;

pub(super) fn check(bench: &Bench, context: &Context, destinations: &[Destination], report: &mut Report) {
    for to in destinations {
        let folder = folder(context, to);
        if let Err(ConnectionError::Tls(error)) = context.connection.prepare(to) {
            report.add(of_error(&error, &folder).about(&to.address));
        }
        for file in files(&folder).into_iter().chain(to.authorities.clone()) {
            check_dates(bench, &file, to, report);
        }
    }
}

/// Returns the folder of a service's certificates.
pub(super) fn folder(context: &Context, to: &Destination) -> PathBuf {
    context.connection.tls.authority_file(to).parent().map(Path::to_owned).unwrap_or_default()
}

fn of_error(error: &TlsFileError, folder: &Path) -> Finding {
    match error {
        TlsFileError::MissingKey { key, certificate } => {
            let (place, missing) = (folder.join(certificate), folder.join(key));
            Finding::new(&kind::CLIENT_CERTIFICATE_INCOMPLETE, place.display(), error)
                .command(repair::line(["install", "-m", "600", "CLIENT_KEY", &*missing.to_string_lossy()]))
                .advice("an authority's certificate has to be called *.crt")
        }
        TlsFileError::MissingCertificate { certificate, key } => {
            let (place, missing) = (folder.join(key), folder.join(certificate));
            Finding::new(&kind::CLIENT_CERTIFICATE_INCOMPLETE, place.display(), error).command(repair::line([
                "install",
                "-m",
                "644",
                "CLIENT_CERTIFICATE",
                &*missing.to_string_lossy(),
            ]))
        }
        TlsFileError::Read { path, .. } | TlsFileError::Content { path, .. } => {
            Finding::new(&kind::TLS_FILE_UNUSABLE, path.display(), error)
                .command(repair::line(["install", "-D", "-m", "644", "CA_FILE", &*path.to_string_lossy()]))
                .advice("CA_FILE is the service's authority in PEM; a file that nobody needs can also be removed")
        }
    }
}

/// The files of a folder in which docker looks for certificates.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.take(MAX_FILES).filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|end| end == "crt" || end == "cert")).collect();
    files.sort();
    files
}

fn check_dates(bench: &Bench, file: &Path, to: &Destination, report: &mut Report) {
    if !std::fs::metadata(file).is_ok_and(|found| found.is_file() && found.len() <= MAX_FILE) {
        return;
    }
    let Ok(text) = std::fs::read(file) else { return };
    // What cannot be read as certificates is found by whoever uses the file.
    let certificates = Certificate::list_from_pem(&text).unwrap_or_default();
    let Some(first) = certificates.iter().map(Certificate::not_after).min() else { return };
    let replace = repair::line(["install", "-D", "-m", "644", "CA_FILE", &*file.to_string_lossy()]);
    let finding = |kind, message: String| {
        Finding::new(kind, file.display(), message)
            .about(&to.address)
            .command(replace.clone())
            .advice("CA_FILE is the new certificate in PEM, from the operator of the trust service")
    };
    if first < bench.now {
        report.add(finding(&kind::TLS_FILE_EXPIRED, format!("a certificate in it expired at {first}")));
    } else if first < bench.horizon.soon {
        report.add(finding(&kind::TLS_FILE_EXPIRES_SOON, format!("a certificate in it expires at {first}")));
    }
}
