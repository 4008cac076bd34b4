//! Servers inside the test's process, each on a thread of its own.

use std::future::Future;
use std::io;
use std::thread::{self, JoinHandle};

use tokio::sync::oneshot;

/// A future that runs on a thread of its own and ends when this value is dropped, with every task it started.
#[derive(Debug)]
pub(crate) struct Background {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Runs the future that `make` returns; `make` itself runs on the new thread, inside its runtime.
    ///
    /// # Errors
    ///
    /// When the thread cannot be started, or `make` fails.
    pub(crate) fn run<T, F, M>(make: M) -> io::Result<(Self, T)>
    where
        T: Send + 'static,
        F: Future<Output = ()>,
        M: FnOnce() -> io::Result<(F, T)> + Send + 'static,
    {
        let (stop, stopped) = oneshot::channel::<()>();
        let (report, started) = std::sync::mpsc::channel();
        let thread = thread::Builder::new().name("testkit-server".to_owned()).spawn(move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(report.send(Err(error))),
            };
            runtime.block_on(async move {
                match make() {
                    Err(error) => drop(report.send(Err(error))),
                    Ok((future, value)) => {
                        let _ = report.send(Ok(value));
                        tokio::select! { () = future => (), _ = stopped => () }
                    }
                }
            });
            runtime.shutdown_background();
        })?;
        let value = started.recv().map_err(io::Error::other)??;
        Ok((Self { stop: Some(stop), thread: Some(thread) }, value))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
