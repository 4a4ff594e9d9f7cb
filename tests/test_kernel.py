"""`ablate.run` in the kernel of a notebook that was started elsewhere than the checkout."""

import os
import queue
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import PATIENCE, checkpoints

manager = pytest.importorskip("jupyter_client.manager", reason="notebooks need the extra docs")
pytest.importorskip("ipykernel")

ROOT = Path(__file__).parents[1]
RUN = "study = ablate.run(phi='rtg', env='chain', probe='off', episodes=4, workers=1"


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Any]:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    started, client = manager.start_new_kernel(
        startup_timeout=PATIENCE, cwd=str(tmp_path), env=os.environ | {"PYTHONPATH": path}
    )
    yield started, client
    client.stop_channels()
    started.shutdown_kernel(now=True)


def shown(client: Any, code: str) -> list[dict[str, Any]]:
    """What a cell shows until it has ended, each message with its type."""
    found: list[dict[str, Any]] = []
    client.execute_interactive(code, timeout=PATIENCE, output_hook=found.append)
    return found


def of_type(messages: list[dict[str, Any]], *kinds: str) -> list[dict[str, Any]]:
    return [message["content"] for message in messages if message["msg_type"] in kinds]


def test_a_bar_in_place_of_lines_twice_in_one_kernel(kernel: Any) -> None:
    _, client = kernel
    assert not of_type(shown(client, "import ablate"), "error")
    for seeds in ("0", "0-1"):
        said = shown(client, f"{RUN}, iterations=3, seed='{seeds}')\nstudy")
        assert not of_type(said, "error")
        bars = of_type(said, "display_data", "update_display_data")
        assert '<progress value="100"' in bars[-1]["data"]["text/html"]
        assert "100%" in bars[-1]["data"]["text/plain"]
        assert len({bar["transient"]["display_id"] for bar in bars}) == 1
        assert "steps/s" not in "".join(stream["text"] for stream in of_type(said, "stream"))
        (result,) = of_type(said, "execute_result")
        assert "<table" in result["data"]["text/html"]
    (lambda_,) = of_type(shown(client, "ablate.run(phi=lambda signals: signals.rewards)"), "error")
    assert lambda_["ename"] == "UserError"
    assert "beside the notebook" in lambda_["evalue"]


def test_an_interrupt_saves_what_is_under_way(kernel: Any, tmp_path: Path) -> None:
    started, client = kernel
    code = f"import ablate\n{RUN}, iterations=10**7, checkpoint_seconds=1, seed='0')"
    asked = client.execute(code, stop_on_error=False)  # or the kernel refuses what it is asked right after
    deadline = time.monotonic() + PATIENCE
    while not checkpoints(tmp_path / "outputs"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    started.interrupt_kernel()
    while True:
        try:
            reply = client.get_shell_msg(timeout=PATIENCE)
        except queue.Empty:
            pytest.fail("the cell did not end")
        if reply["parent_header"].get("msg_id") == asked:
            break
    assert reply["content"]["status"] == "error"
    assert reply["content"]["ename"] == "KeyboardInterrupt"
    assert len(checkpoints(tmp_path / "outputs")) == 1
    said = shown(client, "ablate.load().frames.runs['status'].tolist()")
    (result,) = of_type(said, "execute_result")
    assert result["data"]["text/plain"] == "['unfinished']"
