"""Write files in one step."""

import os


def write_whole(path, data):
    """Write `data` (bytes) to `path` in one step: whoever reads sees the old file or the new one, never a part."""
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
