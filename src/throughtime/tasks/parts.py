"""Parts of finite data: what a network is trained on, and what it is validated on."""

from throughtime.names import known

PARTS = ("all", "train", "validation")


def part_of(
    size: int, num_train: int, part: str, train_size: int | None, *, of: str, fewest: int = 1
) -> slice:
    """Which items are drawn from: all, the first `num_train`, or the rest.

    Args:
        size: how many items there are.
        num_train: how many of them, from the first, make up the train part.
        part: "all", "train" or "validation".
        train_size: only the first so many items of the train part; None means all of it.
        of: what the items are, for the sentence that refuses.
        fewest: the least number of items that makes a sequence.

    Returns:
        The slice of the items.

    Raises:
        ValueError: in one sentence: an unknown part, a part with too few items, or a `train_size`
            that is out of range or given with another part than "train".
    """
    known("part", part, PARTS)
    if train_size is not None and part != "train":
        raise ValueError(f"train_size is {train_size} but part is {part!r}; it needs part='train'.")
    chosen = {
        "all": slice(0, size),
        "train": slice(0, num_train if train_size is None else train_size),
        "validation": slice(num_train, size),
    }[part]
    if train_size is not None and not fewest <= train_size <= num_train:
        raise ValueError(
            f"train_size is {train_size}; the train part holds {num_train} {of}, of which at least"
            f" {fewest} are needed."
        )
    if chosen.stop - chosen.start < fewest:
        raise ValueError(
            f"the part {part!r} holds {chosen.stop - chosen.start} {of}; at least {fewest} are"
            " needed."
        )
    return chosen
