"""Compute confidence intervals of error rates (Wilson) and of AUROCs (Hanley and McNeil)."""

Z95 = 1.959964  # the 97.5 % point of the normal distribution: 95 % lie between -Z95 and Z95


def error_figure(errors, photos):
    """Return an error rate with its data: a dict of `errors`, `photos`, `rate` and its 95 % confidence `interval`.

    The interval is Wilson's (1927), because it is also accurate for 0 errors and for few photos. Raises ValueError
    unless 0 <= errors <= photos and photos > 0.
    """
    if not 0 <= errors <= photos or not photos:
        raise ValueError(f"errors should be between 0 and photos, and photos positive, not {errors} of {photos}")
    rate = errors / photos
    scale = 1 + Z95**2 / photos
    centre = (rate + Z95**2 / (2 * photos)) / scale
    half = Z95 / scale * (rate * (1 - rate) / photos + Z95**2 / (4 * photos**2)) ** 0.5
    interval = [max(0.0, centre - half), min(1.0, centre + half)]
    return {"errors": errors, "photos": photos, "rate": rate, "interval": interval}


def auroc_interval(auroc, negatives, positives):
    """Return the 95 % confidence interval [low, high] of an AUROC.

    negatives, positives: the numbers of examples of each class on which it was measured. The standard error is that
    of Hanley and McNeil, "The meaning and use of the area under a ROC curve" (1982).
    """
    two_positives = auroc / (2 - auroc) - auroc**2
    two_negatives = 2 * auroc**2 / (1 + auroc) - auroc**2
    total = auroc * (1 - auroc) + (positives - 1) * two_positives + (negatives - 1) * two_negatives
    half = Z95 * (total / (negatives * positives)) ** 0.5
    return [max(0.0, auroc - half), min(1.0, auroc + half)]
