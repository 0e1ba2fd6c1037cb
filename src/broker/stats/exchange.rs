//! What is counted of exchanges: what was published to them, and to how many queues it went.
//!
//! Many sessions publish to one exchange. Each gathers its counts for a turn and adds them then.

use std::sync::Arc;

use super::Stats;
use crate::stats::{Counter, History};

/// Exchanges that a session keeps rows for; a publisher to more of them adds its counts early.
const ROWS: usize = 32;

/// The counts of one exchange.
#[derive(Debug, Default)]
pub struct ExchangeStats {
    /// Messages published to it.
    pub published_in: Counter,
    /// Queues they went to, each counted for each message.
    pub published_out: Counter,
    /// What is kept of its past figures.
    pub history: History,
}

impl ExchangeStats {
    /// Both counts.
    pub fn values(&self) -> [u64; 2] {
        [self.published_in.get(), self.published_out.get()]
    }
}

#[derive(Debug)]
struct Row {
    exchange: Arc<ExchangeStats>,
    published_in: u64,
    published_out: u64,
}

/// What one session has published in this turn, by exchange.
#[derive(Debug, Default)]
pub struct Passed {
    rows: Vec<Row>,
    last: usize,
    any: bool,
}

impl Passed {
    /// Counts a message that goes from `exchange` to so many queues. `stats` is told of others if there are too many.
    #[inline]
    pub fn count(&mut self, exchange: &Arc<ExchangeStats>, queues: usize, stats: &Stats) {
        if !self.rows.get(self.last).is_some_and(|row| Arc::ptr_eq(&row.exchange, exchange)) {
            self.find(exchange, stats);
        }
        if let Some(row) = self.rows.get_mut(self.last) {
            row.published_in += 1;
            row.published_out += queues as u64;
            self.any = true;
        }
    }

    fn find(&mut self, exchange: &Arc<ExchangeStats>, stats: &Stats) {
        let known = self.rows.iter().position(|row| Arc::ptr_eq(&row.exchange, exchange));
        self.last = known.unwrap_or_else(|| {
            if self.rows.len() >= ROWS {
                self.tell(stats);
                self.rows.clear();
            }
            self.rows.push(Row { exchange: exchange.clone(), published_in: 0, published_out: 0 });
            self.rows.len() - 1
        });
    }

    /// Adds what was gathered to the exchanges' counts.
    #[inline]
    pub fn tell(&mut self, stats: &Stats) {
        if std::mem::take(&mut self.any) {
            self.tell_all(stats);
        }
    }

    fn tell_all(&mut self, stats: &Stats) {
        for row in self.rows.iter_mut().filter(|row| row.published_in > 0) {
            row.exchange.published_in.add_shared(std::mem::take(&mut row.published_in));
            row.exchange.published_out.add_shared(std::mem::take(&mut row.published_out));
            stats.exchange_moves(&row.exchange);
        }
    }

    /// Gives memory back.
    pub fn relax(&mut self) {
        if !self.any {
            self.rows = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_arrive_at_the_end_of_the_turn_whatever_the_order() {
        let stats = Stats::new(0);
        let exchanges: Vec<_> = (0..ROWS + 2).map(|_| Arc::new(ExchangeStats::default())).collect();
        let mut passed = Passed::default();
        for exchange in exchanges.iter().chain(&exchanges) {
            passed.count(exchange, 3, &stats);
            passed.count(exchange, 0, &stats);
        }
        passed.tell(&stats);
        passed.tell(&stats);
        for exchange in &exchanges {
            assert_eq!(exchange.values(), [4, 6]);
        }
        passed.relax();
        assert!(passed.rows.is_empty());
    }
}
