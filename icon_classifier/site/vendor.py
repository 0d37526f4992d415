"""Vendor onnxruntime-web, which runs the ONNX model in a browser. Run as `make runtime`, it checks the vendored files.

`python -m icon_classifier.site.vendor VERSION` replaces them by those of another version. Both need npm.
"""

import gzip
import hashlib
import io
import json
import re
import subprocess
import sys
import tarfile
import tempfile
from base64 import b64encode
from pathlib import Path

from ..errors import IconClassifierError
from .folder import MAX_PART_BYTES

RUNTIME = Path(__file__).parent / "runtime"
RECORD = RUNTIME / "runtime.json"
PACKAGE = "onnxruntime-web"
# Of the builds in the package, the only one without GPU support, which doubles the size.
GLUE, WASM = "package/dist/ort.wasm.bundle.min.mjs", "package/dist/ort-wasm-simd-threaded.wasm"
# npm's package lacks them. They are copied from onnxruntime's repository, and compared with their record.
LICENCES = ("LICENSE", "ThirdPartyNotices.txt")
REPOSITORY = "https://github.com/microsoft/onnxruntime/tree/v"
PAGES = 512 * 16  # of 64 KiB: 512 MiB


class VendorError(IconClassifierError):
    """The runtime cannot be made. The message says why and what to do."""


def download(version):
    """Return the bytes of npm's tarball of onnxruntime-web. Raises `VendorError`."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            options = ["--loglevel=error", "--fetch-retries=0", "--pack-destination", folder]
            command = ["npm", "pack", f"{PACKAGE}@{version}", *options]
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
            return next(Path(folder).glob("*.tgz")).read_bytes()
        except FileNotFoundError:
            raise VendorError(
                "There is no npm on this computer. Install Node.js, and run make runtime again."
            ) from None
        except subprocess.TimeoutExpired:
            raise VendorError(
                "npm took more than ten minutes. Check the connection, and run make runtime again."
            ) from None
        except subprocess.CalledProcessError as error:
            said = (error.stderr or error.stdout).strip().splitlines()
            raise VendorError(
                f"npm cannot download {PACKAGE} {version} ({said[0] if said else 'it does not say why'}). Connect to "
                "the internet, and run make runtime again. The vendored files are unchanged."
            ) from None


def extract(tarball):
    """Return the JavaScript and the WebAssembly of a tarball of npm's, both as bytes. Raises `VendorError`."""
    with tarfile.open(fileobj=io.BytesIO(tarball)) as archive:
        try:
            glue, wasm = (archive.extractfile(name).read() for name in (GLUE, WASM))
        except KeyError as error:
            raise VendorError(f"This version of {PACKAGE} is built differently: {error.args[0]}") from None
    return adapt(glue.decode()).encode(), wasm


def adapt(glue):
    """Return the package's JavaScript with a lower limit of memory, and without `import.meta`.

    The released file asks for 4 GiB of addresses, which iOS refuses. Without `import.meta` a classic script, as in the
    page of one file, can contain it. The source map is not vendored.
    """
    glue, capped = re.subn(r"maximum:65536\b", f"maximum:{PAGES}", glue)
    if capped != 1:
        raise VendorError(
            f"This version of {PACKAGE} asks for memory differently. Adapt icon_classifier/site/vendor.py."
        )
    glue = re.sub(r"\n//# sourceMappingURL=.*", "", glue)
    return glue.replace("import.meta.url", "self.location.href")


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def make(version):
    """Return the vendored files of a version, as a dict of bytes by name, and their record. Raises `VendorError`."""
    tarball = download(version)
    glue, wasm = extract(tarball)
    # No host has a MIME type for .bin, or compresses it again.
    files = {"ort.js": glue, "runtime.bin": gzip.compress(wasm, 9, mtime=0)}
    if too_large := [name for name, data in files.items() if len(data) > MAX_PART_BYTES]:
        raise VendorError(f"{', '.join(too_large)}: larger than {MAX_PART_BYTES} bytes, so it must be split.")
    record = {
        "package": PACKAGE,
        "version": version,
        "integrity": "sha512-" + b64encode(hashlib.sha512(tarball).digest()).decode(),
        "wasm_sha256": sha256(wasm),
        "files": {name: sha256(data) for name, data in files.items()},
        "licences": {name: sha256(vendored(name)) for name in LICENCES},
    }
    return files, record


def vendored(name):
    """Return the bytes of a vendored file, which are none if it is missing."""
    path = RUNTIME / name
    return path.read_bytes() if path.is_file() else b""


def main(version=None):
    """Make the files of `version` and write them; or compare the vendored files with their record, and with npm's."""
    if version:
        return replace(version)
    recorded = json.loads(RECORD.read_text())
    known = recorded["files"] | recorded["licences"]
    if changed := [name for name, digest in known.items() if sha256(vendored(name)) != digest]:
        raise VendorError(
            f"The vendored files differ from their record in {RECORD.name}: {', '.join(changed)}. To get them back, "
            f"run: git checkout {RUNTIME}"
        )
    files, record = make(recorded["version"])
    # The WebAssembly is compared unpacked, because versions of zlib compress differently.
    different = [name for name in files if unpacked(files[name]) != unpacked(vendored(name))]
    if record["integrity"] != recorded["integrity"]:
        different.append("the tarball")
    if different:
        raise VendorError(
            f"{PACKAGE} {record['version']} from npm differs from the vendored one: {', '.join(different)}."
        )
    return (
        f"The vendored {PACKAGE} {record['version']} equals npm's ({len(files)} files), and its licences their record."
    )


def replace(version):
    """Replace the vendored files by those of `version`. Raises `VendorError`."""
    files, record = make(version)
    for name, data in files.items():
        (RUNTIME / name).write_bytes(data)
    RECORD.write_text(json.dumps(record, indent=2) + "\n")
    return (
        f"Wrote {', '.join(files)} of {PACKAGE} {version}. Copy {' and '.join(LICENCES)} from {REPOSITORY}{version} to "
        f"{RUNTIME}, and run this again: it records them."
    )


def unpacked(data):
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


if __name__ == "__main__":
    try:
        print(main(*sys.argv[1:2]))
    except VendorError as error:
        sys.exit(str(error))
