//! OCI layout folders and docker and OCI archives.
