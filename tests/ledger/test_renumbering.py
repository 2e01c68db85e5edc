"""Two sessions that did not see each other: all that either did stays, under numbers of its own."""

import pytest

from nightlab.events import Notice, listening
from nightlab.judging.scores import standing_record
from nightlab.ledger import (
    HoldoutUse,
    Ledger,
    Remote,
    add_suggestion,
    confirmations,
    holdout_uses,
    record_holdout_use,
    suggestions,
    take_suggestions,
    write_confirmation,
)
from nightlab.ledger.confirmations import ConfirmationRecord
from nightlab.records import Proposal, Reason, Verdict


class Machine:
    """A clone of its own, and the study in it."""

    def __init__(self, root):
        self.root = root
        self.ledger = Ledger(root, "first-light")
        self.remote = Remote(root, "origin", "first-light")

    @property
    def numbers(self):
        return {record.title: record.number for record in self.ledger.records()}


@pytest.fixture
def here(root, remote_address):
    return Machine(root)


@pytest.fixture
def there(second_root):
    return Machine(second_root)


@pytest.fixture
def parted(here, there, make):
    """Both have trials 0 and 1, from which each goes on by itself."""
    here.ledger.create()
    make.trial(here.ledger, Verdict.KEEP)
    make.trial(here.ledger, Verdict.KEEP)
    here.remote.push()
    there.remote.fetch()
    return here, there


def test_both_trials_of_one_number_stay_with_their_verdicts(parted, make, git, check_health):
    here, there = parted
    mine = [
        make.trial(here.ledger, verdict, title=f"mine {verdict}")
        for verdict in (Verdict.DISCARD, Verdict.CRASH)
    ]
    theirs = make.trial(there.ledger, Verdict.DISCARD, title="theirs")
    written = git(here.root, "rev-parse", here.ledger.refs.trial(2))
    evidence = here.ledger.evidence(3)
    there.remote.push()
    said = []
    with listening(said.append):
        assert here.remote.fetch() == {2: 3, 3: 4}
    assert [type(event) for event in said] == [Notice]
    assert "trial 2 is now 3, 3 is now 4" in said[0].text

    here.remote.push()
    there.remote.fetch()
    for machine in (here, there):
        records = machine.ledger.records()
        assert [record.number for record in records] == [0, 1, 2, 3, 4]
        assert [record.commit for record in records[2:]] == [
            each.commit for each in (theirs, *mine)
        ]
        assert [record.verdict for record in records[2:]] == [
            each.verdict for each in (theirs, *mine)
        ]
        assert machine.ledger.evidence(4) == evidence
        assert "Trial 3 of a session that could not push it" in records[4].decision.sentence
        # The record as it was written first can still be read.
        assert written in git(machine.root, "cat-file", "-p", machine.ledger.refs.trial(3))
        assert machine.ledger.next_number() == 5
        check_health(machine.root)


def test_a_second_meeting_changes_nothing(parted, make, git):
    here, there = parted
    make.trial(here.ledger, title="mine")
    make.trial(there.ledger, title="theirs")
    there.remote.push()
    before = git(here.root, "for-each-ref", "refs/nightlab", "--format=%(refname)")
    git(here.root, "update-ref", "refs/kept/trial", here.ledger.refs.trial(2))
    here.remote.fetch()
    here.remote.push()
    after = git(here.root, "for-each-ref", "refs/nightlab")
    assert len(after.splitlines()) == len(before.splitlines()) + 2
    assert here.remote.fetch() == {}
    # A copy of what was there before the meeting, such as a bundle, brings nothing again.
    git(there.root, "fetch", "-q", str(here.root), "refs/kept/trial:refs/kept/trial")
    git(there.root, "update-ref", there.ledger.refs.trial(2), "refs/kept/trial")
    there.remote.fetch()
    assert there.numbers == here.numbers == {"Trial 0": 0, "Trial 1": 1, "theirs": 2, "mine": 3}


def kept(machine, make, number, title):
    """A trial whose change is kept: a commit of its own, whatever the other machine does."""
    parent = machine.ledger.incumbent()
    commit = machine.ledger.write_candidate(parent, f"NAME = {title!r}\n", title)
    record = make.record(number, parent, commit, Verdict.KEEP, title=title)
    machine.ledger.finish(record, make.evidence())
    return record


def test_a_change_that_was_kept_apart_from_the_branch_can_be_retried(parted, make):
    here, there = parted
    mine = kept(here, make, 2, "mine")
    after = make.trial(here.ledger, Verdict.DISCARD, title="after mine")
    theirs = kept(there, make, 2, "theirs")
    there.remote.push()
    here.remote.fetch()
    records = {record.title: record for record in here.ledger.records()}
    assert here.ledger.incumbent() == theirs.commit
    assert standing_record(here.ledger.records()).commit == theirs.commit
    assert (records["mine"].number, records["after mine"].number) == (3, 4)
    apart = records["mine"].decision
    assert (apart.verdict, apart.reason) == (Verdict.FAILED, Reason.INTERRUPTED)
    assert apart.sentence.startswith("Kept as trial 2 by a session that could not push it")
    assert "`nightlab retry first-light 3`" in apart.sentence
    assert apart.sentence.endswith(mine.decision.sentence)
    assert records["mine"].commit == mine.commit
    assert records["mine"].val_bpb is None
    assert records["after mine"].verdict is Verdict.DISCARD
    assert records["after mine"].parent == after.parent
    here.remote.push()


def test_what_was_kept_apart_says_so_even_where_no_number_clashes(parted, make):
    here, there = parted
    mine = kept(here, make, 7, "mine")
    kept(there, make, 2, "theirs")
    there.remote.push()
    assert here.remote.fetch() == {}
    record = here.ledger.record(7)
    assert record.verdict is Verdict.FAILED
    assert record.commit == mine.commit
    assert here.ledger.evidence(7)
    here.remote.push()
    assert here.remote.fetch() == {}


def test_a_keep_stands_where_the_other_side_only_set_aside(parted, make):
    here, there = parted
    mine = kept(here, make, 2, "mine")
    make.trial(there.ledger, Verdict.DISCARD, title="theirs")
    there.remote.push()
    here.remote.fetch()
    assert here.ledger.incumbent() == mine.commit
    assert here.ledger.record(3).verdict is Verdict.KEEP
    here.remote.push()
    there.remote.fetch()
    assert there.ledger.incumbent() == mine.commit


def test_two_studies_of_one_name_that_began_apart(here, there, make):
    begun = {}
    for machine, source in ((there, "A = 1\n"), (here, "A = 2\n")):
        begun[machine] = machine.ledger.create(source)
        make.trial(machine.ledger, Verdict.KEEP, title=source)
    there.remote.push()
    here.remote.fetch()
    assert here.ledger.incumbent() == begun[there]
    assert here.ledger.record(0).commit == begun[there]
    again = here.ledger.record(1)
    assert (again.commit, again.verdict) == (begun[here], Verdict.FAILED)
    assert standing_record(here.ledger.records()).number == 0


def test_a_second_baseline_of_one_start_is_no_second_baseline(here, there, make):
    for machine in (there, here):
        machine.ledger.create()
        make.trial(machine.ledger, Verdict.KEEP, title=str(machine.root))
    there.remote.push()
    here.remote.fetch()
    first, second = here.ledger.records()
    assert (first.title, first.reason) == (str(there.root), Reason.BASELINE)
    assert (second.title, second.verdict) == (str(here.root), Verdict.FAILED)


def idea(title):
    return Proposal(title=title, proposer="llm")


def test_ideas_in_hand_stay_too(parted, make):
    here, there = parted
    parent = here.ledger.incumbent()
    here.ledger.mark(make.mark(2, parent, parent, proposal=idea("mine"), attempts=0))
    here.ledger.mark(make.mark(3, parent, parent, attempts=0))
    make.trial(there.ledger, title="theirs")
    there.ledger.mark(make.mark(3, parent, parent, proposal=idea("theirs too"), attempts=0))
    there.remote.push()
    here.remote.fetch()
    marks = {mark.number: mark.proposal and mark.proposal.title for mark in here.ledger.marks()}
    assert marks == {3: "theirs too", 4: "mine"}


def test_numbers_that_the_remote_has_left_out_are_not_taken(parted, make):
    here, there = parted
    make.trial(here.ledger, title="mine")
    make.trial(there.ledger, title="theirs")
    make.trial(there.ledger, number=7, title="theirs, later")
    there.remote.push()
    here.remote.fetch()
    assert here.numbers == {
        **{"Trial 0": 0, "Trial 1": 1, "theirs": 2},
        **{"theirs, later": 7, "mine": 8},
    }


def test_what_was_paid_for_stays_in_a_mark_without_an_idea(parted, make):
    here, there = parted
    parent = here.ledger.incumbent()
    make.trial(here.ledger, title="mine")
    here.ledger.mark(make.mark(3, parent, parent, attempts=0, set_aside=(idea("paid for"),)))
    make.trial(there.ledger, title="theirs")
    there.remote.push()
    here.remote.fetch()
    (mark,) = here.ledger.marks()
    assert (mark.number, [each.title for each in mark.set_aside]) == (4, ["paid for"])
    assert here.remote.fetch() == {}
    assert len(here.ledger.marks()) == 1


def test_a_trial_and_its_retry_in_hand_are_two(parted, make):
    here, there = parted
    parent = here.ledger.incumbent()
    make.trial(here.ledger, title="mine")
    make.trial(there.ledger, title="again")
    here.ledger.mark(make.mark(3, parent, parent, proposal=idea("again"), retry_of=1))
    there.remote.push()
    here.remote.fetch()
    assert here.numbers == {"Trial 0": 0, "Trial 1": 1, "again": 2, "mine": 3}
    (mark,) = here.ledger.marks()
    assert (mark.number, mark.retry_of) == (4, 1)


def test_a_trial_that_was_taken_up_elsewhere_is_one_trial(parted, make):
    here, there = parted
    parent = here.ledger.incumbent()
    here.ledger.mark(make.mark(2, parent, parent, proposal=idea("mine")))
    here.remote.push()
    there.remote.fetch()
    commit = there.ledger.write_candidate(parent, "DEPTH = 8\n", "mine")
    there.ledger.finish(make.record(2, parent, commit, title="mine"), make.evidence())
    there.remote.push()
    here.remote.fetch()
    assert here.ledger.marks() == ()
    assert here.numbers["mine"] == 2
    assert here.ledger.next_number() == 3


def test_a_trial_that_ended_on_both_sides_is_kept_twice(parted, make):
    here, there = parted
    parent = here.ledger.incumbent()
    here.ledger.mark(make.mark(2, parent, parent, proposal=idea("mine")))
    here.remote.push()
    there.remote.fetch()
    for machine, source in ((here, "DEPTH = 8\n"), (there, "DEPTH = 9\n")):
        commit = machine.ledger.write_candidate(parent, source, "mine")
        record = make.record(2, parent, commit, title=f"mine, {source}")
        machine.ledger.finish(record, make.evidence())
    there.remote.push()
    here.remote.fetch()
    assert len(here.ledger.records()) == 4
    assert here.ledger.marks() == ()


def test_what_names_a_trial_follows_it(parted, make):
    here, there = parted
    told = add_suggestion(here.ledger, "try this")
    mine = make.trial(here.ledger, Verdict.FAILED, title="mine", suggestions=(told.name,))
    take_suggestions(here.ledger, [told.name], mine.number)
    make.trial(here.ledger, title="mine again", retry_of=2, rescue_of=2)
    use = HoldoutUse(
        study="first-light",
        commit=mine.commit,
        trial=2,
        seed=1,
        session="x",
        evaluation=make.replicate().evaluation,
        used_at=mine.started_at,
    )
    record_holdout_use(here.ledger, use)
    other = {"seed": 9, "trial": 1, "commit": there.ledger.incumbent()}
    record_holdout_use(there.ledger, use.model_copy(update=other))
    make.trial(there.ledger, title="theirs")
    there.remote.push()
    here.remote.fetch()
    again = here.ledger.record(4)
    assert (again.title, again.retry_of, again.rescue_of) == ("mine again", 3, 3)
    assert [idea.trial for idea in suggestions(here.ledger)] == [3]
    assert [(each.seed, each.trial) for each in holdout_uses(here.ledger)] == [(9, 1), (1, 3)]
    here.remote.push()
    there.remote.fetch()
    assert holdout_uses(there.ledger) == holdout_uses(here.ledger)


def confirmation(machine, moment, trial=1, **more):
    commit = machine.ledger.record(trial).commit
    record = ConfirmationRecord(
        study="first-light",
        number=0,
        baseline_commit=machine.ledger.record(0).commit,
        incumbent_commit=commit,
        incumbent_trial=trial,
        wanted=3,
        claimed_gain_bpb=0.01,
        started_at=moment,
        **more,
    )
    write_confirmation(machine.ledger, record)
    return record


def test_two_confirmations_of_one_number_stay_and_one_that_went_on_is_one(parted, make):
    here, there = parted
    moment = here.ledger.record(1).started_at
    later = moment.replace(hour=5)
    confirmation(here, moment, session="mine")
    confirmation(there, later, session="theirs")
    there.remote.push()
    here.remote.fetch()
    assert [(each.number, each.session) for each in confirmations(here.ledger)] == [
        (0, "theirs"),
        (1, "mine"),
    ]
    here.remote.push()
    there.remote.fetch()
    confirmation(there, later, session="theirs", finished_at=later)
    there.remote.push()
    here.remote.fetch()
    assert [each.finished_at for each in confirmations(here.ledger)] == [later, None]


def test_two_confirmations_of_one_session_are_told_apart_by_their_beginning(parted):
    here, there = parted
    moment = here.ledger.record(1).started_at
    confirmation(here, moment, session="one")
    confirmation(there, moment.replace(hour=5), session="one")
    there.remote.push()
    here.remote.fetch()
    assert [each.started_at.hour for each in confirmations(here.ledger)] == [5, moment.hour]


def use_of(machine, seed, trial=1):
    record = machine.ledger.record(trial)
    return HoldoutUse(
        study="first-light",
        commit=record.commit,
        trial=trial,
        seed=seed,
        session="x",
        evaluation=record.replicates[0].evaluation,
        used_at=record.started_at,
    )


@pytest.mark.parametrize("also_trials", [False, True])
def test_what_gets_a_new_number_takes_none_that_the_second_copy_has_itself(
    parted, make, also_trials
):
    here, there = parted
    if also_trials:
        make.trial(here.ledger, title="mine")
        make.trial(there.ledger, title="theirs")
    for seed in (1, 2, 3):
        record_holdout_use(here.ledger, use_of(here, seed, trial=1 + also_trials))
    record_holdout_use(there.ledger, use_of(there, 9))
    there.remote.push()
    here.remote.fetch()
    uses = holdout_uses(here.ledger)
    assert sorted(each.seed for each in uses) == [1, 2, 3, 9]
    assert uses[0].seed == 9
    here.remote.push()
    there.remote.fetch()
    assert holdout_uses(there.ledger) == uses
    assert here.remote.fetch() == {}
    assert holdout_uses(here.ledger) == uses


def test_an_idea_in_hand_stays_beside_a_trial_that_has_none_yet(parted, make):
    here, there = parted
    parent = here.ledger.incumbent()
    paid = {"attempts": 0, "set_aside": (idea("Calls without an answer"),)}
    here.ledger.mark(make.mark(2, parent, parent, proposal=idea("mine")))
    here.ledger.mark(make.mark(3, parent, parent, **paid))
    make.trial(there.ledger, title="theirs")
    there.ledger.mark(make.mark(3, parent, parent))
    there.remote.push()
    here.remote.fetch()
    marks = {
        mark.number: (mark.proposal and mark.proposal.title, len(mark.set_aside))
        for mark in here.ledger.marks()
    }
    assert marks == {3: (None, 0), 4: ("mine", 0), 5: (None, 1)}
