//! Messages that await their acknowledgement, in the order in which they came: MQTT wants them acknowledged in that
//! order, and they may become done in any.

use std::{collections::VecDeque, sync::Arc};

use tokio::sync::Notify;

use crate::inbound::{Ack, Mark};

/// The window of one connection.
pub(crate) struct Window<T> {
    wake: Arc<Notify>,
    waiting: VecDeque<(Arc<Mark>, T)>,
}

/// How the oldest message stands.
pub(crate) enum Head<'a, T> {
    /// It is not yet done, or there is none.
    Waiting,
    /// It may be acknowledged.
    Done(&'a T),
    /// It could not be taken.
    Dropped,
}

impl<T> Default for Window<T> {
    fn default() -> Self {
        Self { wake: Arc::new(Notify::new()), waiting: VecDeque::new() }
    }
}

impl<T> Window<T> {
    /// Told when a message is done or dropped.
    pub(crate) fn wake(&self) -> Arc<Notify> {
        self.wake.clone()
    }

    /// Adds a message.
    pub(crate) fn admit(&mut self, token: T) -> Ack {
        let (ack, mark) = Ack::slot(self.wake.clone());
        self.waiting.push_back((mark, token));
        ack
    }

    /// How many messages await their acknowledgement.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// How the oldest message stands.
    pub(crate) fn head(&self) -> Head<'_, T> {
        match self.waiting.front() {
            Some((mark, token)) if mark.is_done() => Head::Done(token),
            Some((mark, _)) if mark.is_dropped() => Head::Dropped,
            Some(_) | None => Head::Waiting,
        }
    }

    /// Removes the oldest message.
    pub(crate) fn pop(&mut self) {
        self.waiting.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(window: &mut Window<u16>) -> Vec<u16> {
        let mut ready = Vec::new();
        while let Head::Done(token) = window.head() {
            ready.push(*token);
            window.pop();
        }
        ready
    }

    #[test]
    fn acknowledgements_go_out_in_the_order_of_arrival() {
        let mut window = Window::default();
        let [first, second, third] = [1, 2, 3].map(|token| window.admit(token));
        third.done();
        assert!(ready(&mut window).is_empty());
        first.done();
        assert_eq!(ready(&mut window), [1]);
        second.done();
        assert_eq!(ready(&mut window), [2, 3]);
    }

    #[tokio::test]
    async fn many_that_are_done_together_are_acknowledged_together() {
        let mut window = Window::default();
        let wake = window.wake();
        let acks = [1, 2, 3].map(|token| window.admit(token));
        crate::all_done(acks);
        wake.notified().await;
        assert_eq!(ready(&mut window), [1, 2, 3]);
    }

    #[test]
    fn a_dropped_message_stops_the_window_once_it_is_the_oldest() {
        let mut window = Window::default();
        let [first, second] = [1, 2].map(|token| window.admit(token));
        drop(second);
        assert!(matches!(window.head(), Head::Waiting));
        first.done();
        assert_eq!(ready(&mut window), [1]);
        assert!(matches!(window.head(), Head::Dropped));
    }

    #[test]
    fn an_acknowledgement_of_an_earlier_connection_does_nothing() {
        let mut window = Window::default();
        let stale = window.admit(1);
        window = Window::default();
        let fresh = window.admit(1);
        stale.done();
        assert!(ready(&mut window).is_empty());
        fresh.done();
        assert_eq!(ready(&mut window), [1]);
    }
}
