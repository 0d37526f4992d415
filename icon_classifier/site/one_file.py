"""Make the static page as one HTML file, which opens from a disk, a mail or a USB stick."""

import base64

from .bundle import bundle
from .content import data_block, inline

# A page from a disk can load no other file, so everything is in the document.
CSP = (
    "default-src 'none'; script-src 'unsafe-inline' blob: 'wasm-unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src blob: data:; worker-src blob:; base-uri 'none'; form-action 'none'"
)


def one_file(content):
    """Return the whole page as the bytes of one HTML file. content: the page's `Content`."""
    scripts = [
        content.config(),
        data_block("worker", bundle("classifier.js", content.scripts)),
        f"<script>{inline(content.scripts['support.js'])}</script>",
        f"<script>{inline(bundle('page.js', content.scripts))}</script>",
        # At the end, because the page works before they have been read.
        data_block("runtime", base64.b64encode(content.runtime).decode()),
        data_block("model", base64.b64encode(content.model).decode()),
    ]
    return content.html(CSP, [f"<style>{content.styles}</style>"], scripts)
