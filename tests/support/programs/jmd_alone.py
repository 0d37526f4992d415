"""Search with jmd_imagescraper as it ships, at each of the engines argv[1] (JSON), for at most argv[2] seconds.

The searches are concurrent, each in a thread, and the outcome of each is printed when it ends. Only the address of the
search engine is replaced; the requests are made by jmd_imagescraper's own function with requests' own get and post.
"""

import json
import os
import sys
import threading
import time

import requests
from jmd_imagescraper import core

endpoints = json.loads(sys.argv[1])
seconds = float(sys.argv[2])
local = threading.local()


class Elsewhere:
    def __getattr__(self, method):
        return lambda url, **options: getattr(requests, method)(
            url.replace("https://duckduckgo.com", local.endpoint), **options
        )


core.requests = Elsewhere()


def alone(case):
    local.endpoint = endpoints[case]
    try:
        outcome = f"{len(core.duckduckgo_scrape_urls('heart', 150))} links"
    except BaseException as error:
        outcome = f"{type(error).__name__}: {error}"
    sys.stdout.write(f"\n{json.dumps({case: outcome})}\n")  # jmd_imagescraper itself prints, also parts of lines
    sys.stdout.flush()


threads = [threading.Thread(target=alone, args=[case], daemon=True) for case in endpoints]
for thread in threads:
    thread.start()
end = time.monotonic() + seconds
for thread in threads:
    thread.join(max(0, end - time.monotonic()))
os._exit(0)
