//! `countersign demo`: the whole story in one go, on embedded parts.

mod stage;
mod story;

use crate::error::CliError;
use crate::output::data;
use clap::Args;
use stage::Stage;

/// Show the whole story on embedded parts: sign, verify, and two attacks refused
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Keep the temporary folder with the trust directory and the service's data
    #[arg(long)]
    keep: bool,
}

impl Demo {
    /// Succeeds only if every step did what it said.
    pub(crate) async fn run(&self) -> Result<(), CliError> {
        let mut stage = Stage::set().await?;
        let told = story::tell(&mut stage).await;
        let folder = stage.clear(self.keep).await;
        told?;
        if let Some(folder) = folder? {
            data(format_args!("\nEverything is kept in {}", folder.display()))?;
        }
        data(ENCORE)
    }
}

/// What to type to do the same for real.
const ENCORE: &str = "
The same for real, with docker and a registry of yours:

  countersign serve --trust-ca            # prints two export lines: use them in your shell
  countersign push  REGISTRY/acme/app:1.0 # pushes with your engine, makes keys the first time, signs
  countersign inspect --pretty REGISTRY/acme/app
  countersign pull  REGISTRY/acme/app:1.0 # exactly the signed image, or a refusal

docker 28 and older do it by themselves, against the same service: docker push, docker trust inspect, docker pull.";
