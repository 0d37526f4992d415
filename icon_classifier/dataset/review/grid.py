"""The widget of a review: a grid of photos, a page at a time, on which a person decides with a click or a key."""

import logging
from pathlib import Path

import anywidget
import traitlets

from ...errors import IconClassifierError
from .decisions import APPROVE, EXCLUDE, KEEP, MIN_APPROVED, RELABEL, Review
from .thumbnails import Thumbnails

log = logging.getLogger(__name__)

PAGE = 30  # photos per page
FILTERS = ("label", "check", "split", "decision")
IN_WORDS = {KEEP: "kept", APPROVE: "approved", EXCLUDE: "excluded", RELABEL: "relabelled"}
OTHER_VIEW = "Nothing was decided, because other photos are shown now. Please decide again."
FAILED = "Something went wrong, and nothing was decided. The notebook's log says more."


class ReviewGrid(anywidget.AnyWidget):
    """Shows the photos of a `Review`, the most suspicious first, and decides about them.

    The browser asks for a page of the present view and for decisions about positions in it (see grid.js):

    - {"page": n, "view": id} is answered with {"page", "view", "items"}, with thumbnails as buffers.
    - {"decide": decision, "label": label, "first": n, "last": n, "view": id} and {"undo": True} are answered with
      {"changed": {position: item}}.
    - {"filter": {...}} and {"all": True} make another view. The trait `status` then holds its id and size.

    A view keeps its photos and their order, whatever is decided, so that nothing moves under the cursor.
    """

    _esm = Path(__file__).with_name("grid.js")
    _css = Path(__file__).with_name("grid.css")
    labels = traitlets.List().tag(sync=True)
    checks = traitlets.Dict().tag(sync=True)
    splits = traitlets.List().tag(sync=True)
    page_size = traitlets.Int(PAGE).tag(sync=True)
    status = traitlets.Dict().tag(sync=True)

    def __init__(self, review):
        self.review = review
        self._thumbnails = Thumbnails(review.photos)
        self._view_id = 0
        self._filters = {"decision": "none"}  # a restarted review continues with what is not decided
        self._only = self._title = None  # files to which the view is limited, and what they are
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
        self._title, self._filters = title, {}
        self._look()
        self._say(f"{len(self._view)} photos: {title}")

    # Messages from the browser

    def _receive(self, _widget, message, _buffers):
        try:
            if "page" in message:
                self._send_page(int(message["page"]), message["view"])
            elif "undo" in message:
                self._undo()
            elif "decide" in message and message["view"] != self._view_id:
                self._say(OTHER_VIEW)
            elif "decide" in message:
                self._decide(message)
            elif "filter" in message:
                self._filters = {name: str(message["filter"].get(name) or "") for name in FILTERS}
                self._look()
            elif "all" in message:
                self._only = self._title = None
                self._look()
        except (IconClassifierError, OSError) as error:
            self._answer([], str(error))
        except Exception:
            log.exception("the review failed")
            self._answer([], FAILED)

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

    def _item(self, item):
        """Return what the browser shows of a photo."""
        return {
            "file": item.file,
            "label": item.label,
            "split": item.split,
            "decision": item.decision,
            "reasons": [finding.sentence for finding in item.findings],
            "suggested": item.findings[0].suggested if item.findings else "",
            "other": self.review.typed(next((f.other_label for f in item.findings if f.other_label), "")),
        }

    def _decide(self, message):
        first, last = sorted((int(message["first"]), int(message["last"])))
        numbers = self._view[max(0, first) : last + 1]
        approved = self._enough()
        changed = self.review.decide(numbers, message["decide"], message.get("label") or "")
        said = self._in_words([self.review.items[number] for number in changed])
        if len(changed) < len(numbers):
            said += f" {len(numbers) - len(changed)} photos are no longer there."
        for label in self._enough() - approved:
            said += f" {MIN_APPROVED} photos of {label} are approved: choose a filter to see what is far from them."
        self._answer(changed, said)

    def _enough(self):
        """Return the labels with so many approved photos that the others are compared with them."""
        return {label for label, files in self.review.approved().items() if len(files) >= MIN_APPROVED}

    def _in_words(self, items):
        if len(items) != 1:
            return f"{len(items)} photos: {IN_WORDS[items[0].decision]}." if items else ""
        (item,) = items
        to = f" as {item.label}" if item.decision == RELABEL else ""
        return f"{Path(item.file).name}: {IN_WORDS.get(item.decision, 'not decided')}{to}."

    def _undo(self):
        changed = self.review.undo()
        if changed is None:
            return self._answer([], "There is nothing to undo.")
        n = len(changed)
        what = f"Undone: {'1 photo' if n == 1 else f'{n} photos'}."
        self._answer(changed, what if n else "Another tab has decided about these photos since, so they stay.")

    def _answer(self, changed, said):
        positions = {number: self._positions[number] for number in changed if number in self._positions}
        self.send({"changed": {str(place): self._item(self.review.items[n]) for n, place in positions.items()}})
        self._say(said)

    def _say(self, said):
        """Tell the browser where the review stands. said: what screen readers read aloud."""
        counts = self.review.counts()
        self.checks = self.review.checks()
        self.status = {
            "view": self._view_id,
            "total": len(self._view),
            "photos": len(self.review.items),
            "decided": len(self.review.items) - counts[""],
            "counts": {IN_WORDS[decision]: counts[decision] for decision in IN_WORDS if counts[decision]},
            "title": self._title or "",
            "filters": {name: self._filters.get(name, "") for name in FILTERS},
            "said": said,
            "times": self.status.get("times", 0) + 1,  # else the same words twice would not be sent
        }


def open_review(photos, findings=(), **options):
    """Return a `ReviewGrid` of the dataset `photos`. options: as those of `Review`."""
    return ReviewGrid(Review(photos, findings, **options))
