"""Samples that are packed in messages of a maximum size."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from sparkle_app.model.sample import Sample, Samples
from sparkle_app.sealed.samples import pack_samples, pack_within, unpack_samples


def sample(number: int, metric: str = "k") -> Sample:
    return Sample(number.to_bytes(8), metric, 1.0, number)


def counted(samples: Samples) -> Counter[tuple[str, Sample]]:
    return Counter((hostname, each) for hostname, all_ in samples.items() for each in all_)


def test_samples_that_fit_are_one_message() -> None:
    samples = {"a": [sample(1)], "b": [sample(2), sample(3)]}
    assert list(pack_within(samples, len(pack_samples(samples)))) == [pack_samples(samples)]


@given(
    st.dictionaries(
        st.text(max_size=20), st.lists(st.integers(0, 1000), min_size=1, max_size=30), max_size=10
    ),
    st.integers(1, 500),
)
def test_messages_are_small_enough_or_contain_one_sample_and_nothing_is_lost(
    numbers: dict[str, list[int]], max_bytes: int
) -> None:
    samples = {hostname: [sample(number) for number in all_] for hostname, all_ in numbers.items()}
    messages = list(pack_within(samples, max_bytes))
    found: Counter[tuple[str, Sample]] = Counter()
    for message in messages:
        unpacked = counted(unpack_samples(message))
        assert len(message) <= max_bytes or unpacked.total() <= 1
        found += unpacked
    assert found == counted(samples)
