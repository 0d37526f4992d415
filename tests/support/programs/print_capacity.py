"""Print how many visitors the kernel manager admits."""

import asyncio

from icon_classifier.server.kernel_manager import VisitorKernelManager


async def main():
    kernels = VisitorKernelManager()
    print(await kernels.capacity())
    await kernels.shutdown_all()


asyncio.run(main())
