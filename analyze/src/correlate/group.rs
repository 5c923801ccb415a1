//! What belongs together: signals of one resource that deviate at once, and resources along the service graph.
//!
//! Trouble spreads against the calls: what a callee does wrong its callers feel. A finding on a caller is explained by one on
//! a callee that it reaches through resources which have findings too, or which it calls directly. What is explained is
//! inhibited: shown, and told with its cause, but not acted on by itself. Every group names one cause.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};
use proto::model::{ResourceId, ResourceKind, Severity};

/// A callee's trouble may be seen this much later than its caller's: detectors differ by some ticks.
const LATER_MAX: SignedDuration = SignedDuration::from_secs(60);

/// Something found wrong with one resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Whose.
    pub resource: ResourceId,
    /// Since when.
    pub since: Timestamp,
    /// How bad.
    pub severity: Severity,
    /// Probability that it is real.
    pub confidence: f64,
    /// What it rests on, most telling first.
    pub signals: Vec<String>,
}

/// Who calls whom.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Graph {
    callees: BTreeMap<ResourceId, BTreeSet<ResourceId>>,
    callers: BTreeMap<ResourceId, BTreeSet<ResourceId>>,
}

/// Findings that have one cause.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Place of the finding that explains the others; it is acted on.
    pub cause: usize,
    /// Places of those that it explains, the nearest first: inhibited, but shown.
    pub inhibited: Vec<usize>,
    /// Share of all known resources that have, or may come to have, this trouble, 0 to 1.
    pub blast_radius: f64,
    /// For people.
    pub text: String,
}

impl Graph {
    /// Takes in that `caller` calls `callee`. A resource that calls itself says nothing.
    pub fn add(&mut self, caller: ResourceId, callee: ResourceId) {
        if caller == callee {
            return;
        }
        self.callees.entry(caller.clone()).or_default().insert(callee.clone());
        self.callees.entry(callee.clone()).or_default();
        self.callers.entry(callee).or_default().insert(caller.clone());
        self.callers.entry(caller).or_default();
    }

    /// How many resources it knows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.callees.len()
    }

    /// Whether it knows none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.callees.is_empty()
    }

    /// Share of the known resources that depend on this one, itself included; all of one when it is not known.
    #[must_use]
    pub fn blast_radius(&self, resource: &ResourceId) -> f64 {
        if !self.callees.contains_key(resource) {
            return 1.0 / (self.len() + 1) as f64;
        }
        let mut reached = BTreeSet::from([resource]);
        let mut ahead = VecDeque::from([resource]);
        while let Some(next) = ahead.pop_front() {
            let callers = self.callers.get(next).into_iter().flatten();
            callers.for_each(|caller| {
                if reached.insert(caller) {
                    ahead.push_back(caller);
                }
            });
        }
        reached.len() as f64 / self.len() as f64
    }

    fn callees(&self, resource: &ResourceId) -> impl Iterator<Item = &ResourceId> {
        self.callees.get(resource).into_iter().flatten()
    }
}

/// Joins findings into groups, each with its cause; every finding is in one group. Edges between resources are resources
/// too: `caller->callee` is between the two in the graph, if it was added so.
#[must_use]
pub fn group(found: &[Found], graph: &Graph) -> Vec<Group> {
    let places = by_resource(found);
    let causes: Vec<(usize, usize)> =
        (0..found.len()).map(|place| cause(place, found, &places, graph)).collect();
    let mut groups: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
    for (place, (cause, hops)) in causes.into_iter().enumerate() {
        let members = groups.entry(cause).or_default();
        if place != cause {
            members.push((hops, place));
        }
    }
    let told = |(cause, mut members): (usize, Vec<(usize, usize)>)| {
        members.sort_unstable();
        let inhibited: Vec<usize> = members.into_iter().map(|(_, place)| place).collect();
        let text = tell(&found[cause], &inhibited, found);
        Group { cause, inhibited, blast_radius: graph.blast_radius(&found[cause].resource), text }
    };
    groups.into_iter().map(told).collect()
}

/// Of several findings on one resource the worst stands for it; of equals the earliest.
fn by_resource(found: &[Found]) -> BTreeMap<&ResourceId, usize> {
    let mut places: BTreeMap<&ResourceId, usize> = BTreeMap::new();
    for (place, one) in found.iter().enumerate() {
        let best = places.entry(&one.resource).or_insert(place);
        let rank = |one: &Found| (one.severity, std::cmp::Reverse(one.since));
        if rank(one) > rank(&found[*best]) {
            *best = place;
        }
    }
    places
}

/// The finding that explains this one, and how many calls away it is: the farthest down the calls that trouble leads to, the
/// worst and earliest of equals. A finding that nothing explains is its own cause.
fn cause(
    place: usize,
    found: &[Found],
    places: &BTreeMap<&ResourceId, usize>,
    graph: &Graph,
) -> (usize, usize) {
    let stands = places.get(&found[place].resource).copied().unwrap_or(place);
    let mut seen = BTreeSet::from([stands]);
    let mut ahead = VecDeque::from([(stands, 0)]);
    let mut reached = Vec::new();
    while let Some((next, hops)) = ahead.pop_front() {
        let mut leads = false;
        for callee in graph.callees(&found[next].resource) {
            let Some(below) = places.get(callee).copied() else { continue };
            // Trouble below that began long after cannot have caused it.
            if found[below].since.duration_since(found[next].since) > LATER_MAX {
                continue;
            }
            leads = true;
            if seen.insert(below) {
                ahead.push_back((below, hops + 1));
            }
        }
        if !leads {
            reached.push((next, hops));
        }
    }
    // Where all call one another in a circle, nothing is at the end: the earliest of them stands for all.
    let candidates =
        if reached.is_empty() { seen.into_iter().map(|place| (place, 1)).collect() } else { reached };
    let rank = |(place, _): &(usize, usize)| {
        let one = &found[*place];
        (one.severity, std::cmp::Reverse(one.since), std::cmp::Reverse(*place))
    };
    candidates.into_iter().max_by_key(rank).unwrap_or((stands, 0))
}

fn tell(cause: &Found, inhibited: &[usize], found: &[Found]) -> String {
    let signals = match cause.signals.as_slice() {
        [] => String::new(),
        [one] => format!(": {one}"),
        [one, two] => format!(": {one} and {two}"),
        [one, two, rest @ ..] => format!(": {one}, {two} and {} more", rest.len()),
    };
    let own = format!("{} is in trouble{signals}", name(&cause.resource));
    let mut others: Vec<String> = Vec::new();
    for place in inhibited {
        let name = name(&found[*place].resource);
        if found[*place].resource != cause.resource && !others.contains(&name) {
            others.push(name);
        }
    }
    match others.as_slice() {
        [] => own,
        [one] => format!("{own}; that explains {one}"),
        [one, two] => format!("{own}; that explains {one} and {two}"),
        [one, two, rest @ ..] => format!("{own}; that explains {one}, {two} and {} more", rest.len()),
    }
}

fn name(resource: &ResourceId) -> String {
    match (resource.kind(), resource.edge_ends()) {
        (ResourceKind::Edge, Some((caller, callee))) => format!("the calls from {caller} to {callee}"),
        _ => resource.name().to_owned(),
    }
}

#[cfg(test)]
mod tests;
