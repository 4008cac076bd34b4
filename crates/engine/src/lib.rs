//! The Docker Engine API over its socket, contexts and DOCKER_HOST.
