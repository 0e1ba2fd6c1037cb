//! A line in which those with much to do wait, so that few of them do it at a time.
//!
//! A runtime serves tasks in the order in which they are woken, whatever they want: among a hundred that always have
//! work, somebody with one small question waits for all of them, again and again. Those who exceed their turn
//! therefore queue up here instead of there, and everybody else waits for as many turns as there are slots.
//!
//! Invariants: a slot is never free while somebody waits; whoever is called and dropped makes room for the next.

use std::collections::VecDeque;
use std::sync::Arc;

use super::atomic::{AtomicBool, Ordering};
use super::{Bell, Mutex, Rank};

/// Where those with much to do wait.
#[derive(Debug)]
pub struct Line {
    slots: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    busy: usize,
    waiting: VecDeque<Arc<Ticket>>,
}

#[derive(Debug)]
struct Ticket {
    bell: Arc<Bell>,
    /// Changed under the lock only.
    called: AtomicBool,
}

impl Inner {
    /// Calls whoever is next; the bell is to be rung once the lock is released.
    fn call(&mut self) -> Option<Arc<Bell>> {
        let next = self.waiting.pop_front()?;
        next.called.store(true, Ordering::Release);
        Some(next.bell.clone())
    }
}

/// A place in the line, or a slot once it is called. Given up when dropped.
#[derive(Debug)]
pub struct InLine {
    line: Arc<Line>,
    ticket: Arc<Ticket>,
}

impl Line {
    /// A line for as many as may be busy at a time, at least one.
    pub fn new(slots: usize) -> Arc<Self> {
        Arc::new(Self { slots: slots.max(1), inner: Mutex::new(Rank::Leaf, Inner::default()) })
    }

    /// Gets in line; it may be one's turn at once. Later `bell` tells.
    pub fn enter(self: &Arc<Self>, bell: &Arc<Bell>) -> InLine {
        let mut inner = self.inner.lock();
        let called = inner.busy < self.slots;
        let ticket = Arc::new(Ticket { bell: bell.clone(), called: AtomicBool::new(called) });
        if called {
            inner.busy += 1;
        } else {
            inner.waiting.push_back(ticket.clone());
        }
        drop(inner);
        InLine { line: self.clone(), ticket }
    }
}

impl InLine {
    /// Whether it is one's turn.
    #[inline]
    pub fn is_called(&self) -> bool {
        self.ticket.called.load(Ordering::Acquire)
    }

    /// Ends one's turn and gets in line again, if anybody waits.
    pub fn again(&self) {
        let next = {
            let mut inner = self.line.inner.lock();
            if !self.is_called() {
                return;
            }
            let Some(next) = inner.call() else { return };
            self.ticket.called.store(false, Ordering::Relaxed);
            inner.waiting.push_back(self.ticket.clone());
            next
        };
        next.ring();
    }
}

impl Drop for InLine {
    fn drop(&mut self) {
        let next = {
            let mut inner = self.line.inner.lock();
            if self.is_called() {
                let next = inner.call();
                inner.busy -= usize::from(next.is_none());
                next
            } else {
                inner.waiting.retain(|ticket| !Arc::ptr_eq(ticket, &self.ticket));
                None
            }
        };
        if let Some(next) = next {
            next.ring();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called<const N: usize>(places: [&InLine; N]) -> [bool; N] {
        places.map(InLine::is_called)
    }

    #[test]
    fn turns_go_round() {
        let line = Line::new(1);
        let [a, b, c] = std::array::from_fn(|_| line.enter(&Arc::new(Bell::new())));
        assert_eq!(called([&a, &b, &c]), [true, false, false]);
        a.again();
        assert_eq!(called([&a, &b, &c]), [false, true, false]);
        c.again();
        assert_eq!(called([&a, &b, &c]), [false, true, false], "who is not called gives nothing up");
        b.again();
        c.again();
        assert_eq!(called([&a, &b, &c]), [true, false, false]);
        drop(b);
        drop(a);
        assert!(c.is_called(), "who has left is not called");
        c.again();
        assert!(c.is_called(), "nobody else waits");
        drop(c);
        assert!(line.enter(&Arc::new(Bell::new())).is_called());
        assert_eq!(line.inner.lock().busy, 0);
    }

    #[tokio::test]
    async fn who_is_called_hears_it() {
        let line = Line::new(2);
        let bell = Arc::new(Bell::new());
        let (first, second) = (line.enter(&Arc::new(Bell::new())), line.enter(&Arc::new(Bell::new())));
        let waiting = line.enter(&bell);
        assert!(first.is_called() && second.is_called() && !waiting.is_called());
        drop(second);
        bell.rung().await;
        assert!(waiting.is_called());
    }
}
