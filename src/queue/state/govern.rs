//! Options that change while the queue lives: what a policy may ask of it, and what follows at once.

use std::sync::Arc;

use super::{Effects, Millis, NEVER, Options, State};

impl State {
    /// The options in force: those of the arguments, merged with those of policies.
    pub fn options(&self) -> &Arc<Options> {
        &self.options
    }

    /// Takes over what arguments and policies of version `governed` ask for; what an older version asks comes too late
    /// and is ignored. A changed time to live is that of later messages, a smaller length limit is enforced at once, a
    /// changed idle time starts anew. The type, the priorities and the single active consumer never change.
    pub fn set_options(&mut self, options: Arc<Options>, governed: u64, now: Millis, fx: &mut Effects) {
        if self.deleted || governed < self.governed {
            return;
        }
        self.governed = governed;
        let before = std::mem::replace(&mut self.options, options);
        if before == self.options {
            return;
        }
        if before.expires != self.options.expires {
            self.last_used = now;
        }
        // A deadline the janitor knows of may not be one any more; it finds that out when it comes.
        self.reported = NEVER;
        self.expire(now, fx);
        self.settle_down(now, fx);
    }
}
