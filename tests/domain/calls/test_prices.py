"""The cost of a call: exact, by the parts of its tokens, and unknown where there is no price."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from domain.calls.prices import Price, PriceTable
from domain.calls.tokens import Tokens

PLAIN = Price(Decimal("0.000003"), Decimal("0.000015"))
WHOLE = Price(
    Decimal("0.000003"),
    Decimal("0.000015"),
    Decimal("3E-7"),
    Decimal("0.00000375"),
    Decimal("0.00002"),
    above=((200_000, Price(Decimal("0.000006"), Decimal("0.0000225"))),),
)


def test_each_part_of_the_tokens_has_its_price() -> None:
    tokens = Tokens(1000, 100, 600, 100, 40)
    assert WHOLE.cost(tokens) == Decimal("0.000900") + Decimal("0.00018") + Decimal("0.000375") + Decimal("0.0017")
    assert PLAIN.cost(tokens) == Decimal("0.0045")


def test_a_long_input_has_the_price_of_long_inputs() -> None:
    assert WHOLE.cost(Tokens(200_000, 0)) == Decimal("0.6")
    assert WHOLE.cost(Tokens(200_001, 0)) == Decimal("1.200006")


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.data())
def test_no_call_costs_more_than_its_most(read: int, written: int, data: st.DataObject) -> None:
    cached = data.draw(st.integers(0, read))
    created = data.draw(st.integers(0, read - cached))
    tokens = Tokens(read, written, cached, created, data.draw(st.integers(0, written)))
    for price in (PLAIN, WHOLE):
        assert 0 <= price.cost(tokens) <= price.most(Tokens(read, written))


def test_own_prices_come_first_and_one_for_all_models_last() -> None:
    cheap, other = Price(Decimal(1), Decimal(2)), Price(Decimal(3), Decimal(4))
    table = PriceTable(own={("vllm", "*"): cheap, ("openai", "gpt-4o"): other}, shipped={("openai", "gpt-4o"): PLAIN})
    assert table.of("openai", "gpt-4o") == other
    assert table.of("vllm", "anything") == cheap
    assert table.of("openai", "gpt-5") is None
    assert (table.knows("vllm", "anything"), table.knows("openai", "gpt-4o")) == (False, True)


def test_an_own_price_keeps_the_known_length_of_answers() -> None:
    shipped = {("openai", "gpt-4o"): Price(Decimal(1), Decimal(1), output_max=16384)}
    found = PriceTable(own={("openai", "gpt-4o"): PLAIN}, shipped=shipped).of("openai", "gpt-4o")
    assert found is not None
    assert found.output_max == 16384
