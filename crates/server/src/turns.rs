//! Turns: of those who change one collection, one at a time works on it, in the order they came.
//!
//! Only a courtesy that saves work within this process. What keeps publications apart is the database (`Base`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use countersign_tuf::Gun;
use tokio::sync::OwnedMutexGuard;

type Queue = Arc<tokio::sync::Mutex<()>>;

#[derive(Debug, Clone, Default)]
pub(crate) struct Turns(Arc<Mutex<HashMap<Gun, Queue>>>);

/// The right to change one collection, until dropped.
pub(crate) struct Turn {
    guard: Option<OwnedMutexGuard<()>>,
    gun: Gun,
    turns: Turns,
}

impl Turns {
    /// Waits for the turn; none when the wait was too long.
    pub(crate) async fn take(&self, gun: &Gun, patience: Duration) -> Option<Turn> {
        let queue = Arc::clone(self.lock().entry(gun.clone()).or_default());
        // Made before waiting, so that giving up cleans the queue away too.
        let mut turn = Turn { guard: None, gun: gun.clone(), turns: self.clone() };
        turn.guard = Some(tokio::time::timeout(patience, queue.lock_owned()).await.ok()?);
        Some(turn)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Gun, Queue>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.guard = None;
        let mut queues = self.turns.lock();
        // Whoever waits holds a copy, and copies are made under this lock only.
        if queues.get(&self.gun).is_some_and(|queue| Arc::strong_count(queue) == 1) {
            queues.remove(&self.gun);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_at_a_time_and_nothing_left_behind() {
        let turns = Turns::default();
        let (a, b) = (Gun::parse("a").unwrap(), Gun::parse("b").unwrap());
        let first = turns.take(&a, Duration::from_secs(1)).await.unwrap();
        assert!(turns.take(&a, Duration::from_millis(10)).await.is_none());
        assert!(turns.take(&b, Duration::from_millis(10)).await.is_some());
        drop(first);
        drop(turns.take(&a, Duration::from_millis(10)).await.unwrap());
        assert!(turns.lock().is_empty());
    }
}
