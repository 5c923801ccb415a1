//! Guards that no learner can talk its way past: how many hosts may be taken out, how many must stay, and when so many are ill
//! that taking out more only harms (panic).

/// Bounds on taking hosts out of a set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EjectionGuard {
    /// Largest share of the hosts that may be out, in [0, 1].
    pub share_max: f64,
    /// So many may be out even where the share allows none, as long as others stay.
    pub always: usize,
    /// At least so many stay in; at least 1.
    pub healthy_min: usize,
    /// If more than this share is ill, nobody is out: the fault lies elsewhere, or the rest could not carry the load.
    pub panic_share: f64,
}

impl Default for EjectionGuard {
    fn default() -> Self {
        Self { share_max: 0.1, always: 1, healthy_min: 1, panic_share: 0.5 }
    }
}

impl EjectionGuard {
    /// How many of `hosts` may be out at once: never more than `max(⌊hosts × share⌋, always)`, and never all.
    pub fn most(&self, hosts: usize) -> usize {
        let share = if self.share_max.is_finite() { self.share_max.clamp(0.0, 1.0) } else { 0.0 };
        let by_share = (hosts as f64 * share).floor() as usize;
        by_share.max(self.always).min(hosts.saturating_sub(self.healthy_min.max(1)))
    }

    /// Which of the hosts that seem ill are taken out: `illness[i]` is how strong the evidence against host `i` is, `None` if
    /// it seems well. The strongest evidence first; ties by number.
    pub fn choose(&self, illness: &[Option<f64>]) -> Vec<usize> {
        let mut ill: Vec<(usize, f64)> =
            illness.iter().enumerate().filter_map(|(host, score)| Some((host, (*score)?))).collect();
        let panic = if self.panic_share.is_finite() { self.panic_share } else { 0.0 };
        if ill.len() as f64 > panic * illness.len() as f64 {
            return Vec::new();
        }
        ill.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        ill.truncate(self.most(illness.len()));
        ill.into_iter().map(|(host, _)| host).collect()
    }
}
