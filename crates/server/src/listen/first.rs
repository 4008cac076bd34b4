//! Waiting for something beside the main work, without asking after it each time that the main work moves.
//!
//! A connection moves with each request, thousands of times a second; what else may end it happens once in its life or once a
//! second. `select!` asks after everything on each move: timers and tokens that all connections share, behind locks.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// Which of two ended first.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum First<A, B> {
    Main(A),
    Aside(B),
}

/// Rings when there is something new aside.
struct Bell {
    rung: AtomicBool,
    owner: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.owner.wake();
    }
}

/// Goes on with the main work until it ends, or what is waited for aside does; the main work has precedence.
pub(super) async fn first<A: Future, B: Future>(main: A, aside: B) -> First<A::Output, B::Output> {
    let (mut main, mut aside) = (pin!(main), pin!(aside));
    // Rung at first, so that what is aside gets to begin.
    let bell = Arc::new(Bell { rung: AtomicBool::new(true), owner: AtomicWaker::new() });
    let waker = Waker::from(Arc::clone(&bell));
    poll_fn(move |context| {
        if let Poll::Ready(done) = main.as_mut().poll(context) {
            return Poll::Ready(First::Main(done));
        }
        // Before looking: whoever rings from now on wakes this task.
        bell.owner.register(context.waker());
        if !bell.rung.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        aside.as_mut().poll(&mut Context::from_waker(&waker)).map(First::Aside)
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn whichever_ends_first_is_told_and_the_main_work_has_precedence() {
        assert_eq!(first(ready(1), ready(2)).await, First::Main(1));
        assert_eq!(first(pending::<()>(), ready(2)).await, First::Aside(2));
        assert_eq!(first(ready(1), pending::<()>()).await, First::Main(1));
    }

    #[tokio::test]
    async fn what_is_aside_is_looked_at_only_when_there_is_something_new() {
        let looks = Cell::new(0);
        let (send, receive) = tokio::sync::oneshot::channel();
        let main = async {
            for _ in 0..1000 {
                tokio::task::yield_now().await;
            }
            send.send(()).unwrap();
            for _ in 0..1000 {
                tokio::task::yield_now().await;
            }
        };
        let mut nap = pin!(async {
            receive.await.unwrap();
            pending::<()>().await;
        });
        let aside = poll_fn(|context| {
            looks.set(looks.get() + 1);
            nap.as_mut().poll(context)
        });
        assert_eq!(first(main, aside).await, First::Main(()));
        assert_eq!(looks.get(), 2, "to begin, and when its time had come");
    }

    #[tokio::test]
    async fn whoever_rings_from_another_thread_is_heard() {
        for _ in 0..200 {
            let (send, receive) = tokio::sync::oneshot::channel();
            let thread = std::thread::spawn(move || send.send(7));
            assert_eq!(first(pending::<()>(), receive).await, First::Aside(Ok(7)));
            thread.join().unwrap().unwrap();
        }
    }
}
