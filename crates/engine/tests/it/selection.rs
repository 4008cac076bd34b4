use std::fs;

use countersign_engine::{EndpointError, EngineSelection, Environment, TlsFlags, Verification};
use tempfile::TempDir;

/// A selection with a configuration folder that names the context `configured`, if given.
fn selection(configured: Option<&str>) -> (EngineSelection, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    if let Some(name) = configured {
        fs::write(folder.path().join("config.json"), format!(r#"{{"auths":{{}},"currentContext":"{name}"}}"#)).unwrap();
    }
    (EngineSelection { config_dir: folder.path().to_owned(), ..EngineSelection::default() }, folder)
}

fn resolved(selection: &EngineSelection) -> String {
    selection.resolve().unwrap().to_string()
}

fn add_context(folder: &TempDir, name: &str, meta: &str) -> std::path::PathBuf {
    let place = countersign_testkit::digest::sha256_hex(name.as_bytes());
    let meta_folder = folder.path().join("contexts/meta").join(&place);
    fs::create_dir_all(&meta_folder).unwrap();
    fs::write(meta_folder.join("meta.json"), meta).unwrap();
    let tls = folder.path().join("contexts/tls").join(place).join("docker");
    fs::create_dir_all(&tls).unwrap();
    tls
}

#[test]
fn without_any_setting_it_is_the_platforms_socket() {
    let (selection, _folder) = selection(None);
    assert_eq!(resolved(&selection), "unix:///var/run/docker.sock");
}

#[test]
fn each_setting_beats_the_ones_behind_it() {
    let (mut selection, folder) = selection(Some("configured"));
    let meta = |name: &str| {
        format!(r#"{{"Name":"{name}","Metadata":{{}},"Endpoints":{{"docker":{{"Host":"unix:///{name}"}}}}}}"#)
    };
    for name in ["configured", "variable", "flagged"] {
        add_context(&folder, name, &meta(name));
    }
    assert_eq!(resolved(&selection), "unix:///configured");
    selection.env.docker_context = Some("variable".to_owned());
    assert_eq!(resolved(&selection), "unix:///variable");
    selection.env.docker_host = Some("unix:///env-host".to_owned());
    assert_eq!(resolved(&selection), "unix:///env-host");
    selection.host_flag = Some("unix:///host-flag".to_owned());
    assert_eq!(resolved(&selection), "unix:///host-flag");
    selection.host_flag = None;
    selection.context_flag = Some("flagged".to_owned());
    assert_eq!(resolved(&selection), "unix:///flagged");
    selection.context_flag = Some("default".to_owned());
    assert_eq!(resolved(&selection), "unix:///env-host");
}

#[test]
fn empty_settings_count_as_none() {
    let (mut selection, _folder) = selection(Some(""));
    selection.env = Environment {
        docker_host: Some(String::new()),
        docker_context: Some(String::new()),
        docker_tls: Some(String::new()),
        docker_tls_verify: Some(String::new()),
        ..Environment::default()
    };
    assert_eq!(resolved(&selection), "unix:///var/run/docker.sock");
    fs::write(selection.config_dir.join("config.json"), " \n").unwrap();
    assert_eq!(resolved(&selection), "unix:///var/run/docker.sock");
}

#[test]
fn a_host_flag_with_a_context_flag_is_refused() {
    let (mut selection, _folder) = selection(None);
    (selection.host_flag, selection.context_flag) = (Some("unix:///a".to_owned()), Some("b1".to_owned()));
    let error = selection.resolve().unwrap_err();
    assert_eq!(error.to_string(), "conflicting options: cannot specify both --host and --context");
}

#[test]
fn a_context_that_is_missing_or_names_nothing_is_refused() {
    let (mut selection, folder) = selection(Some("gone"));
    assert!(matches!(selection.resolve(), Err(EndpointError::NoContext { name, .. }) if name == "gone"));
    selection.context_flag = Some("../../etc".to_owned());
    assert!(matches!(selection.resolve(), Err(EndpointError::ContextName(_))));
    add_context(&folder, "empty", r#"{"Name":"empty","Endpoints":{}}"#);
    selection.context_flag = Some("empty".to_owned());
    assert!(matches!(selection.resolve(), Err(EndpointError::NoEndpoint(_))));
    add_context(&folder, "other", r#"{"Name":"empty","Endpoints":{"docker":{"Host":"unix:///x"}}}"#);
    selection.context_flag = Some("other".to_owned());
    assert!(matches!(selection.resolve(), Err(EndpointError::File { .. })));
}

#[test]
fn files_that_cannot_be_read_are_refused() {
    let (selection, folder) = selection(None);
    let config = folder.path().join("config.json");
    for bytes in [&b"{"[..], b"[]", br#"{"currentContext":1}"#, &vec![b' '; (1 << 20) + 1]] {
        fs::write(&config, bytes).unwrap();
        assert!(matches!(selection.resolve(), Err(EndpointError::File { .. })));
    }
    fs::remove_file(&config).unwrap();
    fs::create_dir(&config).unwrap();
    assert!(matches!(selection.resolve(), Err(EndpointError::File { .. })));
}

#[test]
fn tls_variables_and_flags_mean_what_docker_means() {
    let (mut selection, folder) = selection(None);
    selection.env.docker_tls_verify = Some("1".to_owned());
    assert!(matches!(selection.resolve(), Err(EndpointError::NoAuthority(_))));
    fs::write(folder.path().join("ca.pem"), "").unwrap();
    let endpoint = selection.resolve().unwrap();
    assert_eq!(endpoint.to_string(), "tcp://localhost:2376");
    let tls = endpoint.tls.unwrap();
    assert_eq!(
        (tls.verification, tls.ca, tls.client),
        (Verification::Required, Some(folder.path().join("ca.pem")), None)
    );

    let certificates = tempfile::tempdir().unwrap();
    selection.env.docker_cert_path = Some(certificates.path().to_owned());
    selection.env.docker_tls_verify = None;
    selection.env.docker_tls = Some("yes".to_owned());
    selection.env.docker_host = Some("tcp://engine.test".to_owned());
    fs::write(certificates.path().join("cert.pem"), "").unwrap();
    assert!(matches!(selection.resolve(), Err(EndpointError::LoneCertificate(_))));
    fs::write(certificates.path().join("key.pem"), "").unwrap();
    let endpoint = selection.resolve().unwrap();
    assert_eq!(endpoint.to_string(), "tcp://engine.test:2375");
    let tls = endpoint.tls.unwrap();
    assert_eq!((tls.verification, tls.ca), (Verification::Skipped, None));
    assert!(tls.client.unwrap().0.starts_with(certificates.path()));

    // Naming the flag at all turns TLS on; as false it does not verify.
    selection.env.docker_tls = None;
    selection.tls = TlsFlags { verify: Some(false), ..TlsFlags::default() };
    assert_eq!(selection.resolve().unwrap().tls.unwrap().verification, Verification::Skipped);
    selection.tls = TlsFlags { tls: Some(false), ..TlsFlags::default() };
    assert_eq!(selection.resolve().unwrap().tls, None);
    // A socket on this machine has no TLS.
    selection.tls = TlsFlags { tls: Some(true), ..TlsFlags::default() };
    selection.host_flag = Some("unix:///d.sock".to_owned());
    assert_eq!(selection.resolve().unwrap().tls, None);
}

#[test]
fn a_context_brings_its_own_tls() {
    let (mut selection, folder) = selection(None);
    let meta = r#"{"Name":"far","Endpoints":{"docker":{"Host":"tcp://far.test:2376","SkipTLSVerify":false}}}"#;
    let tls_folder = add_context(&folder, "far", meta);
    selection.context_flag = Some("far".to_owned());
    selection.env.docker_tls_verify = Some("1".to_owned());
    assert_eq!(selection.resolve().unwrap().tls, None);
    for name in ["ca.pem", "cert.pem", "key.pem"] {
        fs::write(tls_folder.join(name), "").unwrap();
    }
    let tls = selection.resolve().unwrap().tls.unwrap();
    assert_eq!((tls.verification, tls.ca), (Verification::Required, Some(tls_folder.join("ca.pem"))));
    assert_eq!(tls.client, Some((tls_folder.join("cert.pem"), tls_folder.join("key.pem"))));
    add_context(&folder, "far", &meta.replace("false", "true"));
    assert_eq!(selection.resolve().unwrap().tls.unwrap().verification, Verification::Skipped);
}
