"""The vendored onnxruntime-web: its files are the recorded ones, and `make runtime` says why it cannot compare them."""

import gzip
import json
import shutil

import pytest
from support import ROOT
from support.process import python

from icon_classifier.site.vendor import MAX_PART_BYTES, RECORD, RUNTIME, VendorError, adapt, sha256


def test_vendored_files_are_the_recorded_ones():
    record = json.loads(RECORD.read_text())
    found = {name: (RUNTIME / name).read_bytes() for name in record["files"]}
    assert {name: sha256(data) for name, data in found.items()} == record["files"]
    assert sha256(gzip.decompress(found["runtime.bin"])) == record["wasm_sha256"]
    assert all(len(data) <= MAX_PART_BYTES for data in found.values())
    licences = {name: sha256((RUNTIME / name).read_bytes()) for name in ("LICENSE", "ThirdPartyNotices.txt")}
    assert licences == record["licences"]
    assert {path.name for path in RUNTIME.iterdir()} == {*record["files"], *licences, RECORD.name}


@pytest.mark.parametrize("name", ["ThirdPartyNotices.txt", "LICENSE", "ort.js"])
def test_runtime_reports_changed_and_missing_files(tmp_path, name):
    """Before it asks npm, which has no licences."""
    shutil.copytree(ROOT / "icon_classifier", tmp_path / "icon_classifier")
    file = tmp_path / "icon_classifier/site/runtime" / name
    environment = {"PYTHONPATH": str(tmp_path), "npm_config_registry": "http://127.0.0.1:9"}
    for change in (lambda: file.write_bytes(file.read_bytes() + b"\n"), file.unlink):
        change()
        run = python("-m", "icon_classifier.site.vendor", env=environment, cwd=tmp_path)
        assert run.returncode == 1 and run.stderr.count("\n") == 1
        assert run.stderr.startswith(f"The vendored files differ from their record in runtime.json: {name}. ")


def test_vendored_javascript_is_adapted():
    glue = (RUNTIME / "ort.js").read_text()
    assert f"ONNX Runtime Web v{json.loads(RECORD.read_text())['version']}" in glue
    assert "maximum:8192" in glue and "maximum:65536" not in glue  # 512 MiB
    assert "import.meta" not in glue and "sourceMappingURL" not in glue
    with pytest.raises(VendorError, match="asks for memory differently"):
        adapt("new WebAssembly.Memory({initial:256})")


def test_runtime_without_a_registry_is_a_sentence():
    before = {path: path.read_bytes() for path in RUNTIME.iterdir()}
    run = python("-m", "icon_classifier.site.vendor", env={"npm_config_registry": "http://127.0.0.1:9"})
    assert run.returncode == 1 and run.stdout == ""
    assert (
        run.stderr.startswith(("npm cannot download onnxruntime-web", "There is no npm"))
        and run.stderr.count("\n") == 1
    )
    assert {path: path.read_bytes() for path in RUNTIME.iterdir()} == before
