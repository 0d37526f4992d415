"""The widget of a review: a grid of photos, a page at a time, on which a person decides with a click or a key."""

import logging
from collections import Counter
from pathlib import Path

import anywidget
import traitlets

from ...errors import IconClassifierError
from ..layout import readable
from ..manifest import is_dataset
from ..suspicion import EXCLUDE, RELABEL
from .decisions import APPROVE, KEEP, MIN_APPROVED_TO_COMPARE, Review, ReviewError
from .scripts import join_scripts
from .thumbnails import Thumbnails

log = logging.getLogger(__name__)

PAGE = 30  # photos per page
FILTERS = ("label", "check", "split", "decision")
IN_WORDS = {KEEP: "kept", APPROVE: "approved", EXCLUDE: "excluded", RELABEL: "relabelled"}
OTHER_VIEW = "Nothing was decided, because other photos are shown now. Please decide again."
COMPARISON_FAILED = "The comparison with the approved photos failed. The notebook's log says more."
FAILED = "Something went wrong, and nothing was decided. The notebook's log says more."


class ReviewGrid(anywidget.AnyWidget):
    """Show the photos of a `Review`, the most suspicious first, and decide about them.

    The browser requests pages of the current view, and decisions about positions in it (see grid.js):

    - To {"page": n, "view": id}, the response is {"page", "view", "items", "sent"}, with thumbnails as buffers.
    - To {"decide": decision, "label": label, "first": n, "last": n, "view": id} and {"undo": True}, the response is
      {"changed": {position: item}}. It includes what other tabs have decided.
    - {"filter": {...}} and {"all": True} make another view. The trait `status` then holds its id and size.

    A view keeps its photos and their order, whatever is decided, so that nothing moves under the cursor.
    """

    _esm = join_scripts("elements.js", "pages.js", "cards.js", "layout.js", "grid.js")
    _css = Path(__file__).with_name("grid.css")
    labels = traitlets.List().tag(sync=True)
    words = traitlets.Dict(IN_WORDS).tag(sync=True)  # {decision: in words}
    checks = traitlets.Dict().tag(sync=True)
    splits = traitlets.List().tag(sync=True)
    page_size = traitlets.Int(PAGE).tag(sync=True)
    status = traitlets.Dict().tag(sync=True)

    def __init__(self, review):
        self.review = review
        self._thumbnails = Thumbnails(review.photos)
        self._view_id = 0
        self._filters = {"decision": "none"}  # a restarted review continues with what is not decided
        self._only = None  # files to which the view is limited
        self._title = ""  # what they are, in words
        super().__init__(
            labels=review.labels, checks=review.checks(), splits=sorted({item.split for item in review.items} - {""})
        )
        self._look()
        self.on_msg(self._receive)

    def show(self, files, title):
        """Show only these files (paths, or paths below the dataset), in this order. title: what they are, in words."""
        root = self.review.photos
        files = [Path(file) for file in files]
        self._only = [(file.relative_to(root) if file.is_relative_to(root) else file).as_posix() for file in files]
        self._title = title
        self._filters = {}
        self._look()
        self._say(self.status["title"])

    # Messages from the browser

    def _receive(self, _widget, message, _buffers):
        try:
            if "page" in message:
                self._send_page(int(message["page"]), message["view"])
            elif "undo" in message:
                self._undo()
            elif "decide" in message:
                self._decide(message)
            elif "filter" in message:
                self._filters = {name: str(message["filter"].get(name) or "") for name in FILTERS}
                self._look()
            elif "all" in message:
                self._only = None
                self._title = ""
                self._look()
        except (IconClassifierError, OSError) as error:
            self._respond([], str(error))
        except Exception:
            log.exception("the review failed")
            self._respond([], FAILED)

    def _look(self):
        """Make the view that the filters ask for."""
        self.review.refresh()
        self._view = self.review.view(files=self._only, **self._filters)
        self._positions = {number: position for position, number in enumerate(self._view)}
        self._view_id += 1
        self._say("")
        self._thumbnails.prepare(filter(None, self._page(0)[1]))  # while the browser is not ready to ask for them

    def _page(self, page):
        """Return (items as the browser shows them, files) of a page: per item its file, and that beside it or None."""
        items, files = [], []
        for number in self._view[page * PAGE : (page + 1) * PAGE]:
            item = self.review.items[number]
            beside = item.findings and self.review.evidence(item.findings[0])
            items.append(self._item(item) | {"beside": beside.label if beside else ""})
            files += [item.place, beside.place if beside else None]
        return items, files

    def _send_page(self, page, view):
        if view != self._view_id:
            return  # the browser will ask again
        self.review.refresh()
        items, files = self._page(page)
        jpegs = iter(self._thumbnails([file for file in files if file]))
        jpegs = [next(jpegs) if file else None for file in files]
        sent = [number for number, jpeg in enumerate(jpegs) if jpeg]
        content = {"page": page, "view": view, "items": items, "sent": sent}
        self.send(content, [jpegs[number] for number in sent])
        if self.review.changed_elsewhere:  # on other pages, too
            self._send_changed([])

    def _item(self, item):
        """Return what the browser shows of a photo."""
        return {
            "file": readable(item.file),
            "label": item.label,
            "split": item.split,
            "decision": item.decision,
            "reasons": [finding.sentence for finding in item.findings],
            "suggested": item.findings[0].suggested if item.findings else "",
            "other": self.review.typed(next((f.other_label for f in item.findings if f.other_label), "")),
        }

    def _decide(self, message):
        if message["view"] != self._view_id:
            return self._respond([], OTHER_VIEW)
        first, last = sorted((int(message["first"]), int(message["last"])))
        numbers = self._view[max(0, first) : last + 1]
        compared = self._compared_labels()
        changed = self.review.decide(numbers, message["decide"], message.get("label") or "")
        said = in_words([self.review.items[number] for number in changed])
        if gone := len(numbers) - len(changed):
            said += f" {gone_in_words(gone)}"
        for label in self._compared_labels() - compared:
            said += f" {MIN_APPROVED_TO_COMPARE} photos of {label} are approved:"
            said += " choose a filter to see what is far from them."
        self._respond(changed, said)

    def _compared_labels(self):
        """Return the labels with so many approved photos that the others are compared with them."""
        approved = self.review.approved() if self.review.compares and not self.review.comparison_failed else {}
        return {label for label, files in approved.items() if len(files) >= MIN_APPROVED_TO_COMPARE}

    def _undo(self):
        step = self.review.last_step
        undone = self.review.undo()
        if undone is None:
            return self._respond([], "There is nothing to undo.")
        stay = [self.review.items[number] for number in set(step) - set(undone)]
        gone = sum(not (self.review.photos / item.place).exists() for item in stay)
        said = [f"Undone: {in_number(len(undone))}."] if undone else []
        said += [gone_in_words(gone)] if gone else []
        if others := len(stay) - gone:
            stays = "it stays" if others == 1 else "they stay"
            said.append(f"Another tab has decided about {in_number(others)} since, so {stays}.")
        self._respond(undone, " ".join(said))

    def _respond(self, changed, said):
        """Tell the browser which photos have changed, and where the review stands."""
        self._send_changed(changed)
        self._say(said)

    def _send_changed(self, changed):
        """Send the photos that have changed here, or because another process has decided about them."""
        numbers = self.review.changed_elsewhere.union(changed)
        self.review.changed_elsewhere.clear()
        positions = {number: self._positions[number] for number in numbers if number in self._positions}
        self.send({"changed": {str(place): self._item(self.review.items[n]) for n, place in positions.items()}})

    def _say(self, said):
        """Tell the browser where the review stands. said: what screen readers read aloud."""
        counts = self.review.counts()
        self.checks = self.review.checks()
        self.status = {
            "view": self._view_id,
            "total": len(self._view),
            "photos": len(self.review.items),
            "decided": len(self.review.items) - counts[""],
            "counts": {word: counts[decision] for decision, word in IN_WORDS.items() if counts[decision]},
            "title": f"{in_number(len(self._view))}: {self._title}" if self._title else "",
            "filters": {name: self._filters.get(name, "") for name in FILTERS},
            "said": f"{said} {COMPARISON_FAILED}".strip() if self.review.comparison_failed else said,
            "times": self.status.get("times", 0) + 1,  # else the same words twice would not be sent
        }


def in_number(photos):
    """Return a number of photos in words."""
    return "1 photo" if photos == 1 else f"{photos} photos"


def gone_in_words(photos):
    """Say that a number of photos are no longer where the review knows them."""
    be, their = ("is", "its file was") if photos == 1 else ("are", "their files were")
    return f"{in_number(photos)} {be} no longer there, because {their} moved or deleted."


def in_words(items):
    """Return what was decided about `items`, in a sentence; "" if there are none."""
    done = Counter(
        f"{IN_WORDS[item.decision]} as {item.label}" if item.decision == RELABEL else IN_WORDS[item.decision]
        for item in items
    )
    if len(items) == 1:
        return f"{Path(items[0].file).name}: {next(iter(done))}."
    parts = list(done) if len(done) == 1 else [f"{number} {what}" for what, number in done.items()]
    return f"{in_number(len(items))}: {', '.join(parts)}." if items else ""


def open_review(photos, findings=(), **options):
    """Return a `ReviewGrid` of the dataset `photos`. options: as those of `Review`.

    Raises ReviewError if it is none: a decision would make it one, whose photos the next gathering normalizes.
    """
    if not is_dataset(photos):
        raise ReviewError(f"{photos} is not a dataset. Gather it into one first, with gather_from: it stays as it is.")
    return ReviewGrid(Review(photos, findings, **options))
