"""The widgets of the page, with their JavaScript and CSS. They do not depend on the server."""
