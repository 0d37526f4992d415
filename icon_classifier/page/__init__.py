"""The page: its widgets, their JavaScript and CSS. It does not depend on what serves it."""
