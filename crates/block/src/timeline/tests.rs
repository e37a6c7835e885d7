//! Claims about what is made of events.

use super::*;

const FIRST: Incarnation = Incarnation(0);

/// Spans of events that come one nanosecond after the other: step, begin, end, whether it aborted, whether it is complete.
fn told(events: &[Event]) -> Vec<(Step, u128, u128, bool, bool)> {
    let stamped: Vec<_> = (0..).map(Duration::from_nanos).zip(events.iter().copied()).collect();
    let row =
        |span: &Span| (span.step, span.begin.as_nanos(), span.end.as_nanos(), span.abort.is_some(), span.complete);
    spans(&stamped).iter().map(row).collect()
}

fn execute(index: u32, incarnation: u32, speculative: bool) -> Event {
    Event::Execute { index: TxIndex(index), incarnation: Incarnation(incarnation), speculative }
}

fn aborted(index: u32) -> Event {
    Event::Aborted { index: TxIndex(index), incarnation: FIRST, cause: AbortCause::Invalid(1), cell: None }
}

fn step(index: u32, incarnation: u32, speculative: bool) -> Step {
    Step::Execute { index: TxIndex(index), incarnation: Incarnation(incarnation), speculative }
}

#[test]
fn an_attempt_ends_with_its_result_or_with_its_abort() {
    let executed = Event::Executed { index: TxIndex(3), incarnation: FIRST };
    let spans = told(&[execute(3, 0, true), executed, execute(4, 0, true), aborted(4)]);
    assert_eq!(spans, [(step(3, 0, true), 0, 1, false, true), (step(4, 0, true), 2, 3, true, true)]);
}

#[test]
fn a_commit_encloses_the_frontier_run_that_replaces_what_it_found_wrong() {
    let index = TxIndex(3);
    let spans = told(&[
        Event::Commit { index },
        aborted(3),
        execute(3, 1, false),
        Event::Executed { index, incarnation: Incarnation(1) },
        Event::Committed { index },
    ]);
    let commit = (Step::Commit { index }, 0, 4, true, true);
    assert_eq!(spans, [commit, (step(3, 1, false), 2, 3, false, true)]);
}

#[test]
fn a_commit_that_is_put_off_ends_with_the_last_that_was_heard_of_it() {
    let index = TxIndex(3);
    let spans = told(&[Event::Commit { index }, aborted(3), Event::Wait, Event::Wake]);
    assert_eq!(spans, [(Step::Commit { index }, 0, 1, true, false), (Step::Wait, 2, 3, false, true)]);
}

#[test]
fn what_is_cut_off_is_not_complete() {
    let index = TxIndex(3);
    let spans = told(&[Event::Commit { index }, execute(3, 0, false)]);
    assert_eq!(spans, [(Step::Commit { index }, 0, 1, false, false), (step(3, 0, false), 1, 1, false, false)]);
}

#[test]
fn ends_without_beginnings_and_aborts_of_nothing_are_not_spans() {
    let index = TxIndex(3);
    assert_eq!(told(&[Event::Committed { index }, aborted(3), Event::Wake, Event::Validated { index }]), []);
}

#[test]
fn what_there_is_no_room_for_is_counted() {
    let recorder = Recorder::new(2, 4);
    for worker in [0, 0, 0, 1, 7] {
        recorder.event(worker, Event::Wait);
    }
    let timeline = recorder.finish();
    assert_eq!(timeline.workers.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(timeline.dropped_events, 2);
    assert!(timeline.spans().all(|span| span.begin <= span.end && span.end <= timeline.duration));
}
