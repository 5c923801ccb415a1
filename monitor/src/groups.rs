//! Which resources a tick is about, and which of them have all their answers, so that one slow target delays only its own.

use std::collections::BTreeMap;

use proto::model::ResourceId;

use crate::declarations::Declarations;
use crate::target::{Target, TargetId};

/// What a group of targets stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// A declared service.
    Service(ResourceId),
    /// A target that no service names.
    Host(TargetId),
}

/// Targets whose answers are judged together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// What they stand for.
    pub owner: Owner,
    /// The targets.
    pub members: Vec<TargetId>,
}

/// The groups of one tick.
#[derive(Debug)]
pub struct Groups {
    groups: Vec<(Group, usize)>,
    of_target: BTreeMap<TargetId, Vec<usize>>,
}

impl Groups {
    /// One group per declared service, and one per target without a service.
    pub fn new<'a>(targets: impl IntoIterator<Item = &'a Target>, declarations: &Declarations) -> Self {
        let mut services: BTreeMap<_, Vec<TargetId>> =
            declarations.services().map(|service| (service.id, Vec::new())).collect();
        let mut hosts = Vec::new();
        for target in targets {
            let mut owned = false;
            for owner in declarations.owners(target) {
                services.entry(owner.id).or_default().push(target.id.clone());
                owned = true;
            }
            if !owned {
                hosts.push(Group { owner: Owner::Host(target.id.clone()), members: vec![target.id.clone()] });
            }
        }
        let services =
            services.into_iter().map(|(id, members)| Group { owner: Owner::Service(id.clone()), members });
        let waiting = |group: Group| {
            let members = group.members.len();
            (group, members)
        };
        let groups: Vec<_> = services.chain(hosts).map(waiting).collect();
        let mut of_target: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (index, (group, _)) in groups.iter().enumerate() {
            group.members.iter().for_each(|id| of_target.entry(id.clone()).or_default().push(index));
        }
        Self { groups, of_target }
    }

    /// Services to which no target belongs: nothing is waited for.
    pub fn without_targets(&self) -> Vec<Group> {
        self.groups
            .iter()
            .filter(|(group, _)| group.members.is_empty())
            .map(|(group, _)| group.clone())
            .collect()
    }

    /// A target answered, or failed to: the groups that now wait for nobody else.
    pub fn answered(&mut self, id: &TargetId) -> Vec<Group> {
        let mut whole = Vec::new();
        for index in self.of_target.remove(id).unwrap_or_default() {
            let (group, waiting) = &mut self.groups[index];
            *waiting -= 1;
            if *waiting == 0 {
                whole.push(group.clone());
            }
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{service, target};

    #[test]
    fn a_group_is_whole_when_its_last_target_answered() {
        let declarations = Declarations::new([service("cart", |_| {}), service("idle", |_| {})]);
        let targets = [target("cart", "a:1"), target("cart", "a:2"), target("node", "n:1")];
        let mut groups = Groups::new(&targets, &declarations);
        let owners = |groups: Vec<Group>| groups.into_iter().map(|group| group.owner).collect::<Vec<_>>();
        let service = |name: &str| Owner::Service(ResourceId::service("staging", name).unwrap());
        assert_eq!(owners(groups.without_targets()), [service("idle")]);
        assert_eq!(owners(groups.answered(&targets[0].id)), []);
        assert_eq!(owners(groups.answered(&targets[0].id)), [], "a second answer counts for nothing");
        assert_eq!(owners(groups.answered(&targets[2].id)), [Owner::Host(targets[2].id.clone())]);
        let last = groups.answered(&targets[1].id);
        assert_eq!(last[0].members.len(), 2);
        assert_eq!(owners(last), [service("cart")]);
    }
}
