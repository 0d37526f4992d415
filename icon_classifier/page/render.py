"""Render predictions as HTML. All text from outside is escaped."""

from html import escape

MAX_BARS = 5  # the most probable labels get a bar; the others are counted
CERTAINTY = (0.95, "Almost certainly"), (0.8, "Very likely"), (0.5, "Probably"), (0, "Perhaps")


def in_a_sentence(prediction, detects_ood=True):
    """Return a `Prediction` as a sentence.

    detects_ood: whether the model was shown to notice images of other things (`Card.detects_ood`). If not, the
        sentence only compares the labels, however high the probability is.
    """
    if prediction.is_ood:
        return f"This is probably none of them; {prediction.label} is only the closest label. {prediction.reason}"
    if not detects_ood or prediction.is_ood is None:
        return f"{prediction.label} is the closest of the model's {len(prediction.probabilities)} labels."
    return f"{next(words for least, words in CERTAINTY if prediction.probability >= least)} {prediction.label}."


def figure(name, address, problem="", prediction=None, sentence=""):
    """Render the image at `address`, with its `problem`, or its `prediction` and the `sentence` about it."""
    alt = "" if problem else escape(name)  # the caption of a problem contains the file name
    words = f'<p class="icon-name">{escape(name)}</p><p class="icon-problem">{escape(problem)}</p>' if problem else ""
    if prediction:
        line = f"Prediction: {prediction.label}; Probability: {prediction.probability:.4f}"
        words = f"<p>{escape(sentence)}</p>{bars(prediction.probabilities)}"
        words += f'<p class="icon-prediction">{escape(line)}</p>'
    modest = " icon-modest" if prediction and prediction.is_ood else ""
    image = f'<div class="icon-picture"><img src="{escape(address)}" alt="{alt}"></div>'
    return f'<figure class="icon-card{modest}">{image}<figcaption>{words}</figcaption></figure>'


def bars(probabilities):
    """Render a bar per label for the first `MAX_BARS` of {label: probability}, sorted by probability."""
    rows = [
        f'<span>{escape(label)}</span><span class="icon-track"><i style="width:{probability:.1%}"></i></span>'
        f"<span>{probability:.1%}</span>"
        for label, probability in list(probabilities.items())[:MAX_BARS]
    ]
    left = len(probabilities) - len(rows)
    more = f"<p>and {left} less likely</p>" if left else ""
    return f'<div class="icon-chart">{"".join(rows)}</div>{more}'


def unfold(title, lines):
    """Render a list of `lines` that unfolds under `title`."""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<details><summary>{escape(title)}</summary><ul>{items}</ul></details>"
