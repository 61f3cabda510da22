"""What the rules look at: the files of a tree, and places in them."""

import re
import subprocess
from pathlib import Path


class Tree:
    """A directory. In a git checkout, the files that git tracks or would."""

    def __init__(self, root):
        self.root = Path(root)
        if (self.root / ".git").exists():
            out = subprocess.run(
                ["git", "-C", root, "ls-files", "-co", "--exclude-standard"],
                capture_output=True, text=True, check=True).stdout
            names = out.splitlines()
        else:
            names = [str(p.relative_to(self.root))
                     for p in self.root.rglob("*") if p.is_file()]
        self.names = sorted(n for n in names if (self.root / n).is_file())

    def files(self, *suffixes, under=""):
        return [n for n in self.names
                if n.endswith(suffixes) and n.startswith(under)]

    def text(self, name):
        return (self.root / name).read_text(errors="replace")

    def lines(self, name):
        return enumerate(self.text(name).split("\n"), 1)


_COMMENT_OR_TEXT = re.compile(
    r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.S)


def bare_c(text):
    """C without comments and literals; every line stays where it is."""
    def blank(match):
        return "\n" * match.group().count("\n") + " "
    return _COMMENT_OR_TEXT.sub(blank, text)
