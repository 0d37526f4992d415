"""Compute figures with their uncertainty. Pure Python, because the page imports it too."""

from math import comb

Z95 = 1.959964  # the 97.5% point of the normal distribution: 95% lie between -Z95 and Z95


def wilson_interval(count, total):
    """Return the 95% interval [low, high] of the share `count` / `total`; [0, 1] if `total` is 0.

    Wilson's interval ("Probable inference, the law of succession, and statistical inference", 1927) also holds for
    a `count` of 0 and for a small `total`. `count` may be a mean of several counts.
    """
    if not total:
        return [0.0, 1.0]
    rate = count / total
    scale = 1 + Z95**2 / total
    centre = (rate + Z95**2 / (2 * total)) / scale
    half = Z95 / scale * (rate * (1 - rate) / total + Z95**2 / (4 * total**2)) ** 0.5
    # At the ends the formula gives 0 and 1 exactly, up to rounding.
    return [max(0.0, centre - half) if count else 0.0, min(1.0, centre + half) if count < total else 1.0]


def error_figure(errors, photos):
    """Return an error rate and its basis: a dict of `errors`, `photos`, `rate` and its 95% `interval` (Wilson's).

    Raises ValueError unless 0 <= errors <= photos and photos > 0.
    """
    if not 0 <= errors <= photos or not photos:
        raise ValueError(f"errors should be between 0 and photos, and photos positive, not {errors} of {photos}")
    return {"errors": errors, "photos": photos, "rate": errors / photos, "interval": wilson_interval(errors, photos)}


def label_figures(targets, predictions, labels):
    """Return precision and recall per label, with the numbers of photos they were measured on.

    targets, predictions: the index of the actual and of the predicted label in `labels`, per photo.
    The dict of a label holds the number of its `photos`, the number `predicted` as this label, the number `right` of
    both, and the 95% Wilson intervals of `recall` (right / photos) and `precision` (right / predicted).
    """
    pairs = [(int(target), int(prediction)) for target, prediction in zip(targets, predictions, strict=True)]
    found = {}
    for i, label in enumerate(labels):
        right = sum(pair == (i, i) for pair in pairs)
        photos = sum(target == i for target, _ in pairs)
        predicted = sum(prediction == i for _, prediction in pairs)
        found[label] = {
            "photos": photos,
            "predicted": predicted,
            "right": right,
            "recall": wilson_interval(right, photos),
            "precision": wilson_interval(right, predicted),
        }
    return found


def auroc_interval(auroc, negatives, positives):
    """Return the 95% confidence interval [low, high] of an AUROC.

    negatives, positives: the numbers of examples of each class on which it was measured. The standard error is that
    of Hanley and McNeil, "The meaning and use of the area under a ROC curve" (1982).
    """
    two_positives = auroc / (2 - auroc) - auroc**2
    two_negatives = 2 * auroc**2 / (1 + auroc) - auroc**2
    total = auroc * (1 - auroc) + (positives - 1) * two_positives + (negatives - 1) * two_negatives
    half = Z95 * (total / (negatives * positives)) ** 0.5
    return [max(0.0, auroc - half), min(1.0, auroc + half)]


def newcombe_interval(a, b):
    """Return the 95% interval [low, high] of a's rate minus b's, for two `error_figure`s of independent samples.

    Method 10 of Newcombe ("Interval estimation for the difference between independent proportions", 1998), which
    combines the two Wilson intervals.
    """
    difference = a["rate"] - b["rate"]
    (low_a, high_a), (low_b, high_b) = a["interval"], b["interval"]
    below = ((a["rate"] - low_a) ** 2 + (high_b - b["rate"]) ** 2) ** 0.5
    above = ((high_a - a["rate"]) ** 2 + (b["rate"] - low_b) ** 2) ** 0.5
    return [difference - below, difference + above]


def mcnemar(only_a, only_b):
    """Return the two-sided p-value of McNemar's exact test, for two models measured on the same photos.

    only_a, only_b: the numbers of photos that only a misclassified, and only b. If both models err equally often, each
    of these photos is a coin toss (McNemar, 1947; Dietterich, "Approximate statistical tests for comparing supervised
    classification learning algorithms", 1998).
    """
    tosses = only_a + only_b
    tail = sum(comb(tosses, i) for i in range(min(only_a, only_b) + 1))
    return min(1.0, 2 * tail / 2**tosses)


def paired_interval(differences, spread=0.0):
    """Return the mean of `differences` and its 95% interval: (mean, [low, high]).

    differences: the difference between two error rates per photo, between -1 and 1.
    spread: the variance of the mean from other sources than the photos, such as the choice of training photos.
    The interval adds half a photo to each cell of the paired table (Agresti and Min, "Simple improved confidence
    intervals for comparing matched proportions", 2005), so it is not empty if no photo differs.
    """
    total = sum(differences)
    squares = sum(d * d for d in differences) + 1
    photos = len(differences) + 2
    centre = total / photos
    half = Z95 * ((squares / photos - centre**2) / photos + spread) ** 0.5
    return total / len(differences), [max(-1.0, centre - half), min(1.0, centre + half)]
