"""The command line in real processes: what it refuses, what it survives, what it shows, what may be added to it."""

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import forked
import pytest
from commands import PATIENCE, ablate, columns, command, numbers, row
from conftest import choices, compose

from ablate.configuration import CONF
from ablate.runs.train import train
from ablate.store import Cell, cells

SHORT = ("env=bandit", "iterations=5", "probe=off")


# Bad input

MDP = {"P": [[[0.5, 0.5], [1, 0]], [[0, 1], [0, 1]]], "R": [[1, 0], [0, 2]], "rho0": [1, 0], "horizon": 3}
FILES = {
    "rows.json": json.dumps(MDP | {"P": [[[0.5, 0.4], [1, 0]], [[0, 1], [0, 1]]]}),
    "shape.json": json.dumps(MDP | {"R": [[1, 0]]}),
    "nan.json": json.dumps(MDP).replace("0.5, 0.5", "NaN, 0.5"),
    "keys.json": json.dumps({key: value for key, value in MDP.items() if key != "horizon"}),
    "text.json": "P = 1",
    "huge.json": json.dumps(MDP | {"horizon": 10**12}),
    "outputs.txt": "in the way",
}
REFUSED = {
    "phi=foo": "phi=foo is not a choice; write phi= one of advantage",
    "phi=null": "phi=null is not a choice; write phi=",
    "phi=rtg,td": "add -m to sweep over them",
    "-m phi=rtg,foo": "phi=foo is not a choice; write phi= one of",
    "seed=9-0": "write seed=0-9",
    "seed=0-": "write seed=0-9 or the like",
    "seed=a": "write seed=3, 0-9 or [0,1,7]",
    'seed="0-9,5"': "names seed 5 twice; name each seed once",
    "-m seed=0-9,5": "names seed 5 twice; name each seed once",
    "env=gym env.id=Nope-v0": "env.id=Nope-v0 is not a Gymnasium id",
    "env=gym env.id=Pendulum-v1": "write policy=gaussian",
    "policy=gaussian": "write policy=categorical",
    "phi=td critic=exact": "needs a known model",
    "baseline=loo episodes=1": "write episodes=2 or more",
    "episodes=0": "write for example episodes=16",
    "iterations=-5": "write for example iterations=100",
    "iterations=1.5": "iterations=1.5 is not a whole number of at least 1; write for example iterations=100",
    "seed=-1": "write seed=3, 0-9 or [0,1,7]",
    "gamma=1.1": "gamma=1.1 is not in (0, 1]; write",
    "gamma=x": "gamma=x is not in (0, 1]; write for example gamma=0.99",
    "overwrite=maybe": "write true or false",
    "iteration=5": "did you mean iterations=5?",
    "+nothing=5": "nothing is not a setting here",
    "-m phi=rtg,td env=bandit probe=matched +probe.epsodes=512": "did you mean probe.episodes=512?",
    "phi=rtg --cfg jobs seed=0": "--cfg jobs cannot be shown",
    "outputs=${x}": "outputs=${x} cannot be resolved",
    "study=123": "study=123 is not a choice; did you mean study.name=123?",
    "hydra.run.dir=/proc/nothing": "hydra.run.dir=/proc/nothing: No such file or directory; leave it out",
    "~phi": "phi has no choice; write phi=",
    **{f"env=mdp env.path={name}": name for name in FILES if name.endswith(".json")},
    "env=mdp env.path=missing.json": "missing.json: No such file or directory; give the path",
    "outputs=outputs.txt": "a file is in the way of a folder: outputs.txt; type another folder",
    "outputs=/proc/nothing": "type another folder: outputs=/somewhere/writable",
    "--config-dir=nowhere": "nowhere' not found",
}


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[subprocess.CompletedProcess, list[str]]]:
    """What each bad command says, and what it leaves behind."""

    def run(words: str) -> tuple[subprocess.CompletedProcess, list[str]]:
        folder = tmp_path_factory.mktemp("refused")
        for name, text in FILES.items():
            (folder / name).write_text(text)
        done = forked.run(command(*words.split())[3:], folder, os.environ, PATIENCE)
        return done, sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.name not in FILES)

    return {words: run(words) for words in REFUSED}


@pytest.mark.parametrize("words", REFUSED)
def test_bad_input_is_refused_in_one_line(refusals: dict, words: str) -> None:
    done, left = refusals[words]
    assert done.returncode == 2, done
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("ablate: ")
    assert REFUSED[words] in line
    assert left in ([], ["outputs"]), "nothing is written but an empty folder"


def test_refused_cells_do_not_end_a_sweep_wherever_hydra_is_told_to_work(tmp_path: Path) -> None:
    """Results, the table and resuming are those of the folder where the command was typed."""
    elsewhere = "hydra.job.chdir=true", f"hydra.sweep.dir={tmp_path}/hydra", "hydra.sweep.subdir=a/b"
    words = "env=bandit,chain", "+env.mdp.slip=0.3", "iterations=1,${x}", "probe=off", "seed=0-1", *elsewhere, "-m"
    done = ablate(*words, cwd=tmp_path, exit_code=2)
    label = "env=chain +env.mdp.slip=0.3 iterations=1 probe=off"
    assert row(done.stdout, label) == [2, 0, 0]
    lines = [line for line in done.stderr.splitlines() if line.startswith("ablate: skipped ")]
    assert len(lines) == 2, "one a reason"
    assert all(len(line) <= 300 for line in lines)
    assert sum("env.mdp.slip is not a setting here" in line for line in lines) == 1
    (cell,) = cells(tmp_path / "outputs", "main")
    again = ablate(*words, cwd=tmp_path, exit_code=2)
    assert row(again.stdout, label) == [0, 2, 0]
    alone = ablate(*label.split(), "seed=0", "hydra.run.dir=.", "hydra.output_subdir=.hydra", cwd=tmp_path)
    assert row(alone.stdout, label) == [0, 1, 0]
    assert cells(tmp_path / "outputs", "main") == [cell]


def mounted(tmp_path: Path, options: str, then: str) -> subprocess.CompletedProcess:
    """Run a shell command that sees a file system of its own, mounted where the outputs go."""
    (tmp_path / "outputs").mkdir()
    mount = f"mount -t tmpfs -o {options} tmpfs outputs"
    if not shutil.which("unshare") or subprocess.run(["unshare", "-m", "sh", "-c", mount], cwd=tmp_path).returncode:
        pytest.skip("this user may not mount a file system")
    script = f"{mount} && {then}"
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE
    )


def test_read_only_outputs(tmp_path: Path) -> None:
    done = mounted(tmp_path, "ro", " ".join(command(*SHORT)))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("ablate: permission denied: outputs")
    assert line.endswith("type another folder: outputs=/somewhere/writable")


def test_a_full_disk_is_told_in_a_line_and_leaves_nothing_broken(tmp_path: Path) -> None:
    """Enough space to begin, too little to end; with more of it, the same command ends."""
    run = " ".join(command(*SHORT, "seed=0-29"))
    grown = f"{run}; echo code=$?; find outputs -name 'seed=*~*'; mount -o remount,size=50m outputs; {run}"
    done = mounted(tmp_path, "size=150k", grown)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "no space is left" in done.stderr
    assert re.search(r"code=[12]\n", done.stdout)
    after = done.stdout.partition("code=")[2]
    assert "~" not in after.split("variant ")[0], "scratch is left behind"
    trained, skipped, failed = row(after, "env=bandit")
    assert (trained + skipped, failed) == (30, 0)


# Failures

ABOUT = (
    "about: {label: mine, order: 9, env: any, actions: [discrete], uses: [policy, optimizer, critic, phi, baseline, "
    "probe, evaluate, episodes, discount_scores, whiten]}\n"
)
PACKAGE = '''
"""A user's own Phi, and an algorithm whose seeds come to grief each in its way."""
import os, signal
from dataclasses import replace
import numpy as np
from ablate.learners import policy_gradient
from ablate.discounted_sums import discounted_sum

def doubled(signals, factor):
    return factor * discounted_sum(signals.rewards, signals.gamma)

class Doubled:
    def __init__(self, factor):
        self.factor = factor
    def __call__(self, signals):
        return doubled(signals, self.factor)

def broken(signals):
    raise RuntimeError("this Phi is broken")

def learner(config):
    return Grief(policy_gradient.learner(config), config["algorithm"]["deadly"])

class Grief:
    def __init__(self, inner, deadly):
        self.inner, self.initial, self.deadly = inner, inner.initial, deadly
    def iterate(self, state, seeds, iteration):
        state, record = self.inner.iterate(state, seeds, iteration)
        if iteration == 3:
            if 1 in seeds:
                raise ZeroDivisionError("seed 1 is unlucky")
            if 4 in seeds and self.deadly:
                os.kill(os.getpid(), signal.SIGKILL)
            record["grad_norm"] = np.where(np.array(seeds) == 2, np.nan, record["grad_norm"])
        return state, record
'''
PHI = """# a Phi of the user's own
name: {name}
_target_: {target}
{arguments}
about:
  label: mine
  symbol: mine
  order: 9
  needs: []
  measured_from: step
  unbiased: never
  takes_baseline: true
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with a package of the user's own, and the yamls that name its parts."""
    yamls = {
        "phi/function.yaml": PHI.format(
            name="function", target="mine.doubled", arguments="_partial_: true\nfactor: 1.0"
        ),
        "phi/class.yaml": PHI.format(name="class", target="mine.Doubled", arguments="factor: 1.0"),
        "phi/broken.yaml": PHI.format(name="broken", target="mine.broken", arguments="_partial_: true"),
        "algorithm/grief.yaml": f"name: grief\n_target_: mine.learner\ndeadly: false\n{ABOUT}",
        "algorithm/death.yaml": f"name: death\n_target_: mine.learner\ndeadly: true\n{ABOUT}",
    }
    (tmp_path / "mine.py").write_text(PACKAGE)
    for name, text in yamls.items():
        (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / name).write_text(text)
    return tmp_path


def beside(folder: Path) -> str:
    """The folder before whatever is on the path already."""
    return os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))


def test_failing_seeds_do_not_take_the_others_with_them(own: Path) -> None:
    """One seed raises, one diverges, one kills its process: the others end with the numbers that they have anyhow."""
    words = "-m", "--config-dir=own", *SHORT, "seed=0-6", "algorithm=grief,death"
    done = ablate(*words, cwd=own, PYTHONPATH=beside(own), exit_code=1)
    assert row(done.stdout, "env=bandit iterations=5 probe=off algorithm=grief") == [5, 0, 2]
    assert row(done.stdout, "env=bandit iterations=5 probe=off algorithm=death") == [4, 0, 3]
    death, grief = cells(own / "outputs", "main")
    lost = {1: "unfinished", 2: "diverged"}
    assert [grief.status(seed) for seed in range(7)] == [lost.get(seed, "complete") for seed in range(7)]
    lost[4] = "unfinished"
    assert [death.status(seed) for seed in range(7)] == [lost.get(seed, "complete") for seed in range(7)]
    for text in (
        "grief seed=1: ZeroDivisionError: seed 1 is unlucky (all of it in ",
        "grief seed=2: diverged at iteration 3: the gradient's norm is nan",
        "death seed=4: its process was killed by SIGKILL",
    ):
        assert text in done.stderr
    log = grief.failure(1).read_text()
    assert "Traceback" in log
    assert "seed 1 is unlucky" in log

    plain = Cell.at(own / "plain", "main", SHORT, compose(*SHORT).config)
    train(plain, range(7), 60, lambda *_: None, lambda: False)
    for cell, seed in [(cell, seed) for cell in (grief, death) for seed in (0, 3, 5, 6)]:
        assert columns(cell.path / f"seed={seed}") == columns(plain.path / f"seed={seed}")


def test_a_phi_of_the_users_own_beside_one_that_fails(own: Path) -> None:
    words = "--config-dir=own", *SHORT, "seed=0-1"
    done = ablate("-m", *words, "phi=function,class,broken,rtg", cwd=own, PYTHONPATH=beside(own), exit_code=1)
    assert row(done.stdout, "env=bandit iterations=5 probe=off phi=class") == [2, 0, 0]
    assert row(done.stdout, "env=bandit iterations=5 probe=off phi=broken") == [0, 0, 2]
    assert "phi=broken seed=0-1: RuntimeError: this Phi is broken (all of it in " in done.stderr
    recorded = numbers(own / "outputs").items()
    of = {(match[1], seed): n for (cell, seed), n in recorded if (match := re.search(r"phi=(\w+)", cell))}
    assert len(of) == 6
    assert of["function", 1] == of["class", 1] == of["rtg", 1]

    (own / "elsewhere").mkdir()  # python -m looks for packages in its own folder too
    lost = ablate("--config-dir=../own", *words[1:], "phi=function", cwd=own / "elsewhere", exit_code=2)
    assert "phi=function is in mine, which is not found; is its folder in PYTHONPATH?" in lost.stderr


def test_a_diverging_cell_is_recorded_and_left_alone(tmp_path: Path) -> None:
    words = "-m", "env=chain", "iterations=5", "probe=off", "seed=0-1"
    done = ablate(*words, "optimizer.lr=1e39,0.1", cwd=tmp_path, exit_code=1)
    assert row(done.stdout, "env=chain iterations=5 probe=off optimizer.lr=1e+39") == [0, 0, 2]
    assert row(done.stdout, "env=chain iterations=5 probe=off optimizer.lr=0.1") == [2, 0, 0]
    assert "lr=1e+39 seed=1: diverged at iteration 1: theta is not finite" in done.stderr
    again = ablate(*words, "optimizer.lr=1e39", cwd=tmp_path, exit_code=1)
    assert "training" not in again.stderr
    assert re.search("diverged at iteration 1: theta is not finite.*; overwrite=true tries again", again.stderr)


# What is seen


def test_help_lists_every_choice_and_imports_nothing_heavy(tmp_path: Path) -> None:
    heavy = "torch", "numpy", "pyarrow", "gymnasium", "pandas"
    script = (
        "import atexit, sys; from ablate.__main__ import main; sys.argv = ['ablate', '--help'];"
        f"atexit.register(lambda: print('imported:', [name for name in {heavy} if name in sys.modules]));"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0
    assert done.stderr == ""
    assert done.stdout.endswith("imported: []\n")
    assert done.stdout.startswith("ablate: how noisy")
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "\nStart here:\n" in done.stdout
    groups = sorted(path.name for path in CONF.iterdir() if path.is_dir())
    for group in groups:
        section = done.stdout.partition(f"\n  {group}=\n")[2].partition("\n\n")[0]
        listed = dict(line.split(None, 1) for line in section.splitlines() if re.match(r" {4}\w", line))
        assert sorted(listed) == choices(group), f"each yaml of {group} with a line of its own"
    for name in ("seed", "iterations", "workers", "overwrite"):
        assert re.search(rf"^    {name}=\S+\s+\w", done.stdout, re.M), name
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("group", sorted(path.name for path in CONF.iterdir() if path.is_dir()))
def test_every_choice_says_what_it_is(group: str) -> None:
    for path in (CONF / group).glob("*.yaml"):
        comments = [line for line in path.read_text().splitlines() if line.startswith("# ") and "@package" not in line]
        assert comments, f"{path} begins with a comment that says what it is"
        assert len(comments[0]) <= 120


def test_a_pipe_is_no_terminal_though_colours_are_asked_for(tmp_path: Path) -> None:
    """As in a notebook, whose kernel sets FORCE_COLOR for what it starts."""
    done = ablate("env=bandit", "iterations=3", "probe=off", cwd=tmp_path, FORCE_COLOR="1", TERM="xterm-256color")
    assert "\x1b[?" not in done.stderr
    assert "training" in done.stderr


def test_live_line_on_a_terminal_and_the_table_at_the_end(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command("env=chain", "iterations=40", "probe=off", "seed=0-1"),
        cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "150"},
    )  # fmt: skip
    os.close(theirs)
    seen = bytearray()
    try:
        while part := os.read(ours, 1 << 16):
            seen += part
    except OSError:  # the other end is closed
        pass
    assert process.wait(PATIENCE) == 0
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen.decode())
    assert b"\x1b[" in seen
    assert re.search(r"env=chain iterations=40 probe=off.*100%.*return +\d.*steps/s", text)
    assert "training" not in text, "plain lines are for where there is no terminal"
    assert row(text, "env=chain iterations=40 probe=off") == [2, 0, 0]
    assert "results: outputs/main/<cell>/seed=<k>/" in text


def test_plain_lines_elsewhere_and_an_impossible_cell_among_others(tmp_path: Path) -> None:
    patient = {"ABLATE_PROGRESS_SECONDS": "3600"}  # no line in between on a machine that is slow
    done = ablate("-m", *SHORT, "phi=rtg,td", "baseline=none,value", cwd=tmp_path, **patient)
    first, last, skipped = done.stderr.splitlines()
    label = "env=bandit iterations=5 probe=off"
    assert first == "3 jobs: training"
    assert re.fullmatch(r"3 of 3 jobs: 100%, [\d,]+ steps/s, done", last)
    assert skipped.startswith(f"ablate: skipped {label} phi=td baseline=value: phi=td baseline=value cannot be: ")
    assert "\x1b" not in done.stdout + done.stderr
    assert done.stdout.startswith("variant ")
    shown = next(line for line in done.stdout.splitlines() if line.startswith("results: ")).split()[1]
    assert len(list(tmp_path.glob(shown.replace("<cell>", "*").replace("<k>", "0") + "curves.parquet"))) == 3


def test_a_command_without_m_goes_to_scratch_unless_a_study_is_named(tmp_path: Path) -> None:
    once = "env=bandit", "iterations=1", "probe=off", "seed=0", "workers=1"
    for words in (once, (*once, "study=main"), (*once, "study.name=mine"), ("-m", *once, "outputs=swept")):
        assert forked.run(words, tmp_path, os.environ, PATIENCE).returncode == 0
    hashes = {name: cells(tmp_path / "outputs", name)[0].digest for name in ("scratch", "main", "mine")}
    assert len(set(hashes.values())) == 1, "where results go is not part of what a cell is"
    assert cells(tmp_path / "outputs", "scratch")[0].name == cells(tmp_path / "outputs", "main")[0].name
    assert len(cells(tmp_path / "swept", "main")) == 1


def test_results_of_the_version_before_are_gone_on_with(tmp_path: Path) -> None:
    """Their cells have the names that the same commands give today; what is done stays as it is, byte for byte."""
    outputs = tmp_path / "outputs" / "s"
    shutil.copytree(Path(__file__).parent / "data" / "schema2", outputs)
    files = {path: path.read_bytes() for path in outputs.rglob("*") if path.is_file()}
    matched = "phi=return", "iterations=3", "episodes=4", "probe=matched", "probe.episodes=64"
    for words, shown in (
        (("seed=0-2", *matched), "3/3 (1 new)"),
        (("seed=0-1", "algorithm=td", "iterations=2"), "2/2 (0 new)"),
    ):
        assert shown in ablate("-m", "env=chain", *words, "study.name=s", "workers=1", cwd=tmp_path).stdout
    assert all(path.read_bytes() == data for path, data in files.items())
    assert len([path for path in outputs.iterdir() if not path.name.startswith(".")]) == 2
