from hypothesis import given
from hypothesis import strategies as st

from embedserve.engine.planner import Budget, cost, plan_batches, take_around

lengths_lists = st.lists(st.integers(1, 8192), min_size=1, max_size=200)
budgets = st.builds(
    Budget, tokens=st.integers(1, 20000), texts=st.integers(1, 64), worth=st.integers(0, 4096), packed=st.booleans()
)


@given(lengths_lists, budgets)
def test_every_text_is_in_exactly_one_batch(lengths, budget):
    batches = plan_batches(lengths, budget)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))


@given(lengths_lists, budgets)
def test_no_batch_is_over_budget_unless_it_is_one_text(lengths, budget):
    for batch in plan_batches(lengths, budget):
        taken = [lengths[i] for i in batch]
        size = sum(taken) if budget.packed else len(batch) * max(taken)
        assert len(batch) == 1 or (len(batch) <= budget.texts and size <= budget.tokens)


@given(lengths_lists, budgets, st.data())
def test_the_slice_around_an_anchor_holds_it_within_budget(lengths, budget, data):
    ascending = sorted(lengths)
    anchor = data.draw(st.integers(0, len(ascending) - 1))
    start, stop = take_around(ascending, anchor, budget)
    assert start <= anchor < stop
    assert stop - start == 1 or budget.allows(stop - start, ascending[stop - 1], sum(ascending[start:stop]))


def test_memory_beats_every_other_bound():
    budget = Budget(tokens=10**6, texts=64, fits=lambda count, longest: count * longest**2 <= 10_000)
    assert all(len(batch) == 1 for batch in plan_batches([90] * 5, budget))
    assert max(len(batch) for batch in plan_batches([10] * 100, budget)) == 64


def test_padding_stays_small_on_a_clients_mix():
    lengths = [20, 25, 30, 33, 40, 60, 80, 120, 200, 300] * 48
    batches = plan_batches(lengths, Budget(tokens=4096, texts=16, worth=256))
    padded = sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)
    assert padded <= 1.05 * sum(lengths)


def test_a_packed_batch_costs_its_tokens_and_a_padded_one_its_rectangle():
    """It is what embedserve_padded_tokens_total counts."""
    assert cost(3, longest=10, tokens=12, packed=True) == 12
    assert cost(3, longest=10, tokens=12, packed=False) == 30


def test_packed_batches_are_fuller_because_padding_costs_little():
    lengths = [300, 200, 170, 120, 90, 60, 50, 40, 30, 20]
    padded = plan_batches(lengths, Budget(tokens=512, texts=32, worth=128))
    packed = plan_batches(lengths, Budget(tokens=512, texts=32, worth=128, packed=True))
    assert len(packed) < len(padded)
    assert [lengths[i] for i in reversed(packed[0])] == [300, 200]
