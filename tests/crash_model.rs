//! Hosts and agents that die at any step, compared with a model. Each published operation is
//! written down with its one id, no operation is invented, and every loss is counted.

#![cfg(target_os = "linux")]

use mpr_otel_core::intake::{Intake, Losses, Round};
use mpr_otel_core::ledger::{Claim, Completion, Keeper, Loss, SLOT_COUNT};
use mpr_otel_lab::equipment::graveyard::{
    Graveyard, Host, attribute, collect, remote_name, spans, write,
};
use opentelemetry::trace::SpanId;
use opentelemetry_sdk::trace::SpanData;
use proptest::prelude::*;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// The state of an operation in the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Claimed,
    Open,
    Completing,
    Done,
    Unfinished,
}

/// What the model knows about an operation.
#[derive(Debug)]
struct Operation {
    slot: usize,
    generation: u64,
    name: String,
    context: usize,
    stage: Stage,
    /// Whether the operation may be written down again, because the process that wrote it died, or
    /// may die, before the ledger recorded that.
    may_repeat: bool,
    /// Whether the ledger records that the operation was written down.
    settled: bool,
}

/// The expected result.
#[derive(Debug, Default)]
struct Model {
    operations: Vec<Operation>,
    by_id: HashMap<SpanId, usize>,
    found_full: u64,
    /// The operations that hosts or agents wrote down, by id.
    store: HashSet<SpanId>,
    /// Losses that were written down.
    losses: Losses,
    /// Losses among these whose round nobody concluded. They are found again.
    again: Losses,
}

/// What happens next. A number chooses one of the operations to which it can happen.
#[derive(Clone, Debug)]
enum Step {
    Claim {
        thread: u32,
    },
    Publish(usize),
    BeginPost(usize),
    Finish(usize),
    /// POST finds that the operation is another one.
    Reopen(usize),
    /// POST with a handle that names no open operation.
    StrayPost(usize),
    /// The host's exporter gives it up.
    Abandon(usize),
    Send(usize),
    Free(usize),
    Agent(Deed),
}

/// What the agent does next.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Collect,
    /// Writes down the round that it has collected.
    Store,
    Conclude,
    Die,
}

/// Everything that happens in one run.
#[derive(Clone, Debug)]
struct Story {
    keeper: Keeper,
    /// Operations that are done before the run begins: they fill the table, or almost.
    before: usize,
    /// Whether every open operation is overdue for the agent.
    impatient: bool,
    steps: Vec<Step>,
    /// What agents do after the host's death.
    after: Vec<Deed>,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        3 => Just(Deed::Collect),
        3 => Just(Deed::Store),
        2 => Just(Deed::Conclude),
        1 => Just(Deed::Die),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let which = 0..1000_usize;
    prop_oneof![
        6 => (0..2000_u32).prop_map(|thread| Step::Claim { thread }),
        6 => which.clone().prop_map(Step::Publish),
        5 => which.clone().prop_map(Step::BeginPost),
        5 => which.clone().prop_map(Step::Finish),
        1 => which.clone().prop_map(Step::Reopen),
        1 => which.clone().prop_map(Step::StrayPost),
        1 => which.clone().prop_map(Step::Abandon),
        3 => which.clone().prop_map(Step::Send),
        2 => which.prop_map(Step::Free),
        9 => deed().prop_map(Step::Agent),
    ]
}

fn story() -> impl Strategy<Value = Story> {
    (
        prop_oneof![Just(Keeper::Host), Just(Keeper::Agent)],
        prop_oneof![15 => Just(0), 1 => SLOT_COUNT - 3..=SLOT_COUNT],
        any::<bool>(),
        prop::collection::vec(step(), 0..120),
        prop::collection::vec(deed(), 0..12),
    )
        .prop_map(|(keeper, before, impatient, steps, after)| Story {
            keeper,
            before,
            impatient,
            steps,
            after,
        })
}

impl Model {
    /// The operation that `number` chooses among those for which `fit` is true.
    fn choose(&self, number: usize, fit: impl Fn(&Operation) -> bool) -> Option<usize> {
        let fitting: Vec<usize> =
            (0..self.operations.len()).filter(|index| fit(&self.operations[*index])).collect();
        (!fitting.is_empty()).then(|| fitting[number % fitting.len()])
    }

    fn at(&self, number: usize, stage: Stage) -> Option<usize> {
        self.choose(number, |operation| !operation.settled && operation.stage == stage)
    }

    /// PRE has taken a slot.
    fn claimed(&mut self, host: &Host, slot: usize) -> String {
        let earlier = self.operations.iter().filter(|operation| operation.slot == slot);
        let generation = earlier.count() as u64 + 1;
        let name = format!(r"\\server\{}", self.operations.len());
        let before = self.by_id.insert(host.id(slot, generation), self.operations.len());
        assert_eq!(before, None, "an id that repeats");
        self.operations.push(Operation {
            slot,
            generation,
            name: name.clone(),
            context: 0,
            stage: Stage::Claimed,
            may_repeat: false,
            settled: false,
        });
        name
    }

    /// An agent has collected this span.
    fn collected(&self, span: &SpanData) {
        let operation = &self.operations[self.by_id[&span.span_context.span_id()]];
        assert_eq!(remote_name(span), operation.name);
        assert!(!operation.settled, "taken again: {operation:?}");
        let outcome = match operation.stage {
            Stage::Claimed => panic!("nothing was promised: {operation:?}"),
            Stage::Done => "success",
            Stage::Open | Stage::Completing | Stage::Unfinished => "unfinished",
        };
        assert_eq!(attribute(span, "mpr.outcome").as_deref(), Some(outcome));
    }

    /// A host or an agent has written an operation down.
    fn stored(&mut self, id: SpanId) {
        let operation = &self.operations[self.by_id[&id]];
        let is_new = self.store.insert(id);
        assert!(is_new || operation.may_repeat, "written down again: {operation:?}");
    }

    /// The process that wrote it down does not change the ledger.
    fn left(&mut self, id: SpanId) {
        self.operations[self.by_id[&id]].may_repeat = true;
    }

    /// The ledger records that the operation was written down.
    fn settled(&mut self, id: SpanId) {
        self.operations[self.by_id[&id]].settled = true;
    }

    /// How many operations an agent collects from a live host now.
    fn waiting(&self, impatient: bool) -> usize {
        let waits = |one: &&Operation| {
            !one.settled && (one.stage == Stage::Done || impatient && one.stage == Stage::Open)
        };
        self.operations.iter().filter(waits).count()
    }

    /// Compares the result with what was written down, at the end.
    fn compare(&self) {
        let published = |index: &usize| self.operations[*index].stage != Stage::Claimed;
        let ids: HashSet<SpanId> =
            self.by_id.iter().filter(|(_, index)| published(index)).map(|(id, _)| *id).collect();
        assert_eq!(self.store, ids, "{:?}", self.operations);
        let claimed = self.operations.len() - ids.len();
        let expected = |reason, count| count + self.again.get(reason).copied().unwrap_or(0);
        let lost = |reason| self.losses.get(reason).copied().unwrap_or(0);
        let (corrupt, full) = (Loss::Corrupt.name(), Loss::TableFull.name());
        assert_eq!(lost(corrupt), expected(corrupt, claimed as u64));
        assert_eq!(lost(full), expected(full, self.found_full));
        assert_eq!(self.losses.values().sum::<u64>(), lost(corrupt) + lost(full));
    }
}

/// The agents, one after another. Each begins with an intake that knows nothing.
struct Agent<'a> {
    yard: &'a Graveyard,
    unfinished_after: Duration,
    intake: Option<Intake>,
    /// The round that was collected, and whether it is written down.
    round: Option<(Round, bool)>,
    now: Instant,
}

impl<'a> Agent<'a> {
    fn new(yard: &'a Graveyard, impatient: bool) -> Self {
        let unfinished_after = Duration::from_nanos(if impatient { 1 } else { u64::MAX });
        Self { yard, unfinished_after, intake: None, round: None, now: Instant::now() }
    }

    fn does(&mut self, deed: Deed, model: &mut Model) {
        match deed {
            Deed::Collect if self.round.is_none() => {
                // So much later that the agent looks at every file.
                self.now += Duration::from_secs(60);
                let new = || self.yard.intake(self.unfinished_after);
                let intake = self.intake.get_or_insert_with(new);
                intake.list(self.now).unwrap();
                let round = collect(intake, self.now);
                assert!(!round.more && round.damaged == 0);
                spans(&round).iter().for_each(|span| model.collected(span));
                assert_eq!(intake.sights().refused, 0);
                self.round = Some((round, false));
            }
            Deed::Store => {
                let Some((round, stored @ false)) = &mut self.round else { return };
                *stored = true;
                spans(round).iter().for_each(|span| model.stored(span.span_context.span_id()));
                add(&mut model.losses, &round.losses);
            }
            Deed::Conclude => {
                let Some((round, true)) = self.round.take_if(|(_, stored)| *stored) else { return };
                spans(&round).iter().for_each(|span| model.settled(span.span_context.span_id()));
                if let Some(intake) = &mut self.intake {
                    intake.conclude(round, self.now);
                }
            }
            Deed::Die => {
                if let Some((round, true)) = self.round.take() {
                    spans(&round).iter().for_each(|span| model.left(span.span_context.span_id()));
                    add(&mut model.again, &round.losses);
                }
                self.intake = None;
            }
            Deed::Collect => {}
        }
    }
}

fn add(sum: &mut Losses, losses: &[([u64; 3], Losses)]) {
    for (reason, count) in losses.iter().flat_map(|(_, losses)| losses) {
        *sum.entry(reason).or_default() += count;
    }
}

/// Plays a host until it dies. The agent lives on.
fn play(yard: &Graveyard, story: &Story, agent: &mut Agent<'_>, model: &mut Model) {
    let host = yard.host(story.keeper);
    let mut claims: HashMap<usize, Claim<'_>> = HashMap::new();
    let mut completions: HashMap<usize, Completion<'_>> = HashMap::new();

    for _ in 0..story.before {
        let (slot, mut claim) = host.ledger.claim(0).unwrap();
        write(&mut claim, &model.claimed(&host, slot));
        let (handle, _) = host.ledger.publish(slot, claim);
        host.end(handle.to_context());
        model.operations.last_mut().unwrap().stage = Stage::Done;
    }
    for step in &story.steps {
        match (step, story.keeper) {
            (Step::Claim { thread }, _) => match host.ledger.claim(*thread) {
                None => model.found_full += 1,
                Some((slot, mut claim)) => {
                    write(&mut claim, &model.claimed(&host, slot));
                    claims.insert(model.operations.len() - 1, claim);
                }
            },
            (Step::Publish(number), _) => {
                let Some(index) = model.at(*number, Stage::Claimed) else { continue };
                let operation = &mut model.operations[index];
                let claim = claims.remove(&index).unwrap();
                let (handle, generation) = host.ledger.publish(operation.slot, claim);
                assert_eq!(generation, operation.generation);
                (operation.context, operation.stage) = (handle.to_context(), Stage::Open);
            }
            (Step::BeginPost(number), _) => {
                // POST also comes if the agent has concluded the operation already.
                let open = |operation: &Operation| operation.stage == Stage::Open;
                let Some(index) = model.choose(*number, open) else { continue };
                let operation = &mut model.operations[index];
                let (slot, mut completion) = host.ledger.complete(operation.context).unwrap();
                assert_eq!(slot, operation.slot);
                completion.ended = 2;
                completion.status = 0;
                completions.insert(index, completion);
                operation.stage = Stage::Completing;
            }
            (Step::Finish(number) | Step::Reopen(number), _) => {
                let completing = |operation: &Operation| operation.stage == Stage::Completing;
                let Some(index) = model.choose(*number, completing) else { continue };
                let operation = &mut model.operations[index];
                let completion = completions.remove(&index).unwrap();
                if let Step::Finish(_) = step {
                    host.ledger.finish(operation.slot, completion);
                    operation.stage = Stage::Done;
                } else {
                    drop(completion);
                    operation.stage = Stage::Open;
                }
            }
            (Step::StrayPost(number), _) => {
                let known = |operation: &Operation| operation.stage != Stage::Open;
                let Some(index) = model.choose(*number, known) else { continue };
                assert!(host.ledger.complete(model.operations[index].context).is_none());
            }
            (Step::Abandon(number), Keeper::Host) => {
                let Some(index) = model.at(*number, Stage::Open) else { continue };
                let operation = &mut model.operations[index];
                assert!(host.ledger.abandon(operation.slot, operation.generation, 3));
                operation.stage = Stage::Unfinished;
            }
            (Step::Send(number) | Step::Free(number), Keeper::Host) => {
                let over = |operation: &Operation| {
                    let over = matches!(operation.stage, Stage::Done | Stage::Unfinished);
                    let sent = operation.may_repeat;
                    over && !operation.settled && (sent || matches!(step, Step::Send(_)))
                };
                let Some(index) = model.choose(*number, over) else { continue };
                let Operation { slot, generation, .. } = model.operations[index];
                if let Step::Send(_) = step {
                    assert!(host.ledger.settled(slot).is_some());
                    host.ledger.note_sent(slot);
                    model.stored(host.id(slot, generation));
                    model.left(host.id(slot, generation));
                } else {
                    host.ledger.release(slot);
                    model.settled(host.id(slot, generation));
                }
            }
            (Step::Agent(deed), keeper) => {
                let is_new = agent.round.is_none();
                agent.does(*deed, model);
                if let Some((round, _)) = agent.round.as_ref().filter(|_| is_new) {
                    let waiting = model.waiting(story.impatient);
                    let of_agent = keeper == Keeper::Agent;
                    assert_eq!(round.taken.len(), if of_agent { waiting } else { 0 });
                    assert_eq!(round.removed, 0);
                }
            }
            _ => {}
        }
    }
    // The threads end here, and clean nothing up.
    claims.into_values().for_each(std::mem::forget);
    completions.into_values().for_each(std::mem::forget);
}

fn tell(story: &Story) {
    let yard = Graveyard::new();
    let mut model = Model::default();
    let mut agent = Agent::new(&yard, story.impatient);
    play(&yard, story, &mut agent, &mut model);
    // The last agent lives. Its first round may come from the host's lifetime.
    let last = [Deed::Store, Deed::Conclude]
        .into_iter()
        .chain([Deed::Collect, Deed::Store, Deed::Conclude].into_iter().cycle().take(6));
    for deed in story.after.iter().copied().chain(last) {
        agent.does(deed, &mut model);
    }
    assert_eq!(yard.files(), (0, 0));
    model.compare();
}

proptest! {
    #[test]
    fn each_operation_is_written_down_or_counted_wherever_a_host_or_an_agent_dies(story in story()) {
        tell(&story);
    }
}
