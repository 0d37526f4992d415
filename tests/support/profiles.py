"""Make ICC profiles for tests, because those of cameras and presses may not be distributed."""

import struct

P3_RED, SRGB_RED = (200, 60, 40), (217, 42, 23)  # the same colour in Display P3 and in sRGB


def icc(space, pcs=b"XYZ ", **tags):
    """Return an ICC profile of a display."""
    table = struct.pack(">I", len(tags))
    content = b""
    for name, data in tags.items():
        table += struct.pack(">4sII", name.encode(), 132 + 12 * len(tags) + len(content), len(data))
        content += data + bytes(-len(data) % 4)
    head = (132 + 12 * len(tags) + len(content), 0x04200000, b"mntr", space, pcs, b"acsp", *fixed(0.9642, 1, 0.8249))
    return struct.pack(">I4xI4s4s4s12x4s28x3i48x", *head) + table + content


def fixed(*values):
    return [round(value * 65536) for value in values]


def rgb_profile(red, green, blue, curve):
    """Return the ICC profile of an RGB colour space.

    red, green, blue: X, Y and Z of the primaries, adapted to D50. curve: the result of `gamma`, or `SRGB_CURVE`.
    """
    xyz = [struct.pack(">4s4x3i", b"XYZ ", *fixed(*colour)) for colour in (red, green, blue)]
    return icc(b"RGB ", rXYZ=xyz[0], gXYZ=xyz[1], bXYZ=xyz[2], rTRC=curve, gTRC=curve, bTRC=curve)


def table_of(curve):
    values = [round(65535 * curve(i / 1023)) for i in range(1024)]
    return struct.pack(">4s4xI1024H", b"curv", 1024, *values)


def gamma(value):
    return struct.pack(">4s4xIH", b"curv", 1, round(value * 256))


def cmyk_profile(inks):
    """Return the ICC profile of a press. Colours are interpolated between those of full inks.

    inks: a function from c, m, y and k, each 0 or 1, to the colour as L, a and b of 8 bits.
    """
    straight = bytes(range(256))
    corners = b"".join(bytes(inks(*map(int, f"{i:04b}"))) for i in range(16))
    head = struct.pack(">4s4xBBBx9i", b"mft1", 4, 3, 2, *fixed(1, 0, 0, 0, 1, 0, 0, 0, 1))
    return icc(b"CMYK", b"Lab ", A2B0=head + 4 * straight + corners + 3 * straight)


SRGB_CURVE = struct.pack(">4s4xHH5i", b"para", 3, 0, *fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045))
SRGB_COLOURS = (0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.7141)
P3_COLOURS = (0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407)
P3 = rgb_profile(*P3_COLOURS, SRGB_CURVE)
# A press whose cyan is L 50, a -58, b -38; its black is black, its other inks are invisible.
PRESS = cmyk_profile(lambda *inks: (128, 70, 90) if inks == (1, 0, 0, 0) else (255 * (1 - inks[3]), 128, 128))
LINEAR_GREY = icc(b"GRAY", kTRC=gamma(1))  # 128 is half the light, which in sRGB is 188
