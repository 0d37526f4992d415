"""Start a visitor's kernel in the folder argv[1] as Voila does; run the lines argv[2:] and print their outputs."""

import asyncio
import json
import logging
import sys
import tempfile

from icon_classifier.server.kernel_manager import VisitorKernelManager


async def main():
    folder = tempfile.mkdtemp()  # for the sockets, as Voila's is
    kernels = VisitorKernelManager(root_dir=sys.argv[1], connection_dir=folder, log=logging.getLogger("kernels"))
    capacity = await asyncio.gather(*(kernels.capacity() for _ in range(3)))  # they all wait for the fork server
    assert len(set(capacity)) == 1, capacity
    shown = {"capacity": capacity[0], "forked": kernels.forks(), "lines": []}
    for _ in range(2):  # a reason is logged once, not for every visitor
        kernel_id = await kernels.start_kernel(kernel_name="python3", path="")
    shown["then"] = await kernels.capacity()
    client = kernels.get_kernel(kernel_id).client()
    client.start_channels()
    await client.wait_for_ready(timeout=60)
    for line in sys.argv[2:]:
        messages = []
        await client.execute_interactive(line, timeout=60, output_hook=messages.append)
        parts = [message["content"] for message in messages]
        shown["lines"].append("".join(part.get("text", "") or str(part.get("evalue", "")) for part in parts).strip())
    client.stop_channels()
    if kernels.forks():
        shown["fork_server"] = kernels.fork_pool.process.pid
    await kernels.shutdown_all()
    print("shown:", json.dumps(shown))


logging.basicConfig()
asyncio.run(main())
