"""Hosts of their own: a network namespace each, joined to ours by a veth pair.
Only root may make them, and not everywhere."""

import os
import subprocess


def _ip(*arguments):
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


class Net:
    """`ours` and `theirs` are the addresses of the pair's ends."""

    def __init__(self, n):
        pid = os.getpid()
        self.name = f"fol{pid}-{n}"
        self._far = f"flr{pid}-{n}"
        start = f"10.{64 + (pid >> 8 & 63)}.{pid & 255}"
        self.ours, self.theirs = f"{start}.{4 * n + 1}", f"{start}.{4 * n + 2}"
        self._join()

    def _join(self):
        _ip("netns", "add", self.name)
        try:
            _ip("link", "add", self.name, "type", "veth", "peer", "name",
                self._far, "netns", self.name)
            _ip("addr", "add", f"{self.ours}/30", "dev", self.name)
            _ip("link", "set", self.name, "up")
            inside = ("-n", self.name)
            _ip(*inside, "addr", "add", f"{self.theirs}/30", "dev", self._far)
            _ip(*inside, "link", "set", self._far, "up")
            _ip(*inside, "link", "set", "lo", "up")
        except OSError:
            self.remove()
            raise

    def within(self):
        """What a command begins with that runs there."""
        return ["ip", "netns", "exec", self.name]

    def unplug(self):
        """Nothing comes or goes any more; nobody is told."""
        _ip("link", "set", self.name, "down")

    def renew(self):
        """Another host with the same address: of what the old one had open it
        knows nothing. Whoever ran in it is dead."""
        self.remove()
        self._join()

    def remove(self):
        for arguments in (("link", "del", self.name),
                          ("netns", "del", self.name)):
            subprocess.run(["ip", *arguments], capture_output=True,
                           check=False)


def make(n):
    """(n nets, why not)."""
    nets = []
    try:
        for i in range(n):
            nets.append(Net(i))
    except OSError as error:
        for net in nets:
            net.remove()
        return [], str(error)
    return nets, ""
