//! The Update Framework as Notary v1 speaks it: metadata, canonical JSON, the update state machine, the editor.
