//! The consumers of a queue, and whose turn it is.
//!
//! Consumers that can take a message stand in a ring per priority; the highest non-empty ring is served round robin. A
//! consumer that cannot (prefetch used up, outbox full, channel credit gone) leaves its ring and returns when that
//! changes, so choosing costs the same however many consumers wait. With a single active consumer, only the active one
//! ever stands in a ring. In a quorum queue it gives way to one of higher priority once its deliveries are settled; until
//! then, nobody is served.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Consumer;

#[derive(Debug)]
struct Member {
    consumer: Arc<Consumer>,
    outstanding: u32,
    in_ring: bool,
}

impl Member {
    fn has_credit(&self) -> bool {
        let c = &self.consumer;
        c.no_ack || c.prefetch == 0 || self.outstanding < u32::from(c.prefetch)
    }
}

/// Consumers by slot and by turn.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // independent facts
pub(super) struct Roster {
    members: Vec<Option<Member>>,
    /// Slots in order of subscription (single active consumer: who is next).
    order: Vec<usize>,
    /// Rings of slots, highest priority first.
    rings: Vec<(i32, VecDeque<usize>)>,
    single_active: bool,
    active: Option<usize>,
    /// A single active consumer gives way to one of higher priority.
    by_priority: bool,
    /// The active consumer is to give way.
    fading: bool,
    exclusive: bool,
}

impl Roster {
    /// An empty roster; with `single_active`, only one consumer is served at a time, which gives way to another of
    /// higher priority if `by_priority`.
    pub(super) fn new(single_active: bool, by_priority: bool) -> Self {
        Self { single_active, by_priority, ..Self::default() }
    }

    /// All consumers in the order of subscription, each with whether it may be served.
    pub(super) fn listed(&self) -> impl Iterator<Item = (&Arc<Consumer>, bool)> {
        let member = |slot: &usize| self.members.get(*slot)?.as_ref().map(|member| (*slot, &member.consumer));
        let active = |slot| !self.single_active || self.active == Some(slot);
        self.order.iter().filter_map(member).map(move |(slot, consumer)| (consumer, active(slot)))
    }

    /// Number of consumers.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Whether an exclusive consumer has the queue for itself.
    pub(super) fn exclusive(&self) -> bool {
        self.exclusive
    }

    /// Adds a consumer; it takes part at once.
    pub(super) fn join(&mut self, consumer: Arc<Consumer>) {
        let slot = self.members.iter().position(Option::is_none).unwrap_or_else(|| {
            self.members.push(None);
            self.members.len() - 1
        });
        consumer.slot.store(u32::try_from(slot).unwrap_or(u32::MAX), Ordering::Relaxed);
        self.exclusive |= consumer.exclusive;
        self.members[slot] = Some(Member { consumer, outstanding: 0, in_ring: false });
        self.order.push(slot);
        if self.single_active {
            self.challenge(slot);
        }
        self.resume(slot);
    }

    /// A consumer has joined that may be the active one: because there is none, or by its priority.
    fn challenge(&mut self, slot: usize) {
        let Some(active) = self.active else {
            self.active = Some(slot);
            return;
        };
        if self.by_priority && !self.fading && self.priority(slot) > self.priority(active) {
            self.fading = true;
            self.drop_from_ring(active);
            if let Some(Some(member)) = self.members.get_mut(active) {
                member.in_ring = false;
            }
            self.give_way();
        }
    }

    /// Lets the next consumer take over from one that is to give way and holds nothing any more.
    fn give_way(&mut self) {
        let free = self.active.is_none_or(|slot| self.members[slot].as_ref().is_none_or(|m| m.outstanding == 0));
        if self.fading && free {
            self.activate();
        }
    }

    /// Chooses the active consumer: the highest priority goes first, then whoever subscribed first.
    fn activate(&mut self) {
        self.fading = false;
        let highest = self.order.iter().map(|slot| self.priority(*slot)).max();
        self.active = self.order.iter().copied().find(|slot| Some(self.priority(*slot)) == highest);
        if let Some(next) = self.active {
            self.resume(next);
        }
    }

    fn priority(&self, slot: usize) -> i32 {
        self.members[slot].as_ref().map_or(i32::MIN, |m| m.consumer.priority)
    }

    /// Removes a consumer; `false` if it was not there.
    pub(super) fn leave(&mut self, consumer: &Consumer) -> bool {
        let Some(slot) = self.slot_of(consumer) else { return false };
        self.drop_from_ring(slot);
        self.members[slot] = None;
        self.order.retain(|s| *s != slot);
        self.exclusive = self.members.iter().flatten().any(|m| m.consumer.exclusive);
        if self.active == Some(slot) {
            self.activate();
        }
        true
    }

    /// Removes and returns all consumers.
    pub(super) fn clear(&mut self) -> Vec<Arc<Consumer>> {
        self.rings.clear();
        self.active = None;
        self.fading = false;
        self.exclusive = false;
        let order = std::mem::take(&mut self.order);
        order.into_iter().filter_map(|slot| self.members[slot].take().map(|m| m.consumer)).collect()
    }

    /// The slot whose turn it is, if any consumer can take a message.
    #[inline]
    pub(super) fn turn(&self) -> Option<usize> {
        self.rings.iter().find_map(|(_, ring)| ring.front().copied())
    }

    /// Whether the consumer whose turn it is is the only one that could be served.
    #[inline]
    pub(super) fn sole(&self) -> bool {
        self.rings.iter().find(|(_, ring)| !ring.is_empty()).is_some_and(|(_, ring)| ring.len() == 1)
    }

    /// The consumer in a slot.
    #[inline]
    pub(super) fn consumer(&self, slot: usize) -> Option<&Arc<Consumer>> {
        self.members.get(slot)?.as_ref().map(|m| &m.consumer)
    }

    /// Counts a delivery to `slot`; `false` once its prefetch is used up.
    #[inline]
    pub(super) fn delivered(&mut self, slot: usize) -> bool {
        match self.members.get_mut(slot) {
            Some(Some(member)) => {
                if !member.consumer.no_ack {
                    member.outstanding += 1;
                }
                member.has_credit()
            }
            _ => false,
        }
    }

    /// How many messages consumers could take at once, as far as their limits tell, up to `most`.
    pub(super) fn appetite(&self, most: u64) -> u64 {
        let ready = self.rings.iter().flat_map(|(_, ring)| ring);
        let of = |member: &Member| {
            let consumer = &member.consumer;
            if consumer.no_ack {
                return most;
            }
            let own = match consumer.prefetch {
                0 => most,
                prefetch => u64::from(u32::from(prefetch).saturating_sub(member.outstanding)),
            };
            own.min(consumer.credit.as_ref().map_or(most, |credit| credit.left(most)))
        };
        ready.filter_map(|slot| self.members[*slot].as_ref()).map(of).fold(0, u64::saturating_add).min(most)
    }

    /// Ends the turn of `slot`: to the back of its ring if it can take more, else out of it.
    #[inline]
    pub(super) fn rotate(&mut self, slot: usize, more: bool) {
        let Some(Some(member)) = self.members.get_mut(slot) else { return };
        let priority = member.consumer.priority;
        member.in_ring = more;
        if let Some((_, ring)) = self.rings.iter_mut().find(|(p, _)| *p == priority) {
            let front = ring.pop_front();
            debug_assert_eq!(front, Some(slot), "only the front of a ring has its turn");
            if more {
                ring.push_back(slot);
            }
        }
    }

    /// Gives back `n` deliveries' worth of credit to a consumer that may be gone.
    #[inline]
    pub(super) fn settled(&mut self, consumer: &Consumer, n: usize) {
        let Some(slot) = self.slot_of(consumer) else { return };
        if let Some(Some(member)) = self.members.get_mut(slot) {
            member.outstanding = member.outstanding.saturating_sub(u32::try_from(n).unwrap_or(u32::MAX));
            if !member.in_ring {
                self.resume(slot);
            }
        }
        if self.fading {
            self.give_way();
        }
    }

    /// Lets a consumer that had been held back take part again.
    pub(super) fn resume_consumer(&mut self, consumer: &Consumer) {
        if let Some(slot) = self.slot_of(consumer) {
            self.resume(slot);
        }
    }

    fn resume(&mut self, slot: usize) {
        if self.single_active && (self.active != Some(slot) || self.fading) {
            return;
        }
        let Some(Some(member)) = self.members.get_mut(slot) else { return };
        if member.in_ring || !member.has_credit() {
            return;
        }
        member.in_ring = true;
        let priority = member.consumer.priority;
        let at = match self.rings.binary_search_by(|(p, _)| priority.cmp(p)) {
            Ok(at) => at,
            Err(at) => {
                self.rings.insert(at, (priority, VecDeque::new()));
                at
            }
        };
        self.rings[at].1.push_back(slot);
    }

    fn drop_from_ring(&mut self, slot: usize) {
        for (_, ring) in &mut self.rings {
            ring.retain(|s| *s != slot);
        }
        self.rings.retain(|(_, ring)| !ring.is_empty());
    }

    fn slot_of(&self, consumer: &Consumer) -> Option<usize> {
        let slot = consumer.slot();
        let member = self.members.get(slot)?.as_ref()?;
        (member.consumer.id == consumer.id).then_some(slot)
    }
}
