//! Shards that are full of signals with weeks behind them: a few are warmed, and restored under the names of all others.

use std::{sync::Mutex, time::Duration};

use analyze::{
    engine::{BLOCK_SIGNALS, Dictionary, Judged, Promise, Shard},
    learn::Settings,
    snapshot::{self, FORMAT, Saved},
};
use anyhow::Context as _;
use chassis::{Context, IdGenerator};
use jiff::Timestamp;
use proto::model::{Objective, ResourceId, SHARDS, Shard as ShardNumber};

use super::plant::{INTERVAL, Member, Parcel, Plant, TEMPLATES, half};

/// Of every service.
const OBJECTIVE: Objective =
    Objective { target_ratio: 0.99, latency_bound: None, window: Duration::from_secs(28 * 86_400) };

/// What was learned of each template.
#[derive(Debug)]
pub(super) struct Templates {
    saved: Vec<Saved>,
    /// The time of their last samples.
    pub(super) end: Timestamp,
    /// Samples that each signal was warmed with.
    pub(super) ticks: u32,
}

/// Shards with what an ingest needs beside them. Each half of them has a stream and a thread of its own.
#[derive(Debug)]
pub(super) struct World {
    pub(super) plant: Plant,
    pub(super) shards: Vec<Mutex<Shard>>,
    /// Plain, compressed and restored bytes, and what that took.
    pub(super) blocks: u64,
    pub(super) bytes: u64,
}

/// One half of the world as one stream of samples sees it.
#[derive(Debug)]
pub(super) struct Stream<'a> {
    world: &'a World,
    parcels: Vec<Parcel>,
    dictionary: Dictionary,
    ids: IdGenerator,
}

impl Templates {
    /// Warms each template up to `end`, on two threads.
    pub(super) fn warm(ticks: u32, end: Timestamp, settings: Settings) -> anyhow::Result<Self> {
        let start = end - INTERVAL * ticks;
        let plant = Plant::new(TEMPLATES * super::plant::GROUP_SIGNALS, start)?;
        let mut members: Vec<_> = plant.members.iter().collect();
        members.sort_by_key(|member| member.template);
        let warm = |member: &&Member| warm(&plant, member, start, ticks, settings);
        let (even, odd): (Vec<_>, Vec<_>) = members.iter().partition(|member| member.template % 2 == 0);
        let (even, odd) = std::thread::scope(|scope| {
            let odd = scope.spawn(move || odd.iter().map(warm).collect::<anyhow::Result<Vec<_>>>());
            (even.iter().map(warm).collect::<anyhow::Result<Vec<_>>>(), odd.join())
        });
        let odd = odd.map_err(|_| anyhow::anyhow!("warming panicked"))??;
        let saved = even?.into_iter().zip(odd).flat_map(|(even, odd)| [even, odd]).collect();
        Ok(Self { saved, end, ticks })
    }

    /// A plant of so many signals that go on where the templates are.
    pub(super) fn plant(&self, signals: usize) -> anyhow::Result<Plant> {
        Plant::new(signals, self.end - INTERVAL * self.ticks)
    }

    /// The blocks of one shard, one after the other: only one is in memory at a time.
    pub(super) fn blocks<'a>(
        &'a self,
        plant: &'a Plant,
        shard: ShardNumber,
    ) -> impl Iterator<Item = anyhow::Result<snapshot::Block>> + 'a {
        let mut members = plant.members.iter().filter(move |member| member.shard == shard).peekable();
        (0..).map_while(move |number| {
            members.peek()?;
            let mut block = Saved::default();
            while let Some(member) =
                members.next_if(|member| block.signals() + member.rows() <= BLOCK_SIGNALS)
            {
                block.append(self.saved[member.template].renamed(&member.id));
            }
            Some(block.write(number).compress().map_err(Into::into))
        })
    }
}

fn warm(
    plant: &Plant,
    member: &Member,
    start: Timestamp,
    ticks: u32,
    settings: Settings,
) -> anyhow::Result<Saved> {
    let mut shard = Shard::new(member.shard, settings);
    if member.declared {
        shard.declare(&member.id, promise(), start);
    }
    let parcel = Parcel::of(plant, member).context("a template is of the plant")?;
    let (mut dictionary, mut ids) = (Dictionary::default(), IdGenerator::from_seed(member.template as u64));
    for tick in 1..=ticks {
        let at = start + INTERVAL * tick;
        let judged = shard.ingest(&mut dictionary, plant.batch(&parcel, at, tick == 1)?, at, &mut ids);
        anyhow::ensure!(judged.refused.is_empty(), "rows were refused: {:?}", judged.refused);
    }
    let blocks = snapshot::changed(&mut shard)?;
    let [block] = &blocks[..] else { anyhow::bail!("a template has {} blocks", blocks.len()) };
    Ok(snapshot::read(FORMAT, &block.body)?)
}

fn promise() -> Promise {
    Promise { objective: Some(OBJECTIVE), allowed: Some(1.0 - OBJECTIVE.target_ratio) }
}

impl World {
    /// Restores the plant from blocks, as after a restart.
    pub(super) fn restored(
        templates: &Templates,
        signals: usize,
        settings: Settings,
    ) -> anyhow::Result<Self> {
        let plant = templates.plant(signals)?;
        let mut world = Self::empty(plant, settings)?;
        for number in numbers() {
            for block in templates.blocks(&world.plant, number) {
                let body = block?.body;
                world.blocks += 1;
                world.bytes += body.len() as u64;
                let shard = &mut world.shards[number.number() as usize];
                let shard = shard.get_mut().map_err(|_| anyhow::anyhow!("poisoned"))?;
                snapshot::restore(shard, FORMAT, &body, templates.end)?;
            }
        }
        world.declare(templates.end)?;
        Ok(world)
    }

    /// Shards that know nothing.
    pub(super) fn empty(plant: Plant, settings: Settings) -> anyhow::Result<Self> {
        let shards = numbers().map(|number| Mutex::new(Shard::new(number, settings))).collect();
        Ok(Self { plant, shards, blocks: 0, bytes: 0 })
    }

    fn declare(&self, now: Timestamp) -> anyhow::Result<()> {
        let services: Vec<&ResourceId> =
            self.plant.members.iter().filter(|member| member.declared).map(|member| &member.id).collect();
        for id in services {
            self.with(id.shard(), |shard| shard.declare(id, promise(), now))?;
        }
        Ok(())
    }

    /// How many signals all shards hold.
    pub(super) fn signals(&self) -> anyhow::Result<usize> {
        numbers().map(|number| self.with(number, |shard| shard.sizes().0)).sum()
    }

    pub(super) fn with<T>(
        &self,
        number: ShardNumber,
        work: impl FnOnce(&mut Shard) -> T,
    ) -> anyhow::Result<T> {
        let shard = &self.shards[number.number() as usize];
        Ok(work(&mut *shard.lock().map_err(|_| anyhow::anyhow!("a thread of the bench panicked"))?))
    }

    /// The stream of one half, 0 or 1.
    pub(super) fn stream(&self, of: usize) -> Stream<'_> {
        let parcels = self.plant.parcels().into_iter().filter(|parcel| half(parcel.shard) == of).collect();
        Stream {
            world: self,
            parcels,
            dictionary: Dictionary::default(),
            ids: IdGenerator::from_seed(of as u64),
        }
    }
}

impl Stream<'_> {
    /// Batches of one tick.
    pub(super) fn parcels(&self) -> usize {
        self.parcels.len()
    }

    /// Sends one batch; gives what came of it and the processor time that judging took.
    pub(super) fn send(
        &mut self,
        parcel: usize,
        at: Timestamp,
        now: Timestamp,
        introduce: bool,
    ) -> anyhow::Result<(Judged, Duration)> {
        let Self { world, parcels, dictionary, ids } = self;
        let batch = world.plant.batch(&parcels[parcel], at, introduce)?;
        let shard = batch.shard;
        super::usage::cpu_of(|| world.with(shard, |shard| shard.ingest(dictionary, batch, now, ids)))
            .and_then(|(judged, cpu)| Ok((judged?, cpu)))
    }

    /// Sends a whole tick.
    pub(super) fn tick(&mut self, at: Timestamp, introduce: bool) -> anyhow::Result<Tick> {
        let mut tick = Tick::default();
        for parcel in 0..self.parcels.len() {
            let (judged, cpu) = self.send(parcel, at, at, introduce)?;
            tick.cpu += cpu;
            tick.accepted += u64::from(judged.accepted);
            tick.refused += judged.refused.values().map(|rows| u64::from(*rows)).sum::<u64>();
            tick.thresholds += judged.thresholds.len() as u64;
            tick.judged.push(judged);
        }
        Ok(tick)
    }
}

/// What came of one tick.
#[derive(Debug, Default)]
pub(super) struct Tick {
    pub(super) cpu: Duration,
    pub(super) accepted: u64,
    pub(super) refused: u64,
    pub(super) thresholds: u64,
    pub(super) judged: Vec<Judged>,
}

/// Every shard.
pub(super) fn numbers() -> impl Iterator<Item = ShardNumber> {
    (0..SHARDS).filter_map(ShardNumber::new)
}

/// The machine's clock in whole seconds: what is saved has milliseconds only.
pub(super) fn whole_second(ctx: &Context) -> anyhow::Result<Timestamp> {
    Ok(Timestamp::from_second(ctx.clock.now().as_second())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_template_learned_is_known_under_every_name() {
        let end = Timestamp::from_second(1_800_000_000).unwrap();
        let templates = Templates::warm(300, end, Settings::default()).unwrap();
        let world = World::restored(&templates, 1_000, Settings::default()).unwrap();
        assert_eq!(world.signals().unwrap(), 1_000);
        let listed =
            numbers().flat_map(|number| world.with(number, |shard| shard.list("", "", 2_000)).unwrap());
        // Of some, a few samples were lost.
        assert!(listed.into_iter().all(|signal| signal.samples > 250));
        let mut assessments = 0;
        for half in [0, 1] {
            let tick = world.stream(half).tick(end + INTERVAL, true).unwrap();
            assert_eq!(tick.refused, 0);
            assessments += tick.judged.iter().map(|judged| judged.assessments.len()).sum::<usize>();
        }
        assert_eq!(assessments, 10, "each service");
    }
}
