"""Serve the review of a dataset on this computer, as `make review PHOTOS=folder` does."""

import os
import secrets
import sys
from pathlib import Path

from icon_classifier.dataset.checks.degenerate import Degenerate
from icon_classifier.dataset.checks.duplicates import Duplicates, LabelConflicts
from icon_classifier.dataset.checks.run import find_all
from icon_classifier.dataset.datasets import dataset_of
from icon_classifier.dataset.layout import readable
from icon_classifier.dataset.manifest import EXCLUDED, DiskError, Manifest, is_dataset
from icon_classifier.dataset.review.findings import read_findings, write_findings
from icon_classifier.errors import IconClassifierError
from icon_classifier.server.port import refusal

NOTEBOOK = Path(__file__).with_name("review.ipynb")


def prepare(source):
    """Return the dataset of `source`, after gathering it if it is not a dataset, and checking its photos."""
    if not source:
        raise IconClassifierError('Name a folder that contains a folder per label: make review PHOTOS="my photos".')
    if not Path(source).exists() and source != "sample":
        raise IconClassifierError(f"There is no folder {source}.")
    photos = dataset_of(source)
    if source == "sample":
        from icon_classifier.training.sample import make_sample

        make_sample(photos)
    elif not is_dataset(source):
        from icon_classifier.training.gather import gather_from

        gather_from(source, photos)
    print(f"Checking the photos in {photos}", flush=True)
    found, findings, _ = find_all(photos)
    findings += earlier_findings(photos, found)
    try:
        write_findings(photos, findings)
    except DiskError as error:  # the photos can be looked at
        print(f"The findings are not shown. {error}")
    print(f"{len(found)} photos, {len(findings)} findings")
    return photos


def earlier_findings(photos, found):
    """Return what train.ipynb found out with its network about the photos `found`, which takes no network again."""
    files = {photo.file for photo in found}
    files |= {readable(row["file"]) for row in Manifest(photos).rows if row["decision"] == EXCLUDED}
    names = {check.name for check in (Degenerate, Duplicates, LabelConflicts)}
    return [earlier for earlier in read_findings(photos) if earlier.check not in names and earlier.file in files]


def main():
    port = os.environ.get("PORT") or "8866"
    try:
        if reason := refusal(port):
            raise IconClassifierError(reason)
        photos = prepare(os.environ.get("TYPED_PHOTOS", ""))
    except IconClassifierError as error:
        sys.exit(f"make review: {error}")
    # Only this computer can connect, and only with the token: other users have accounts on it too, and a web page can
    # reach localhost under a host name of its own (DNS rebinding). In the arguments, all users could read the token.
    os.environ["JUPYTER_TOKEN"] = token = secrets.token_urlsafe(24)
    address = f"http://localhost:{port}/?token={token}"
    print(f"The review: {address} (Ctrl-C ends it; what you decide is saved at once)", flush=True)
    os.environ["REVIEW_PHOTOS"] = str(photos.resolve())
    options = ["--Voila.ip=localhost", f"--port={port}", "--no-browser", "--Voila.auto_token=True"]
    # A review can take hours, so a kernel ends with its page and not before.
    options.append("--MappingKernelManager.cull_idle_timeout=0")
    command = [sys.executable, "-m", "voila", str(NOTEBOOK), *options]
    os.execv(sys.executable, command)


if __name__ == "__main__":
    main()
