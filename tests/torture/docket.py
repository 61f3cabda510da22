"""Which payments are still to be judged at their end, and which can be
forgotten, so that a thousand rounds need no more than ten."""

FORGET = 6  # rounds without anything new; then what is final stays as it is


class Docket:
    """`open`: {payment: the round in which something was last new of it}."""

    def __init__(self):
        self.open = {}
        self._quiet = {}  # judged at its end: {payment: in which round}

    def born(self, n, promised):
        """What is promised by now, and not known yet, is of round n."""
        for ident in promised:
            if ident not in self._quiet:
                self.open.setdefault(ident, n)

    def touched(self, n, idents):
        """Something is new: what was judged is judged again."""
        for ident in idents:
            if self._quiet.pop(ident, None) is not None:
                self.open[ident] = n
            self.open.setdefault(ident, n)

    def until(self, n):
        """Those of round n and before."""
        return {i for i, at in self.open.items() if at <= n}

    def judged(self, n, idents):
        for ident in idents:
            if self.open.pop(ident, None) is not None:
                self._quiet[ident] = n

    def forget(self, n, final):
        """Those judged long ago that are final(); they leave the docket."""
        gone = {i for i, at in self._quiet.items()
                if at <= n - FORGET and final(i)}
        for ident in gone:
            del self._quiet[ident]
        return gone
