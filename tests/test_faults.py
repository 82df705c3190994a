"""The table of faults that `python tests/faults.py` tries: each fault still has its code and its tests."""

import subprocess
import sys

import pytest

from tests.faults import PYTEST, ROOT, Fault, place_of, read_faults

FAULTS = read_faults()
PACKAGES = {path.name for path in (ROOT / "regjax").iterdir() if (path / "__init__.py").is_file()}


def test_each_fault_has_its_code_once_and_its_tests():
    wrong = []
    for fault in FAULTS:
        try:
            place_of(fault, ROOT)
        except ValueError as error:
            wrong.append(f"{fault.name}: {error}")
    assert not wrong, "\n".join(wrong)
    assert all(fault.tests and fault.new != fault.old for fault in FAULTS)


@pytest.mark.nightly
def test_the_parameters_that_the_table_names_are_there():
    ids = [test for fault in FAULTS for test in place_of(fault, ROOT).tests if "[" in test]
    command = [sys.executable, "-m", "pytest", *PYTEST, "--collect-only", *ids]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_faults_are_of_every_package():
    assert {fault.package for fault in FAULTS} == PACKAGES
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 30
    assert len({(fault.package, fault.old, fault.new) for fault in FAULTS}) == len(FAULTS)


@pytest.mark.parametrize(
    ("old", "test", "said"),
    [
        ("return 2 - a * a", "test_kink_of_relu_is_zero", "code must be in regjax/core once, got none"),
        ("return", "test_kink_of_relu_is_zero", r"code must be in regjax/core once, got \d+ in"),
        ("return 1 - a * a", "test_nothing", r"test must be in one file, got \[\] for test_nothing"),
    ],
)
def test_a_fault_that_does_not_apply_is_refused(old, test, said):
    with pytest.raises(ValueError, match=said):
        place_of(Fault("a fault", "core", old, "pass", (test,)), ROOT)


def test_the_list_says_where_a_fault_goes():
    said = subprocess.run(
        [sys.executable, "tests/faults.py", "--list", "Bonferroni"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "regjax/study/families.py:" in said
    assert "test_never_wider_than_bonferroni_nor_narrower_than_a_line_alone" in said
