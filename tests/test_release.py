"""The distributions of a release: what a package index shows of them."""

import re
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
URL = "https://example.org/regjax"


@pytest.mark.slow
def test_links_of_a_release_are_addresses_and_its_files_are_whole(tmp_path):
    pytest.importorskip("hatchling")
    if not (ROOT / ".git").exists():
        pytest.skip("a release is built from a commit")
    command = [ROOT / ".ci" / "release", URL + "/", tmp_path]
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    done = subprocess.run(command, capture_output=True, text=True, env={"PATH": path}, timeout=120)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
        (metadata,) = [name for name in names if name.endswith("METADATA")]
        readme = message_from_bytes(file.read(metadata)).get_payload()
    links = re.findall(r"(!?)\[[^]]*\]\(([^)]+)\)", readme)
    assert len(links) > 10
    for picture, link in links:
        path = link.removeprefix(f"{URL}/{'raw' if picture else 'blob'}/v")
        assert path != link, link
        assert (ROOT / path.partition("/")[2].partition("#")[0]).exists(), link
    sources = {"regjax/native/train.cc", "regjax/native/network.h", "regjax/report/report.js"}
    assert sources <= set(names)
    (source,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(source) as file:
        inside = {name.partition("/")[2] for name in file.getnames()}
    assert {"README.md", "docs/pictures/front.png", "tests/test_release.py", ".ci/release"} <= inside
