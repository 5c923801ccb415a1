//! The plant of Analyze's benches: services with the signals of their roles and hosts with their series, as many as are asked
//! for, each with a value for every time. Nothing is stored: values come from the number of the signal and the time.

use std::{f64::consts::TAU, time::Duration};

use jiff::Timestamp;
use proto::model::{
    Quality, ResourceId, ResourceKind, SHARDS, Sample, SampleBatch, Shard, SignalDescriptor, SignalId,
    SignalKind,
};

/// Between two samples of a signal.
pub(super) const INTERVAL: Duration = Duration::from_secs(15);
/// One service and one host: 5 % of all signals are declared, a million of them are of 10,000 services and as many hosts.
pub(super) const GROUP_SIGNALS: usize = 100;
/// Different pairs of service and host. What is learned of these is what all others start with.
pub(super) const TEMPLATES: usize = 4;
/// Rows of one batch. Monitor sends at most 4,096, and fewer when scrapes are spread over the interval.
const BATCH_ROWS: usize = 1_000;
const DAY: f64 = 86_400.0;
const ROLES: [(&str, SignalKind, &str, Shape); 5] = [
    ("bad_ratio", SignalKind::Ratio, "ratio", Shape::Share),
    ("error_ratio", SignalKind::Ratio, "ratio", Shape::Share),
    ("load", SignalKind::Rate, "requests_per_second", Shape::Daily),
    ("ready_replicas", SignalKind::Gauge, "replicas", Shape::Flat),
    ("utilisation", SignalKind::Ratio, "ratio", Shape::Busy),
];
const SHAPES: [Shape; 8] = [
    Shape::Noise,
    Shape::Daily,
    Shape::LogNormal,
    Shape::Counts,
    Shape::Flat,
    Shape::Wandering,
    Shape::Bursts,
    Shape::Losses,
];

/// What a series is like.
#[derive(Debug, Clone, Copy)]
enum Shape {
    Noise,
    Daily,
    LogNormal,
    Counts,
    Flat,
    /// Slow waves that never repeat.
    Wandering,
    /// 20 minutes high now and then.
    Bursts,
    /// One sample in fifty is unknown.
    Losses,
    Share,
    Busy,
}

/// One resource.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) id: ResourceId,
    pub(super) shard: Shard,
    pub(super) declared: bool,
    /// What it was learned from: services first.
    pub(super) template: usize,
    /// The number of its first signal.
    first: u64,
    /// The handle of its first signal on the stream of its half.
    handle: u32,
}

/// Resources in the order of their shards.
#[derive(Debug)]
pub(super) struct Plant {
    pub(super) members: Vec<Member>,
    series: Vec<String>,
    start: Timestamp,
}

/// Whole resources of one shard that are sent together.
#[derive(Debug, Clone)]
pub(super) struct Parcel {
    pub(super) shard: Shard,
    members: std::ops::Range<usize>,
    pub(super) rows: usize,
}

impl Plant {
    /// With so many signals, rounded down to whole pairs. Its days begin at `start`.
    pub(super) fn new(signals: usize, start: Timestamp) -> anyhow::Result<Self> {
        let mut members = Vec::new();
        for pair in 0..signals / GROUP_SIGNALS {
            let service = ResourceId::service("bench", &format!("checkout-{pair:05}"))?;
            let address = format!("node-{pair:05}@10.{}.{}.7:9100", pair / 256, pair % 256);
            let host = ResourceId::new(ResourceKind::Host, "static", address)?;
            for (i, id) in [service, host].into_iter().enumerate() {
                let template = i * TEMPLATES + pair % TEMPLATES;
                let first = (pair * GROUP_SIGNALS + i * ROLES.len()) as u64;
                members.push(Member { shard: id.shard(), declared: i == 0, template, first, handle: 0, id });
            }
        }
        members.sort_by_key(|member| member.shard);
        let mut handles = [0; 2];
        for member in &mut members {
            let next = &mut handles[half(member.shard)];
            member.handle = *next;
            *next += member.rows() as u32;
        }
        Ok(Self { members, series: series(), start })
    }

    /// The whole plant as it is sent at each tick.
    pub(super) fn parcels(&self) -> Vec<Parcel> {
        let mut parcels: Vec<Parcel> = Vec::new();
        for (place, member) in self.members.iter().enumerate() {
            match parcels.last_mut() {
                Some(last) if last.shard == member.shard && last.rows + member.rows() <= BATCH_ROWS => {
                    last.members.end = place + 1;
                    last.rows += member.rows();
                }
                _ => {
                    let members = place..place + 1;
                    parcels.push(Parcel { shard: member.shard, members, rows: member.rows() });
                }
            }
        }
        parcels
    }

    /// One parcel as Monitor sends it; the first time it introduces its signals.
    pub(super) fn batch(
        &self,
        parcel: &Parcel,
        at: Timestamp,
        introduce: bool,
    ) -> anyhow::Result<SampleBatch> {
        let members = &self.members[parcel.members.clone()];
        let mut samples = Vec::with_capacity(parcel.rows);
        members.iter().for_each(|member| self.rows(member, at, &mut samples));
        let descriptors = if introduce { self.descriptors(members)? } else { Vec::new() };
        let (shard, sender) = (parcel.shard, "bench".to_owned());
        Ok(SampleBatch {
            sequence: 1,
            shard,
            sender,
            descriptors,
            samples,
            interval: INTERVAL,
            gaps: Vec::new(),
        })
    }

    fn rows(&self, member: &Member, at: Timestamp, samples: &mut Vec<Sample>) {
        let elapsed = (at.as_millisecond() - self.start.as_millisecond()) as f64 / 1e3;
        for i in 0..member.rows() {
            let (shape, model) = if member.declared {
                (ROLES[i].3, member.template * ROLES.len() + i)
            } else {
                (SHAPES[i % SHAPES.len()], 1_000 + member.template * self.series.len() + i)
            };
            let value = shape.value(model as u64, member.first + i as u64, elapsed);
            let quality = if value.is_some() { Quality::Good } else { Quality::Unknown };
            samples.push(Sample { handle: member.handle + i as u32, at, value, quality });
        }
    }

    fn descriptors(&self, members: &[Member]) -> anyhow::Result<Vec<SignalDescriptor>> {
        let mut all = Vec::new();
        for member in members {
            for i in 0..member.rows() {
                let (name, kind, unit) = match ROLES.get(i).filter(|_| member.declared) {
                    Some((name, kind, unit, _)) => (*name, *kind, *unit),
                    None => (self.series[i].as_str(), SignalKind::Rate, ""),
                };
                all.push(SignalDescriptor {
                    handle: member.handle + i as u32,
                    signal: SignalId::new(member.id.clone(), name)?,
                    kind,
                    unit: unit.to_owned(),
                    declared: member.declared,
                });
            }
        }
        Ok(all)
    }
}

impl Parcel {
    /// One resource alone; `None` when it is of another plant.
    pub(super) fn of(plant: &Plant, member: &Member) -> Option<Self> {
        let place = plant.members.iter().position(|other| other.id == member.id)?;
        Some(Self { shard: member.shard, members: place..place + 1, rows: member.rows() })
    }
}

impl Member {
    pub(super) fn rows(&self) -> usize {
        if self.declared { ROLES.len() } else { GROUP_SIGNALS - ROLES.len() }
    }
}

/// Which of the two streams, and threads, has the shard.
pub(super) fn half(shard: Shard) -> usize {
    usize::from(shard.number() >= SHARDS / 2)
}

/// Series of a host, named as node_exporter names them.
fn series() -> Vec<String> {
    let modes = ["idle", "iowait", "irq", "softirq", "system", "user"];
    let disks = ["io_time_seconds_total", "read_bytes_total", "reads_completed_total", "written_bytes_total"];
    let nets = ["receive_bytes_total", "receive_drop_total", "receive_packets_total", "transmit_bytes_total"];
    let cpus = (0..8)
        .flat_map(|cpu| modes.map(|mode| format!("node_cpu_seconds_total{{cpu=\"{cpu}\",mode=\"{mode}\"}}")));
    let disks =
        (0..6).flat_map(|disk| disks.map(|name| format!("node_disk_{name}{{device=\"nvme{disk}n1\"}}")));
    let nets = (0..6).flat_map(|net| nets.map(|name| format!("node_network_{name}{{device=\"eth{net}\"}}")));
    cpus.chain(disks).chain(nets).take(GROUP_SIGNALS - ROLES.len()).collect()
}

impl Shape {
    /// Of one signal at one time. Signals of one model have the same level and scale, each with noise of its own.
    fn value(self, model: u64, signal: u64, elapsed: f64) -> Option<f64> {
        let level = 10_f64.powf(1.0 + 3.0 * share(model, 1));
        let sigma = level * (0.02 + 0.1 * share(model, 2));
        let tick = (elapsed / INTERVAL.as_secs_f64()).round() as u64;
        let noise = normal(signal, tick);
        let day = (TAU * (elapsed / DAY + share(model, 3))).sin();
        Some(match self {
            Self::Noise => level + sigma * noise,
            Self::Daily => level + sigma * (4.0 * day + noise),
            Self::LogNormal => level * (0.5 * noise).exp(),
            Self::Counts => (5.0 + noise).round().max(0.0),
            Self::Flat => level.round(),
            Self::Wandering => {
                let wave = |hours: f64| (TAU * elapsed / (3_600.0 * hours) + hours).sin();
                level + sigma * (noise + wave(3.7) + 2.0 * wave(19.1) + 3.0 * wave(113.0))
            }
            Self::Bursts => {
                let high = share(signal, (elapsed / 1_200.0) as u64 + 7) < 0.03;
                level + sigma * (noise + if high { 10.0 } else { 0.0 })
            }
            Self::Losses if share(signal, tick ^ 0x5555) < 0.02 => return None,
            Self::Losses => level + sigma * noise,
            Self::Share => (0.002 * (0.3 * noise).exp()).min(1.0),
            Self::Busy => (0.45 + 0.15 * day + 0.03 * noise).clamp(0.0, 1.0),
        })
    }
}

/// Uniform in (0, 1), by the finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
fn share(of: u64, salt: u64) -> f64 {
    let mut z = of.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(salt.wrapping_mul(0xd1b5_4a32_d192_ed03));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (((z ^ (z >> 31)) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
}

/// Standard normal (Box and Muller, 1958).
fn normal(signal: u64, tick: u64) -> f64 {
    (-2.0 * share(signal, 2 * tick).ln()).sqrt() * (TAU * share(signal, 2 * tick + 1)).cos()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn plant() -> Plant {
        Plant::new(1_000, Timestamp::UNIX_EPOCH).unwrap()
    }

    fn batches(plant: &Plant, at: Timestamp) -> Vec<SampleBatch> {
        plant.parcels().iter().map(|parcel| plant.batch(parcel, at, true).unwrap()).collect()
    }

    #[test]
    fn as_many_signals_as_asked_each_with_a_name_and_a_handle_of_its_own() {
        let plant = plant();
        let batches = batches(&plant, Timestamp::UNIX_EPOCH + INTERVAL);
        let (mut names, mut handles) = (BTreeSet::new(), BTreeSet::new());
        for batch in &batches {
            assert!(batch.samples.len() <= BATCH_ROWS && batch.samples.len() == batch.descriptors.len());
            for (descriptor, sample) in batch.descriptors.iter().zip(&batch.samples) {
                assert_eq!(
                    (descriptor.handle, descriptor.signal.resource.shard()),
                    (sample.handle, batch.shard)
                );
                names.insert(descriptor.signal.to_string());
                handles.insert((half(batch.shard), descriptor.handle));
            }
        }
        assert_eq!((names.len(), handles.len()), (1_000, 1_000));
        assert!(handles.iter().all(|(_, handle)| *handle < 1_000), "a stream counts from 0");
    }

    #[test]
    fn values_repeat_and_are_not_the_same_for_all() {
        let at = Timestamp::UNIX_EPOCH + INTERVAL * 7;
        let values = |at| -> Vec<_> {
            batches(&plant(), at)
                .iter()
                .flat_map(|batch| batch.samples.clone())
                .map(|sample| sample.value)
                .collect()
        };
        assert_eq!(values(at), values(at));
        assert_ne!(values(at), values(at + INTERVAL));
        let known: BTreeSet<u64> = values(at).into_iter().flatten().map(f64::to_bits).collect();
        assert!(known.len() > 700, "{} different values", known.len());
    }
}
