"""Define the channel on which a kernel replies, for `notebook_runner` and for Voila."""

from jupyter_client.channels import AsyncZMQSocketChannel


class ShellChannel(AsyncZMQSocketChannel):
    """A shell channel that polls every second while it waits for a reply.

    When a cell displays something in an Output widget (as fastai's ImageClassifierCleaner does), nbclient sends a
    message on this channel, and jupyter_client sends it without asyncio. If a reply arrives at the same moment, this
    resets ZeroMQ's edge-triggered file descriptor, asyncio is not woken, and waiting without a timeout never ends.
    """

    check = staticmethod(lambda: None)  # called every second; raises an error if no reply can come any more

    async def get_msg(self, timeout=None):
        if timeout is not None:
            return await super().get_msg(timeout)
        while not await self.socket.poll(1000):
            self.check()
        return await self._recv()
