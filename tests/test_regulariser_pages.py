"""The page of each regulariser: none is missing, its code runs, and its three sweeps are the same one."""

import ast
import importlib.util
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from cases import slow_but
from PIL import Image

import regjax
from regjax.cli import main as cli
from regjax.cli.spec import resolve
from regjax.core.hparams import HYPERPARAMETERS
from regjax.study.configuration import value_of
from regjax.study.resolve import make_design

ROOT = Path(__file__).parents[1]
NAMES = [name for name, declared in HYPERPARAMETERS.items() if declared.place]
# Of each kind of program one is trained with every test run.
TRAINED = ("l2", "keep_prob", "weight_decay", "patience")


def load(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


made = load("regulariser_pages")
PAGES, TEXTS = made.pages(), made.texts()


def page_of(name):
    return PAGES[f"regularisers/{name}.md"]


def blocks(name, language):
    return re.findall(rf"```{language}\n(.*?)```", page_of(name), re.DOTALL)


def test_every_regulariser_has_a_page_and_none_is_extra():
    assert sorted(PAGES) == sorted(f"regularisers/{name}.md" for name in NAMES)
    assert sorted(TEXTS) == sorted(NAMES)
    titles = [page.splitlines()[0] for page in PAGES.values()]
    assert len(set(titles)) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_page_has_every_part_of_the_template(name):
    headings = re.findall(r"^## (.+)$", page_of(name), re.MULTILINE)
    assert headings == [
        "When to try it", "Formula", "Derivative", "In numbers", "Place in the training step", "Sweep it",
        "In other libraries", "What it costs", "Source",
    ]  # fmt: skip
    known = {
        "title", "says", "helps", "not", "values", "letters", "formula", "derivative", "step", "proof",
        "paper", "related",
    }  # fmt: skip
    assert known <= set(TEXTS[name]) <= known | {"options", "picture"}
    sentences = [TEXTS[name][key] for key in ("says", "helps", "not", "letters", "step")]
    assert all(text.endswith(".") for text in sentences)
    assert f"**{HYPERPARAMETERS[name].place}**" in page_of(name)


@pytest.mark.parametrize("name", NAMES)
def test_links_and_pictures_of_a_page_exist(name):
    links = re.findall(r"\]\(([^)\s]+)\)", page_of(name))
    assert f"../pictures/regularisers/{name}.webp" in links
    for link in links:
        path, _, anchor = link.partition("#")
        there = ROOT / "docs" / "regularisers" / path
        assert f"regularisers/{path}" in PAGES or there.is_file(), link
        if anchor:
            headings = re.findall(r"^## (.+)$", there.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in [heading.lower().replace(" ", "-") for heading in headings]


def test_pictures_are_those_of_the_regularisers_and_small():
    folder = ROOT / "docs" / "pictures" / "regularisers"
    pictures = list(folder.iterdir())
    assert sorted(path.name for path in pictures) == sorted(f"{name}.webp" for name in NAMES)
    assert sum(path.stat().st_size for path in pictures) < 500_000
    for path in pictures:
        picture = Image.open(path)
        assert picture.width >= 480
        assert len(picture.convert("RGB").getcolors(picture.width * picture.height)) > 50, "nothing drawn"


@pytest.mark.nightly
def test_the_pictures_are_drawn_by_the_script(tmp_path, monkeypatch):
    gallery = load("gallery")
    monkeypatch.setattr(gallery, "LONG", 40)  # at the smallest size; then nothing is learnt yet
    monkeypatch.setattr(gallery, "LEARNT", 0)
    monkeypatch.setattr(sys, "argv", ["gallery.py", "--regularisers", "--out", str(tmp_path)])
    gallery.main()
    drawn = list((tmp_path / "pictures" / "regularisers").iterdir())
    assert sorted(path.name for path in drawn) == sorted(f"{name}.webp" for name in NAMES)
    assert not (tmp_path / "gallery.md").exists()


# -- formulas ----------------------------------------------------------------------------------------------


@pytest.mark.sampled(3)
@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_formula_holds_for_the_function_that_training_calls(name):
    proof, _ = blocks(name, "python")
    assert "assert" in proof
    exec(proof, {})
    # It is about this regulariser: the function is in the file that the page names.
    place = Path(made.places((ROOT / "docs" / "regularisers.md").read_text())[HYPERPARAMETERS[name].place])
    assert f"`{place}`" in page_of(name)
    assert re.search(rf"\b{place.stem}\.\w+\(", proof)


def gradients_tested():
    """Returns the names of the table `ON`, whose gradients are compared with jax.grad."""
    source = (ROOT / "tests" / "core" / "test_regularisers.py").read_text(encoding="utf-8")
    (table,) = re.findall(r"^ON = (\{.*?^\})", source, re.DOTALL | re.MULTILINE)
    assert '@pytest.mark.parametrize(("name", "depth"), some_slow(ON, SIZES' in source
    return set(ast.literal_eval(table))


def test_the_gradient_of_each_is_held_against_automatic_differentiation():
    # weight_decay has none: its update is compared with optax's.
    assert gradients_tested() == set(NAMES) - {"weight_decay"}
    assert "weight_decay=" in (ROOT / "tests" / "core" / "test_optimizers.py").read_text(encoding="utf-8")


# -- sweeps ------------------------------------------------------------------------------------------------


def commands(name):
    """Returns the arguments of the page's two commands: with flags, and with a file."""
    flags, file = (shlex.split(block) for block in blocks(name, "sh"))
    assert flags[:2] == file[:2] == ["regjax", "sweep"]
    return flags[2:], file[2:]


def flag_values(arguments):
    """Returns flags as `resolve` takes them: Python name -> what was written."""
    pairs = zip(arguments[::2], arguments[1::2], strict=True)
    return {{"--steps": "num_steps"}.get(flag, flag[2:].replace("-", "_")): text for flag, text in pairs}


@pytest.mark.parametrize("name", NAMES)
def test_flags_file_and_python_ask_for_the_same_sweep(name, tmp_path, monkeypatch, capsys):
    flags, (file,) = commands(name)
    (tmp_path / file).write_text(*blocks(name, "toml"), encoding="utf-8")
    by_flags, by_file = resolve(None, flag_values(flags)), resolve(str(tmp_path / file), {})
    assert by_flags == by_file
    asked = {}

    def keep(data, config, grid, **options):
        asked.update(data=data, config=config, grid=grid, **options)
        return regjax.Results

    monkeypatch.setattr(regjax, "sweep", keep)
    monkeypatch.setattr(regjax.Results, "compare", lambda: "")
    exec(blocks(name, "python")[1], {})
    one, other = make_design(**asked), make_design(**by_file.arguments())
    assert one.configurations == other.configurations
    assert (one.configs, one.seeds) == (other.configs, other.seeds)
    np.testing.assert_array_equal(one.data.x, other.data.x)
    np.testing.assert_array_equal(one.splits.val, other.splits.val)
    # Off stands first, so that it is the baseline; what is on is what the text names.
    values = [value_of(configuration, name) for configuration in one.configurations]
    assert values == [HYPERPARAMETERS[name].off, *TEXTS[name]["values"]]
    assert f"**First values:** {' and '.join(f'{value:g}' for value in values[1:])}." in page_of(name)


@pytest.mark.nightly
@pytest.mark.parametrize("name", slow_but(NAMES, TRAINED))
def test_the_sweep_of_a_page_runs(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    flags, file = commands(name)
    # At the smallest size: all that changes is the number of steps.
    (text,), code = blocks(name, "toml"), blocks(name, "python")[1]
    assert flags[flags.index("--steps") + 1] == "2000"
    flags[flags.index("--steps") + 1] = "20"
    Path(file[0]).write_text(text.replace("num_steps = 2_000", "num_steps = 20").replace("= 50", "= 10"))
    flags = [
        "10" if before == "--eval-every" else flag
        for before, flag in zip(["", *flags[:-1]], flags, strict=True)
    ]
    for arguments in (flags, [*file, "--store", "second.sqlite"]):
        with pytest.raises(SystemExit) as stop:
            cli.main(["sweep", *arguments, "--no-compilation-cache"])
        out, err = capsys.readouterr()
        assert stop.value.code == 0, err
        assert name in out
    code = code.replace('"num_steps": 2_000', '"num_steps": 20').replace(
        '"eval_every": 50', '"eval_every": 10'
    )
    assert "20" in code
    exec(code, {})
    assert name in capsys.readouterr().out


# -- the overview ------------------------------------------------------------------------------------------


def test_on_the_site_the_names_in_the_overview_are_links():
    overview = (ROOT / "docs" / "regularisers.md").read_text(encoding="utf-8")
    found = made.linked(overview)
    rows = re.findall(r"^\| \[`(\w+)`\]\(regularisers/(\w+)\.md\) \|", found, re.MULTILINE)
    assert all(name == page for name, page in rows)
    names = [name for name, _ in rows]
    assert sorted(names[: len(NAMES)]) == sorted(NAMES)
    assert sorted(names[len(NAMES) :]) == sorted(set(NAMES) - {"weight_decay"})  # the costs
    assert "| [`l2`](regularisers/l2.md), [`keep_prob`](regularisers/keep_prob.md)," in found
    # Nothing else changes: without the links it is the page of the repository.
    assert re.sub(r"\[(`\w+`)\]\(regularisers/\w+\.md\)", r"\1", found) == overview


def test_the_overview_names_every_regulariser_for_some_problem():
    overview = (ROOT / "docs" / "regularisers.md").read_text(encoding="utf-8")
    first = overview[: overview.index("## What all of them share")]
    named = set(re.findall(r"`(\w+)`", first))
    assert named - set(NAMES) == set()
    assert len(named) > 15
    (command,) = re.findall(r"```sh\n(.*?)```", first, re.DOTALL)
    assert len(resolve(None, flag_values(shlex.split(command)[2:])).grid["l2"]) == 3
