"""Search with jmd_imagescraper as it ships, at each of the engines argv[1] (JSON), until argv[2] seconds are over.

Many searches at once, each in a thread that is left behind when time is up. Only the address of the search engine is
replaced; what asks is its own function with requests' own get and post.
"""

import json
import os
import sys
import threading
import time

import requests
from jmd_imagescraper import core

endpoints, seconds = json.loads(sys.argv[1]), float(sys.argv[2])
local = threading.local()


class Elsewhere:
    def __getattr__(self, method):
        return lambda url, **options: getattr(requests, method)(
            url.replace("https://duckduckgo.com", local.endpoint), **options
        )


core.requests = Elsewhere()
outcome = dict.fromkeys(endpoints, "it is still waiting")


def alone(case):
    local.endpoint = endpoints[case]
    try:
        links = core.duckduckgo_scrape_urls("heart", 150)
        outcome[case] = f"{len(links)} links"
    except BaseException as error:
        outcome[case] = f"{type(error).__name__}: {error}"


threads = [threading.Thread(target=alone, args=[case], daemon=True) for case in endpoints]
for thread in threads:
    thread.start()
until = time.monotonic() + seconds
for thread in threads:
    thread.join(max(0, until - time.monotonic()))
print("\n" + json.dumps(outcome))
sys.stdout.flush()
os._exit(0)
