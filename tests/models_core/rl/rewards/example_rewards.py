"""Functions that tests name as rewards."""

calls = []
NUMBER = 7


def lengths(rows, texts):
    calls.append((rows, texts))
    return [len(text) for text in texts]


def tensor(rows, texts):
    import torch

    return torch.arange(len(texts)) / 2


def raises(rows, texts):
    raise KeyError("answer")


def one_too_many(rows, texts):
    return [0.0] * (len(texts) + 1)


def one_number(rows, texts):
    return 3.5


def words(rows, texts):
    return ["7"] * len(texts)


def nan(rows, texts):
    return [1.0] * (len(texts) - 1) + [float("nan")]


def infinite(rows, texts):
    return [float("-inf")] * len(texts)


def nothing(rows, texts):
    return [None] * len(texts)
