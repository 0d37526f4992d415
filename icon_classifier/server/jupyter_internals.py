"""Access the private attributes of Jupyter on which the server relies."""

# Check each one when jupyter_server, jupyter_client, Voila, ipykernel or tornado changes. Read or replaced here:
#
# - `MappingKernelManager._kernel_connections`: {kernel id: number of WebSockets}, counted by `notify_connect` and
#   `notify_disconnect`. Without it, connections to a kernel are not limited, and abandoned kernels are not ended.
# - `MappingKernelManager._kernel_buffers`: {kernel id: {"buffer": list, ...}}, to which `start_buffering` appends
#   (channel, message). Without it, a kernel whose page is disconnected can fill the server's memory.
# - `ZMQChannelsWebsocketConnection._open_sockets`: all open connections. Without it, the page does not show that its
#   kernel has ended.
#
# Overridden in kernel_manager.py:
#
# - `AsyncKernelManager._async_pre_start_kernel`, which creates the provisioner if there is none yet.
# - `MappingKernelManager._handle_kernel_died`, which is called with a kernel's id when its process has ended.
#
# Used elsewhere:
#
# - shell_channel.py: jupyter_client's `AsyncZMQSocketChannel._recv`, which receives a message that has arrived.
# - websocket.py: skips `VoilaKernelWebsocketHandler.write_message` and calls that of the class above it; the types of
#   messages that Voila's method drops are repeated in `handle_outgoing_message`.
# - static_page.py: tornado's `RequestHandler._reason`, the phrase of an HTTP status.
# - handlers.py: tornado's `request.connection.stream`, which is closed when the visitor has left.
# - fork_server.py: `IPKernelApp.parent_handle`, the process whose end ends the kernel.
#
# tests/browser/test_serving.py fails if one of them no longer works.

from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection


def connections_to(kernels, kernel_id):
    """Return the number of WebSockets that are connected to a kernel of the manager `kernels`."""
    return kernels._kernel_connections.get(kernel_id, 0)


def close_connections(kernel_id):
    """Close every WebSocket that is connected to a kernel."""
    for connection in list(ZMQChannelsWebsocketConnection._open_sockets):
        if connection.kernel_id == kernel_id:
            connection.websocket_handler.close()


def replace_buffer(kernels, kernel_id, buffer):
    """Set the list that keeps a kernel's messages while its page is disconnected."""
    kernels._kernel_buffers[kernel_id]["buffer"] = buffer
