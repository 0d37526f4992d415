"""Figures with their uncertainty: an error rate's interval (Wilson) and an AUROC's (Hanley and McNeil)."""

Z95 = 1.959964  # the 97.5 % point of the normal distribution: 95 % lie between -Z95 and Z95


def error_figure(errors, photos):
    """Return an error rate and its basis: a dict of `errors`, `photos`, `rate` and its 95 % `interval`.

    The interval is Wilson's (1927), which stays sensible for 0 errors and for few photos. Raises ValueError unless
    0 <= errors <= photos and photos > 0.
    """
    if not 0 <= errors <= photos or not photos:
        raise ValueError(f"{errors} errors of {photos} photos is no error rate")
    rate = errors / photos
    scale = 1 + Z95**2 / photos
    centre = (rate + Z95**2 / (2 * photos)) / scale
    half = Z95 / scale * (rate * (1 - rate) / photos + Z95**2 / (4 * photos**2)) ** 0.5
    interval = [max(0.0, centre - half), min(1.0, centre + half)]
    return {"errors": errors, "photos": photos, "rate": rate, "interval": interval}


def auroc_interval(auroc, negatives, positives):
    """Return the 95 % interval [low, high] of an AUROC, measured on that many examples of each class.

    The standard error is Hanley's and McNeil's ("The meaning and use of the area under a ROC curve", 1982).
    """
    two_positives = auroc / (2 - auroc) - auroc**2
    two_negatives = 2 * auroc**2 / (1 + auroc) - auroc**2
    total = auroc * (1 - auroc) + (positives - 1) * two_positives + (negatives - 1) * two_negatives
    half = Z95 * (total / (negatives * positives)) ** 0.5
    return [max(0.0, auroc - half), min(1.0, auroc + half)]
