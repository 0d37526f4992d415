"""Start two kernels in the folder argv[1]; print the error of the second, and whether the first is alive."""

import asyncio
import sys
import tempfile

from tornado.web import HTTPError

from icon_classifier.server.kernel_manager import VisitorKernelManager


async def main():
    kernels = VisitorKernelManager(root_dir=sys.argv[1], connection_dir=tempfile.mkdtemp())
    first = await kernels.start_kernel(kernel_name="python3", path="")
    try:
        await kernels.start_kernel(kernel_name="python3", path="")
    except HTTPError as error:
        print(error.status_code, kernels.visitors(), await kernels.get_kernel(first).is_alive(), kernels.forks())
    await kernels.shutdown_all()


asyncio.run(main())
