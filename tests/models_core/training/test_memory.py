"""What the commands do with memory."""

import os
import subprocess
import sys

import pytest

SHAPES = """
import torch
from models_core.cli.inputs import select_device
select_device("cpu")
kernel = torch.ones(64, 64, 3, 3)
for width in [*range(32, 32 + {shapes}), 32]:
    torch.nn.functional.conv2d(torch.ones(2, 64, 16, width), kernel)
"""


def prepared_again(*, shapes: int, **variables: str) -> bool:
    """Whether oneDNN has forgotten the first shape after so many others, as its own log says."""
    child = subprocess.run(
        [sys.executable, "-c", SHAPES.format(shapes=shapes)],
        env={**os.environ, "ONEDNN_VERBOSE": "profile_create", **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    *_, last = (line for line in child.stdout.splitlines() if "convolution" in line)
    assert "create:cache_miss" in last or "create:cache_hit" in last
    return "create:cache_miss" in last


@pytest.mark.long
def test_what_was_prepared_for_shapes_that_do_not_come_again_is_let_go(monkeypatch):
    monkeypatch.delenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", raising=False)
    assert prepared_again(shapes=80)
    assert not prepared_again(shapes=80, ONEDNN_PRIMITIVE_CACHE_CAPACITY="1024")
