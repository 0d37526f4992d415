"""Order photos by suspicion. The checks are not imported: they need libraries that a review does without."""

# What a check can suggest about a photo, and a person can decide.
EXCLUDE = "exclude"  # the photo adds nothing, or harms
RELABEL = "relabel"  # the photo belongs to another label


def suspicion(file, findings):
    """Return the key by which photos are sorted, the most suspicious first.

    The highest score of a photo counts; among equals the next, and then the file's name.
    """
    return [*sorted(-found.score for found in findings), 0], file
