"""Define the WebSocket between a page and its kernel, which rejects damaged messages and limits a visitor's memory."""

import asyncio

from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from tornado.iostream import StreamBufferFullError
from traitlets import Integer
from voila.tornado.kernel_websocket_handler import VoilaKernelWebsocketHandler

from . import capacity
from .jupyter_internals import connections_to

MAX_PARTS = 1000  # of a message; Jupyter's messages have about seven


class VisitorWebsocketConnection(ZMQChannelsWebsocketConnection):
    """Rejects damaged messages, and limits the memory that one visitor can use on the server.

    Voila itself drops the types of messages that visitors may not send.
    """

    max_connections = Integer(4, config=True, help="The maximum number of connections to one kernel; a page has one.")

    def connect(self):
        """Connect to the kernel, or close the connection if the kernel already has `max_connections`."""
        kernels = self.multi_kernel_manager
        stream = self.websocket_handler.ws_connection.stream
        stream.max_write_buffer_size = capacity.MAX_PENDING_BYTES
        if connections_to(kernels, self.kernel_id) < self.max_connections:
            return super().connect()
        kernels.notify_connect(self.kernel_id)  # because its end will be counted as well
        self.websocket_handler.close(1013, "There are too many connections to this page.")
        return asyncio.sleep(0)

    def create_stream(self):
        super().create_stream()
        for name in ("iopub", "stdin"):  # these channels only receive; a message sent to them would be queued for ever
            self.channels[name].send_multipart = lambda *_args, **_options: None

    @property
    def write_message(self):
        """The method of the WebSocket that sends a message, without Voila's own.

        Voila's method reads each binary message as one of the subprotocol v1. JupyterLab's client connects without a
        subprotocol after a first attempt failed. Such a binary message begins with another kind of number, from which
        Voila makes a list that takes all of the server's memory.
        """
        return super(VoilaKernelWebsocketHandler, self.websocket_handler).write_message

    def handle_outgoing_message(self, stream, outgoing_msg):
        """Pass on a kernel's message, but not the code that it executes, as in Voila's `write_message`.

        Close the connection if the page does not read (backpressure).
        """
        _, parts = self.session.feed_identities(outgoing_msg)
        if self.session.unpack(parts[1])["msg_type"] == "execute_input":  # part 0 is the signature
            return
        try:
            super().handle_outgoing_message(stream, outgoing_msg)
        except StreamBufferFullError:
            self.log.warning(
                "The page of kernel %s does not read its messages; its connection is closed.", self.kernel_id
            )
            self.websocket_handler.ws_connection.stream.close()

    def handle_incoming_message(self, incoming_msg):
        """Pass on a page's message. Close the connection if the message cannot be parsed."""
        try:
            if isinstance(incoming_msg, bytes):
                self._check_parts(incoming_msg)
            super().handle_incoming_message(incoming_msg)
        except Exception as error:  # untrusted bytes can raise anything
            self.log.warning("Damaged message to kernel %s: %s", self.kernel_id, type(error).__name__)
            self.websocket_handler.close(1003)

    def _check_parts(self, frame):
        """Check the number of parts at the beginning of a frame, because Jupyter allocates a list of that length."""
        size, order = (8, "little") if self.subprotocol else (4, "big")
        if not 0 < int.from_bytes(frame[:size], order) < min(len(frame) // size, MAX_PARTS):
            raise ValueError("wrong number of parts")
