// A step of a shared library: signs an image that a registry holds. In a Jenkinsfile:
//
//     @Library('countersign') _
//     …
//     countersignSign(image: 'docker.io/acme/app:1.0', digest: 'sha256:…', server: 'https://trust.example.com')
//
// Settings: image (with a tag), digest (of what was built; without it what the tag points to now), server, archive and
// passphrase (ids of credentials), timeout. Docker has to be logged in to the registry.
def call(Map settings) {
    if (!settings.image) {
        error('countersignSign: name the image')
    }
    def subject = settings.digest ? "${settings.image}@${settings.digest}" : "${settings.image}"
    def surroundings = ["COUNTERSIGN_SUBJECT=${subject}", "COUNTERSIGN_TIMEOUT=${settings.timeout ?: '5m'}"]
    if (settings.server) {
        surroundings.add("DOCKER_CONTENT_TRUST_SERVER=${settings.server}")
    }
    withEnv(surroundings) {
        withCredentials([
            file(credentialsId: settings.archive ?: 'DOCKER_TRUST_KEY_ARCHIVE', variable: 'DOCKER_TRUST_KEY_ARCHIVE'),
            string(credentialsId: settings.passphrase ?: 'DOCKER_TRUST_KEY_PASSPHRASE', variable: 'DOCKER_TRUST_KEY_PASSPHRASE')
        ]) {
            sh '''
                set -eu
                countersign ci sign --timeout "$COUNTERSIGN_TIMEOUT" --audit-log signing-audit.jsonl --archive "$DOCKER_TRUST_KEY_ARCHIVE" --passphrase-env DOCKER_TRUST_KEY_PASSPHRASE "$COUNTERSIGN_SUBJECT" > signed.json
            '''
        }
    }
}
