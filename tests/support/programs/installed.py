"""Print where the package is, what a page without a model says, and which dependencies of the package are missing."""

from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

import icon_classifier
from icon_classifier.page.page import IconPage


def is_missing(requirement):
    try:
        return version(requirement.name) not in requirement.specifier
    except PackageNotFoundError:
        return True


print(icon_classifier.__file__)
print(IconPage("nowhere.pkl").about.value)
needed = [Requirement(line) for line in requires("icon-classifier") if "extra ==" not in line]
print(len(needed), *[requirement.name for requirement in needed if is_missing(requirement)])
