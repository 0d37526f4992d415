"""Print a figure of `make bench` beside its counterpart."""


def row(what, ours, theirs, versus, unit):
    print(f"{what:<52} {number(ours)} {unit:<2}   {versus}: {number(theirs)} {unit:<2}   ratio {ours / theirs:.2f}")


def number(value):
    return f"{value:8}" if isinstance(value, int) else f"{value:8.{2 if value < 10 else 1}f}"
