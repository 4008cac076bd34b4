//! PKCS#11 modules: shared libraries that are loaded once, and started anew when they have lost sight of their tokens.
//!
//! Many modules look for tokens only when they start (`C_Initialize`): one that was put in since is seen after the module was
//! ended and started again. That takes all its sessions away, so it is done while nobody is inside, and not often.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use rustix::process::geteuid;

use super::{TokenError, lock};
use crate::token::Renewed;

/// A library may be loaded once in a process; it stays until the process ends.
static LOADED: Mutex<BTreeMap<PathBuf, Arc<Module>>> = Mutex::new(BTreeMap::new());

const OTHERS_WRITE: u32 = 0o022;
/// In such a folder everybody may add files, and nobody may exchange those of others.
const STICKY: u32 = 0o1000;
/// How long those who are inside are waited for before the module is started anew.
const LEAVING: Duration = Duration::from_secs(1);
/// How long a module is left in peace after it was started anew; twice as long each time that it was of no use.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A module that is loaded.
pub(super) struct Module {
    library: Pkcs11,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// How often the module was started.
    generation: u64,
    running: bool,
    stage: Stage,
    /// How many are inside.
    inside: usize,
    renewed: Option<Instant>,
    pause: Duration,
}

/// Who may come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Everybody,
    /// Nobody who is not inside: those who are shall leave.
    Leaving,
    /// Nobody: it is being started or ended.
    Changing,
}

/// Somebody is inside: the module is neither ended nor started anew as long as this lives.
pub(in crate::token) struct Visit {
    module: Arc<Module>,
    generation: u64,
}

impl Module {
    pub(super) fn library(&self) -> &Pkcs11 {
        &self.library
    }

    /// Waits until the module may be entered, and starts it when it does not run.
    pub(super) fn enter(self: &Arc<Self>) -> Result<Visit, Error> {
        let mut state = self.wait(lock(&self.state), |state| state.stage != Stage::Everybody);
        if !state.running {
            state.stage = Stage::Changing;
            drop(state);
            let started = self.start();
            state = lock(&self.state);
            state.stage = Stage::Everybody;
            state.running = started.is_ok();
            self.changed.notify_all();
            started?;
            state.generation = state.generation.saturating_add(1);
        }
        state.inside = state.inside.saturating_add(1);
        Ok(Visit { module: Arc::clone(self), generation: state.generation })
    }

    /// Enters without waiting, if the module was not started anew since.
    pub(super) fn enter_again(self: &Arc<Self>, generation: u64) -> Option<Visit> {
        let mut state = lock(&self.state);
        if state.stage == Stage::Changing || !state.running || state.generation != generation {
            return None;
        }
        state.inside = state.inside.saturating_add(1);
        Some(Visit { module: Arc::clone(self), generation })
    }

    fn start(&self) -> Result<(), Error> {
        match self.library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(()),
            other => other,
        }
    }

    fn wait<'a>(&'a self, state: MutexGuard<'a, State>, unless: impl Fn(&State) -> bool) -> MutexGuard<'a, State> {
        self.changed.wait_while(state, |state| unless(state)).unwrap_or_else(PoisonError::into_inner)
    }
}

impl Visit {
    pub(super) fn module(&self) -> &Arc<Module> {
        &self.module
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Leaves, and has the module started anew when all others have left; not when others do not leave, or when it was tried a
    /// moment ago.
    pub(in crate::token) fn renew(self) -> Renewed {
        let (module, generation) = (Arc::clone(&self.module), self.generation);
        drop(self);
        let mut state = module.wait(lock(&module.state), |state| state.stage != Stage::Everybody);
        if state.generation != generation || !state.running {
            return Renewed::Yes;
        }
        if state.renewed.is_some_and(|renewed| renewed.elapsed() < state.pause) {
            return Renewed::No;
        }
        state.stage = Stage::Leaving;
        let waited = module.changed.wait_timeout_while(state, LEAVING, |state| state.inside > 0);
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
        let empty = state.inside == 0;
        if empty {
            state.stage = Stage::Changing;
            drop(state);
            // One that cannot be ended is ended as far as it can be.
            let _ = module.library.clone().finalize();
            let running = module.start().is_ok();
            state = lock(&module.state);
            state.running = running;
            if running {
                state.generation = state.generation.saturating_add(1);
            }
        }
        state.stage = Stage::Everybody;
        state.pause = if state.renewed.is_some() { (state.pause * 2).min(LONGEST_PAUSE) } else { SHORTEST_PAUSE };
        state.renewed = Some(Instant::now());
        module.changed.notify_all();
        if empty { Renewed::Yes } else { Renewed::No }
    }

    /// Says that starting the module anew was of use.
    pub(in crate::token) fn was_worth_it(&self) {
        let mut state = lock(&self.module.state);
        (state.renewed, state.pause) = (None, SHORTEST_PAUSE);
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut state = lock(&self.module.state);
        state.inside = state.inside.saturating_sub(1);
        if state.inside == 0 {
            self.module.changed.notify_all();
        }
    }
}

impl fmt::Debug for Visit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visit").field("generation", &self.generation).finish_non_exhaustive()
    }
}

/// Loads a module, whose code then runs in this process: it has to belong to root or this person, and to be theirs to change
/// alone.
pub(super) fn load(path: &Path) -> Result<Arc<Module>, TokenError> {
    let refuse = |reason: &dyn fmt::Display| TokenError::Module {
        path: path.to_owned(),
        reason: reason.to_string().chars().take(300).collect(),
    };
    if !path.is_absolute() {
        return Err(refuse(&"its path is not absolute"));
    }
    let file = std::fs::canonicalize(path).map_err(|error| refuse(&error))?;
    let mut loaded = lock(&LOADED);
    if let Some(module) = loaded.get(&file) {
        return Ok(Arc::clone(module));
    }
    let metadata = std::fs::metadata(&file).map_err(|error| refuse(&error))?;
    if !metadata.is_file() {
        return Err(refuse(&"it is no file"));
    }
    if metadata.uid() != 0 && metadata.uid() != geteuid().as_raw() {
        return Err(refuse(&"it belongs to somebody else, whose code it would run"));
    }
    if metadata.mode() & OTHERS_WRITE != 0 {
        return Err(refuse(&"others could change it: chmod go-w"));
    }
    for folder in file.ancestors().skip(1) {
        let metadata = std::fs::metadata(folder).map_err(|error| refuse(&error))?;
        let foreign = metadata.uid() != 0 && metadata.uid() != geteuid().as_raw();
        if foreign || metadata.mode() & OTHERS_WRITE != 0 && metadata.mode() & STICKY == 0 {
            return Err(refuse(&format_args!("others could exchange it: {} is theirs to change", folder.display())));
        }
    }
    let library = Pkcs11::new(&file).map_err(|error| refuse(&error))?;
    let state = State {
        generation: 0,
        running: false,
        stage: Stage::Everybody,
        inside: 0,
        renewed: None,
        pause: SHORTEST_PAUSE,
    };
    let module = Arc::new(Module { library, state: Mutex::new(state), changed: Condvar::new() });
    loaded.insert(file, Arc::clone(&module));
    Ok(module)
}
