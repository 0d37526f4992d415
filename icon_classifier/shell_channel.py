"""The channel on which a kernel replies, for `notebook_runner` and for Voila, which both execute notebooks."""

from jupyter_client.channels import AsyncZMQSocketChannel


class ShellChannel(AsyncZMQSocketChannel):
    """The channel on which the kernel replies that a cell is done; polls each second while it waits.

    nbclient answers what a cell displays within an Output widget (the cleaner's photos are such) with a message on
    this channel, and jupyter_client sends it past asyncio. If the reply arrives at that moment, ZeroMQ's edge-triggered
    file descriptor is read along with it, asyncio is never woken, and a wait without a timeout never ends.
    """

    check = staticmethod(lambda: None)  # called each second; raises if the reply cannot come any more

    async def get_msg(self, timeout=None):
        if timeout is not None:
            return await super().get_msg(timeout)
        while not await self.socket.poll(1000):
            self.check()
        return await self._recv()
