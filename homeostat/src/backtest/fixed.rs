//! Policies that do not look: a fixed number of replicas. And shedding, which can be laid over any other.

use super::replay::{Policy, View, Wish};

/// Always the same number.
#[derive(Debug)]
pub struct Fixed {
    name: String,
    replicas: u32,
}

impl Fixed {
    /// Enough for this rate at this target, in requests per second and replica.
    #[must_use]
    pub fn new(name: String, rate: f64, target: f64) -> Self {
        Self { name, replicas: (rate / target).ceil() as u32 }
    }
}

impl Policy for Fixed {
    fn name(&self) -> &str {
        &self.name
    }

    fn decide(&mut self, _view: &View<'_>) -> Option<Wish> {
        Some(Wish { replicas: self.replicas, admitted: None })
    }
}

/// Another policy, with what is above a limit turned away at once.
pub struct Shedding {
    name: String,
    inner: Box<dyn Policy>,
    admitted: f64,
}

impl std::fmt::Debug for Shedding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shedding")
            .field("name", &self.name)
            .field("admitted", &self.admitted)
            .finish_non_exhaustive()
    }
}

impl Shedding {
    /// Lets in so many requests per second and ready replica.
    #[must_use]
    pub fn new(name: String, inner: Box<dyn Policy>, admitted: f64) -> Self {
        Self { name, inner, admitted }
    }
}

impl Policy for Shedding {
    fn name(&self) -> &str {
        &self.name
    }

    fn interval_s(&self) -> u32 {
        self.inner.interval_s()
    }

    fn decide(&mut self, view: &View<'_>) -> Option<Wish> {
        let wish = self.inner.decide(view)?;
        Some(Wish { admitted: Some(self.admitted), ..wish })
    }
}
