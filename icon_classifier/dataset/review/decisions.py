"""Decide about photos: a review without its widgets. Each decision is saved at once, as a row of the manifest."""

import logging
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import IconClassifierError
from ..exclude import Rows, apply_changes, label_depth, label_folder
from ..layout import find_images, readable
from ..manifest import BY_HAND, EXCLUDED, EXCLUDED_FOLDER, KEPT, Manifest, asked, photo_key
from ..suspicion import EXCLUDE, RELABEL, suspicion

log = logging.getLogger(__name__)

KEEP = "keep"  # the photo and its label are right
APPROVE = "approve"  # the same, and the photo is a good example of its label
DECISIONS = (KEEP, APPROVE, EXCLUDE, RELABEL)
# The reasons in the manifest, from which a restarted review knows what was decided.
REASONS = {
    KEEP: "It was kept in the review.",
    APPROVE: "It was approved in the review.",
    EXCLUDE: "It was excluded in the review.",
    RELABEL: "It was given another label in the review.",
}
DECIDED = {reason: decision for decision, reason in REASONS.items()}
MIN_APPROVED_TO_COMPARE = 10  # of a label; from then on its other photos are compared with them
DECIDED_COLUMNS = "label file given decision reason".split()


class ReviewError(IconClassifierError, ValueError):
    """A decision cannot be made. The message says why."""


@dataclass(eq=False)
class Item:
    """A photo in a review.

    number: its place in `Review.items`. file: the path below the dataset, or below its .excluded.
    split: "train", "valid" or "". row: of the manifest; None if it was added by hand and nothing was decided.
    found_as: its path when the checks looked at it, as text. findings: those about it, the highest score first.
    """

    number: int
    file: str
    label: str
    split: str = ""
    row: dict | None = None
    found_as: str = ""
    findings: list = field(default_factory=list)

    def __post_init__(self):
        self.decision = decision_of(self.row)  # one of `DECISIONS`, or ""

    def update_from(self, row):
        """Update the photo's file, label and decision from its `row`; return whether one of them has changed."""
        before = self.file, self.label, self.decision
        self.row = row
        self.file = row["file"]
        self.label = row["label"]
        self.decision = decision_of(row)
        return before != (self.file, self.label, self.decision)

    @property
    def place(self):
        """Return the path below the dataset where the file is now."""
        return f"{EXCLUDED_FOLDER}/{self.file}" if self.decision == EXCLUDE else self.file


class Review:
    """Order the photos of a dataset by suspicion, and decide about them.

    photos: the folder of the dataset. findings: of the checks; see checks.photo.Finding.
    valid: the files (below the dataset) that are for validation, if no folders train and valid say so. Without them,
    the sides that the manifest records count.
    far_from_approved: None, or called with the items and returns `Finding`s; see approved.CompareWithApproved. It is
    called as soon as a label has `MIN_APPROVED_TO_COMPARE` approved photos, and when others are approved after that.

    `items` keeps its order, so that an index in it means the same photo. Several processes can review one dataset.
    """

    def __init__(self, photos, findings=(), valid=(), far_from_approved=None):
        self.photos = Path(photos)
        self.manifest = Manifest(photos)
        self._far_from_approved = far_from_approved
        self._far = []  # the findings about photos that are far from the approved ones
        self._steps = []  # that can be undone: lists of (item, the row before, the row after)
        self.changed_elsewhere = set()  # numbers of photos; who shows the photos empties it
        self._compared = set()  # the approved photos that others were last compared with
        self.comparison_failed = False  # the last one; the log says why
        self.items = self._list()
        self.folders = self._label_folders()
        self._by_key = {photo_key(item.row): item for item in self.items if item.row}
        self._by_file = {readable(item.file): item for item in self.items if not item.row}
        found = {readable(file) for finding in findings for file in (finding.file, finding.evidence)}
        self._set_names(found, set(map(readable, valid)))
        self._add_findings(findings)
        self._recheck()

    def _list(self):
        """Return an `Item` per photo of the dataset, and per excluded one. No other process decides meanwhile."""
        with self.manifest.locked_if_writable():
            self.manifest.refresh()
            listed = find_images(self.photos)
            self._depth = label_depth(listed)
            rows = Rows(self.manifest, self._depth)
            if self.manifest.writable and rows.reconcile([file for file, *_ in listed]):
                rows = Rows(self.manifest, self._depth)
            excluded = [row for row in rows.excluded.values() if self.manifest.place(row).exists()]
        items = [
            Item(number, file, rows.label(file), split, rows.kept.get(file))
            for number, (file, split, _) in enumerate(listed)
        ]
        splits = {tuple(label_folder(item.file, self._depth)[0]): item.split for item in items}
        for row in excluded:
            above, _ = label_folder(row["file"], self._depth)
            items.append(Item(len(items), row["file"], row["label"], splits.get(tuple(above), ""), row))
        return items

    def _label_folders(self):
        """Return {label: folder}, also of the labels whose photos have all been given another one."""
        folders = {item.label: label_folder(item.file, self._depth)[1] for item in self.items}
        for row in (item.row for item in self.items if item.row and item.row["given"]):
            file = row["given_file"]
            folders.setdefault(row["given"], label_folder(file, self._depth)[1] if file else row["given"])
        return folders

    def _set_names(self, found, valid):
        """Set the paths by which the checks know the photos, and the splits. found, valid: the files that they name."""
        for item in self.items:
            file = readable(item.file)
            item.found_as = file if file in found or file in valid or not item.row else item.row["given_file"] or file
            recorded = item.row["split"] if item.row else ""
            session = ("valid" if item.found_as in valid else "train") if valid else ""
            drawn = recorded or session if item.decision == EXCLUDE else session or recorded
            item.split = item.split or drawn
        self._by_found = {item.found_as: item for item in reversed(self.items)}  # an excluded one comes last

    def _add_findings(self, findings):
        """Add findings to their photos, and order the photos."""
        for finding in findings:
            item = self._by_found.get(readable(finding.file))
            if item:
                item.findings.append(finding)
        for item in self.items:
            item.findings.sort(key=lambda finding: -finding.score)
        self._order = sorted(self.items, key=lambda item: suspicion(item.file, item.findings))

    @property
    def labels(self):
        """Return the labels, sorted."""
        return sorted(self.folders)

    def typed(self, label):
        """Return a label as it was typed; checks and models know it by the name of its folder."""
        return next((typed for typed, folder in self.folders.items() if folder == label), label)

    def evidence(self, finding):
        """Return the `Item` to show beside a finding: the duplicate, or the least suspicious photo of its other label.

        None if there is none.
        """
        if finding.evidence:
            return self._by_found.get(readable(finding.evidence))
        if not finding.other_label:
            return None
        other = self.typed(finding.other_label)
        same = (item for item in reversed(self._order) if item.label == other)
        return next((item for item in same if item.decision != EXCLUDE and item.file != finding.file), None)

    # Look at photos

    def view(self, label="", check="", split="", decision="", files=None):
        """Return the numbers of the photos that match all filters; the most suspicious first.

        decision: one of `DECISIONS`, "none", "any" or "". files: only these, in this order (the other filters count).
        """

        def fits(item):
            return (
                (not label or item.label == label)
                and (not check or any(found.check == check for found in item.findings))
                and (not split or item.split == split)
                and (not decision or decision in (item.decision or "none", "any" if item.decision else "none"))
            )

        if files is None:
            return [item.number for item in self._order if fits(item)]
        items = self._by_found | {readable(item.file): item for item in self.items}
        named = filter(None, (items.get(readable(file)) for file in files))
        return [item.number for item in named if fits(item)]

    def checks(self):
        """Return {name of a check: number of photos it found}."""
        return dict(Counter(name for item in self.items for name in {found.check for found in item.findings}))

    def counts(self):
        """Return {decision: number of photos}; "" for those without one."""
        return Counter(item.decision for item in self.items)

    # Decide

    def decide(self, numbers, decision, label=""):
        """Decide about photos and return the numbers of those that are still there; all of them are one step of `undo`.

        label: for `RELABEL`. Raises `ReviewError`, and `DiskError` if nothing was decided.
        """
        if decision not in DECISIONS:
            raise ReviewError(f"There is no decision {decision!r}. Use one of: {', '.join(DECISIONS)}.")
        if decision == RELABEL and label not in self.folders:
            raise ReviewError(f"There is no label {label!r} in {self.photos}. Use one of: {', '.join(self.labels)}.")
        with self.manifest.locked():
            self.refresh()
            items = [self.items[number] for number in dict.fromkeys(numbers)]
            new = decision == RELABEL or any(item.row is None for item in items)
            rows = Rows(self.manifest, self._depth) if new else None
            items = [item for item in items if (self.photos / item.place).exists()]
            before = [dict(item.row or rows.of(item.file)) for item in items]
            after = [self._columns(row, decision, label, rows) for row in before]
            return self._apply(items, before, after)

    def _columns(self, row, decision, label, rows):
        """Return what changes in the row of a photo."""
        if decision == EXCLUDE:
            return dict(decision=EXCLUDED, reason=REASONS[EXCLUDE])
        if decision == RELABEL and row["label"] != label:
            return rows.moved(row, self.folders[label]) | dict(reason=REASONS[RELABEL])
        if decision == RELABEL:  # to the label that it has
            decision = RELABEL if row["given"] else KEEP
        return dict(decision=KEPT, reason=REASONS[decision])

    def _apply(self, items, before, after, undoing=False):
        """Write decisions; return the numbers of the photos that they concern."""
        rows = apply_changes(self.manifest, list(zip(before, after, strict=True)))
        step = [(item, old, dict(new)) for item, old, new in zip(items, before, rows, strict=True) if new]
        for item, row in zip(items, rows, strict=True):
            if row:
                self._update_item(item, row)
        if step and not undoing:
            self._steps.append(step)
        self._recheck()
        return [item.number for item, *_ in step]

    def _update_item(self, item, row):
        """Update `item` from its `row`; return whether it has changed."""
        if item.row is None:
            self._by_file.pop(readable(item.file), None)
        self._by_key[photo_key(row)] = item
        return item.update_from(row)

    @property
    def last_step(self):
        """Return the numbers of the photos of the step that `undo` takes back."""
        return [item.number for item, *_ in self._steps[-1]] if self._steps else []

    def undo(self):
        """Take back the last step; return the numbers of its photos.

        Those that another process has decided since, and those whose files were moved or deleted, are left out.
        Return None if there is no step.
        """
        if not self._steps:
            return None
        with self.manifest.locked():
            self.refresh()
            step = [
                (item, dict(item.row), {column: before.get(column, "") for column in DECIDED_COLUMNS})
                for item, before, after in self._steps[-1]
                if all(item.row[column] == after[column] for column in DECIDED_COLUMNS)
            ]
            undone = self._apply(*map(list, zip(*step, strict=True)), undoing=True) if step else []
            self._steps.pop()  # at last, because after an error (a full disk) it can be undone again
            return undone

    def refresh(self):
        """Read what other processes have decided; return the numbers of the photos that have changed.

        As deciding and undoing read it too, `changed_elsewhere` collects these numbers.
        """
        changed = []
        for row in self.manifest.refresh():
            if row["decision"] in (KEPT, EXCLUDED):
                item = self._by_key.get(photo_key(row)) if row["sha256"] else None
                if not item and row["origin"] == BY_HAND:  # then its url is its path
                    item = self._by_file.get(row["url"])
                if item and self._update_item(item, row):
                    changed.append(item.number)
        self.changed_elsewhere.update(changed)
        self._recheck()
        return changed

    # Approve

    @property
    def compares(self):
        """Return whether the photos are compared with the approved ones."""
        return self._far_from_approved is not None

    def approved(self):
        """Return {label: files of its approved photos}."""
        found = defaultdict(list)
        for item in self.items:
            if item.decision == APPROVE:
                found[item.label].append(item.file)
        return dict(found)

    def _recheck(self):
        """Find the photos that are far from the approved ones, if others are approved than the last time.

        The order changes in views that are made after that.
        """
        if not self.compares:
            return
        approved = {(item.number, item.label) for item in self.items if item.decision == APPROVE}
        if approved == self._compared:
            return
        self._compared = approved
        enough = any(len(files) >= MIN_APPROVED_TO_COMPARE for files in self.approved().values())
        self.comparison_failed = False
        try:
            findings = self._far_from_approved(self.items) if enough else []
        except Exception:  # decisions are saved by now; who decides must see them, and can undo them
            log.exception("the comparison with the approved photos failed")
            self.comparison_failed = True
            findings = []
        names = {finding.check for finding in self._far + findings}
        self._far = findings
        if names:
            for item in self.items:
                item.findings = [finding for finding in item.findings if finding.check not in names]
            self._add_findings(findings)

    # What changed

    def changes(self):
        """Return a line per label about what cleaning has changed since the photos were gathered."""
        lines = []
        for label in self.labels:
            given = [item for item in self.items if (asked(item.row) if item.row else item.label) == label]
            excluded = sum(item.decision == EXCLUDE for item in given)
            gone = Counter(item.label for item in given if item.decision != EXCLUDE and item.label != label)
            come = Counter(
                item.row["given"] for item in self.items
                if item.decision != EXCLUDE and item.label == label and item.row and item.row["given"]
            )  # fmt: skip
            now = len(given) - excluded - gone.total() + come.total()
            what = [f"{excluded} excluded"] if excluded else []
            what += [f"{n} moved to {other}" for other, n in sorted(gone.items())]
            what += [f"{n} came from {other}" for other, n in sorted(come.items())]
            lines.append(f"{label}: {len(given)} photos, now {now}" + (f" ({', '.join(what)})" if what else ""))
        return lines


def decision_of(row):
    """Return what was decided about the photo of a row, which can be None."""
    if not row:
        return ""
    if row["decision"] == EXCLUDED:
        return EXCLUDE
    return DECIDED.get(row["reason"]) or (RELABEL if row["given"] else "")
