"""Icon Classifier: from a list of names to a web page that tells them apart."""

__version__ = "0.1.0"
