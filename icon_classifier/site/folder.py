"""Make the static page as a folder of files for a web host."""

import base64
import gzip
import hashlib
import importlib.metadata
import json
from pathlib import Path

from .bundle import bundle, modules
from .content import PAGE, RUNTIME, STATIC, inline

MAX_PART_BYTES = 9_500_000  # of a file: Hugging Face wants Git LFS above 10 MB, Cloudflare refuses more than 25 MiB
# Attributes of style draw the bars of the predictions. 'wasm-unsafe-eval' lets the worker compile the runtime. A worker
# from a blob inherits the policy (engine.js). 'self' of worker-src is for the service worker, which inherits none.
CSP = (
    "default-src 'none'; script-src 'self' 'sha256-{support}' 'wasm-unsafe-eval'; style-src 'self'; "
    "style-src-attr 'unsafe-inline'; img-src 'self' blob: data:; connect-src 'self'; worker-src 'self' blob:; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'"
)
VERSION = "@version@"  # in the document, until it is known
README = """---
title: {title}
sdk: static
app_file: index.html
---

A web page that tells apart {labels}. It runs in the visitor's browser and needs no server.
"""


def site_files(content):
    """Return the files of the static page, {path: bytes}. content: the page's `Content`."""
    modules_of_page = modules("page.js", content.scripts)
    code = {name: content.scripts[name].encode() for name in modules_of_page} | {"page.css": content.styles.encode()}
    code["classifier.js"] = bundle("classifier.js", content.scripts).encode()  # a worker from a blob can import nothing
    # Caches between host and visitor keep files for minutes. In a folder that is named by its content, scripts of two
    # versions do not mix, and neither do the parts of two models.
    folder = f"page-{hash_of(code)}"
    runtime, model = _split("runtime", content.runtime), _split("model", content.model)
    parts = {**runtime, **model}
    hashes = _hashes(runtime) | _hashes(model)
    cache = hash_of(parts)
    config = content.config(
        worker=f"{folder}/classifier.js", cache=cache, sha256=hashes, runtime=list(runtime), model=list(model)
    )
    files = {
        "icon.svg": (STATIC / "icon.svg").read_bytes(),
        "manifest.webmanifest": json.dumps(_manifest(content.title), indent=2).encode(),
        **{f"{folder}/{name}": data for name, data in code.items()},
    }
    html = _html(content, config, folder, modules_of_page)
    template = (STATIC / "service_worker.js").read_bytes()
    version = hash_of({**files, "index.html": html, "service_worker.js": template})
    service = {"version": version, "files": {name: sha256_of(data) for name, data in files.items()}}
    service |= {"cache": cache, "parts": hashes}
    worker = f"const SITE = {json.dumps(service)};\n".encode() + template
    labels = ", ".join(content.card.labels)
    title = json.dumps(content.title, ensure_ascii=False)  # a quoted string of YAML, because it may contain a colon
    return {
        "index.html": html.replace(VERSION.encode(), version.encode()),
        **files,
        **parts,
        "service_worker.js": worker,
        "model.txt": content.card.onnx["sha256"].encode(),  # the server asks whether this is the page of its export
        ".nojekyll": b"",  # GitHub Pages copies the files as they are
        "README.md": README.format(title=title, labels=labels).encode(),  # its header is for Hugging Face
        **_licences(),
    }


def _html(content, config, folder, preloaded):
    """Return index.html as bytes, with `VERSION`. config: an element. folder, preloaded: where the modules are."""
    support = inline(content.scripts["support.js"])
    head = [
        f"<script>{support}</script>",
        '<link rel="icon" href="icon.svg">',
        '<link rel="manifest" href="manifest.webmanifest">',
        f'<link rel="stylesheet" href="{folder}/page.css">',
        *(f'<link rel="modulepreload" href="{folder}/{name}">' for name in preloaded),
    ]
    # The service worker looks for the version; at the end, because a document may be cut off.
    scripts = [config, f'<script type="module" src="{folder}/page.js" data-version="{VERSION}"></script>']
    digest = base64.b64encode(hashlib.sha256(support.encode()).digest()).decode()
    return content.html(CSP.format(support=digest), head, scripts)


def _split(kind, data):
    """Return the compressed runtime or model as files, {path: bytes}, each at most `MAX_PART_BYTES` long."""
    pieces = [data[start : start + MAX_PART_BYTES] for start in range(0, len(data), MAX_PART_BYTES)]
    return {f"parts/{kind}-{hash_of({kind: piece})}.bin": piece for piece in pieces}


def _hashes(pieces):
    """Return the SHA-256s that pieces may have, {path: list}: a host may unpack a gzip file that is in one piece."""
    hashes = {name: [sha256_of(data)] for name, data in pieces.items()}
    if len(pieces) == 1:
        [(name, data)] = pieces.items()
        hashes[name].append(sha256_of(gzip.decompress(data)))
    return hashes


def sha256_of(data):
    return hashlib.sha256(data).hexdigest()


def hash_of(files):
    """Return the first digits of the SHA-256 of files, {name: bytes}."""
    digest = hashlib.sha256()
    for name, data in sorted(files.items()):
        digest.update(f"{name} {len(data)} ".encode() + data)
    return digest.hexdigest()[:12]


def _manifest(title):
    """Return what a phone has to know to install the page."""
    icon = {"src": "icon.svg", "sizes": "any", "type": "image/svg+xml"}
    return {"name": title, "short_name": title, "start_url": "./", "display": "standalone", "icons": [icon]}


def _licences():
    """Return the licences of what the page contains, {path: bytes}."""
    own = Path(str(PAGE)).parents[1] / "LICENSE"  # of a checkout; pip installs it with the metadata
    metadata = None if own.is_file() else importlib.metadata.distribution("icon-classifier")
    text = metadata.read_text("licenses/LICENSE") if metadata else own.read_text(encoding="utf-8")
    found = {"licences/LICENSE": text.encode()}
    for name in ("LICENSE", "ThirdPartyNotices.txt"):
        found[f"licences/onnxruntime-{name}"] = (RUNTIME / name).read_bytes()
    return found
