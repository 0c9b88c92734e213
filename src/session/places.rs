//! A bounded number of places, for which futures wait without a runtime.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// So many calls may be made at a time. Whoever finds no place waits for one.
pub(super) struct Places(Mutex<State>);

struct State {
    free: usize,
    /// Who waits, in the order of arrival.
    waiting: BTreeMap<u64, Waker>,
    next: u64,
}

impl Places {
    pub(super) const fn new(count: usize) -> Self {
        Self(Mutex::new(State { free: count, waiting: BTreeMap::new(), next: 0 }))
    }

    /// Waits for a place, which is free again when it is dropped.
    pub(super) const fn take(&self) -> Take<'_> {
        Take { places: self, number: None }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes whoever has waited the longest, if there is a place. A waker is code of the runtime, and must not run under the
    /// lock.
    fn wake_first(state: MutexGuard<'_, State>) {
        let first = if state.free > 0 { state.waiting.first_key_value() } else { None };
        let waker = first.map(|(_, waker)| waker.clone());
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Future of [`Places::take`].
pub(super) struct Take<'p> {
    places: &'p Places,
    /// Among those who wait.
    number: Option<u64>,
}

impl<'p> Future for Take<'p> {
    type Output = Place<'p>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Place<'p>> {
        let places = self.places;
        let mut state = places.state();
        if state.free == 0 {
            let number = self.number.unwrap_or(state.next);
            state.next = state.next.max(number + 1);
            state.waiting.insert(number, cx.waker().clone());
            drop(state);
            self.number = Some(number);
            return Poll::Pending;
        }
        state.free -= 1;
        if let Some(number) = self.number.take() {
            state.waiting.remove(&number);
        }
        Places::wake_first(state);
        Poll::Ready(Place(places))
    }
}

impl Drop for Take<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            let mut state = self.places.state();
            state.waiting.remove(&number);
            // It may have been woken, and has not taken the place.
            Places::wake_first(state);
        }
    }
}

/// A place that has been taken.
pub(super) struct Place<'p>(&'p Places);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.free += 1;
        Places::wake_first(state);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::Wake,
    };

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn poll<'p>(take: Pin<&mut Take<'p>>, woken: &Arc<Woken>) -> Option<Place<'p>> {
        match take.poll(&mut Context::from_waker(&woken.clone().into())) {
            Poll::Ready(place) => Some(place),
            Poll::Pending => None,
        }
    }

    #[test]
    fn who_waits_longest_gets_the_next_place_and_one_who_gives_up_passes_it_on() {
        let places = Places::new(1);
        let [first, second, third]: [Arc<Woken>; 3] = Default::default();
        let held = poll(pin!(places.take()), &first).expect("it is free");
        let mut giving_up = Box::pin(places.take());
        let mut waiting = pin!(places.take());
        assert!(poll(giving_up.as_mut(), &second).is_none() && poll(waiting.as_mut(), &third).is_none());
        drop(held);
        assert_eq!((second.0.load(Ordering::Relaxed), third.0.load(Ordering::Relaxed)), (1, 0));
        drop(giving_up);
        assert_eq!(third.0.load(Ordering::Relaxed), 1, "the place is passed on");
        let place = poll(waiting, &third).expect("it is free");
        let mut last = pin!(places.take());
        assert!(poll(last.as_mut(), &first).is_none());
        drop(place);
        assert_eq!(first.0.load(Ordering::Relaxed), 1);
        assert!(poll(last, &first).is_some());
    }
}
