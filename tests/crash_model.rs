//! Hosts that die at any step, and adopters that die at any step, beside a model of what must
//! come of it: each operation that was published is exported under the id it always had, nothing
//! is invented, and the sum adds up.

#![cfg(target_os = "linux")]

use mpr_otel_core::folder::{Adopter, Batch};
use mpr_otel_core::ledger::{Claim, Completion, Keeper, Loss, SLOT_COUNT};
use mpr_otel_core::privacy::Privacy;
use mpr_otel_lab::equipment::graveyard::{Graveyard, Host, UNBOUND, attribute, remote_name, write};
use opentelemetry::trace::SpanId;
use opentelemetry_sdk::trace::SpanData;
use proptest::prelude::*;
use std::collections::HashMap;
use std::time::Duration;

/// Where an operation stands, as the model has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Claimed,
    Open,
    Completing,
    Done,
    Unfinished,
}

/// What the model knows of an operation.
#[derive(Debug)]
struct Operation {
    slot: usize,
    generation: u64,
    name: String,
    context: usize,
    stage: Stage,
    /// How many requests there were with its span.
    sends: u64,
    /// Whether its host counted it as exported.
    counted: bool,
    /// Whether whoever exported it is done with it.
    settled: bool,
}

/// What must come of it all.
#[derive(Debug, Default)]
struct Model {
    operations: Vec<Operation>,
    by_id: HashMap<SpanId, usize>,
    found_full: u64,
    unmatched: u64,
    rejected: u64,
}

/// What happens to a host next. A number chooses among the operations that it can happen to.
#[derive(Clone, Debug)]
enum Step {
    Claim {
        thread: u32,
    },
    Publish(usize),
    BeginPost(usize),
    Finish(usize),
    /// POST finds that the operation is not its own.
    Reopen(usize),
    /// POST with a handle that names no open operation.
    StrayPost(usize),
    /// The host's exporter.
    Abandon(usize),
    Send(usize),
    Count(usize),
    Free(usize),
    /// Somebody who adopts looks into the folder.
    Neighbour,
    /// The agent, which exports while the host lives.
    AgentLooks,
    AgentSends {
        limit: usize,
    },
    AgentSettles {
        rejected: u64,
    },
    AgentDies,
}

/// An adopter's life after the host's.
#[derive(Clone, Debug)]
struct Life {
    limit: usize,
    rejected: u64,
    /// Dies after so many steps.
    steps: usize,
}

/// All that happens.
#[derive(Clone, Debug)]
struct Story {
    keeper: Keeper,
    /// Operations that are done before the story begins: they fill the table, or nearly.
    before: usize,
    /// Whether the agent takes every open operation for overdue.
    impatient: bool,
    steps: Vec<Step>,
    lives: Vec<Life>,
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
        2 => which.clone().prop_map(Step::Count),
        2 => which.prop_map(Step::Free),
        1 => Just(Step::Neighbour),
        3 => Just(Step::AgentLooks),
        3 => (1..6_usize).prop_map(|limit| Step::AgentSends { limit }),
        3 => (0..3_u64).prop_map(|rejected| Step::AgentSettles { rejected }),
        1 => Just(Step::AgentDies),
    ]
}

fn life() -> impl Strategy<Value = Life> {
    (1..8_usize, 0..3_u64, 0..9_usize).prop_map(|(limit, rejected, steps)| Life {
        limit,
        rejected,
        steps,
    })
}

fn story() -> impl Strategy<Value = Story> {
    (
        prop_oneof![Just(Keeper::Host), Just(Keeper::Agent)],
        prop_oneof![15 => Just(0), 1 => SLOT_COUNT - 3..=SLOT_COUNT],
        any::<bool>(),
        prop::collection::vec(step(), 0..120),
        prop::collection::vec(life(), 0..6),
    )
        .prop_map(|(keeper, before, impatient, steps, lives)| Story {
            keeper,
            before,
            impatient,
            steps,
            lives,
        })
}

impl Model {
    /// The operation that `number` chooses among those that `fit`.
    fn choose(&self, number: usize, fit: impl Fn(&Operation) -> bool) -> Option<usize> {
        let fitting: Vec<usize> =
            (0..self.operations.len()).filter(|index| fit(&self.operations[*index])).collect();
        (!fitting.is_empty()).then(|| fitting[number % fitting.len()])
    }

    fn at(&self, number: usize, stage: Stage) -> Option<usize> {
        self.choose(number, |operation| !operation.settled && operation.stage == stage)
    }

    /// PRE has a slot.
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
            sends: 0,
            counted: false,
            settled: false,
        });
        name
    }

    /// A request is made with this span.
    fn sent(&mut self, span: &SpanData) {
        let index = self.by_id[&span.span_context.span_id()];
        let operation = &mut self.operations[index];
        assert_eq!(remote_name(span), operation.name);
        assert!(!operation.settled, "exported again: {operation:?}");
        let outcome = match operation.stage {
            Stage::Claimed => panic!("nothing was promised: {operation:?}"),
            Stage::Done => "success",
            Stage::Open | Stage::Completing | Stage::Unfinished => "unfinished",
        };
        assert_eq!(attribute(span, "mpr.outcome").as_deref(), Some(outcome));
        operation.sends += 1;
    }

    /// A collector took the spans, but for `rejected` of them.
    fn settled(&mut self, spans: &[SpanData], rejected: u64) {
        for span in spans {
            let index = self.by_id[&span.span_context.span_id()];
            self.operations[index].settled = true;
        }
        self.rejected += rejected.min(spans.len() as u64);
    }

    /// Compares with what an agent knows of a live host when it has looked.
    fn compare_waiting(&self, waiting: usize, impatient: bool) {
        let count = |stage: Stage| {
            let fit = |one: &&Operation| !one.settled && one.stage == stage;
            self.operations.iter().filter(fit).count()
        };
        let overdue = if impatient { count(Stage::Open) } else { 0 };
        // POST may be through before the next request is made, or find that it is not its own.
        let perhaps = if impatient { count(Stage::Completing) } else { 0 };
        let least = count(Stage::Done) + overdue;
        assert!((least..=least + perhaps).contains(&waiting), "{waiting} of {least}, {perhaps}");
    }

    /// Compares with what was counted, when nothing is left.
    fn compare(&self, yard: &Graveyard) {
        let count = |fit: fn(&Operation) -> bool| {
            self.operations.iter().filter(|operation| fit(operation)).count() as u64
        };
        let claimed = count(|operation| operation.stage == Stage::Claimed);
        let settled = count(|operation| operation.settled);
        let operations = self.operations.len() as u64;
        assert_eq!(settled + claimed, operations, "{:?}", self.operations);

        let tally = yard.inherited();
        let lost = |reason: Loss| tally.lost[reason as usize];
        assert_eq!(tally.seen, operations + self.found_full);
        assert_eq!(tally.exported, settled - self.rejected);
        assert_eq!(lost(Loss::Corrupt), claimed);
        assert_eq!(lost(Loss::Rejected), self.rejected);
        assert_eq!(lost(Loss::TableFull), self.found_full);
        assert_eq!(tally.lost_in_all(), claimed + self.rejected + self.found_full);
        assert_eq!((tally.unmatched, tally.malformed), (self.unmatched, 0));
        let repeated = self.operations.iter().map(|operation| operation.sends.saturating_sub(1));
        assert_eq!(tally.repeated, repeated.sum::<u64>());
    }
}

/// An adopter, and the request that it is making.
struct Worker {
    adopter: Adopter,
    batch: Option<Batch>,
}

impl Worker {
    fn new(yard: &Graveyard, impatient: bool) -> Self {
        let unfinished_after = Duration::from_nanos(if impatient { 1 } else { u64::MAX });
        let adopter = Adopter::new(yard.folder(), UNBOUND, unfinished_after);
        Self { adopter, batch: None }
    }

    /// Looks into the folder, unless it is waiting for an answer.
    fn look(&mut self) {
        if self.batch.is_none() {
            let look = self.adopter.look(None, usize::MAX).unwrap();
            assert_eq!((look.refused, look.quarantined), (0, 0));
        }
    }

    fn send(&mut self, limit: usize, model: &mut Model) {
        if self.batch.is_none() {
            let batch = self.adopter.batch(limit, &Privacy::FULL);
            assert!(batch.spans.len() <= limit);
            batch.spans.iter().for_each(|span| model.sent(span));
            self.batch = Some(batch);
        }
    }

    fn settle(&mut self, rejected: u64, model: &mut Model) {
        if let Some(batch) = self.batch.take() {
            self.adopter.settle(&batch, rejected);
            model.settled(&batch.spans, rejected);
        }
    }

    /// Lives until it has made `steps` steps, or there is nothing left to do.
    fn live(mut self, life: &Life, yard: &Graveyard, model: &mut Model) {
        self.settle(life.rejected, model);
        self.look();
        for step in 0..life.steps {
            match step % 3 {
                0 => self.send(life.limit, model),
                1 => self.settle(life.rejected, model),
                _ => {
                    let buried = yard.bury(&mut self.adopter);
                    assert_eq!(buried.quarantined, 0);
                }
            }
        }
    }
}

/// Plays a host until it dies. What agent there was outlives it.
fn play(yard: &Graveyard, story: &Story, model: &mut Model) -> Option<Worker> {
    let host = yard.host(story.keeper);
    let mut claims: HashMap<usize, Claim<'_>> = HashMap::new();
    let mut completions: HashMap<usize, Completion<'_>> = HashMap::new();
    let mut agent: Option<Worker> = None;

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
                // POST comes as well when the agent has told of the operation already.
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
                model.unmatched += 1;
            }
            (Step::Abandon(number), Keeper::Host) => {
                let Some(index) = model.at(*number, Stage::Open) else { continue };
                let operation = &mut model.operations[index];
                assert!(host.ledger.abandon(operation.slot, operation.generation, 3));
                operation.stage = Stage::Unfinished;
            }
            (Step::Send(number) | Step::Count(number) | Step::Free(number), Keeper::Host) => {
                let ready = |operation: &Operation| {
                    let over = matches!(operation.stage, Stage::Done | Stage::Unfinished);
                    over && !operation.settled
                        && match step {
                            Step::Send(_) => !operation.counted,
                            Step::Count(_) => operation.sends > 0 && !operation.counted,
                            _ => operation.counted,
                        }
                };
                let Some(index) = model.choose(*number, ready) else { continue };
                let operation = &mut model.operations[index];
                match step {
                    Step::Send(_) => {
                        assert!(host.ledger.settled(operation.slot).is_some());
                        host.ledger.note_sent(operation.slot);
                        operation.sends += 1;
                    }
                    Step::Count(_) => {
                        host.ledger.header().count_exported(1);
                        operation.counted = true;
                    }
                    _ => {
                        host.ledger.release(operation.slot);
                        operation.settled = true;
                    }
                }
            }
            (Step::Neighbour, Keeper::Host) => {
                let mut worker = Worker::new(yard, true);
                worker.look();
                assert_eq!(worker.adopter.held(), (0, 0));
            }
            (Step::AgentLooks, Keeper::Agent) => {
                let agent = agent.get_or_insert_with(|| Worker::new(yard, story.impatient));
                agent.look();
                if agent.batch.is_none() {
                    model.compare_waiting(agent.adopter.waiting(), story.impatient);
                }
            }
            (Step::AgentSends { limit }, Keeper::Agent) => {
                agent.iter_mut().for_each(|agent| agent.send(*limit, model));
            }
            (Step::AgentSettles { rejected }, Keeper::Agent) => {
                agent.iter_mut().for_each(|agent| agent.settle(*rejected, model));
            }
            (Step::AgentDies, Keeper::Agent) => agent = None,
            _ => {}
        }
    }
    // The threads end where they are: nothing of theirs is put in order.
    claims.into_values().for_each(std::mem::forget);
    completions.into_values().for_each(std::mem::forget);
    agent
}

fn tell(story: &Story) {
    let yard = Graveyard::new();
    let mut model = Model::default();
    let mut survivor = play(&yard, story, &mut model);
    let last = Life { limit: 64, rejected: 0, steps: 60 };
    for life in story.lives.iter().chain([&last]) {
        let worker = survivor.take().unwrap_or_else(|| Worker::new(&yard, false));
        worker.live(life, &yard, &mut model);
    }
    assert_eq!(yard.files(), (0, 0));
    model.compare(&yard);
}

proptest! {
    #[test]
    fn whoever_dies_wherever_each_operation_is_exported_or_counted(story in story()) {
        tell(&story);
    }
}
