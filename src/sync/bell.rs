//! A bell: wakes one task, however often it is rung before the task looks.

use std::task::{Context, Poll};

use atomic_waker::AtomicWaker;

use super::atomic::{AtomicBool, Ordering};

/// Wakes the one task that polls it. Ringing a bell that already rings costs one atomic operation.
#[derive(Debug, Default)]
pub struct Bell {
    rung: AtomicBool,
    waker: AtomicWaker,
}

impl Bell {
    /// A silent bell.
    pub const fn new() -> Self {
        Self { rung: AtomicBool::new(false), waker: AtomicWaker::new() }
    }

    /// Rings; whatever was written before is visible to the task that answers.
    #[inline]
    pub fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.waker.wake();
        }
    }

    /// Ready once for any number of rings since the last time; otherwise registers the task to be woken.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.rung.swap(false, Ordering::AcqRel) {
            return Poll::Ready(());
        }
        self.waker.register(cx.waker());
        // A ring between the look and the registration found no waker to wake.
        if self.rung.swap(false, Ordering::AcqRel) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Completes at the next ring, or at once if one is pending.
    pub async fn rung(&self) {
        std::future::poll_fn(|cx| self.poll(cx)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn rings_before_the_look_are_not_lost_and_count_once() {
        let bell = std::sync::Arc::new(Bell::new());
        bell.ring();
        bell.ring();
        bell.rung().await;
        let waiting = tokio::spawn({
            let bell = bell.clone();
            async move { bell.rung().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "the second ring was the same ring");
        bell.ring();
        waiting.await.unwrap();
    }
}
