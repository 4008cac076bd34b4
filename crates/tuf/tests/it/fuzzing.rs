//! What the fuzz targets do with an input; `fuzz/` runs the same functions under libFuzzer.
#![allow(clippy::allow_attributes, dead_code, reason = "each fuzz target uses one function of this file")]

use bytes::Bytes;
use countersign_tuf::json::{Canonical, write_wire};
use countersign_tuf::metadata::{Envelope, Payload, Root, Snapshot, Targets, Timestamp};
use countersign_tuf::{Change, RoleName, Seen};

/// Canonical form is a fixed point, its spelling on the wire means the same, and it is read to its end.
pub(crate) fn canonical(input: &[u8]) {
    let Ok(once) = Canonical::read(&Bytes::copy_from_slice(input)) else { return };
    assert_eq!(once.cursor().skip(), once.as_bytes());
    assert_eq!(respelled(once.as_bytes()).as_bytes(), once.as_bytes());
}

fn respelled(canonical: &[u8]) -> Canonical {
    let mut wire = Vec::new();
    write_wire(&mut wire, canonical);
    Canonical::read(&wire.into()).unwrap()
}

/// What is written from what was read is canonical and is read as the same.
pub(crate) fn file(input: &[u8]) {
    let Ok(envelope) = Envelope::read(Bytes::copy_from_slice(input)) else { return };
    payload::<Root>(&RoleName::Root, &envelope);
    payload::<Targets>(&RoleName::Targets, &envelope);
    payload::<Snapshot>(&RoleName::Snapshot, &envelope);
    payload::<Timestamp>(&RoleName::Timestamp, &envelope);
    let composed = Envelope::compose(envelope.signed().as_bytes().to_vec(), envelope.signatures().to_vec());
    let again = Envelope::read(composed.file().clone()).unwrap();
    assert_eq!(again.signed(), envelope.signed());
    assert_eq!(again.signatures(), envelope.signatures());
}

fn payload<T: Payload>(role: &RoleName, envelope: &Envelope) {
    let Ok(read) = T::read(role, envelope) else { return };
    let written = read.write();
    assert_eq!(respelled(&written).as_bytes(), written, "what is signed is canonical");
    let composed = Envelope::compose(written.clone(), Vec::new());
    let again = T::read(role, &Envelope::read(composed.file().clone()).unwrap()).unwrap();
    assert_eq!(again.write(), written);
    assert_eq!(again.version(), read.version());
    assert_eq!(again.expires(), read.expires());
}

/// A staged change is read as what was written.
pub(crate) fn change(input: &[u8]) {
    let Ok(change) = Change::read(&Bytes::copy_from_slice(input)) else { return };
    assert_eq!(Change::read(&change.write().into()), Ok(change));
}

/// The record of what was seen is read as what was written.
pub(crate) fn seen(input: &[u8]) {
    let Ok(seen) = Seen::read(&Bytes::copy_from_slice(input)) else { return };
    assert_eq!(Seen::read(&seen.write().into()), Ok(seen));
}
