//! A layer for tower services. Half-open permits are taken when the call is made, not while readiness is polled, so
//! that a balancer which polls many services and calls one leaves no permit behind.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::{Breaker, Outcome, Permit, Rejection};

/// Monotonic time, from any fixed zero.
pub type Now = Arc<dyn Fn() -> Duration + Send + Sync>;

/// What a guarded call fails with.
#[derive(Debug, thiserror::Error)]
pub enum CallError<E> {
    /// The breaker did not admit it.
    #[error("call was not admitted")]
    Rejected(#[source] Rejection),
    /// The inner service failed.
    #[error(transparent)]
    Inner(E),
}

/// Judges what a service answered.
pub trait Classify<R, E>: Clone {
    /// What this result says about the callee.
    fn classify(&self, result: &Result<R, E>) -> Outcome;
}

impl<R, E, F: Fn(&Result<R, E>) -> Outcome + Clone> Classify<R, E> for F {
    fn classify(&self, result: &Result<R, E>) -> Outcome {
        self(result)
    }
}

/// Guards a service with a shared breaker.
#[derive(Clone)]
pub struct BreakerLayer<C> {
    breaker: Arc<Breaker>,
    now: Now,
    classify: C,
}

impl<C> BreakerLayer<C> {
    /// A layer over `breaker`, reading time from `now`.
    pub fn new(breaker: Arc<Breaker>, now: Now, classify: C) -> Self {
        Self { breaker, now, classify }
    }
}

impl<C> fmt::Debug for BreakerLayer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BreakerLayer").field("breaker", &self.breaker).finish_non_exhaustive()
    }
}

impl<S, C: Clone> Layer<S> for BreakerLayer<C> {
    type Service = Guarded<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        Guarded { inner, layer: self.clone(), skipped: None }
    }
}

/// A service behind a breaker.
#[derive(Debug)]
pub struct Guarded<S, C> {
    inner: S,
    layer: BreakerLayer<C>,
    /// Set if the inner service was not polled because the call would be rejected.
    skipped: Option<Rejection>,
}

impl<S: Clone, C: Clone> Clone for Guarded<S, C> {
    fn clone(&self) -> Self {
        // Readiness belongs to one instance and is not cloned.
        Self { inner: self.inner.clone(), layer: self.layer.clone(), skipped: None }
    }
}

impl<S, C, Req> Service<Req> for Guarded<S, C>
where
    S: Service<Req>,
    C: Classify<S::Response, S::Error>,
{
    type Response = S::Response;
    type Error = CallError<S::Error>;
    type Future = GuardedFuture<S::Future, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.skipped = self.layer.breaker.rejects((self.layer.now)());
        if self.skipped.is_some() {
            // A dead callee may never be ready: the caller must get its rejection nevertheless.
            return Poll::Ready(Ok(()));
        }
        self.inner.poll_ready(cx).map_err(CallError::Inner)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let started = (self.layer.now)();
        let admitted = self.layer.breaker.try_acquire_owned(started);
        let state = match (admitted, self.skipped.take()) {
            // The inner service was not polled, so it must not be called even if the wait has just ended.
            (Err(rejection), _) | (Ok(_), Some(rejection)) => State::Rejected { rejection },
            (Ok(permit), None) => {
                State::Calling { call: self.inner.call(request), permit: Some(permit), started }
            }
        };
        GuardedFuture { state, now: Arc::clone(&self.layer.now), classify: self.layer.classify.clone() }
    }
}

pin_project! {
    /// The answer of a guarded service; dropping it gives the permit back.
    pub struct GuardedFuture<F, C> {
        #[pin]
        state: State<F>,
        now: Now,
        classify: C,
    }
}

impl<F, C> fmt::Debug for GuardedFuture<F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedFuture").finish_non_exhaustive()
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F> {
        Rejected { rejection: Rejection },
        Calling { #[pin] call: F, permit: Option<Permit<Arc<Breaker>>>, started: Duration },
    }
}

impl<F, C, R, E> Future for GuardedFuture<F, C>
where
    F: Future<Output = Result<R, E>>,
    C: Classify<R, E>,
{
    type Output = Result<R, CallError<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.state.project() {
            StateProjection::Rejected { rejection } => Poll::Ready(Err(CallError::Rejected(*rejection))),
            StateProjection::Calling { call, permit, started } => {
                let result = ready!(call.poll(cx));
                let now = (this.now)();
                if let Some(permit) = permit.take() {
                    permit.record(now, this.classify.classify(&result), now.saturating_sub(*started));
                }
                Poll::Ready(result.map_err(CallError::Inner))
            }
        }
    }
}
