"""Define the kernel provisioner, which forks a visitor's kernel, or starts an ordinary process if it cannot fork."""

import os
import select
import signal
import sys
import time

from jupyter_client.provisioning import LocalProvisioner
from tornado.web import HTTPError


class ForkProvisioner(LocalProvisioner):
    """Forks a kernel from the fork server, or starts an ordinary process if this is impossible.

    fork_pool: the `ForkPool`, or None for ordinary processes only.
    """

    def __init__(self, *, fork_pool=None, **kwargs):
        super().__init__(**kwargs)
        self.fork_pool = fork_pool

    async def launch_kernel(self, cmd, **kwargs):
        """Start the kernel. Raises HTTP error 503 if the system cannot start another process."""
        forked = await self._fork(cmd, kwargs.get("env") or dict(os.environ), kwargs.get("cwd") or os.getcwd())
        if forked is None:
            return await super().launch_kernel(cmd, **kwargs)
        self.process = ForkedProcess(*forked)
        self.pid = self.process.pid
        self.cwd = kwargs.get("cwd")
        return self.connection_info

    async def _fork(self, cmd, env, cwd):
        args = kernel_arguments(cmd)
        if args is None or self.fork_pool is None:
            return None
        try:
            return await self.fork_pool.fork(args, env, cwd)
        except OSError as error:
            self.log.warning("A visitor has to wait because the system cannot start another process: %s.", error)
            raise HTTPError(503) from error


class ForkedProcess:
    """A kernel that is a child of the fork server, with the part of `subprocess.Popen` that provisioners use.

    A pidfd stays bound to its process, so a signal cannot reach another process that gets the same pid later.
    """

    stdin = stdout = stderr = None

    def __init__(self, pid, pidfd):
        self.pid = pid
        self.returncode = None
        self._pidfd = pidfd

    def poll(self):
        if self.returncode is None:
            watch = select.poll()
            watch.register(self._pidfd, select.POLLIN)
            if watch.poll(0):
                os.close(self._pidfd)
                self.returncode = 0  # only the parent process can read the real one
        return self.returncode

    def wait(self):
        while self.poll() is None:
            time.sleep(0.01)
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            try:
                signal.pidfd_send_signal(self._pidfd, number)
            except ProcessLookupError:  # it ended in the meantime
                pass

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def terminate(self):
        self.send_signal(signal.SIGTERM)


def kernel_arguments(cmd):
    """Return a kernelspec's arguments after `python -m ipykernel_launcher`; None for other commands or interpreters."""
    folder = os.path.realpath(os.path.dirname(cmd[0])) if cmd else None
    if folder != os.path.realpath(os.path.dirname(sys.executable)) or "ipykernel_launcher" not in cmd:
        return None
    return cmd[cmd.index("ipykernel_launcher") + 1 :]
